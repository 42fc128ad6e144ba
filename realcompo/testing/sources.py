"""Where a branch's weights come from when it is tested: its package's own, or small random ones where the real ones lie on a hub."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from ..specs import BranchSpec
from .checkpoints import Family, save_checkpoint

FAMILIES: dict[tuple[str, str], Family] = {
    ("SD 1.x", "epsilon"): "sd1",
    ("SD 2.x", "epsilon"): "sd2",
    ("SD 2.x", "v_prediction"): "sd2-v",
    ("SD 1.x with GLIGEN", "epsilon"): "gligen",
    ("SDXL", "epsilon"): "sdxl",
    ("SD 1.x with ControlNet", "epsilon"): "controlnet-sd1",
    ("SD 2.x with ControlNet", "v_prediction"): "controlnet-sd2-v",
    ("SDXL with ControlNet", "epsilon"): "controlnet-sdxl",
    ("PixArt-α 512", "epsilon"): "pixart-512",
    ("PixArt-α", "epsilon"): "pixart",
    ("PixArt-Σ", "epsilon"): "pixart-sigma",
    ("SD 3", "flow_prediction"): "sd3",
    ("SD 3.5", "flow_prediction"): "sd3.5",
    ("SD 3 with ControlNet", "flow_prediction"): "controlnet-sd3",
    ("Z-Image", "flow_prediction"): "z-image",
    ("Z-Image-Turbo", "flow_prediction"): "z-image",
    ("FLUX.1 dev", "flow_prediction"): "flux",
    ("FLUX.1 schnell", "flow_prediction"): "flux-schnell",
    ("FLUX.1 dev with ControlNet", "flow_prediction"): "controlnet-flux",
}
"""(`Traits.family`, `Traits.prediction_type`) → the small checkpoint that stands for it."""

PIPELINES: dict[str, Family] = {
    "StableDiffusionPipeline": "sd1",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionGLIGENPipeline": "gligen",
    "StableDiffusionControlNetPipeline": "controlnet-sd1",
    "StableDiffusionXLControlNetPipeline": "controlnet-sdxl",
    "PixArtAlphaPipeline": "pixart-512",
    "PixArtSigmaPipeline": "pixart-sigma",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
    "ZImagePipeline": "z-image",
    "ZImageControlNetPipeline": "controlnet-z-image",
}
"""For branches that name no checkpoint of their own but take a pipeline of this class, or a folder of one."""


def small_source(spec: BranchSpec) -> str | None:
    """What to give as ``source=`` to test a branch without a download. None: the branch needs none, or brings its own.

    Args:
        spec: resolved, so that what its base states is in it (`Registry.find`).

    Raises:
        LookupError: the branch's weights are elsewhere, and no small checkpoint stands for its family.
    """
    if spec.source is not None and spec.source.startswith("package://"):
        return None
    if spec.source is None:
        families = [PIPELINES[name] for name in spec.accepts if name in PIPELINES]
        return small_checkpoint(families[0]) if families else None
    known = (spec.traits.family, spec.traits.prediction_type) if spec.traits is not None else ("", "")
    if known not in FAMILIES:
        raise LookupError(
            f"no small checkpoint stands for {spec.id!r} (family {known[0]!r}, {known[1]}): "
            "override `source` in a BranchContract of the plugin's module `conformance`, or add to realcompo.testing.sources.FAMILIES"
        )
    return small_checkpoint(FAMILIES[known])


_shared: list[Path] = []


def share_checkpoints(folder: Path) -> None:
    """Keep small checkpoints in a folder that is there, for processes that test side by side (the workers of pytest-xdist): each family is
    written once, by whoever needs it first, and removing the folder is the caller's business."""
    _shared[:] = [folder]
    small_checkpoint.cache_clear()


@cache
def small_checkpoint(family: Family) -> str:
    """The folder of a family's small random checkpoint; read only. Written once a process and removed at its end, unless it is shared."""
    if not _shared:
        own = Path(tempfile.mkdtemp(prefix="realcompo-"))
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        return str(save_checkpoint(own / family, family))
    from filelock import FileLock

    place = _shared[0] / family
    with FileLock(f"{place}.lock"):
        if not place.exists():
            # beside it, then renamed: a writer that is killed leaves nothing that looks whole
            new = Path(tempfile.mkdtemp(prefix=f".{family}-", dir=_shared[0]))
            save_checkpoint(new / family, family).rename(place)
            new.rmdir()
    return str(place)
