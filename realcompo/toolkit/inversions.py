"""Textual inversions as data of a branch (option `embeddings`): vectors of new words, in the layouts that are passed around.

n vectors of an encoder's width D, as one tensor (n, D) or (D,): under the word (diffusers), ``emb_params`` or ``string_to_param`` (A1111),
or, for SDXL's two encoders, ``clip_l`` and ``clip_g``. As in diffusers, n vectors are n tokens, ``<word> <word>_1 …`` (placeholders.py).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BadCheckpoint, BadOption
from .file_kinds import unfinished
from .options import CheckpointOptions
from .sources import Checkpoint, named_path
from .tensor_files import TensorFile, open_tensors
from .word_options import Embedding

MOST_VECTORS = 75
"""As many as a chunk of CLIP's holds."""

_PAIRS = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))
"""Names of SDXL's two tensors: as most programs write them, and as diffusers' training scripts do."""
_KINDS = {768: "an SD 1.x embedding", 1024: "an SD 2.x embedding", 1280: "an embedding for SDXL's second text encoder alone,"}


@dataclass(frozen=True, eq=False)
class Inversion:
    """A word and its vectors.

    Attributes:
        vectors: part of a text encoder → (n, D).
    """

    token: str
    path: Path
    vectors: Mapping[str, Tensor]

    def tokens(self, part: str) -> list[str]:
        """The words that the tokenizer of a part learns."""
        return [self.token, *(f"{self.token}_{n}" for n in range(1, len(self.vectors[part])))]


def find_inversions(embeddings: Sequence[Embedding], options: CheckpointOptions, widths: Mapping[str, int]) -> list[Inversion]:
    """What the option names, read and checked.

    Args:
        widths: D of each text encoder, by part, in their order.

    Raises:
        BadCheckpoint: not there, pickled and not allowed, no textual inversion, or one for other text encoders.
        BadOption: a word that cannot be one, or is given twice.
    """
    found = [_find(one, options, widths) for one in embeddings]
    for n, one in enumerate(found):
        others = {token for other in found[:n] for part in other.vectors for token in other.tokens(part)}
        twice = others.intersection(token for part in one.vectors for token in one.tokens(part))
        if twice:
            raise BadOption(f"{min(twice)!r} is a word of two embeddings", where="option embeddings", mend="give one of them another token")
    return found


def check_token(token: str, tokenizer: Any) -> None:
    """Raise BadOption where a tokenizer knows a word already: it would then mean another thing in every prompt."""
    known = tokenizer.get_vocab()
    if token in known or f"{token.lower()}</w>" in known:
        raise BadOption(
            f"{token!r} is a word of the tokenizer already",
            where="option embeddings",
            mend=f"give the embedding a token of its own, such as '<{token.strip('<>')}-1>'",
        )


def teach(inversions: Sequence[Inversion], part: str, tokenizer: Any, encoder: Any = None) -> Any:
    """A tokenizer that knows the words beside its own; the encoder, which must be this branch's alone, gets their vectors.

    Raises:
        BadOption: a word that is known already.
    """
    taught = copy.deepcopy(tokenizer)
    for one in inversions:
        for token in one.tokens(part):
            check_token(token, taught)
        taught.add_tokens(one.tokens(part))
    if encoder is not None:
        encoder.resize_token_embeddings(max(len(taught), encoder.get_input_embeddings().num_embeddings), mean_resizing=False)
        table = encoder.get_input_embeddings().weight
        with torch.no_grad():
            for one in inversions:
                for token, vector in zip(one.tokens(part), one.vectors[part], strict=True):
                    table[taught.convert_tokens_to_ids(token)] = vector.to(table)
        encoder.eval().requires_grad_(False)
    return taught


def text_widths(checkpoint: Checkpoint, parts: Sequence[str]) -> dict[str, int]:
    """D of each text encoder, from the configs."""
    return {part: int(checkpoint.config(part).get("hidden_size", 768 if part == "text_encoder" else 1280)) for part in parts}


def _find(told: Embedding, options: CheckpointOptions, widths: Mapping[str, int]) -> Inversion:
    path = named_path(told.source, options.allow_pickle)
    if not path.is_file():
        lacking = f"there is no such embedding{unfinished(path.parent, path.stem)}"
        what = "it is a folder, not an embedding's file" if path.is_dir() else lacking
        raise BadCheckpoint(what, where=f"embedding {told.source!r}", mend="name its file in the option embeddings")
    file = open_tensors(path, options.allow_pickle)
    named, own = _layout(file, list(widths))
    token = told.token or named or path.stem
    if not token or len(token.split()) != 1 or token != token.strip():
        raise BadOption(f"{token!r} is not one word", where="option embeddings", mend=f"name its token, such as '<{path.stem.split()[0]}>'")
    read = file.read(own.values())
    vectors = {part: _vectors(read[name], file.where) for part, name in own.items()}
    for part, width in widths.items():
        if vectors[part].shape[1] != width:
            raise _other_width(int(vectors[part].shape[1]), width, file.where, len(widths))
    return Inversion(token, path, vectors)


def _layout(file: TensorFile, parts: list[str]) -> tuple[str | None, dict[str, str]]:
    """The word that the file names, if it does, and part → name of the tensor."""
    mend = "choose a textual inversion for this kind of model"
    names = [name for name in file.shapes if not name.startswith("string_to_token")]
    pair = next((pair for pair in _PAIRS if set(pair) <= set(names)), None)
    if pair is not None:
        if len(parts) != 2:
            raise BadCheckpoint(
                f"this is an SDXL embedding ({' and '.join(pair)}), the branch has one encoder", where=file.where, mend=mend
            )
        return None, dict(zip(parts, pair, strict=True))
    params = [name for name in names if name == "emb_params" or name.startswith("string_to_param.")]
    single = params or names
    if len(single) != 1:
        raise BadCheckpoint(f"it is no textual inversion: it holds {len(names)} tensors", where=file.where, mend=mend)
    if len(parts) != 1:
        shape = file.shapes[single[0]]
        width = shape[-1] if shape else 0
        raise BadCheckpoint(
            f"this is {_KINDS.get(width, 'an embedding')} of width {width} for one text encoder, the branch has {len(parts)}",
            where=file.where,
            mend="choose one for SDXL, with clip_l and clip_g",
        )
    return (None if params else single[0]), {parts[0]: single[0]}


def _vectors(tensor: Tensor, where: str) -> Tensor:
    found = tensor[None] if tensor.ndim == 1 else tensor
    if found.ndim != 2 or not 1 <= len(found) <= MOST_VECTORS:
        raise BadCheckpoint(
            f"it is no textual inversion: its tensor is {tuple(tensor.shape)}, not 1 to {MOST_VECTORS} vectors",
            where=where,
            mend="choose a textual inversion",
        )
    if not found.is_floating_point() or not bool(torch.isfinite(found.float()).all()):
        raise BadCheckpoint("its vectors are infinite or no numbers: its training overflowed", where=where, mend="choose another")
    return found.float()


def _other_width(theirs: int, own: int, where: str, count: int) -> BadCheckpoint:
    kind = _KINDS.get(theirs) if count == 1 else None
    what = f"its vectors are {theirs} wide" if kind is None else f"this is {kind} of width {theirs}"
    return BadCheckpoint(f"{what}, the branch's is {own}", where=where, mend="choose an embedding that was trained for this kind of model")
