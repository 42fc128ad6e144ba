"""Whether the networks of a composition can be run as asked, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import BadOption
from ..interfaces import Branch, Runtime
from ..noise.devices import check_compiler
from ..recipes.members import Member
from ..registry import Registry


def check_runtime(runtime: Runtime, members: Sequence[Member], registry: Registry, device: torch.device) -> None:
    """Refuse what a run would refuse.

    Raises:
        BadOption: a branch knows no other way to run, or its networks are the caller's. DeviceError: there is no compiler.
    """
    if runtime.plain:
        return
    for m in members:
        cls: type[Branch] = type(m.ready) if m.ready is not None else registry.load(m.spec)
        if cls.tune is Branch.tune or hasattr(m.source, "unet") or hasattr(m.source, "transformer"):
            whose = (
                "cannot be compiled or laid out otherwise" if cls.tune is Branch.tune else "runs the networks of a pipeline that you hold"
            )
            raise BadOption(
                f"{m.spec.id} {whose}",
                where="runtime",
                mend="leave runtime out; a pipeline's networks you compile yourself, such as pipe.unet.compile()",
            )
    if runtime.compile != "none" and runtime.backend == "inductor":
        check_compiler(device)
