"""Networks of a checkpoint: loaded once, shared among branches, and known by the digest of their weights."""

from __future__ import annotations

import hashlib
import json
import threading
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BadCheckpoint
from ..noise.devices import default_device, torch_dtype
from .file_kinds import brief
from .guard import bare
from .options import CheckpointOptions
from .own_vae import load_vae
from .sources import Checkpoint, weight_files
from .tokenizers import refuse_extras
from .vae import decoding_dtype

CLASSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "unet": ("diffusers", ("UNet2DConditionModel",)),
    "vae": ("diffusers", ("AutoencoderKL", "AutoencoderDC")),
    "text_encoder": ("transformers", ("CLIPTextModel",)),
    "text_encoder_2": ("transformers", ("CLIPTextModelWithProjection",)),
    "controlnet": ("diffusers", ("ControlNetModel", "ControlNetUnionModel", "T2IAdapter")),
}
"""Part → the library and the classes that may be loaded for it. Nothing else is: a config cannot name code to run. A branch of another
architecture states its own (`DenoiserBranch.classes`)."""

Classes = Mapping[str, tuple[str, tuple[str, ...]]]
"""Part → library and class names."""

_shared: dict[tuple[Path | str, str | None], weakref.WeakSet[Any]] = {}
_shared_lock = threading.Lock()


class Loader:
    """The networks of one checkpoint.

    A network is shared among all branches that ask for the same part of the same folder, dtype and device; a pipeline's are
    the pipeline's own, and stay on its device and in its dtype.

    Args:
        checkpoint: see `open_checkpoint`.
        options: of the branch.
        device, dtype: of the networks; the CPU and float32 if None.
        share: give out networks that other branches may hold too. A branch that alters its network sets it False.
        classes: part → library and class names, in place of `CLASSES` for that part.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        options: CheckpointOptions,
        *,
        device: Any = None,
        dtype: Any = None,
        share: bool = True,
        classes: Classes | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.classes = {**CLASSES, **(classes or {})}
        self.options = options
        self.device = default_device("cpu" if device is None else device)
        self.dtype = torch_dtype(dtype)
        self.share = share

    def module(self, part: str, folder: Path | None = None) -> Any:
        """The network of a part, in evaluation mode.

        Args:
            part: a key of `CLASSES`.
            folder: where it is, if not in the checkpoint's folder of that name.

        Raises:
            BadCheckpoint: missing, pickled, truncated, incomplete, or of a class that is not for this part.
        """
        if self.checkpoint.pipeline is not None:
            module = getattr(self.checkpoint.pipeline, part, None)
            if module is None:
                raise BadCheckpoint(f"it has no {part}", where=self.checkpoint.where, mend=f"give the pipeline its {part}")
            plain = bare(module)
            _check_class(part, type(plain).__name__, self.checkpoint.where, self.classes)
            return module if part in ("unet", "transformer", "controlnet") else plain  # a compiled encoder gains nothing by one run
        own = self.checkpoint.vae if part == "vae" else None
        if own is None and folder is None and (rest := self._rest(part)) is not None:
            return rest.module(part)
        where = folder or (own.folder if own is not None else None if self.checkpoint.folder is None else self.checkpoint.folder / part)
        dtype = self._dtype(part)
        if not self.share:
            return self._load(part, where, dtype)
        with _shared_lock:
            known = _shared.setdefault(self._key(part, where), weakref.WeakSet())
            for module in known:
                if (module.dtype, _indexed(module.device)) == (dtype, _indexed(self.device)):
                    return module
            module = self._load(part, where, dtype)
            known.add(module)
            return module

    def _rest(self, part: str) -> Loader | None:
        """What loads a part that the checkpoint of the option `rest` gives."""
        rest = self.checkpoint.lender(part)
        if rest is None:
            return None
        told = self.options.model_copy(update={"variant": None})
        return Loader(rest, told, device=self.device, dtype=self.dtype, share=self.share, classes=self.classes)

    def _key(self, part: str, folder: Path | None) -> tuple[Path | str, str | None]:
        """What the shared networks of a part are known by: its folder, or its file and config."""
        if folder is not None:
            return folder, self.options.variant
        own = self.checkpoint.vae
        if part == "vae" and own is not None and own.file is not None:
            return f"vae of {(own.where, *_facts(own.file.path))}", json.dumps(dict(own.config), sort_keys=True)
        single = self.checkpoint.single
        facts = None if single is None else (single.where, single.averaged, *_facts(single.file.path))
        return f"{part} of {facts}", json.dumps(self.checkpoint.config(part), sort_keys=True)

    def _dtype(self, part: str) -> torch.dtype:
        """That of the branch; a VAE's own where that would overflow in it."""
        return decoding_dtype(self.checkpoint.config("vae"), self.dtype) if part == "vae" else self.dtype

    def _load(self, part: str, folder: Path | None, dtype: torch.dtype) -> nn.Module:
        if folder is not None:
            return self._load_folder(part, folder, dtype).to(self.device)
        if part == "vae" and self.checkpoint.vae is not None:
            decoder: nn.Module = load_vae(self.checkpoint.vae, dtype).to(self.device)
            return decoder
        from .conversion import load_part

        single, config = self.checkpoint.single, self.checkpoint.config(part)
        if single is None:
            raise BadCheckpoint(f"it has no {part}", where=self.checkpoint.where, mend="give a folder, a file, or a pipeline object")
        name = class_name(config)
        return load_part(single, part, _check_class(part, name, single.where, self.classes), name, dtype).to(self.device)

    def _told(self, folder: Path) -> CheckpointOptions:
        """The options of loading for a folder: a variant is the checkpoint's, not that of a VAE from elsewhere."""
        own = self.checkpoint.vae
        return self.options.model_copy(update={"variant": None}) if own is not None and folder == own.folder else self.options

    def _load_folder(self, part: str, folder: Path, dtype: torch.dtype) -> nn.Module:
        import importlib

        config = Checkpoint(str(folder), folder=folder.parent).config(folder.name)
        name = class_name(config)
        library = _check_class(part, name, str(folder), self.classes)
        refuse_extras(folder)
        found = weight_files(folder, self._told(folder))
        cls = getattr(importlib.import_module(library), name)
        kwargs = {
            "use_safetensors": not found.pickled,
            "variant": found.variant,
            "local_files_only": True,
            "output_loading_info": True,
            "torch_dtype" if library == "diffusers" else "dtype": dtype,
        }
        try:
            module, info = cls.from_pretrained(str(folder), **kwargs)
        except Exception as error:  # also what a wrong value in a config raises, which can be of any kind
            raise BadCheckpoint(
                f"its weights do not fit its config: {brief(error)}", where=str(folder), mend="fetch or copy it again"
            ) from error
        missing = sorted(info["missing_keys"])
        if missing:
            raise BadCheckpoint(
                f"{len(missing)} of its tensors are missing, among them {missing[0]!r}",
                where=str(folder),
                mend=f"its weights are not those of a {name} with this config: fetch or copy it again",
            )
        result: nn.Module = module.eval()
        return result

    # -- digests --------------------------------------------------------------------------------------------------------------

    def fingerprint(self, parts: Iterable[str]) -> dict[str, str]:
        """Part → sha256: of its weight files, of the file that it is in, or, in a pipeline, of its tensors and LoRA scales as they are
        now."""
        return {part: self._digest(part) for part in parts}

    def _digest(self, part: str) -> str:
        own, single, folder = self.checkpoint.vae, self.checkpoint.single, self.checkpoint.folder
        if part == "vae" and own is not None:
            files = (
                [own.file.path] if own.file is not None else weight_files(own.folder, self._told(own.folder)).files if own.folder else []
            )
            return file_digest(files)
        if (rest := self._rest(part)) is not None:
            return rest._digest(part)
        if single is not None:
            return file_digest([single.file.path])
        return tensor_digest(self.module(part)) if folder is None else file_digest(weight_files(folder / part, self.options).files)


def lend(folder: Path, network: nn.Module, variant: str | None = None) -> None:
    """Have branches use a network that is here already, where they would read the weights in a part's folder: for as long as the caller
    holds it, and for branches of its dtype on its device. For measuring at sizes whose weights no file holds."""
    with _shared_lock:
        _shared.setdefault((folder.resolve(), variant), weakref.WeakSet()).add(network)


def hollow_network(checkpoint: Checkpoint, part: str, classes: Classes | None = None) -> Any:
    """A part's network without numbers, from its config: what an adapter is compared with.

    Raises:
        BadCheckpoint: of a class that is not for this part.
    """
    from .conversion import empty_network

    config = checkpoint.config(part)
    name = class_name(config)
    return empty_network(config, _check_class(part, name, checkpoint.where, {**CLASSES, **(classes or {})}), name)


def class_name(config: Mapping[str, Any]) -> str:
    """The class that a config of diffusers or transformers names."""
    name = str(config.get("_class_name") or (config.get("architectures") or ["network of an unnamed class"])[0])
    if name == "Transformer2DModel" and config.get("norm_type") == "ada_norm_single":
        return "PixArtTransformer2DModel"  # as the published PixArt-α was saved, before the class had its name
    return name


def _check_class(part: str, name: str, where: str, classes: Classes) -> str:
    library, allowed = classes[part]
    if name not in allowed:
        raise BadCheckpoint(
            f"its {part} is a {name}, not a {' or '.join(allowed)}",
            where=where,
            mend="choose a checkpoint of the right architecture",
        )
    return library


_digests: dict[tuple[str, int, int], str] = {}


def file_digest(files: Iterable[Path]) -> str:
    """sha256 over files in their order; remembered while their size and time of change stay."""
    total = hashlib.sha256()
    for path in files:
        total.update(sha256_of(path).encode())
    return total.hexdigest()


def sha256_of(path: Path) -> str:
    """sha256 of one file; remembered likewise."""
    key = (str(path), *_facts(path))
    if key not in _digests:
        with path.open("rb") as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def _facts(path: Path) -> tuple[int, int]:
    """Size and time of change: while they stay, so does what the file holds."""
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def tensor_digest(module: nn.Module) -> str:
    """sha256 over names, dtypes, shapes and bytes of a network's tensors, and over which adapters (LoRA) act at which scale."""
    digest = hashlib.sha256()
    plain = {name.replace("_orig_mod.", ""): tensor for name, tensor in module.state_dict().items()}  # compiled or not, it is the same
    for name, tensor in sorted(plain.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    for name, child in bare(module).named_modules():
        scaling = getattr(child, "scaling", None)
        if isinstance(scaling, dict):
            active = getattr(child, "active_adapters", [])
            facts = [name.replace("_orig_mod.", ""), sorted(map(str, active)), sorted((str(k), float(v)) for k, v in scaling.items())]
            digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def _indexed(device: torch.device) -> torch.device:
    """'cuda' is 'cuda:0' to a tensor on it."""
    return torch.device(device.type, device.index or 0) if device.type == "cuda" else device
