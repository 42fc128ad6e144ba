"""Where a checkpoint is, and what its config files say: no torch, no weights.

A source is a hub id (``"org/name"``), a folder in diffusers' layout, a single file in the original layout, ``"package://module/path"``
(a folder or file inside an installed package), a bare name in the user's model folders (`model_folders`), or a diffusers
pipeline object. Nothing touches the network unless the user asked for it: option `download`, or REALCOMPO_DOWNLOAD=1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import BadCheckpoint
from .configs import read_config, read_json
from .file_kinds import unfinished
from .model_folders import find_model
from .options import CheckpointOptions
from .own_vae import OwnVae
from .single_file import SingleFile, completed, open_single_file
from .tensor_files import ENDINGS, PICKLES, check_tensors

_LENT = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "vae", "scheduler")
"""Parts that the checkpoint of the option `rest` gives where a single file lacks them."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint whose config can be read. One of `folder`, `pipeline` and `single` is set.

    Attributes:
        where: its name in messages.
        vae: of the option `vae`, in place of its own.
        rest: of the option `rest`: what gives the parts that a single file lacks.
    """

    where: str
    folder: Path | None = None
    pipeline: Any = None
    single: SingleFile | None = None
    vae: OwnVae | None = None
    rest: Checkpoint | None = None

    def lender(self, part: str) -> Checkpoint | None:
        """The checkpoint of the option `rest`, where a part is from there."""
        mine = self.rest is None or self.single is None or self.single.has(part)
        return None if mine or part not in _LENT else self.rest

    def has(self, part: str) -> bool:
        """Whether it holds a part such as 'vae'."""
        if part == "vae" and self.vae is not None:
            return True
        if (rest := self.lender(part)) is not None:
            return rest.has(part)
        if self.single is not None:
            return self.single.has(part)
        if self.folder is not None:
            return (self.folder / part).is_dir()
        return getattr(self.pipeline, part, None) is not None

    def config(self, part: str) -> dict[str, Any]:
        """A part's config.

        Raises:
            BadCheckpoint: the part is missing, or its file is damaged.
        """
        if not self.has(part):
            mend = f"it holds {self.describe()}; choose a checkpoint with a {part}"
            if part == "vae" and self.single is not None:
                mend = "name one by the option vae, or a whole checkpoint that has one by the option rest"
            raise BadCheckpoint(f"it has no {part!r}", where=self.where, mend=mend)
        if part == "vae" and self.vae is not None:
            return dict(self.vae.config)
        if (rest := self.lender(part)) is not None:
            return {**rest.config(part), **(self.single.marks if self.single is not None and part == "scheduler" else {})}
        if self.single is not None:
            return self.single.config(part)
        if self.folder is None:
            config = getattr(getattr(self.pipeline, part), "config", {})
            return dict(config.to_dict() if hasattr(config, "to_dict") else config)
        return read_config(self.folder, part)

    def setting(self, name: str, default: Any = None) -> Any:
        """What the whole pipeline's own config says, such as ``force_zeros_for_empty_prompt``; the default where it says nothing."""
        if self.single is not None:
            return self.single.setting(name, default)
        if self.folder is None:
            return dict(getattr(self.pipeline, "config", {})).get(name, default)
        index = self.folder / "model_index.json"
        return read_json(index).get(name, default) if index.is_file() else default

    def describe(self) -> str:
        """What kind of checkpoint it is, for messages."""
        if self.single is not None:
            return self.single.describe()
        if self.folder is None:
            return f"a {type(self.pipeline).__name__}"
        index = self.folder / "model_index.json"
        if index.is_file():
            name = read_json(index).get("_class_name", "pipeline of an unnamed class")
            return f"a {name[-1] if isinstance(name, list) and name else name}"
        parts = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        return f"the folders {', '.join(parts)}" if parts else "no folders (a diffusers checkpoint has unet, vae, text_encoder …)"


def open_checkpoint(
    source: Any, options: CheckpointOptions, *, revision: str | None = None, parts: Sequence[str] = (), weights: bool = True
) -> Checkpoint:
    """Find a checkpoint.

    Args:
        source: see above.
        options: of the branch.
        revision: of a hub id; the options' own comes first.
        parts: what to fetch, where fetching is allowed; "" is a network that lies at the top, without a folder of its own.
        weights: whether to fetch weights too, not only config files.

    Raises:
        BadCheckpoint: it is not there, with what to do about it.
    """
    if source is None:
        raise BadCheckpoint("no checkpoint was named", mend="give the branch a source: a hub id, a folder, or a pipeline object")
    if is_pipeline(source) and hasattr(source, "scheduler"):
        return Checkpoint(f"the {type(source).__name__} that you hold", pipeline=source)
    if not isinstance(source, str | Path):
        raise BadCheckpoint(f"a {type(source).__name__} is no checkpoint", mend="give a hub id, a folder, or a pipeline object")
    text = str(source)
    if text.startswith("package://"):
        found = packaged(text)
        return _file(text, found, options) if found.is_file() else Checkpoint(text, _packaged_folder(text))
    path = Path(text).expanduser()
    if isinstance(source, str) and not path.exists():
        path = find_model(text, options.allow_pickle) or path
    if path.is_dir():
        return Checkpoint(text, folder=path.resolve())
    if path.is_file():
        return _file(text, path.resolve(), options)
    if path.suffix in ENDINGS:
        raise BadCheckpoint(f"there is no such file{unfinished(path.parent, path.stem)}", where=text, mend="check the path")
    if isinstance(source, Path) or not _HUB_ID.fullmatch(text):
        raise BadCheckpoint("there is no such folder", where=text, mend="check the path; a hub id is written organisation/name")
    return Checkpoint(text, folder=_from_hub(text, options, options.revision or revision, parts, weights))


def _file(text: str, path: Path, options: CheckpointOptions) -> Checkpoint:
    """A single file, with what the option `rest` gives."""
    single, other = open_single_file(path, options), getattr(options, "rest", None)
    if other is None:
        return Checkpoint(text, single=single)
    told = options.model_copy(update={"rest": None, "ema": False, "variant": None, "revision": None})
    rest = open_checkpoint(other, told, parts=("unet", *_LENT))
    unet = rest.config("unet")
    xl, linear = unet.get("addition_embed_type") == "text_time", unet.get("use_linear_projection")
    return Checkpoint(text, single=completed(single, "sdxl" if xl else "sd2" if linear else "sd1", _configs(rest)), rest=rest)


def _configs(checkpoint: Checkpoint) -> Path | None:
    """Where a checkpoint's configs lie; None for a single file of a published shape."""
    return checkpoint.single.folder if checkpoint.single is not None else checkpoint.folder


def is_pipeline(source: Any) -> bool:
    """Whether a source is a diffusers pipeline that the user holds, with a UNet or a transformer."""
    return hasattr(source, "unet") or hasattr(source, "transformer")


def locate_part(text: str, options: CheckpointOptions) -> Path:
    """A file or folder of one network: a path, ``package://module/path``, or a hub id.

    Raises:
        BadCheckpoint: it is not there.
    """
    path = local_path(text)
    if path.exists():
        return path.resolve()
    named = None if text.startswith("package://") else find_model(text, options.allow_pickle)
    if named is not None:
        return named
    if path.suffix in ENDINGS or not _HUB_ID.fullmatch(text):
        raise BadCheckpoint(f"there is no such file or folder{unfinished(path.parent, path.stem)}", where=text, mend="check the path")
    return _from_hub(text, options, None, ("", "vae"), weights=True)


def local_path(text: str) -> Path:
    """Where a file or folder would be on this machine: inside an installed package, or below a path; whether anything is there is for the
    caller to see.

    Raises:
        BadCheckpoint: the package is not installed.
    """
    return packaged(text) if text.startswith("package://") else Path(text).expanduser()


def named_path(text: str, allow_pickle: bool = False) -> Path:
    """The same, and a bare name is looked for in the user's model folders (model_folders.py).

    Raises:
        BadCheckpoint: a bare name that none or several files there have; see `local_path`.
    """
    path = local_path(text)
    return path if text.startswith("package://") or path.exists() else find_model(text, allow_pickle) or path


def packaged(text: str) -> Path:
    """Where ``package://module/path`` is; whether anything is there is for the caller to see.

    Raises:
        BadCheckpoint: the package is not installed.
    """
    module, _, inside = text.removeprefix("package://").partition("/")
    try:
        return Path(str(resources.files(module).joinpath(inside)))
    except ModuleNotFoundError:
        raise BadCheckpoint(f"the package {module!r} is not installed", where=text, mend=f"install {module.replace('_', '-')}") from None


def _packaged_folder(text: str) -> Path:
    path = packaged(text)
    if not path.is_dir():
        module, _, inside = text.removeprefix("package://").partition("/")
        raise BadCheckpoint(
            f"the package {module!r} has no folder {inside!r}", where=text, mend="install it again: its weights are package data"
        )
    return path


def may_download(asked: bool) -> bool:
    """Whether the user asked for the network: by an option, or for everything by REALCOMPO_DOWNLOAD=1."""
    return asked or os.environ.get("REALCOMPO_DOWNLOAD", "") not in ("", "0")


def _from_hub(id: str, options: CheckpointOptions, revision: str | None, parts: Sequence[str], weights: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    fetch = may_download(options.download)
    folders = [f"{part}/" if part else "" for part in parts]
    patterns = ["*.json"] + [f"{folder}{name}" for folder in folders for name in ("*.json", "*.txt")]
    if weights:
        patterns += [f"{folder}{name}" for folder in folders for name in weight_names(options)]
    try:
        return Path(snapshot_download(id, revision=revision, local_files_only=not fetch, allow_patterns=patterns))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
        if fetch:
            raise BadCheckpoint(
                f"it cannot be fetched: {error}",
                where=id,
                mend="check the id, the connection, and whether it wants you to log in (`hf auth login`)",
            ) from error
        raise BadCheckpoint(
            "there is no such folder, and the local cache of the hub does not hold it",
            where=id,
            mend=f"allow the download (option download = true, or REALCOMPO_DOWNLOAD=1), or fetch it yourself: hf download {id}"
            + (f" --revision {revision}" if revision else ""),
        ) from None


def weight_names(options: CheckpointOptions) -> list[str]:
    """Names of the weight files to fetch."""
    middle = f".{options.variant}" if options.variant else ""
    endings = ["safetensors", *(["bin"] if options.allow_pickle else [])]
    stems = [f"{stem}{middle}{shard}" for stem in ("diffusion_pytorch_model", "model", "pytorch_model") for shard in ("", "-*")]
    return [f"{stem}.{ending}" for stem in stems for ending in endings]


@dataclass(frozen=True)
class WeightFiles:
    """The files of one part: all safetensors, or pickles that the user allowed."""

    folder: Path
    files: tuple[Path, ...]
    variant: str | None
    pickled: bool = False


def weight_files(folder: Path, options: CheckpointOptions) -> WeightFiles:
    """The weight files of a part's folder, checked as far as can be without reading tensors.

    Raises:
        BadCheckpoint: missing, only pickled, of another variant, or truncated.
    """
    where = str(folder)
    safe = _by_variant(folder, (".safetensors",))
    pickles = _by_variant(folder, PICKLES)
    found, pickled = (safe, False) if safe or not options.allow_pickle else (pickles, True)
    if not found:
        if pickles:
            names = ", ".join(path.name for paths in pickles.values() for path in paths)
            raise BadCheckpoint(
                f"it has only pickled weights ({names})",
                where=where,
                mend="choose a checkpoint with safetensors, or set allow_pickle = true if you trust its author (it can run code)",
            )
        raise BadCheckpoint(
            f"it has no weights{unfinished(folder)}",
            where=where,
            mend="fetch or copy the checkpoint again; the option download = true fetches it",
        )
    variant = options.variant
    if variant not in found:
        if variant is not None or len(found) > 1:
            have = ", ".join(repr(name) if name else "plain files" for name in sorted(found, key=str))
            raise BadCheckpoint(f"it has no variant {variant!r}, but {have}", where=where, mend="set the option variant")
        (variant,) = found  # the only one there is
    files = tuple(sorted(found[variant]))
    for path in files:
        check_tensors(path)
    _check_shards(folder, files)
    return WeightFiles(folder, files, variant, pickled)


def holds_weights(folder: Path) -> bool:
    """Whether a part's folder has any weight file, of any kind: of a hub's repository, only the configs may be on this machine."""
    return bool(_by_variant(folder, (".safetensors", *PICKLES)))


def _by_variant(folder: Path, endings: Sequence[str]) -> Mapping[str | None, list[Path]]:
    """diffusion_pytorch_model[.variant][-00001-of-00002].ending, by variant."""
    found: dict[str | None, list[Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = re.fullmatch(r"(?:diffusion_pytorch_model|model|pytorch_model)(?:\.(\w+))?(?:-\d+-of-\d+(?:\.(\w+))?)?", path.stem)
        if path.suffix in endings and match:
            found.setdefault(match.group(1) or match.group(2), []).append(path)  # older files have the variant behind their number
    return found


def _check_shards(folder: Path, files: Sequence[Path]) -> None:
    """Of weights in several files, each says how many there are."""
    numbered = [match for path in files if (match := re.search(r"-(\d+)-of-(\d+)(?:\.\w+)?$", path.stem))]
    for match in numbered:
        missing = set(range(1, int(match.group(2)) + 1)) - {int(one.group(1)) for one in numbered}
        if missing:
            raise BadCheckpoint(
                f"{len(missing)} of the {int(match.group(2))} files of its weights are missing, number {min(missing)} first",
                where=str(folder),
                mend="fetch or copy the checkpoint again; the option download = true fetches it",
            )
    if numbered and not any(folder.glob("*.index*.json")):
        raise BadCheckpoint(
            f"the index of its {len(files)} weight files is missing ({files[0].name.partition('-0')[0]}.safetensors.index.json)",
            where=str(folder),
            mend="fetch or copy the checkpoint again; the option download = true fetches it",
        )
