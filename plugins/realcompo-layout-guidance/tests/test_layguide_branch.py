"""What layout guidance owes beyond parity: its control, its window, whom it guides, what it builds on, its place beside its base."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from realcompo_layout_guidance.branch import _slope, region_loss
from realcompo_layout_guidance.options import LayoutGuidanceOptions, steps
from torch import Tensor
from typer.testing import CliRunner

from realcompo.builtin.balance import Balance, softmax_gradient
from realcompo.builtin.options import BalanceOptions
from realcompo.cli import app
from realcompo.compose.composer import Composer
from realcompo.conditions import Boxes
from realcompo.errors import BadCondition, BadOption, NotFinite, UnknownName
from realcompo.interfaces import Regions, Request
from realcompo.noise.diffusion import Solver
from realcompo.registry import installed
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.testing.sources import small_checkpoint
from realcompo.toolkit.maps import watch_attention
from tests import sliced

PROMPT = "a photo of a cat and a dog"
BOXES = Boxes({"a cat": (0.0, 0.25, 0.5, 1.0), "a dog": (0.5, 0.25, 1.0, 1.0)})
ONE = Boxes({"a cat": (0.0, 0.25, 0.5, 1.0)})
LONG = {"window": (0.0, 0.9)}


def branch(family: str = "sd1", dtype: str = "float32", **options: Any) -> Any:
    return installed().branch("layguide/sd", {**LONG, **options}, source=small_checkpoint(family), dtype=dtype)  # type: ignore[arg-type]


def noise(count: int = 1) -> Tensor:
    return torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(b)) for b in range(count)])


def step(one: Any, index: int = 1) -> Any:
    return Solver("ddim", one.traits.schedule, 10).steps[index]


# -- guidance itself ----------------------------------------------------------------------------------------------------------


def test_scale_zero_is_the_base() -> None:
    """The control: nothing moves, and the picture is the base's, to the bit."""
    asked = request((PROMPT,), conditions=(BOXES,))
    control, base = branch(loss_scale=0.0), installed().branch("sd/v1-5", source=small_checkpoint("sd1"))
    assert control.predict(noise(), step(control), control.encode(asked)).shift is None
    alone = draw_alone(control, asked, noise(), steps=4)
    assert torch.equal(alone, draw_alone(base, asked, noise(), steps=4))
    assert relative(alone, draw_alone(branch(), asked, noise(), steps=4)) > 1e-2


def test_attention_in_the_box_rises_at_each_update() -> None:
    """With a small enough move, the loss falls and the share of attention in the boxes rises, every time."""
    one = branch(dtype="float64")
    told = one.encode(request((PROMPT,), conditions=(BOXES,)))
    z, now = noise().double(), step(one, 0)
    losses, shares = [], []
    for _ in range(6):
        loss, slope = one.placement(z, now, told)
        losses.append(float(loss))
        shares.append(_share_in_boxes(one, z, now, told))
        z = z - 0.3 * (1 - now.alpha_bar) * slope
    assert all(b < a for a, b in pairwise(losses)), losses
    assert all(b > a for a, b in pairwise(shares)), shares


def _share_in_boxes(one: Any, z: Tensor, now: Any, told: Any) -> float:
    """Attention of the regions' tokens that lies in their boxes: the mean over guided places, heads and regions."""
    shares: list[Tensor] = []

    def see(place: Any, probabilities: Tensor) -> None:
        maps = torch.einsum("bhnl,brl->bhrn", probabilities, told.tokens.to(probabilities))
        masks = told.masks[place.level].flatten(2).to(maps)
        shares.append(((maps * masks[:, None]).sum(-1) / maps.sum(-1)).mean())

    with torch.no_grad():
        watch_attention(one.inner.unet, one.guided, see, lambda: one.inner.denoise(z, now, told.inner, "conditional"))
    return float(torch.stack(shares).mean())


def test_the_shift_is_what_it_moved() -> None:
    one = branch()
    told = one.encode(request((PROMPT,), conditions=(BOXES,)))
    predicted = one.predict(noise(), step(one), told)
    assert predicted.shift is not None and relative(noise(), predicted.shift) > 1e-3
    there = one.inner.predict(noise() + predicted.shift, step(one), told.inner).noise
    torch.testing.assert_close(predicted.noise, there, rtol=1e-4, atol=1e-5)
    before, after = (one.placement(z, step(one), told)[0] for z in (noise(), noise() + predicted.shift))
    assert float(after) < float(before)


def test_its_window_and_its_threshold() -> None:
    one = branch(window=(0.2, 0.5))
    told = one.encode(request((PROMPT,), conditions=(BOXES,)))
    moved = [i for i in range(10) if one.predict(noise(), step(one, i), told).shift is not None]
    assert moved == [2, 3, 4]
    content = branch(threshold=1.0)
    assert content.predict(noise(), step(content), content.encode(request((PROMPT,), conditions=(BOXES,)))).shift is None
    left_out = LayoutGuidanceOptions()
    assert [len(steps(left_out.shares(balanced=False), count)) for count in (51, 50, 10, 2)] == [10, 10, 2, 1]
    assert [len(steps(left_out.shares(balanced=True), count)) for count in (50, 10)] == [45, 9]
    assert [len(steps(one.options.shares(balanced), 10)) for balanced in (True, False)] == [3, 3]
    with pytest.raises(BadOption, match="ends before it begins"):
        branch(window=(0.5, 0.2))


@pytest.mark.parametrize("number", sliced([(float("nan"),), (float("inf"),)], 2))
def test_a_gradient_that_is_no_number_is_named(number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: it was dropped in silence; now it moves its picture to NaN, which is told, and the others do not feel it."""
    asked: dict[str, Any] = {"prompt": [PROMPT] * 3, "condition": [BOXES] * 3, "seed": 0, "output_type": "latent"}
    base, guided = ({"name": id, "source": small_checkpoint("sd1"), "guidance_scale": 2.0} for id in ("sd/v1-5", "layguide/sd"))
    composer = Composer(base, {**guided, "options": LONG}, num_inference_steps=3, device="cpu", height=64, width=64)
    good = composer(**asked)
    count = [0]

    def bad(probabilities: Tensor, masks: Tensor, tokens: Tensor) -> Tensor:
        loss = region_loss(probabilities, masks, tokens)
        count[0] += 1
        if loss.requires_grad and count[0] > 1:
            loss = loss * 1.0
            loss.register_hook(lambda grad: grad.index_fill(0, torch.tensor([1]), number))
        return loss

    monkeypatch.setattr("realcompo_layout_guidance.branch.region_loss", bad)
    with pytest.raises(NotFinite, match=r"picture 1, layguide/sd, step 1 of 3: its shift of the latents holds") as caught:
        composer(**asked)
    assert list(caught.value.failed) == [1] and torch.equal(caught.value.result.latents, good.latents[[0, 2]])


def test_an_overflow_of_half_precision_is_its_pictures_own() -> None:
    """Guards: a picture whose scaled gradient overflows gets it at a smaller scale; the others keep theirs to the bit; what overflows at
    the smallest stays infinite, for the composer to tell."""
    z = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None].requires_grad_()
    last = [2.0**30, 2.0**8, 0.5]  # the largest scale that each picture bears

    def grow(grad: Tensor) -> Tensor:
        return torch.stack([one if float(one.max()) <= most else one * float("inf") for one, most in zip(grad, last, strict=True)])

    loss = z.square().clone()
    loss.register_hook(grow)
    slope = _slope(loss.sum(), z, half=True)
    assert slope[:2].flatten().tolist() == [2.0, 4.0] and bool(slope[2].isinf().all())


def test_half_precision_guides_too() -> None:
    asked = request((PROMPT,), conditions=(BOXES,))
    full, half = branch(), branch(dtype="float16")
    loss, slope = full.placement(noise(), step(full), full.encode(asked))
    loss_half, slope_half = half.placement(noise(), step(half), half.encode(asked))
    assert float(loss_half) == pytest.approx(float(loss), rel=0.02)
    assert relative(slope, slope_half) < 0.1 and slope_half.dtype == torch.float32


# -- whom it guides -----------------------------------------------------------------------------------------------------------


def test_a_batch_of_layouts_is_each_alone() -> None:
    one = branch(loss_scale=3.0)
    prompts, boxes = (PROMPT, "a photo of a cat", "a red house"), (BOXES, ONE, None)
    together = draw_alone(one, request(prompts, conditions=boxes), noise(3), steps=3)
    for b in range(3):
        alone = draw_alone(one, request(prompts[b : b + 1], conditions=boxes[b : b + 1]), noise(3)[b : b + 1], steps=3)
        assert relative(alone, together[b : b + 1]) < 1e-3


def test_it_guides_its_own_regions_only() -> None:
    """Of the union of several spatial branches' regions, those of its own condition."""
    one = branch()
    both, own = request((PROMPT,), conditions=(BOXES,)), request((PROMPT,), conditions=(ONE,))
    mixed = Request(both.prompts, both.negative_prompts, Regions(both.regions.pictures), own.conditions, both.size, 7.5)
    loss, slope = one.placement(noise(), step(one), one.encode(mixed))
    wanted, wanted_slope = one.placement(noise(), step(one), one.encode(own))
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(slope, wanted_slope)


# -- what it builds on --------------------------------------------------------------------------------------------------------


def test_where_it_guides() -> None:
    names = [place.name.rsplit(".attentions", 1)[0] for place in branch().guided]
    assert names == ["mid_block", "up_blocks.1", "up_blocks.1"]
    assert {place.level for place in branch(guided_parts=("down", "up"), guided_divisor=4).guided} == {2}
    with pytest.raises(BadOption, match="no cross-attention in up"):
        branch(guided_parts=("up",), guided_divisor=64)


@pytest.mark.parametrize(("family", "base"), [("sd2-v", "sd/v2-1"), ("gligen", "gligen/box"), ("sd1", "sd/v1-4")])
def test_other_bases(family: str, base: str) -> None:
    """Any UNet branch, GLIGEN too: its boxes and the guidance act together."""
    one = branch(family, base=base)
    drawn = draw_alone(one, request((PROMPT,), conditions=(BOXES,)), noise(), steps=2)
    assert bool(drawn.isfinite().all())
    assert one.traits.moves_latents and one.fingerprint().keys() == {"unet", "text_encoder"}


def test_bases_that_will_not_do() -> None:
    with pytest.raises(UnknownName, match="sd/v1-6"):
        branch(base="sd/v1-6")
    with pytest.raises(BadOption, match="no branch with a UNet or a transformer"):
        branch(base="layguide/sd")
    with pytest.raises(BadOption, match="no option 'downlod'"):
        branch(base_options={"downlod": True})
    with pytest.raises(BadCondition):
        compose()("a cat", None)


# -- v3: beside the very network that it builds on ----------------------------------------------------------------------------


def compose(balancer: Any = "core/paper", window: tuple[float, float] | None = None, **more: Any) -> Composer:
    source = small_checkpoint("sd1")
    return Composer(
        {"name": "sd/v1-5", "source": source},
        {"name": "layguide/sd", "source": source, "options": {} if window is None else {"window": window}},
        balancer=balancer,
        **{"num_inference_steps": 5, "device": "cpu", **more},
    )


class Watching(Balance):
    """Keeps the size of ∂L/∂Coe of each probe."""

    def update(self, state: Any, step: Any, probe: Any) -> Any:
        def seen(weights: Tensor) -> Any:
            result = probe(weights)
            self.sizes.append(float(softmax_gradient(weights, result.grad_weights).square().mean().sqrt()))
            return result

        return super().update(state, step, seen)

    sizes: list[float]


def gradients(window: tuple[float, float] | None) -> list[float]:
    balancer = Watching(BalanceOptions(warmup=0.2))
    balancer.sizes = []
    composer = compose(balancer, window)
    composer(PROMPT, BOXES, seed=1, output_type="latent")
    assert composer.branches[0].unet is composer.branches[1].inner.unet, "one network on both sides"  # type: ignore[attr-defined]
    return balancer.sizes


@pytest.mark.deep
def test_one_network_on_both_sides_has_something_to_balance() -> None:
    sizes = gradients(None)
    assert len(sizes) == 4
    felt = [size > 1e-6 * max(sizes) for size in sizes]
    assert sum(felt) >= 0.8 * len(sizes), sizes
    over = gradients((0.0, 0.2))  # the control: guidance that is over when the balance begins
    assert max(over) < 1e-6 * max(sizes), over


SOLVERS = ["pndm", "euler", "euler-ancestral", "dpm++-2m", "dpm++-2m-karras", "unipc"]


@pytest.mark.parametrize("scheduler", sliced([(solver,) for solver in SOLVERS], 3))
def test_every_scheduler_draws(scheduler: str) -> None:
    assert bool(compose(scheduler=scheduler, num_inference_steps=3)(PROMPT, BOXES, seed=1, output_type="latent").latents.isfinite().all())


def test_a_pipeline_that_you_hold_guides_itself() -> None:
    """On both sides: as the fidelity branch and, guided, as the spatial one; its network is left as it was."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(small_checkpoint("sd1"), safety_checker=None)
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    composer = Composer(pipe, pipe, balancer="core/balance", balancer_options={"warmup": 0.0}, num_inference_steps=2, device="cpu")
    assert [m.name for m in composer.members] == ["sd/pipeline", "layguide/sd"]
    assert bool(composer(PROMPT, BOXES, seed=1, output_type="latent").latents.isfinite().all())
    assert all(torch.equal(tensor, before[name]) for name, tensor in pipe.unet.state_dict().items())


@pytest.mark.deep
def test_the_recipe_in_the_picture_draws_it_again() -> None:
    result = compose(num_inference_steps=3)(PROMPT, BOXES, seed=1, output_type="latent")
    again = Composer.from_recipe(result.recipe).compose(result.recipe.pictures, output_type="latent")
    assert torch.equal(result.latents, again.latents)


# -- check --------------------------------------------------------------------------------------------------------------------

SCENE = """branches = ["sd/v1-5", {{ name = "layguide/sd", options = {{ window = [0.0, {end}] }} }}]
balancer = {{ name = "{balancer}", options = {options} }}
device = "cpu"
[[pictures]]
prompt = "a photo of a cat and a dog"
conditions.boxes = {{ "a cat" = [0.0, 0.3, 0.5, 0.9], "a dog" = [0.5, 0.3, 1.0, 0.9] }}
"""


@pytest.mark.parametrize(
    ("end", "balancer", "options", "warned"),
    [
        (0.2, "core/paper", "{}", True),
        (0.2, "core/balance", "{ warmup = 0.1 }", False),
        (0.9, "core/paper", "{}", False),
        (0.2, "core/hand-over", "{}", False),
        (0.2, "core/mean", "{ warmup = 0.2 }", True),
    ],
)
def test_check_warns_when_guidance_ends_before_the_balance(tmp_path: Path, end: float, balancer: str, options: str, warned: bool) -> None:
    file = tmp_path / "scene.toml"
    file.write_text(SCENE.format(end=end, balancer=balancer, options=options), encoding="utf-8")
    said = CliRunner().invoke(app, ["check", str(file)])
    assert said.exit_code == 0, said.output
    assert ("warning: layguide/sd: its guidance ends after 20% of the steps" in said.output) == warned, said.output


def test_a_strangers_recipe_turns_no_pickle_on_in_the_options_of_the_base(tmp_path: Path) -> None:
    from realcompo.errors import BadOption
    from realcompo.recipes.configuration import resolve

    recipe = tmp_path / "scene.toml"
    recipe.write_text('branches = ["sd/v1-5", { name = "layguide/sd", options = { base_options = { allow_pickle = true } } }]')
    with pytest.raises(BadOption, match=r"turns base_options.allow_pickle on[\s\S]*branches.1.options.base_options.allow_pickle=true"):
        resolve(recipe)
