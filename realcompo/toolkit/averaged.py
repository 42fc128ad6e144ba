"""Averaged weights (EMA) of single files. The latent-diffusion code keeps, beside a UNet, an average of it over the training, under names
without their dots: ``model_ema.diffusion_modelinput_blocks11proj_inweight``. Files are passed around with the plain weights, with both, or
with the average alone."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping

from ..errors import BadCheckpoint, Mended
from .tensor_files import TensorFile

EMA = "model_ema."
UNET = "model.diffusion_model."
_FLAT = f"{EMA}diffusion_model"

_WORDS = re.compile(
    r"(input_blocks|output_blocks|middle_block|transformer_blocks|time_embed|label_emb|in_layers|out_layers|emb_layers|skip_connection|"
    r"position_net|null_positive_feature|null_position_feature|linears|linear|fuser|alpha_attn|alpha_dense|"
    r"attn[12]|attn|to_out|to_[qkv]|proj_in|proj_out|proj|norm[123]|norm|net|ff|conv|out|op|weight|bias)(\d*)"
)
"""What names of a UNet in the original layout are made of, longer words before those that they begin with; and the number behind."""
_TWO = frozenset({"input_blocks", "output_blocks", "label_emb"})
"""Words with two numbers behind: the second, of a layer within its block, has one digit."""


def choose_weights(file: TensorFile, averaged: bool) -> TensorFile:
    """The file with one UNet: the plain weights, or with `averaged`, or where there are no others, their average. Says (`Mended`) which
    it is where there is a choice or the average is all there is.

    Raises:
        BadCheckpoint: the average is asked for, and the file has none; or one of its names cannot be read.
    """
    flat = [name for name in file.shapes if name.startswith(_FLAT)]
    if not flat:
        if averaged:
            raise BadCheckpoint(
                "it holds no averaged weights (EMA)",
                where=file.where,
                mend="leave the option ema out, or choose a file with model_ema.* in it",
            )
        return _without_average(file)
    plain = [name for name in file.shapes if name.startswith(UNET)]
    if plain and not averaged:
        _say(file, "it holds averaged weights (EMA) beside the plain ones, which are taken; the option ema = true takes the average")
        return _without_average(file)
    names = _spelled(flat, plain, file.where)
    if plain:
        lost = sorted(set(plain) - names.keys())
        if lost:
            raise BadCheckpoint(
                f"{len(lost)} of its averaged weights (EMA) are missing, among them that of {lost[0]!r}",
                where=file.where,
                mend="leave the option ema out: the plain weights are whole",
            )
    else:
        _say(file, "it holds averaged weights (EMA) alone, which are taken")
    others = {name: name for name in file.shapes if not name.startswith((EMA, UNET))}
    return file.renamed({**others, **names})


def _say(file: TensorFile, what: str) -> None:
    warnings.warn(Mended(f"{file.where}: {what}"), stacklevel=4)


def _without_average(file: TensorFile) -> TensorFile:
    if not any(name.startswith(EMA) for name in file.shapes):
        return file
    return file.renamed({name: name for name in file.shapes if not name.startswith(EMA)})


def _spelled(flat: Iterable[str], plain: Iterable[str], where: str) -> Mapping[str, str]:
    """Name with its dots → name in the file. Those of the plain weights tell it; without them, the words do."""
    known = {f"{EMA}{name.removeprefix('model.').replace('.', '')}": name for name in plain}
    found: dict[str, str] = {}
    for name in flat:
        whole = known.get(name) or dotted(name.removeprefix(_FLAT))
        if whole is None or whole in found:
            raise BadCheckpoint(
                f"its averaged weights (EMA) have a tensor {name!r}, which is none of a UNet of Stable Diffusion",
                where=where,
                mend="choose a file with the plain weights",
            )
        found[whole] = name
    return found


def dotted(flat: str) -> str | None:
    """A UNet's name in the original layout from the same without dots; None where it is no such name."""
    words: list[str] = []
    at = 0
    while at < len(flat):
        match = _WORDS.match(flat, at)
        if match is None:
            return None
        word, number = match.groups()
        words += [word, *((number[:-1], number[-1]) if word in _TWO else (number,))] if number else [word]
        at = match.end()
    return UNET + ".".join(words) if "" not in words else None
