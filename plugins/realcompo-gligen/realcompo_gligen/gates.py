"""What GLIGEN adds to a UNet: gated self-attention in every transformer block, and the network that embeds boxes. Found in a checkpoint of
any layout, and put onto another UNet of the same kind.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor

from realcompo.errors import BadCheckpoint, Incompatible
from realcompo.toolkit import Checkpoint
from realcompo.toolkit.conversion import empty_network, fill, refuse_integers
from realcompo.toolkit.guard import bare, share_lock
from realcompo.toolkit.kinds import gate_prefix
from realcompo.toolkit.loading import file_digest, tensor_digest
from realcompo.toolkit.runtime import as_loaded
from realcompo.toolkit.sources import holds_weights, weight_files
from realcompo.toolkit.tensor_files import TensorFile, open_tensors
from realcompo.toolkit.traits import family

from .options import GligenOptions

POSITION_NET = "position_net"


@dataclass(frozen=True, eq=False)
class Gates:
    """The added layers of one checkpoint, not read yet.

    Attributes:
        where: the checkpoint's name in messages.
        files: those that hold them; or `module`, the UNet of a pipeline.
        prefix: what their names start with in the original layout; None in diffusers'.
    """

    where: str
    files: tuple[TensorFile, ...] = ()
    module: Any = None
    prefix: str | None = None

    def shapes(self, layers: int) -> dict[str, tuple[int, ...]]:
        """Name in diffusers' layout → shape, for a UNet of so many layers a block."""
        if self.module is not None:
            return {name: tuple(tensor.shape) for name, tensor in _added(self.module.state_dict()).items()}
        return {renamed(name, self.prefix, layers): file.shapes[name] for file in self.files for name in _added(file.shapes)}

    def tensors(self, layers: int) -> dict[str, Tensor]:
        """Name in diffusers' layout → tensor."""
        if self.module is not None:
            return _added(self.module.state_dict())
        read = [file.read(_added(file.shapes)) for file in self.files]
        return {renamed(name, self.prefix, layers): tensor for table in read for name, tensor in table.items()}

    def digest(self) -> str:
        """sha256 of the files, or of the network that holds them."""
        return tensor_digest(self.module) if self.module is not None else file_digest([file.path for file in self.files])


def find_gates(checkpoint: Checkpoint, options: GligenOptions) -> Gates:
    """GLIGEN's layers in a checkpoint: a pipeline, a folder in diffusers' layout, or a file in that or the original layout.

    Raises:
        BadCheckpoint: it has none; says what it is. Or its weights are missing, pickled or damaged.
    """
    if checkpoint.single is not None:
        files: Sequence[TensorFile] = (checkpoint.single.file,)
    elif checkpoint.folder is not None:
        inner = checkpoint.folder / "unet"
        found = weight_files(inner if inner.is_dir() else checkpoint.folder, options)
        files = [open_tensors(path, options.allow_pickle) for path in found.files]
    else:
        gates = Gates(checkpoint.where, module=bare(checkpoint.pipeline.unet))
        return _checked(gates, checkpoint, gates.module.state_dict())
    names = {name: shape for file in files for name, shape in file.shapes.items()}
    original = not any(name.startswith(("down_blocks.", "mid_block.")) for name in names)
    return _checked(Gates(checkpoint.where, tuple(files), prefix=gate_prefix(names) if original else None), checkpoint, names)


def may_hold_gates(checkpoint: Checkpoint) -> bool:
    """Whether there is anything to find them in."""
    return checkpoint.folder is None or holds_weights(checkpoint.folder) or holds_weights(checkpoint.folder / "unet")


def _checked(gates: Gates, checkpoint: Checkpoint, names: Mapping[str, Any]) -> Gates:
    if not any(".fuser." in name for name in names) or not any(f"{POSITION_NET}." in name for name in names):
        raise BadCheckpoint(
            f"it has no gated layers of GLIGEN: it is {checkpoint.describe()}",
            where=checkpoint.where,
            mend="give the branch a GLIGEN checkpoint for text boxes as its source, and the plain checkpoint as base_source",
        )
    if any("linears_text" in name or "linears_image" in name for name in names):
        raise BadCheckpoint(
            "its boxes take pictures beside phrases", where=checkpoint.where, mend="choose a GLIGEN checkpoint for text boxes"
        )
    return gates


def _added(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if ".fuser." in name or f"{POSITION_NET}." in name}


def renamed(name: str, prefix: str | None, layers: int) -> str:
    """A layer's name in diffusers' layout. In the original one, blocks are numbered through: a level has `layers` transformers on the
    way down, the first convolution or downsampling before them, and one more on the way up."""
    if prefix is None:
        return name
    name = name.removeprefix(prefix)

    def place(match: re.Match[str]) -> str:
        down = match.group(1) == "input"
        block, layer = divmod(int(match.group(2)) - down, layers + 1)
        return f"{'down' if down else 'up'}_blocks.{block}.attentions.{layer}."

    name = re.sub(r"^middle_block\.1\.", "mid_block.attentions.0.", name)
    return re.sub(r"^(input|output)_blocks\.(\d+)\.1\.", place, name)


def hollow_gates(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name → layer, without numbers, that GLIGEN adds to a UNet of a config."""
    gated = empty_network({**config, "attention_type": "gated"}, "diffusers", "UNet2DConditionModel")
    return {name: module for name, module in gated.named_modules() if name == POSITION_NET or name.endswith(".fuser")}


def check_gates(gates: Gates, config: Mapping[str, Any], base: str) -> dict[str, Any]:
    """The layers of `hollow_gates`, if the checkpoint's are of these names and shapes.

    Args:
        config: of the base's UNet.
        base: its name in messages.

    Raises:
        Incompatible: they belong to another architecture; names both.
    """
    layers = hollow_gates(config)
    for file in gates.files:
        refuse_integers(file, _added(file.shapes), "gated layers")
    wanted = {f"{name}.{key}": tuple(t.shape) for name, layer in layers.items() for key, t in layer.state_dict().items()}
    found = gates.shapes(config.get("layers_per_block", 2))
    if wanted == found:
        return layers
    other = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    first = other[0]
    raise Incompatible(
        f"the gated layers of {gates.where} do not fit the base {base}, which is {family(config)}: {len(other)} tensors differ, among them "
        f"{first!r} ({found.get(first, 'missing')} against {wanted.get(first, 'none')})",
        mend="set the option base or base_source to a checkpoint of the kind that the GLIGEN checkpoint was trained on, such as sd/v1-4",
    )


def graft(unet: Any, gates: Gates, base: str) -> Any:
    """The UNet with GLIGEN's layers, which stays as it is itself: the new network has modules of its own that hold the same parameters, so
    that it costs no more memory than the layers that are added.

    Raises:
        Incompatible: see `check_gates`.
    """
    plain = bare(unet)
    as_loaded(plain)
    # an IP-Adapter on the base is in its processors and its config, of which the hollow network would ask for more
    layers = check_gates(gates, {**plain.config, "encoder_hid_dim_type": None}, base)
    tensors = gates.tensors(plain.config["layers_per_block"])
    same = {id(tensor): tensor for tensor in chain(plain.parameters(), plain.buffers())}
    grafted = copy.deepcopy(plain, same)
    for name, layer in layers.items():
        mine = {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
        fill(layer, mine, plain.dtype)
        parent, _, own = name.rpartition(".")
        grafted.get_submodule(parent).add_module(own, layer.to(plain.device))
    grafted.register_to_config(attention_type="gated")
    share_lock(plain, grafted)
    return grafted.eval()
