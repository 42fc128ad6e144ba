"""An adapter put into the weights of a branch's networks: LoRA, LoCon, LoHa, LoKr, DoRA or whole differences, in a safetensors file.

The whole file is understood before a number is read: each tensor has its place in a module and each module's adapter is complete and of
its weight's shape, or the file is refused. Nothing of it is left out silently.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BadCheckpoint
from .adapter_names import Place, other_architecture, other_than_transformer, refused_kind, spellings, split
from .adapter_weights import Misfit, delta, dora, kind_of, rank_of
from .configs import read_json
from .file_kinds import unfinished
from .sources import is_pipeline, named_path
from .tensor_files import PICKLES, TensorFile, open_tensors

_MEND = "choose a LoRA that was trained on the same kind of model, for its UNet, its transformer or its text encoders"
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""PEFT's ways to begin that change the base's weights too, which a file of the adapter does not hold."""
_SPECIAL = ("alora_invocation_tokens", "use_qalora", "layer_replication", "use_bdlora", "arrow_config")


@dataclass(frozen=True, eq=False)
class Adapter:
    """A file that fits its networks.

    Attributes:
        places: name in the file → place.
        settings: what was written down beside the tensors (alpha, ranks), by part; "" is for all.
    """

    file: TensorFile
    places: Mapping[str, Place]
    settings: Mapping[str, Mapping[str, Any]]

    def modules(self) -> dict[tuple[str, str], dict[str, str]]:
        """(part, module) → role → name in the file."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for name, place in self.places.items():
            found.setdefault((place.part, place.module), {})[place.role] = name
        return found


@torch.no_grad()
def change_of(adapter: Adapter, part: str, module: str, target: nn.Module) -> tuple[Any, Any]:
    """(ΔW, Δb) of one module's weight and bias in float32 or more, None for what stays; read from the file.

    Args:
        target: the module, as it is without any adapter: DoRA's lengths are of its weight.

    Raises:
        BadCheckpoint: the numbers are none.
    """
    roles = adapter.modules()[(part, module)]
    weight: Any = target.weight
    precision = torch.promote_types(weight.dtype, torch.float32)
    numbers = adapter.file.read(roles.values())
    parts = {role: numbers[name].to(weight.device, precision) for role, name in roles.items()}
    kind = kind_of(frozenset(parts))
    factor = _scaling(kind, parts, module, adapter.settings, part)
    bias: Any = None
    for role, times in (("diff_b", 1.0), ("b_norm", 1.0), ("up_bias", factor)):
        if role in parts:
            bias = times * parts[role] + (0 if bias is None else bias)
    change = delta(kind, parts, factor, weight.shape)
    if change is not None and ("dora_scale" in parts or "magnitude" in parts):
        change = dora(weight.to(precision), change, parts)
    if not all(torch.isfinite(one).all() for one in (change, bias) if one is not None):
        raise BadCheckpoint(
            f"the LoRA's numbers for {module} are infinite or no numbers: its training overflowed", where=adapter.file.where, mend=_MEND
        )
    return change, None if bias is None else bias.reshape(target.bias.shape)


def fit_adapter(path: Path, networks: Mapping[str, Any]) -> Adapter:
    """An adapter's file as these networks take it, from its header and their shapes: they need no numbers.

    Raises:
        BadCheckpoint: of a kind that is not applied, with tensors that have no place, incomplete, or for other networks.
    """
    file = open_tensors(path)
    where = str(path)
    if not file.shapes:
        raise BadCheckpoint("the LoRA cannot be put on this checkpoint: it holds no tensors", where=where, mend=_MEND)
    kinds = Counter(kind for name, shape in file.shapes.items() if (kind := refused_kind(name, len(shape))))
    if kinds:
        raise BadCheckpoint(
            f"the adapter is of the kind {kinds.most_common(1)[0][0]}, which is not applied here",
            where=where,
            mend="choose a LoRA, LoCon, LoHa, LoKr or DoRA, or merge it into a checkpoint with the program that made it",
        )
    settings = _settings(file)
    tables = {part: spellings(part, network) for part, network in networks.items()}
    adapter = Adapter(file, _places(file, tables, networks), settings)
    for (part, module), roles in adapter.modules().items():
        target = networks[part].get_submodule(module)
        hollow = {role: torch.empty(file.shapes[name], device="meta") for role, name in roles.items()}
        try:
            kind = kind_of(frozenset(roles))
            _check_shapes(kind, hollow, target)
        except Misfit as misfit:
            label = _label(file.shapes)
            raise BadCheckpoint(
                f"the {label} cannot be put on this checkpoint: for {module} of the {part}, {misfit}", where=where, mend=_MEND
            ) from misfit
    return adapter


def _check_shapes(kind: str, hollow: Mapping[str, Any], target: nn.Module) -> None:
    weight: Any = target.weight
    change = delta(kind, hollow, 1.0, weight.shape)
    if change is not None and ("dora_scale" in hollow or "magnitude" in hollow):
        dora(torch.empty(weight.shape, device="meta"), change, hollow)
    own = getattr(target, "bias", None)
    for role in hollow.keys() & {"diff_b", "b_norm", "up_bias"}:
        if own is None or own.numel() != hollow[role].numel():
            raise Misfit(f"its bias of {hollow[role].numel()} numbers has no place")


def _label(names: Mapping[str, Any]) -> str:
    """What a file is called in messages."""
    for mark, label in (("hada_", "LoHa"), ("lokr_", "LoKr"), ("dora_scale", "DoRA"), ("lora_magnitude", "DoRA")):
        if any(mark in name for name in names):
            return label
    return "LoRA"


def _places(file: TensorFile, tables: Mapping[str, Mapping[str, str]], networks: Mapping[str, Any]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    lost: list[str] = []
    for name in file.shapes:
        told = split(name)
        parts = [] if told is None else [told[0]] if told[0] is not None else _candidates(name, told[1], file, tables, networks)
        module = None if told is None or len(parts) != 1 else tables.get(parts[0], {}).get(told[1].replace(".", "_"))
        of_one = name.startswith("lora_te_") and "text_encoder_2" in networks  # kohya's name where there is one text encoder only
        if told is None or module is None or of_one:
            lost.append(name)
        else:
            found[name] = Place(parts[0], module, told[2])
    if lost:
        raise _unplaced(file, lost, networks)
    twice = [place for place, count in Counter(found.values()).items() if count > 1]
    if twice:
        raise BadCheckpoint(
            f"the {_label(file.shapes)} says {twice[0].role} of {twice[0].module} twice, in two spellings", where=file.where, mend=_MEND
        )
    return found


def _candidates(name: str, stem: str, file: TensorFile, tables: Mapping[str, Mapping[str, str]], networks: Mapping[str, Any]) -> list[str]:
    """Parts that have a module of that name, where the file does not say whose it is: the two text encoders of SDXL differ in width."""
    parts = [part for part, table in tables.items() if stem.replace(".", "_") in table]
    if len(parts) < 2:
        return parts
    down = next((one for one in file.shapes if (told := split(one)) and told[1] == stem and told[2] == "down"), None)
    width = None if down is None else file.shapes[down][1]
    return [part for part in parts if networks[part].get_submodule(tables[part][stem.replace(".", "_")]).weight.shape[1] == width]


def _unplaced(file: TensorFile, lost: list[str], networks: Mapping[str, Any]) -> BadCheckpoint:
    label, names = _label(file.shapes), file.shapes
    if "transformer" in networks:
        whose = other_than_transformer(names)
        told = f"it is for {whose}; " if whose else ""
        return BadCheckpoint(
            f"the {label} cannot be put on this checkpoint: {told}{len(lost)} of its {len(names)} tensors have no place in it, "
            f"{min(lost)[:120]!r} first",
            where=file.where,
            mend="choose a LoRA that was trained on the same model, in diffusers' layout: its pipelines load others, and save them so",
        )
    other = other_architecture(names)
    xl = "text_encoder_2" in networks
    if other is None and not xl and any(re.match(r"lora_te2_|text_encoder_2\.", name) for name in names):
        other = "SDXL, which has two text encoders"
    if other is None and xl and any(name.startswith("lora_te_") for name in names):
        other = "SD 1.x or 2.x, which have one text encoder"
    width = next(
        (shape[-1] for name, shape in names.items() if re.search(r"attn2[._]to_k[._].*(down|lora_A)", name) and len(shape) == 2), 0
    )
    mine = dict(networks["unet"].config).get("cross_attention_dim")
    if other is None and width and width != mine:
        whose = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL"}.get(width, "another model")
        other = f"{whose}: its text is {width} wide, this checkpoint's {mine}"
    facts = f"{len(lost)} of its {len(names)} tensors have no place in it, {min(lost)[:120]!r} first"
    return BadCheckpoint(
        f"the {label} cannot be put on this checkpoint: {f'it is for {other}; ' if other else ''}{facts}", where=file.where, mend=_MEND
    )


# -- scales ----------------------------------------------------------------------------------------------------------------------


def _settings(file: TensorFile) -> dict[str, Mapping[str, Any]]:
    """By part: PEFT's settings, in diffusers' metadata, or in the adapter_config.json that lies beside a file in PEFT's layout.

    Raises:
        BadCheckpoint: they tell of a kind that tensors of these names do not show.
    """
    found: dict[str, dict[str, Any]] = {}
    told = file.metadata.get("lora_adapter_metadata")
    if told is not None:
        try:
            table = dict(json.loads(told))
        except (ValueError, TypeError) as error:
            raise BadCheckpoint("its lora_adapter_metadata is damaged", where=file.where, mend="fetch or copy it again") from error
        for key, value in table.items():
            part, _, name = key.partition(".")
            found.setdefault(part, {})[name] = value
    config = file.path.parent / "adapter_config.json"
    if told is None and config.is_file() and any(name.startswith("base_model.model.") for name in file.shapes):
        found[""] = read_json(config)
    for table in found.values():
        kind, start = str(table.get("peft_type") or "LORA").upper(), str(table.get("init_lora_weights", "")).lower()
        special = next((name for name in _SPECIAL if table.get(name)), None)
        if kind not in ("LORA", "LOHA", "LOKR"):
            special = kind
        elif start.startswith(_CHANGED_BASE):
            special = f"LoRA begun by {start}, which changed the base's weights too"
        if special is not None:
            raise BadCheckpoint(
                f"the adapter is of the kind {special}, which is not applied here",
                where=file.where,
                mend="convert it to a plain LoRA with PEFT, or merge it into a checkpoint",
            )
    return dict(found)


def _scaling(kind: str, parts: Mapping[str, Any], module: str, settings: Mapping[str, Mapping[str, Any]], part: str) -> float:
    """alpha / rank of one module: its own alpha, else what was written down for it, else 1."""
    if kind == "whole difference":
        return 1.0
    rank = rank_of(kind, parts)
    if "alpha" in parts:
        return float(parts["alpha"].float().mean()) / rank if rank else 1.0
    table = settings.get(part, settings.get("", {}))
    key = "alpha" if "alpha" in table and "lora_alpha" not in table else "lora_alpha"
    alpha = _of_pattern(table.get("alpha_pattern"), module, table.get(key))
    rank = rank or _of_pattern(table.get("rank_pattern"), module, table.get("r"))
    if alpha is None or not rank:
        return 1.0
    return float(alpha) / (math.sqrt(rank) if table.get("use_rslora") else float(rank))


def _of_pattern(patterns: Any, module: str, default: Any) -> Any:
    """PEFT's own rule: a pattern is the end of a module's name, whole words."""
    for pattern, value in dict(patterns or {}).items():
        if re.match(rf"(?:.*\.)?(?:{pattern.removeprefix('^')})$", module):
            return value
    return default


# -- before weights ---------------------------------------------------------------------------------------------------------------


def check_lora(file: str, source: Any = None) -> Path:
    """The file, checked as far as can be without networks.

    Args:
        file: a path, or ``package://module/path`` of one inside an installed package, which a recipe can carry elsewhere.
        source: of the branch.

    Raises:
        BadCheckpoint: not there, not safetensors, or to be put on a pipeline that the user holds.
    """
    path = lora_path(file)
    if not path.exists():
        raise BadCheckpoint(
            f"there is no such LoRA{unfinished(path.parent, path.stem)}", where=file, mend="check the path in the option lora"
        )
    if path.suffix.lower() in PICKLES:
        raise BadCheckpoint(
            "a LoRA must be a .safetensors file: other kinds can run code when they are read",
            where=file,
            mend="choose or convert to a safetensors file",
        )
    open_tensors(path)
    if is_pipeline(source):
        raise BadCheckpoint(
            "the option lora would change a pipeline that you hold", where=file, mend="load it yourself: pipe.load_lora_weights(…)"
        )
    return path


def lora_path(file: str) -> Path:
    """Where the option says that it is; a bare name is looked for in the user's model folders.

    Raises:
        BadCheckpoint: a bare name that none or several files there have.
    """
    return named_path(file)
