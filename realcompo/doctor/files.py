"""The models on this machine: in the user's model folders, where ComfyUI and A1111 usually keep theirs, and in the hub's cache.

Of a file the header alone is read, of a folder its configs. A file that is damaged, cut short or no weights at all is told for what it is;
whatever goes wrong with one costs no other.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RealCompoError, printable
from ..toolkit.configs import read_json
from ..toolkit.file_kinds import describe, looks_like_safetensors
from ..toolkit.kinds import Kind, identify, peeled
from ..toolkit.model_folders import is_file_of, walk_models
from ..toolkit.tensor_files import PICKLES, TensorFile, unwrapped

USUAL = (
    *("~/ComfyUI/models", "~/Documents/ComfyUI/models", "~/stable-diffusion-webui/models", "~/stable-diffusion-webui/embeddings"),
    *("~/stable-diffusion-webui-forge/models", "~/automatic/models", "~/SwarmUI/Models", "~/StabilityMatrix/Data/Models"),
)
"""Where programs keep their models if nobody says otherwise."""
MOST_HEADER = 32 << 20
"""Bytes of a header that is read: the largest published checkpoints have less than one MiB."""
MOST_TEXT = 1 << 20
"""Bytes of a file that is no tensors, and that is still read to tell what it is."""

_WIDTHS = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL"}


@dataclass(frozen=True)
class Found:
    """A file or folder of weights.

    Attributes:
        path: where it is; `folder`: the model folder, or "hub".
        source: what a recipe calls it: a bare name where that is enough, a hub id, or a path.
        what: in words.
        size: in bytes, of all its files.
        kind: of a file of tensors; None of folders, and of what is none.
        numbers: how many numbers its tensors hold; 0 where nothing tells.
        signature: files of one signature are alike to every branch.
        wrong, mend: why it cannot be used, and what to do; "" where nothing is known to be wrong.
    """

    path: Path
    folder: str
    source: str
    what: str
    size: int = 0
    kind: Kind | None = None
    numbers: int = 0
    signature: tuple[Any, ...] = ()
    wrong: str = ""
    mend: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def usual_folders(known: Sequence[Path]) -> list[Path]:
    """Those of `USUAL` that are here and that the user file does not name yet."""
    found = [Path(os.path.expanduser(one)) for one in USUAL]
    return [one for one in found if one.is_dir() and not any(one == other or other in one.parents for other in known)]


def find_models(named: Sequence[Path], others: Sequence[Path], hub: Path | None = None) -> list[Found]:
    """All models of some folders.

    Args:
        named: model folders of the user file: what is in them has a bare name.
        others: folders that no name leads to.
        hub: the cache of the hub; None leaves it out.
    """
    places = [(folder, place) for folder, place in walk_models([*named, *others])]
    stems: dict[str, int] = {}
    for folder, place in places:
        if folder in named:
            stems[_stem(place)] = stems.get(_stem(place), 0) + 1
    found = []
    for folder, place in places:
        name = _stem(place)
        if folder not in named:
            source = str(place)
        elif stems[name] == 1:
            source = name
        else:
            source = place.relative_to(folder).as_posix() if is_file_of(place) else str(place)
        found.append(examine(place, str(folder), source))
    return [*found, *(() if hub is None else _cached(hub))]


def _stem(place: Path) -> str:
    return place.stem if is_file_of(place) else place.name


def hub_cache() -> Path:
    """Where the hub's client keeps what it fetched."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(os.path.expanduser(HF_HUB_CACHE))


def _cached(hub: Path) -> Iterator[Found]:
    """The present snapshot of each model in the hub's cache."""
    try:
        repositories = sorted(one for one in hub.iterdir() if one.name.startswith("models--"))
    except OSError:
        return
    for repository in repositories:
        id = repository.name.removeprefix("models--").replace("--", "/", 1)
        try:
            snapshot = _snapshot(repository)
            if snapshot is None or not _of_pictures(snapshot):
                continue
            files = [one for one in snapshot.iterdir() if one.is_file() and is_file_of(one)]
        except OSError as error:
            yield Found(repository, "hub", id, "a repository that cannot be read", wrong=str(error.strerror), mend="fetch it again")
            continue
        if (snapshot / "model_index.json").is_file() or (snapshot / "config.json").is_file():
            yield examine(snapshot, "hub", id)
        else:
            yield from (examine(one, "hub", str(one)) for one in sorted(files))


def _snapshot(repository: Path) -> Path | None:
    reference = repository / "refs" / "main"
    if reference.is_file() and reference.stat().st_size < 100:
        named = repository / "snapshots" / reference.read_text(encoding="utf-8", errors="replace").strip()
        if named.is_dir() and named.parent == repository / "snapshots":
            return named
    snapshots = sorted((repository / "snapshots").iterdir(), key=lambda one: one.stat().st_mtime)
    return snapshots[-1] if snapshots else None


def _of_pictures(snapshot: Path) -> bool:
    """Not a language model: a cache holds many of them."""
    config = snapshot / "config.json"
    return not config.is_file() or (snapshot / "model_index.json").is_file() or b"_class_name" in config.read_bytes()[:MOST_TEXT]


def examine(place: Path, folder: str, source: str) -> Found:
    """What a file or folder is; it may hold anything."""
    try:
        return _file(place, folder, source) if is_file_of(place) else _folder(place, folder, source)
    except RealCompoError as error:
        return Found(place, folder, source, "unreadable", wrong=error.what, mend=error.mend or "")
    except Exception as error:  # a stranger's file may upset any reader
        return Found(place, folder, source, "unreadable", wrong=f"{type(error).__name__}: {error}", mend="fetch or copy it again")


def _file(path: Path, folder: str, source: str) -> Found:
    size = path.stat().st_size
    if not looks_like_safetensors(path):
        if path.suffix.lower() not in PICKLES and size > MOST_TEXT and path.open("rb").read(1) in (b"{", b"["):
            what, mend = "a text, not weights", "fetch or copy it again"
        else:
            what, mend = describe(path)
        pickled = what == "a pickle"
        wrong = "it is read only with allow_pickle" if pickled else f"it is {what}" if what.startswith(("a ", "an ", "nothing")) else what
        return Found(path, folder, source, what.partition(":")[0], size, wrong=wrong, mend=mend)
    header = read_header(path, size)
    if header is None:
        what, mend = describe(path)
        return Found(path, folder, source, "safetensors, damaged", size, wrong=what, mend=mend)
    shapes, metadata = header
    file, kind = TensorFile(path, shapes, metadata), identify(shapes)
    if not kind.what.startswith(
        ("a LoRA", "a LoHa", "a LoKr", "an adapter")
    ):  # of which there are thousands; a wrapper's prefixes hide the others
        file = unwrapped(file)
        for _ in range(3):
            if not (names := peeled(file.shapes)):
                break
            file = unwrapped(file.renamed(names))
        kind = identify(file.shapes)
    what = kind.what
    if "a LoRA" in what and (family := _lora_family(file.shapes)):
        what = f"{what} for {family}"
    marks = tuple(name in file.shapes for name in ("v_pred", "ztsnr"))
    signature = (kind.what, *_shape_of(file.shapes, kind), *marks, metadata.get("modelspec.prediction_type"))
    numbers = sum(math.prod(shape) for shape in shapes.values())
    return Found(path, folder, source, what, size, kind, numbers, signature, metadata=metadata)


def read_header(path: Path, size: int) -> tuple[dict[str, tuple[int, ...]], dict[str, str]] | None:
    """(name → shape, metadata) of a safetensors file; None where its header is no such table, or its tensors are not all there."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(MOST_HEADER, size - 8):
            return None
        try:
            table = json.loads(stream.read(length))
            said = table.pop("__metadata__", {})
            shapes = {name: tuple(map(int, entry["shape"])) for name, entry in table.items()}
            end = max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
            return None
    if 8 + length + end != size or any(side < 0 for shape in shapes.values() for side in shape):
        return None
    return shapes, {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}


def _shape_of(shapes: Mapping[str, tuple[int, ...]], kind: Kind) -> tuple[Any, ...]:
    """A few shapes that tell architectures of one layout apart."""
    unet = kind.parts.get("unet")
    if unet is None:
        return (len(shapes),)
    widths = [shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight") and len(shape) == 2]
    blocks = {name.removeprefix(unet).split(".")[1] for name in shapes if name.startswith(f"{unet}input_blocks.")}
    return (shapes.get(f"{unet}input_blocks.0.0.weight"), max(widths, default=0), len(blocks), tuple(sorted(kind.parts)))


def _lora_family(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Whose UNet a LoRA is for, from how wide the text is that it reads."""
    for name, shape in shapes.items():
        if "attn2_to_k" in name.replace(".", "_") and any(word in name for word in ("lora_down", "lora_A", "lora.down")) and len(shape) > 1:
            return _WIDTHS.get(shape[1])
    return None


def _folder(place: Path, folder: str, source: str) -> Found:
    index, config = place / "model_index.json", place / "config.json"
    name = read_json(index if index.is_file() else config).get("_class_name") if index.is_file() or config.is_file() else None
    what = f"a folder of {printable(str(name)) if name else 'a diffusers checkpoint'}"
    sizes = [path.stat().st_size for path in place.rglob("*") if is_file_of(path) and path.is_file()]
    if not sizes:
        told, mend = "only its configs are here, no weights", f"hf download {source}" if folder == "hub" else "copy it again, whole"
        return Found(place, folder, source, what, 0, signature=(str(place),), wrong=told, mend=mend)
    return Found(place, folder, source, what, sum(sizes), signature=(str(place),))
