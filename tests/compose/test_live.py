"""A progress function sees what the blend expects, and can end the run; previews are a linear map of the latents' channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import realcompo as rc
from realcompo.errors import Stopped
from realcompo.interfaces.previews import PUBLISHED, glimpse, rows_of
from realcompo.noise.diffusion import GRADUAL
from realcompo.pictures.png import read_recipe
from realcompo.specs import LatentSpace
from realcompo.testing.toys import toy_registry
from tests.toyworld import PROMPT, TWO, toys


@pytest.mark.parametrize("scheduler", GRADUAL)
def test_the_last_event_expects_what_is_drawn(scheduler: str) -> None:
    """A first-order last step lands on x̂₀ itself, for every scheduler whose last ᾱ is 1; and earlier steps expect something else."""
    options = {"set_alpha_to_one": True} if scheduler in ("ddim", "pndm") else {}
    seen: list[torch.Tensor] = []
    composer = toys(scheduler=scheduler, scheduler_options=options, balancer="core/fixed")
    result = composer(PROMPT, TWO, seed=0, progress=lambda step, event: seen.append(event.clean), output_type="latent")
    assert len(seen) == len(result.trace.entries)
    if scheduler != "pndm":  # its last step is of several predictions
        assert (seen[-1] - result.latents).abs().max() < 1e-6
    assert (seen[0] - result.latents).abs().max() > 1e-2


def test_an_event_is_the_entry_of_the_trace() -> None:
    seen: list[Any] = []
    result = toys()(PROMPT, TWO, seed=0, progress=lambda step, event: seen.append((step, event)))
    for (step, event), entry in zip(seen, result.trace.entries, strict=True):
        assert step == event.step == entry.step and event.weights is entry.weights and event.acting == entry.acting


def test_shifts_take_part_in_what_is_expected() -> None:
    """Branches that move z themselves predict at z + δ: the clean latents are those of there (left out, wrong by 1e-2 here)."""
    spatial = rc.BranchEntry(name="toy/spatial", options={"shift": 0.3})
    seen: list[torch.Tensor] = []
    composer = toys(spatial=spatial, balancer="core/fixed", scheduler_options={"set_alpha_to_one": True})
    result = composer(PROMPT, TWO, seed=0, progress=lambda step, event: seen.append(event.clean), output_type="latent")
    assert (seen[-1] - result.latents).abs().max() < 1e-6


def stop_at(index: int, keep: bool) -> Any:
    def progress(step: Any, event: Any) -> None:
        assert step.index <= index, "nothing is drawn after the stop"
        if step.index == index:
            event.stop(keep)

    return progress


def test_a_stopped_run_raises_and_keeps_nothing_unasked() -> None:
    with pytest.raises(Stopped, match="step 4 of 10") as caught:
        toys()(PROMPT, TWO, seed=0, progress=stop_at(3, keep=False))
    assert caught.value.result is None


def test_a_stopped_run_keeps_what_its_last_step_expected_and_its_picture_is_reproduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected: list[torch.Tensor] = []
    progress = stop_at(3, keep=True)

    def watch(step: Any, event: Any) -> None:
        expected.append(event.clean)
        progress(step, event)

    composer = toys(dtype="float32")
    with pytest.raises(Stopped) as caught:
        composer([PROMPT, "a dog and a cat"], TWO, seed=0, progress=watch)
    result = caught.value.result
    assert len(result.images) == 2 and torch.equal(result.latents, expected[-1]) and len(result.trace.entries) == 4
    whole = composer(PROMPT, TWO, seed=0)
    assert np.abs(np.asarray(whole.image, dtype=int) - np.asarray(result.images[0], dtype=int)).max() > 2, "a whole run draws another"

    for module in ("realcompo.draw.kept", "realcompo.draw.reproduce", "realcompo.compose.ensemble"):
        monkeypatch.setattr(f"{module}.installed", toy_registry)
    result.images[1].save(tmp_path / "stopped.png")
    assert read_recipe(tmp_path / "stopped.png").facts["stopped"] == 3
    assert rc.reproduce(tmp_path / "stopped.png").same


def test_a_preview_is_small_and_the_full_one_is_the_decoders() -> None:
    seen: list[Any] = []
    toys()(PROMPT, TWO, seed=0, progress=lambda step, event: seen.append((event.clean, event.preview(full=True), event.preview())))
    clean, full, quick = seen[-1]
    assert full[0].size == (64, 64)
    assert quick[0].size == (64, 64), "the toys' space has no numbers: their previews are decoded"
    assert np.abs(np.asarray(full[0], dtype=int) - np.asarray(quick[0], dtype=int)).max() == 0
    assert np.abs(clean.numpy()).max() > 0


def test_a_glimpse_is_the_linear_map() -> None:
    z = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    rows = PUBLISHED["sdxl"]
    for picture, latents in zip(glimpse(z, rows), z, strict=True):
        assert picture.size == (5, 3)
        for y in range(3):
            for x in range(5):
                shade = [sum(float(latents[c, y, x]) * rows[c][k] for c in range(4)) + rows[4][k] for k in range(3)]
                wanted = [round(min(max((one + 1) * 127.5, 0), 255)) for one in shade]
                assert max(abs(a - b) for a, b in zip(picture.getpixel((x, y)), wanted, strict=True)) <= 1  # type: ignore[arg-type]
    nothing = tuple(round((one + 1) * 127.5) for one in rows[4])
    assert glimpse(torch.full((1, 4, 1, 1), float("nan")), rows)[0].getpixel((0, 0)) == nothing


def test_numbers_are_of_the_spaces_they_are_for() -> None:
    for name, channels in (("sd", 4), ("sdxl", 4), ("sd3", 16), ("flux", 16)):
        assert rows_of(LatentSpace(name, channels)) == PUBLISHED[name] and len(PUBLISHED[name]) == channels + 1
        assert rows_of(LatentSpace(name, channels + 1)) is None, "numbers of another space would show nonsense"
    own = ((0.0, 0.0, 1.0),) * 3
    assert rows_of(LatentSpace("sd", 2, rgb=own)) == own
    assert LatentSpace("sd", rgb=own) == LatentSpace("sd"), "how a space is shown decides no picture"
