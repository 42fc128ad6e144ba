"""Moves of z: the slope is that of finite differences, the rule is free of scale, and each claim carries its control."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

import realcompo as rc
from realcompo.builtin.guided import Guided, moves_at
from realcompo.builtin.options import GuidedOptions
from realcompo.compose.moves import Ask, move_latents, one_move, total_shift
from realcompo.compose.probe import LossScale, Slope, placement_loss, placement_slope
from realcompo.compose.rows import Rows
from realcompo.errors import PluginProblem
from realcompo.interfaces import Balancer, Move, Needs, Region, Regions, Setting, Step
from realcompo.noise.diffusion import GRADUAL
from tests.noise.shifts import share_of_shift
from tests.toyworld import PROMPT, TWO, final_loss, toys

B, C, H = 3, 4, 6
RAGGED = Regions(
    (
        (Region("a", "x", box=(0.0, 0.0, 0.5, 0.5)), Region("b", "y", box=(0.5, 0.4, 1.0, 1.0))),
        (Region("a", "x", box=(0.2, 0.2, 0.9, 0.6)),),
        (),
    )
)
NOISE = 0.8


def reader(seed: int) -> Callable[[Tensor], Tensor]:
    """A small non-linear attention over a background and two regions."""
    kernel = torch.randn(3, C, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 3

    def read(z: Tensor) -> Tensor:
        maps = torch.nn.functional.conv2d(torch.tanh(z), kernel.to(z), padding=1).softmax(dim=1)[:, 1:]
        return maps * RAGGED.present().to(z)[:, :, None, None]

    return read


def asks(readers: Sequence[Callable[[Tensor], Tensor]], scales: Sequence[LossScale | None] = (None, None, None)) -> Ask:
    """What asks readers of the whole batch for some of its pictures."""

    def ask(k: int, z: Tensor, rows: Rows) -> Slope:
        whole = rows.into(z)
        loss, slope, maps = placement_slope(readers[k], whole, RAGGED, scales[k])
        return rows.of(loss), rows.of(slope), rows.of(maps)

    return ask


def latents(seed: int = 0) -> Tensor:
    return torch.randn(B, C, H, H, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loss_of(read: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    return placement_loss(read(z), RAGGED.masks(H, H).to(z), RAGGED.present())


def test_the_slope_is_that_of_finite_differences() -> None:
    """Per picture: picture b's slope is of its own loss alone."""
    read, z = reader(1), latents()
    loss, slope, maps = placement_slope(read, z, RAGGED, None)
    assert torch.allclose(loss, loss_of(read, z)) and torch.equal(maps, read(z))
    g = torch.Generator().manual_seed(5)
    for _ in range(20):
        b, c, y, x = (int(torch.randint(n, (1,), generator=g)) for n in z.shape)
        nudge = torch.zeros_like(z)
        nudge[b, c, y, x] = 1e-5
        rise = (loss_of(read, z + nudge) - loss_of(read, z - nudge)).sum(dim=1) / 2e-5
        assert torch.allclose(rise[b], slope[b, c, y, x], atol=1e-9)
    assert bool((slope[2] == 0).all()) and bool((slope[0] != 0).any()), "the control: a picture with regions has a slope"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_branch_moves_from_where_the_last_left(count: int) -> None:
    """K branches, each asked for two moves: the same as a loop by hand."""
    readers, z = [reader(k) for k in range(count)], latents()
    move = Move(2, length=0.2)
    end, moved = move_latents(z, [move] * count, asks(readers), RAGGED, NOISE)
    by_hand = z.clone()
    for read in readers:
        for _ in range(2):
            leaf = by_hand.clone().requires_grad_()
            total = loss_of(read, leaf).sum(dim=1)
            (slope,) = torch.autograd.grad(total.sum(), leaf)
            for b in range(2):
                by_hand[b] -= 0.2 * NOISE * math.sqrt(C * H * H) * slope[b] / slope[b].norm()
    assert torch.allclose(end, by_hand) and moved.shift is not None and torch.allclose(z + moved.shift, end)
    assert moved.made.tolist() == [[2, 2, 0]] * count and moved.passes == (2,) * count
    assert torch.equal(end[2], z[2]), "no regions, no move"
    assert float(loss_of(readers[-1], end).sum()) < float(loss_of(readers[-1], z).sum())


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_a_move_is_free_of_the_scale_of_the_loss(factor: float) -> None:
    """A loss times anything, with its slope, gives the same move, which is as long as it is told to be."""
    read, z = reader(2), latents()
    loss, slope, _ = placement_slope(read, z, RAGGED, None)
    present = RAGGED.present().sum(dim=1)
    step, goes = one_move(loss, slope, present, Move(length=0.04), NOISE)
    other, too = one_move(factor * loss, factor * slope, present, Move(length=0.04), NOISE)
    assert torch.allclose(step, other) and goes.tolist() == too.tolist() == [True, True, False]
    assert torch.allclose(step.square().mean(dim=(1, 2, 3)).sqrt()[:2], torch.tensor(0.04 * NOISE).double())


def test_pictures_below_the_threshold_and_overflows_stay() -> None:
    read, z = reader(3), latents()
    mean = loss_of(read, z).sum(dim=1) / RAGGED.present().sum(dim=1).clamp(min=1)
    between = float(mean[:2].mean())
    _, moved = move_latents(z, [Move(1, 0.1, between)], asks([read]), RAGGED, NOISE)
    assert moved.made[0].tolist() == [int(mean[0] > between), int(mean[1] > between), 0] and moved.made.sum() == 1

    def overflows(at: Tensor) -> Tensor:
        """Picture 0's slope is not finite: ∂√|x − x₀| at x₀."""
        kink = (at[:1] - at[:1].detach()).abs().sqrt().sum() * torch.tensor([1.0, 0.0, 0.0]).to(at)
        return read(at) * (1 + kink[:, None, None, None] * RAGGED.masks(H, H).to(at))

    scale = LossScale()
    before = scale.value
    end, moved = move_latents(z, [Move(1, 0.1)], asks([overflows], [scale]), RAGGED, NOISE)
    assert torch.equal(end[0], z[0]) and not torch.equal(end[1], z[1]) and moved.made[0].tolist() == [0, 1, 0]
    assert scale.of(z).tolist() == [before / 2, before, before]


def test_the_solver_is_told_the_whole_move_and_the_blended_shifts() -> None:
    z = latents()
    _, moved = move_latents(z, [Move(1)], asks([reader(0)]), RAGGED, NOISE)
    assert moved.shift is not None
    told = total_shift(moved, 0.1 * z)
    assert told is not None and torch.allclose(told, moved.shift + 0.1 * z)
    assert total_shift(None, None) is None and total_shift(None, z) is z and total_shift(moved, None) is moved.shift


def test_a_pose_is_held_longer_than_a_box_is_planted() -> None:
    """By kinds of condition: who acts when, and when z is moved."""
    balancer = Guided(GuidedOptions(plant=0.2, until=0.6, hold=0.7))

    def run(*kinds: str) -> list[tuple[tuple[bool, ...], bool]]:
        roles = ("fidelity", *("spatial" for _ in kinds))
        setting = Setting(tuple("abc"[: len(roles)]), roles, torch.zeros(1, 1, 2, 2), torch.zeros(len(roles), 1, 1), (), (None, *kinds))
        state = balancer.start(setting)
        found = []
        for index in range(10):
            step = Step(index, 10, 0, 0, 0.5, 0.6)
            needs = balancer.needs(state, step)
            assert torch.allclose(balancer.weights(state, step).sum(dim=0), torch.ones(1, 1, 2, 2))
            found.append((needs.branches, any(needs.moves)))
        return found

    assert run("boxes") == [*[((False, True), False)] * 2, *[((True, False), True)] * 4, *[((True, False), False)] * 4]
    assert run("keypoints") == [*[((False, True), False)] * 7, *[((True, False), False)] * 3]
    both = run("boxes", "segmentation")
    assert both[:2] == [((False, True, True), False)] * 2 and both[2:6] == [((False, False, True), True)] * 4
    assert both[6] == ((False, False, True), False) and both[7:] == [((True, False, False), False)] * 3
    assert run() == [((True,), False)] * 10


# -- in a run ----------------------------------------------------------------------------------------------------------------


def guided(**options: object) -> dict[str, object]:
    return {"balancer": "core/guided", "balancer_options": {"plant": 0.2, "until": 0.8, "moves": 12, "threshold": 0.0, **options}}


@pytest.mark.parametrize("scheduler", sorted(GRADUAL))
def test_moves_lower_the_loss_of_the_finished_picture(scheduler: str) -> None:
    """With every scheduler; none are the hand-over, and a negative length does harm."""
    loss = {}
    for length in (0.1, 0.0, -0.1):
        composer = toys(scheduler=scheduler, **guided(length=length))
        loss[length] = float(final_loss(composer, composer(PROMPT, TWO, seed=3, output_type="latent")).sum())
    assert loss[0.1] < loss[0.0] - 1e-4 < loss[-0.1] - 2e-4, loss


def test_no_moves_are_the_hand_over() -> None:
    a = toys(**guided(moves=0))(PROMPT, TWO, seed=1, output_type="latent")
    b = toys(balancer="core/hand-over", balancer_options={"share": 0.2})(PROMPT, TWO, seed=1, output_type="latent")
    assert torch.equal(a.latents, b.latents) and a.trace.move_calls == 0 and a.trace.predict_calls == b.trace.predict_calls == 10


def test_the_trace_keeps_what_the_moves_did() -> None:
    result = toys(**guided())([PROMPT, PROMPT], [TWO, rc.Boxes({"a cat": (0.1, 0.1, 0.5, 0.9)})], seed=1, output_type="latent")
    asked = [entry for entry in result.trace.entries if entry.moves is not None]
    assert [entry.step.index for entry in asked] == list(range(2, 8)) and result.trace.move_calls == 12
    assert result.trace.predict_calls == 10 and result.trace.probe_calls == 0
    for entry in asked:
        assert entry.moves is not None and entry.moves.tolist() == [[2, 2], [0, 0]]
        assert entry.move_loss is not None and entry.move_loss.shape == (2, 2, 2) and float(entry.move_loss[0, 1, 1]) == 0
        assert entry.move_maps[0] is not None and entry.move_maps[1] is None


def test_a_picture_is_moved_alone_as_in_a_batch() -> None:
    one = rc.Boxes({"a cat": (0.1, 0.1, 0.5, 0.9)})
    both = toys(**guided())([PROMPT, PROMPT], [TWO, one], seed=[4, 5], output_type="latent").latents
    for b, layout in enumerate((TWO, one)):
        alone = toys(**guided())(PROMPT, layout, seed=4 + b, output_type="latent").latents
        assert torch.allclose(both[b], alone[0], atol=1e-12)


def test_a_branch_that_moves_z_itself_starts_from_the_moved_z() -> None:
    """Its own shift comes on top: z + move + ξ δ."""
    spatial = {"name": "toy/spatial", "options": {"shift": 0.2}}

    class Both(Balancer):
        def start(self, setting: Setting) -> Setting:
            return setting

        def needs(self, state: Setting, step: Step) -> Needs:
            return Needs((True, True), moves=(Move(1, 0.1), None) if step.index == 3 else ())

        def weights(self, state: Setting, step: Step) -> Tensor:
            like = state.masks.new_ones(state.masks.shape[0], 1, *state.masks.shape[2:])
            return torch.stack([0.5 * like, 0.5 * like])

    seen: dict[int, Tensor] = {}
    composer = toys(spatial=spatial, balancer=Both())
    branch = composer.branches[1]
    predict = branch.predict

    def spy(z: Tensor, step: Step, conditioning: object, read: bool = False) -> object:
        seen[step.index] = z.clone()
        return predict(z, step, conditioning, read)

    branch.predict = spy  # type: ignore[method-assign,assignment]
    result = composer(PROMPT, TWO, seed=2, output_type="latent")
    entry = result.trace.entries[3]
    assert entry.moves is not None and entry.moves.tolist() == [[1], [0]]
    still = toys(spatial=spatial, balancer="core/mean")
    other = still.branches[1].predict
    kept: dict[int, Tensor] = {}
    still.branches[1].predict = lambda z, step, c, read=False: (kept.__setitem__(step.index, z.clone()), other(z, step, c, read))[1]  # type: ignore
    still(PROMPT, TWO, seed=2, output_type="latent")
    assert torch.equal(seen[2], kept[2]) and not torch.allclose(seen[3], kept[3]) and not torch.allclose(seen[4], kept[4])


def test_moves_are_asked_of_every_branch_or_of_none() -> None:
    class Short(Balancer):
        def start(self, setting: Setting) -> Setting:
            return setting

        def needs(self, state: Setting, step: Step) -> Needs:
            return Needs((True, True), moves=(Move(),))

        def weights(self, state: Setting, step: Step) -> Tensor:
            return state.masks.new_full((2, state.masks.shape[0], 1, *state.masks.shape[2:]), 0.5)

    with pytest.raises(PluginProblem, match="moves by 1 branches of 2 at step 0"):
        toys(balancer=Short())(PROMPT, TWO, seed=0)


def test_the_moves_of_a_run_are_spread_over_its_steps() -> None:
    for steps in (8, 20, 50):
        asked = [moves_at(Step(i, steps, 0, 0, 0.5, 0.6), 16, 0.2, 0.6) for i in range(steps)]
        first, last = round(0.2 * steps), round(0.6 * steps)
        assert sum(asked) == 16 and not any(asked[:first]) and not any(asked[last:])
        assert max(asked[first:last]) - min(asked[first:last]) <= 1
    for steps in (2, 3, 4, 5):
        assert sum(moves_at(Step(i, steps, 0, 0, 0.5, 0.6), 12, 0.3, 0.5) for i in range(steps)) == 12, "few steps have their moves, too"
    assert not any(moves_at(Step(i, 20, 0, 0, 0.5, 0.6), 12, 0.3, 0.3) for i in range(20)), "no span, no moves"


@pytest.mark.parametrize(("scheduler", "steps"), [("pndm", (1, 4)), ("unipc", (1, 4, 8))])
def test_pndm_and_unipc_keep_a_shift(scheduler: str, steps: tuple[int, ...]) -> None:
    """What becomes of a shift of the latents in a Gaussian world: as much as with DDIM and DPM++ arrives, and without the re-basing at
    some step hardly anything."""

    def arrives(name: str, at: int, rebased: bool = True) -> float:
        return share_of_shift(name, 10, at, rebased)

    for at in steps:
        assert arrives(scheduler, at) > 0.8 * min(arrives("ddim", at), arrives("dpm++-2m", at))
    assert min(arrives(scheduler, at, rebased=False) for at in steps) < 0.05


@pytest.mark.parametrize("lagged", [False, True], ids=["asked", "lagged"])
def test_each_picture_makes_its_own_number_of_moves(lagged: bool) -> None:
    """None, one and three in one batch are what one of as many makes alone; lagged, parts of the whole length."""
    ask, most = asks([reader(0)]), 3
    slopes = {0: ask(0, latents(), Rows.all(B))} if lagged else None
    for each in ((0, 1, 3), (3, 2, 3)):
        z, moved = move_latents(latents(), [Move(most, 0.1, lagged=lagged, each=each)], ask, RAGGED, NOISE, slopes)
        assert moved.made.tolist() == [[each[0], each[1], 0]], "the last picture has no region"
        for b, count in enumerate(each[:2]):
            alone, _ = move_latents(latents(), [Move(count, 0.1, lagged=lagged) if count else None], ask, RAGGED, NOISE, slopes)
            assert torch.allclose(z[b], alone[b], atol=1e-12), (each, b)
        assert torch.equal(z[2], latents()[2])
    whole, _ = move_latents(latents(), [Move(most, 0.1, lagged=lagged)], ask, RAGGED, NOISE, slopes)
    same, _ = move_latents(latents(), [Move(most, 0.1, lagged=lagged, each=(3, 3, 3))], ask, RAGGED, NOISE, slopes)
    assert torch.equal(whole, same) and not torch.allclose(whole, z), "the control: as many for all is as without"
