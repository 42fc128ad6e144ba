"""Deep features reused between steps: exact where nothing changed, absent where all is to run, counted, and leaving no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import realcompo as rc
from realcompo.compose.cost import OperationCount
from realcompo.conditions import Boxes
from realcompo.conditions.skeletons import skeleton
from realcompo.interfaces import Step
from realcompo.noise.diffusion import Solver
from realcompo.registry import installed
from realcompo.testing import watch
from realcompo.testing.driving import request
from realcompo.testing.sources import small_checkpoint
from tests import lacking
from tests.toyworld import PROMPT, TWO

PEOPLE = rc.Keypoints({"a cat": skeleton("standing", (0.1, 0.1, 0.6, 0.6)), "a dog": skeleton("standing", (0.5, 0.3, 1.0, 0.9))})
BOXES = Boxes({"a cat": (0.1, 0.1, 0.6, 0.6), "a dog": (0.5, 0.3, 1.0, 0.9)})
KINDS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "sd1": ("sd/v1-5", {}, BOXES),
    "sd2-v": ("sd/v2-1", {}, BOXES),
    "sdxl": ("sd/xl-base", {}, BOXES),
    "gligen": ("gligen/box", {}, BOXES),
    "controlnet-sd1": ("controlnet/pose-sd15", {"base_source": "sd1"}, PEOPLE),
}


def made(family: str, every: int) -> Any:
    id_, options, _ = KINDS[family]
    told = {name: str(small_checkpoint(value)) for name, value in options.items()}
    return installed().branch(id_, {**told, "deep_every": every}, source=str(small_checkpoint(family)), device="cpu")  # type: ignore[arg-type]


def encoded(branch: Any, family: str, **more: Any) -> Any:
    return branch.encode(request(("a cat and a dog", "a dog and a cat"), conditions=(KINDS[family][2],) * 2, **more))


def noise(seed: int = 0, side: int = 16) -> Tensor:
    return torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(seed))


def steps(branch: Any) -> tuple[Step, ...]:
    return Solver("ddim", branch.traits.schedule, 20, branch.traits.prediction_type).steps


@contextmanager
def running(unet: Any) -> Iterator[list[str]]:
    """Names of the convolutions that run in blocks: what is left out computes nothing."""
    ran: list[str] = []
    named = [(name, module) for name, module in unet.named_modules() if isinstance(module, torch.nn.Conv2d) and "block" in name]
    handles = [module.register_forward_hook(lambda _, __, ___, name=name: ran.append(name)) for name, module in named]
    try:
        yield ran
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("side", [16, 18])
@pytest.mark.parametrize("family", KINDS)
def test_where_nothing_changed_the_shallow_pass_is_the_whole_one(family: str, side: int) -> None:
    """The same z and t, one step later: what was kept is what the deep blocks would give, and they do not run."""
    branch, first = made(family, 2), steps(made(family, 1))[4]
    conditioning, later = encoded(branch, family, size=(side * 8, side * 8)), replace(first, index=5)
    whole = branch.predict(noise(side=side), first, conditioning).noise
    with running(branch.unet) as ran:
        shallow = branch.predict(noise(side=side), later, conditioning).noise
    last = f"up_blocks.{len(branch.unet.up_blocks) - 1}."
    assert ran and all(name.startswith(("down_blocks.0.", last)) for name in ran)
    torch.testing.assert_close(shallow, whole, rtol=0, atol=1e-6 * float(whole.abs().max()))
    branch.predict(noise(side=side), later, conditioning)
    moved = branch.predict(noise(3, side), replace(first, index=5), conditioning).noise
    exact = made(family, 1).predict(noise(3, side), later, conditioning).noise
    assert float((moved - exact).abs().max()) > 1e-3, "the control: at another z, what was kept is not what would be"


def test_one_is_the_plain_network_to_the_bit() -> None:
    branch = made("sd1", 1)
    conditioning = encoded(branch, "sd1")
    for step in steps(branch)[:3]:
        plain = branch.denoise(noise(), step, conditioning, "both").detach()
        u, c = plain.chunk(2)
        assert torch.equal(branch.predict(noise(), step, conditioning).noise, u + 7.5 * (c - u))
    assert not conditioning.deep.kept, "nothing is kept that nobody asked for"


@pytest.mark.parametrize("every", [2, 3])
def test_the_whole_network_runs_at_every_nth_step_that_is_drawn(every: int) -> None:
    """Counted from the first step at which the branch acts, and anew after a gap; half by half."""
    branch = made("sd1", every)
    conditioning, all_steps = encoded(branch, "sd1"), steps(branch)

    def whole(index: int, call: Any) -> bool:
        with running(branch.unet) as ran:
            call(index)
        return any(name.startswith("mid_block") for name in ran)

    def predict(index: int) -> None:
        branch.predict(noise(), all_steps[index], conditioning)

    assert [whole(index, predict) for index in range(7, 14)] == [(index - 7) % every == 0 for index in range(7, 14)]
    assert whole(19, predict), "what is too old is not taken"
    conditioning = encoded(branch, "sd1")
    halves = [
        ("unconditional", 0, True),
        ("unconditional", 1, False),
        ("conditional", 1, True),
        ("unconditional", every, True),
        ("conditional", every, False),
    ]
    for half, index, expected in halves:
        assert expected == whole(index, lambda at, half=half: branch.predict_half(noise(), all_steps[at], conditioning, half))


def test_steps_that_read_maps_run_the_whole_and_maps_are_exact() -> None:
    """Never reused where maps are read; they are those of the plain network at that z."""
    branch, plain = made("gligen", 4), made("gligen", 1)
    conditioning, all_steps = encoded(branch, "gligen"), steps(branch)
    branch.predict(noise(), all_steps[0], conditioning)
    z, step = noise(1), all_steps[1]
    assert torch.equal(branch.attend(z, step, conditioning), plain.attend(z, step, encoded(plain, "gligen")))
    with running(branch.unet) as ran:
        told = branch.predict_half(z, step, conditioning, "conditional", read=True)
    assert any(name.startswith("mid_block") for name in ran)
    exact = plain.predict_half(z, step, encoded(plain, "gligen"), "conditional", read=True)
    assert torch.equal(told.maps, exact.maps) and torch.equal(told.noise, exact.noise)
    with running(branch.unet) as ran:
        branch.predict_half(z, all_steps[2], conditioning, "conditional")
    assert not any(name.startswith("mid_block") for name in ran), "what a reading pass leaves is taken"


def test_the_network_is_left_as_it_was() -> None:
    """After whole and shallow passes, and after an error in either; a `forward` of accelerate's is put back."""
    branch = made("sd1", 2)
    conditioning, all_steps = encoded(branch, "sd1"), steps(branch)
    own = branch.unet.mid_block.forward
    branch.unet.mid_block.forward = own  # as accelerate's hooks do
    try:
        hooks, attributes = watch.hooks([branch.unet]), [set(vars(module)) for module in branch.unet.modules()]
        for index in (0, 1):
            branch.predict(noise(), all_steps[index], conditioning)
        with watch.failing(branch.unet.conv_out), pytest.raises(watch.Interruption):
            branch.predict(noise(), all_steps[1], conditioning)
        with watch.failing(branch.unet.conv_out), pytest.raises(watch.Interruption):
            branch.predict(noise(), all_steps[2], conditioning)
        assert watch.hooks([branch.unet]) == hooks and [set(vars(module)) for module in branch.unet.modules()] == attributes
        assert branch.unet.mid_block.forward == own
    finally:
        vars(branch.unet.mid_block).pop("forward", None)


def test_branches_of_one_network_and_runs_keep_apart() -> None:
    """What one run keeps is not another's: it lies in the run's conditioning."""
    branch = made("sd1", 2)
    all_steps = steps(branch)
    first, second = encoded(branch, "sd1"), encoded(branch, "sd1")
    branch.predict(noise(), all_steps[0], first)
    with running(branch.unet) as ran:
        told = branch.predict(noise(), all_steps[1], second).noise
    assert any(name.startswith("mid_block") for name in ran)
    assert torch.equal(told, made("sd1", 1).predict(noise(), all_steps[1], encoded(branch, "sd1")).noise)


# -- in a run ----------------------------------------------------------------------------------------------------------------


def pair(every: int, **settings: Any) -> rc.Composer:
    return rc.Composer(
        {"name": "sd/v1-5", "source": str(small_checkpoint("sd1")), "options": {"deep_every": every}},
        {"name": "gligen/box", "source": str(small_checkpoint("gligen")), "options": {"deep_every": every, "grounding_share": 0.5}},
        num_inference_steps=8,
        device="cpu",
        height=64,
        width=64,
        **settings,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"balancer": "core/mean"},
        {"balancer": "core/guided", "balancer_options": {"moves": 3, "threshold": 0.0, "lagged": True}},
        pytest.param({"balancer": "core/balance", "guidance": {"interval": (0.3, 3.0), "unconditional": "shared"}}, marks=pytest.mark.deep),
    ],
    ids=["mean", "guided", "balance"],
)
def test_f_of_a_run_is_what_it_takes(settings: dict[str, Any]) -> None:
    """All operations to 1%, and less than without; one F stays one row of the whole network."""
    told = pair(3, **settings)(PROMPT, TWO, seed=1).cost
    with sdpa_kernel(SDPBackend.MATH), OperationCount() as counter:
        pair(3, **settings)(PROMPT, TWO, seed=1)
    assert told.total * told.unit == pytest.approx(counter.total, rel=0.01)
    plain = pair(1, **settings)(PROMPT, TWO, seed=1).cost
    assert told.unit == pytest.approx(plain.unit, rel=1e-6) and told.by_kind()["predict"] < 0.9 * plain.by_kind()["predict"]


def test_parity_with_one_and_a_batch_with_its_pictures() -> None:
    settings: dict[str, Any] = {"balancer": "core/guided", "balancer_options": {"moves": 3, "threshold": 0.0}}
    plain = rc.Composer(
        *({"name": name, "source": str(small_checkpoint(family))} for name, family in (("sd/v1-5", "sd1"), ("gligen/box", "gligen"))),  # type: ignore[arg-type]
        num_inference_steps=8,
        device="cpu",
        height=64,
        width=64,
        **settings,
    )
    one = rc.Composer(
        {"name": "sd/v1-5", "source": str(small_checkpoint("sd1")), "options": {"deep_every": 1}},
        {"name": "gligen/box", "source": str(small_checkpoint("gligen")), "options": {"deep_every": 1}},
        num_inference_steps=8,
        device="cpu",
        height=64,
        width=64,
        **settings,
    )
    asked: dict[str, Any] = {"seed": 1, "output_type": "latent"}
    assert torch.equal(plain(PROMPT, TWO, **asked).latents, one(PROMPT, TWO, **asked).latents)
    both, alone = pair(2, **settings)([PROMPT, PROMPT], [TWO, TWO], **asked).latents, pair(2, **settings)(PROMPT, TWO, **asked).latents
    torch.testing.assert_close(both[:1], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(alone, pair(1, **settings)(PROMPT, TWO, **asked).latents, atol=1e-3), "the control: it is a form of its own"


@pytest.mark.skipif(bool(lacking("fidelity", "boxes")), reason=lacking("fidelity", "boxes"))
@pytest.mark.deep
def test_a_trained_pair_keeps_its_picture_and_its_guidance(tmp_path: Path) -> None:
    """Paired on the mini: nearer to the exact picture than to another seed's, moves lower the loss (and the control raises it), and
    `reproduce` draws the same pixels."""
    asked: dict[str, Any] = {
        "prompt": "a red cat and a blue dog",
        "condition": rc.Boxes({"a red cat": (0.1, 0.3, 0.45, 0.8), "a blue dog": (0.55, 0.3, 0.9, 0.8)}),
    }

    def draw(every: int, seed: int = 2, length: float = 0.03) -> rc.Result:
        return rc.Composer(
            {"name": "mini/fidelity", "options": {"deep_every": every}},
            {"name": "mini/boxes", "options": {"deep_every": every}},
            num_inference_steps=12,
            device="cpu",
            balancer_options={"length": length, "threshold": 0.0},
        )(**asked, seed=seed)

    exact, reused, other, control = draw(1), draw(2), draw(1, seed=5), draw(2, length=-0.03)
    apart = [float((one.latents - exact.latents).square().mean()) for one in (reused, other)]
    assert 0 < apart[0] < 0.2 * apart[1]
    ends = [[entry.move_loss.sum() for entry in one.trace.entries if entry.move_loss is not None][-1] for one in (reused, control)]
    assert float(ends[0]) < float(ends[1])
    assert reused.cost.by_kind()["predict"] < 0.8 * exact.cost.by_kind()["predict"]
    assert rc.reproduce(reused.save(tmp_path)[0]).same
