"""What each fine-tune was trained for, through the branch that users call, on held-out scenes; with its control, which must do worse.

check-grown.safetensors holds latents of 24 rendered scenes of four sets, and the masks of the objects of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from realcompo.interfaces import Regions, Request
from realcompo.registry import installed
from tests import lacking

torch = pytest.importorskip("torch")
COUNT, SIDE, NOISE = 24, (128, 128), 0.2  # √ᾱ: most of the picture is yet to be decided


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(bool(lacking(name)), reason=lacking(name))


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(Path(__file__).parent / "check-grown.safetensors")


def scenes(name: str) -> list[Any]:
    from realcompo_mini.train.dataset import SETS

    return [SETS[f"check-{name}"].scene(k, 0) for k in range(COUNT)]


def masks_of(kept: dict[str, Any]) -> list[np.ndarray]:
    """(N, 128, 128) bool a scene of the set `fidelity`."""
    every = np.unpackbits(kept["masks"].numpy(), axis=-1).astype(bool)
    ends = np.cumsum([len(scene.objects) for scene in scenes("fidelity")])
    assert len(every) == ends[-1]
    return np.split(every, ends[:-1])


def step_at(branch: Any) -> Any:
    from realcompo.noise.diffusion import Solver

    steps = Solver("ddim", branch.traits.schedule, 50, branch.traits.prediction_type).steps
    return min(steps, key=lambda step: abs(step.alpha_bar**0.5 - NOISE))


def noised(clean: Any, step: Any) -> Any:
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    return step.alpha_bar**0.5 * clean + (1 - step.alpha_bar) ** 0.5 * noise


def error(branch: Any, clean: Any, prompts: Sequence[str], conditions: Sequence[Any] | None = None) -> float:
    """Of the clean latent, guessed from most of the noise, without guidance."""
    told = tuple(conditions or [None] * len(prompts))
    request = Request(tuple(prompts), ("",) * len(prompts), Regions(((),) * len(prompts)), told, SIDE, 1.0)
    step = step_at(branch)
    z = noised(clean, step)
    with torch.no_grad():
        guess = branch.predict(z, step, branch.encode(request)).noise
    return float(((z - (1 - step.alpha_bar) ** 0.5 * guess) / step.alpha_bar**0.5 - clean).square().mean())


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in ("pose", "segmentation")])
def test_a_controlnet_follows_its_hint(name: str, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from realcompo_mini.train import hints, poses

    if name == "pose":
        shown, clean = scenes("people"), kept["people"].float()
        told: list[Any] = [poses.pose(scene, "3d") for scene in shown]
    else:
        shown, clean = scenes("fidelity"), kept["fidelity"].float()
        told = [hints.segmentation(scene, masks) for scene, masks in zip(shown, masks_of(kept), strict=True)]
    captions = [scene.caption for scene in shown]
    branch: Any = installed().branch(f"mini/{name}", device="cpu")
    right = error(branch, clean, captions, told)
    monkeypatch.setattr(type(branch), "hint", lambda self, condition, size, drawn=branch.hint: drawn(told[told.index(condition) - 1], size))
    shuffled = error(branch, clean, captions, told)
    monkeypatch.setattr(type(branch), "hint", lambda self, condition, size: Image.new("RGB", size))
    blank = error(branch, clean, captions, told)
    print(f"{name}: x0 error with the right | another scene's | a blank hint {right:.3f} | {shuffled:.3f} | {blank:.3f}")
    assert right < 0.5 * shuffled and right < 0.7 * blank


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in ("coloring", "cute")])
def test_a_style_is_drawn_at_its_words(name: str, kept: dict[str, Any]) -> None:
    """The control: the other style's words, no words, and the base model with the right words."""
    from realcompo_mini.world import load_world

    words = {look: text for text, look in load_world().styles.items()}
    mine = words[{"coloring": "outline", "cute": "cute"}[name]]
    other = next(text for text in words.values() if text != mine)
    said = [scene.caption for scene in scenes(name)]
    assert all(caption.startswith(mine) for caption in said)
    clean, branch = kept[name].float(), installed().branch(f"mini/{name}", device="cpu")
    right = error(branch, clean, said)
    wrong = error(branch, clean, [caption.replace(mine, other) for caption in said])
    none = error(branch, clean, [caption.removeprefix(mine).strip() for caption in said])
    base = error(installed().branch("mini/fidelity", device="cpu"), clean, said)
    print(f"{name}: x0 error with its words | the other style's | none | base model {right:.3f} | {wrong:.3f} | {none:.3f} | {base:.3f}")
    assert right < 0.85 * min(wrong, none, base)


@needs("tokencompose")
def test_tokencompose_attends_to_its_objects(kept: dict[str, Any]) -> None:
    """Share of the attention of an object's words inside its rendered mask; the control is the base model."""
    from realcompo_mini.compare.pairs_draw import seen_regions

    shown, clean = scenes("fidelity"), kept["fidelity"].float()
    rows = tuple(seen_regions(scene, masks) for scene, masks in zip(shown, masks_of(kept), strict=True))
    request = Request(tuple(s.caption for s in shown), ("",) * COUNT, Regions(rows), (None,) * COUNT, SIDE, 1.0)

    def inside(name: str) -> float:
        branch: Any = installed().branch(name, device="cpu")
        step = step_at(branch)
        with torch.no_grad():
            maps = branch.attend(noised(clean, step), step, branch.encode(request))
        total = maps.sum((2, 3))
        share = (maps * request.regions.masks(*maps.shape[-2:])).sum((2, 3)) / total.clamp(min=1e-9)
        return float(share[total > 0].mean())

    taught, base = inside("mini/tokencompose"), inside("mini/fidelity")
    print(f"attention inside the masks {taught:.3f}, of the base model {base:.3f}")
    assert taught > 1.25 * base
