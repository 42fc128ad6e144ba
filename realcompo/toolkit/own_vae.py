"""A VAE of one's own (option `vae`): a folder or a single file in diffusers' or the original layout, in place of the checkpoint's.

All that can go wrong is found before weights are loaded: its class, its shapes, and whether its latents are those of the checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadCheckpoint
from .configs import published, read_json
from .net_names import usual_rows
from .options import CheckpointOptions
from .tensor_files import TensorFile, open_tensors, unwrapped

CLASSES = ("AutoencoderKL", "AutoencoderDC")
_FRONTS = ("first_stage_model.", "autoencoder.", "vae.", "model.first_stage_model.", "model.vae.", "model.", "")
_OLD = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""Names of the attention's layers in diffusers' older files."""
_FIRST = "decoder.conv_in.weight"
"""The tensor that a VAE's file is known by."""
_COMPARED = ("scaling_factor", "shift_factor", "latent_channels")


@dataclass(frozen=True, eq=False)
class OwnVae:
    """A VAE that was found. One of `folder` and `file` is set.

    Attributes:
        where: its name in messages.
        config: of its folder, or the one that its file's shapes fit.
        original: the file is in the original layout, of the latent-diffusion code.
    """

    where: str
    config: Mapping[str, Any]
    folder: Path | None = None
    file: TensorFile | None = None
    original: bool = False


def find_vae(
    text: str,
    place: Path,
    options: CheckpointOptions,
    own: Mapping[str, Any] | None = None,
    family: str | None = None,
    check_latents: bool = True,
) -> OwnVae:
    """The VAE that the option names.

    Args:
        text: a folder (of a VAE, or of a checkpoint with a folder `vae`), a file, ``package://module/path`` or a hub id.
        place: where that is, of `sources.locate_part`.
        own: config of the checkpoint's VAE, which a file without a config of its own is taken to share; None where it has none.
        family: of the published configs ('sd1', 'sdxl' …) that come next; None where nothing tells.
        check_latents: whether its latents must be those of `own`, or of the family.

    Raises:
        BadCheckpoint: not there, no VAE, of another shape, or with other latents than the checkpoint's own VAE.
    """
    found = _in_folder(text, place) if place.is_dir() else _in_file(text, place, options, own, family)
    name = found.config.get("_class_name")
    if name not in CLASSES:
        raise BadCheckpoint(
            f"it is a {name or 'network of an unnamed class'}, not a {' or '.join(CLASSES)}",
            where=text,
            mend="choose a VAE of Stable Diffusion, such as stabilityai/sd-vae-ft-mse",
        )
    theirs = own if own is not None else published(family)["vae"] if family is not None else None
    if check_latents and theirs is not None:
        _check_latents(text, found.config, theirs)
    return found


def _in_folder(text: str, place: Path) -> OwnVae:
    inner = place / "vae"
    folder = inner if inner.is_dir() and not str(_class_of(place)).startswith("Autoencoder") else place
    if not (folder / "config.json").is_file():
        raise BadCheckpoint("it holds no VAE: config.json is missing", where=text, mend="give a folder with config.json and its weights")
    return OwnVae(text, read_json(folder / "config.json"), folder=folder)


def _class_of(folder: Path) -> Any:
    config = folder / "config.json"
    return read_json(config).get("_class_name") if config.is_file() else None


def _in_file(text: str, path: Path, options: CheckpointOptions, own: Mapping[str, Any] | None, family: str | None) -> OwnVae:
    file = open_tensors(path, options.allow_pickle)
    names = file.shapes
    front = next((one for one in _FRONTS if f"{one}{_FIRST}" in names), None)
    if front is None:
        from .kinds import identify

        small = any(re.match(r"(decoder\.|encoder\.)?(layers\.)?\d+\.", name) for name in names)
        what = "a tiny autoencoder (TAESD)" if small else identify(names).what
        if what == "a VAE":
            raise BadCheckpoint(
                f"1 tensors of its vae are missing, among them {_FIRST!r}", where=text, mend="a part of it is gone: fetch or copy it again"
            )
        raise BadCheckpoint(f"it is {what}, not a VAE", where=text, mend="choose the VAE of a Stable Diffusion checkpoint")
    file = unwrapped(file.renamed({name.removeprefix(front): name for name in names if name.startswith(front)}))
    original = any(re.match(r"decoder\.(up|mid)\.", name) for name in file.shapes)
    if not original:
        file = file.renamed({_modern(name): name for name in file.shapes})
    candidates = [one for one in (_beside(path), _of_option(options), own, published(family or "sd1")["vae"]) if one is not None]
    for config in candidates:
        if _summary(file, original) == _of_config(config):
            found = OwnVae(text, config, file=file, original=original)
            _check_tensors(found)
            return found
    have, told = _summary(file, original), _of_config(candidates[0])
    raise BadCheckpoint(
        f"its latents have {have['channels']} channels and its blocks are {have['widths']} wide, the checkpoint's VAE has "
        f"{told['channels']} and {told['widths']}",
        where=text,
        mend="choose a VAE for this kind of checkpoint, or give its folder with config.json",
    )


def _modern(name: str) -> str:
    for old, new in _OLD.items():
        name = name.replace(old, new) if ".attentions." in name else name
    return name


def _beside(path: Path) -> Mapping[str, Any] | None:
    return read_json(path.parent / "config.json") if str(_class_of(path.parent)).startswith("Autoencoder") else None


def _of_option(options: CheckpointOptions) -> Mapping[str, Any] | None:
    folder = None if options.config is None else Path(options.config).expanduser() / "vae"
    return read_json(folder / "config.json") if folder is not None and (folder / "config.json").is_file() else None


def _summary(file: TensorFile, original: bool) -> dict[str, Any]:
    """What tells one VAE from another: latent channels and the widths of its levels, from the decoder's shapes, last level first."""
    shapes = file.shapes
    front, inside = (r"decoder\.up", "block") if original else (r"decoder\.up_blocks", "resnets")
    levels = sorted({int(match.group(1)) for name in shapes if (match := re.match(rf"{front}\.(\d+)\.{inside}\.", name))})
    widths = [usual_rows(shapes, rf"{front}\.{level}\.{inside}\.\d+\.conv[12]\.(weight|bias)") for level in levels]
    first = shapes[_FIRST]
    return {"channels": first[1] if len(first) > 1 else None, "widths": widths if original else widths[::-1]}


def _of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"channels": config.get("latent_channels", 4), "widths": list(config.get("block_out_channels") or (64,))}


def _check_tensors(vae: OwnVae) -> None:
    from .conversion import compare, empty_network, naming, refuse_integers, vae_tensors

    if vae.file is None:
        return
    import torch

    network = empty_network(vae.config, "diffusers", str(vae.config.get("_class_name", CLASSES[0])))
    hollow = {name: torch.empty(shape, device="meta") for name, shape in vae.file.shapes.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    refuse_integers(vae.file, vae.file.shapes, "vae")
    with naming("vae", vae.where):
        found = vae_tensors(hollow, network, vae.original)
    compare(wanted, found, "vae", vae.where)


def _check_latents(text: str, config: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    defaults = {"scaling_factor": 0.18215, "shift_factor": 0.0, "latent_channels": 4}
    mine, theirs = ({key: one.get(key) or defaults[key] for key in _COMPARED} | {"levels": _levels(one)} for one in (config, own))
    for key, value in theirs.items():
        if mine[key] != value:
            words = key.replace("_", " ")
            raise BadCheckpoint(
                f"it is of another latent space than the checkpoint: its {words} is {mine[key]}, the checkpoint's {value}",
                where=text,
                mend="choose a VAE of the same kind: those of SD 1.x and 2.x are alike, that of SDXL is another",
            )


def _levels(config: Mapping[str, Any]) -> int:
    return len(config.get("encoder_block_out_channels") or config.get("block_out_channels") or (64,))


def load_vae(vae: OwnVae, dtype: Any) -> Any:
    """The network of a file, on the CPU; see `Loader.module` for a folder's."""
    from .conversion import empty_network, fill, vae_tensors

    network = empty_network(vae.config, "diffusers", str(vae.config["_class_name"]))
    if vae.file is not None:
        converted = vae_tensors(vae.file.read(vae.file.shapes), network, vae.original)
        fill(network, {name: converted[name] for name in network.state_dict()}, dtype)
    return network.eval()
