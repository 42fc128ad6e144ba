"""core/feedback: the default's phases, each picture's ended by what its maps say; each claim with the thing off as its control."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import realcompo as rc
from realcompo.builtin.feedback import Feedback, Phases, parts_of
from realcompo.builtin.guided import Guided
from realcompo.builtin.options import FeedbackOptions, GuidedOptions
from realcompo.compose.decided import MOST, Decided
from realcompo.errors import BadOption
from realcompo.interfaces import Seen, Setting, Step
from realcompo.specs import Role
from tests.toyworld import PROMPT, TWO, toys

LAYOUTS = (TWO, rc.Boxes({"a cat": (0.1, 0.1, 0.5, 0.9)}), rc.Boxes({"a cat": (0.6, 0.55, 0.85, 0.9)}), rc.Boxes({}))
NEVER: dict[str, Any] = {"stands": (0.0, 0.0), "still": None}
EARLY: dict[str, Any] = {"stands": (0.8, 0.855), "still": None, "until": 0.7, "moves": 12}


def drawn(balancer: str, options: dict[str, Any], only: int | None = None, **more: Any) -> rc.Result:
    composer = toys(balancer=balancer, balancer_options=options, **more)
    if only is not None:
        return composer(PROMPT, LAYOUTS[only], seed=4 + only, output_type="latent")
    return composer([PROMPT] * 4, list(LAYOUTS), seed=[4, 5, 6, 7], output_type="latent")


def moves_of(result: rc.Result) -> list[int]:
    """Of each picture, by the fidelity branch's maps."""
    return [sum(int(entry.moves[0, b]) for entry in result.trace.entries if entry.moves is not None) for b in range(len(result.latents))]


# -- the default's phases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"plant": (0.0, 0.4)}, {"plant": (0.2, 0.2), "until": 0.8, "moves": 7}, {"plant": (0.0, 0.0), "until": 0.2}],
    ids=range(4),
)
def test_where_nothing_stands_it_is_the_default(options: dict[str, Any]) -> None:
    """The control of all the rest: thresholds that nothing meets leave core/guided with the bounds as its shares, to the bit."""
    own = FeedbackOptions(**options)
    guided = {"plant": own.plant[1], "until": own.until, "moves": own.moves, "threshold": 0.0}
    ours, its = drawn("core/feedback", {**options, **NEVER}), drawn("core/guided", guided)
    assert torch.equal(ours.latents, its.latents)
    assert moves_of(ours) == moves_of(its) and moves_of(ours)[3] == 0, "no region, no move"
    assert not torch.equal(drawn("core/feedback", {**options, "stands": (1.0, 1.0)}).latents, its.latents), "the control: it stands at once"


TEAMS: dict[str, tuple[tuple[Role, ...], tuple[str | None, ...]]] = {
    "boxes": (("fidelity", "spatial"), (None, "boxes")),
    "pose": (("fidelity", "spatial"), (None, "keypoints")),
    "both": (("fidelity", "spatial", "spatial"), (None, "boxes", "keypoints")),
    "alone": (("fidelity",), (None,)),
    "no-fidelity": (("spatial", "spatial"), ("boxes", "boxes")),
}


@pytest.mark.parametrize("steps", [4, 20])
@pytest.mark.parametrize("team", sorted(TEAMS))
def test_every_team_is_drawn_by_the_branches_that_the_default_has(team: str, steps: int) -> None:
    """A pose is held as long, moves are asked of the same pictures, in few steps and in many."""
    roles, kinds = TEAMS[team]
    masks = torch.zeros(2, 1, 4, 4)
    masks[:, :, :2] = 1
    owners = torch.tensor([role == "spatial" for role in roles])[:, None, None].expand(-1, 2, 1)
    setting = Setting(tuple(roles), roles, masks, owners, kinds=kinds)
    ours, its = Feedback(FeedbackOptions(**NEVER, moves=12)), Guided(GuidedOptions(threshold=0.0, moves=12))
    state: Any = ours.start(setting)
    for step in (Step(i, steps, 900 - i, 899 - i, 0.5, 0.6) for i in range(steps)):
        mine, theirs = ours.needs(state, step), its.needs(its.start(setting), step)
        assert all(mine.acts(k, b) == theirs.acts(k, b) for k in range(len(roles)) for b in range(2))
        assert [move and move.most for move in mine.moves] == [move and move.most for move in theirs.moves]
        assert torch.allclose(ours.weights(state, step), its.weights(its.start(setting), step))
        quiet = Seen(torch.ones(len(roles), 2, 1), torch.ones(len(roles), 2, dtype=torch.bool), torch.tensor([1, 0]))
        state = ours.follow(state, step, ours.decide(state, step, quiet))


# -- pictures go their own ways ------------------------------------------------------------------------------------------------


def test_a_picture_that_stands_early_makes_fewer_moves_and_the_others_all() -> None:
    result, whole = drawn("core/feedback", EARLY), drawn("core/feedback", {**EARLY, **NEVER})
    made = moves_of(result)
    assert moves_of(whole) == [12, 12, 12, 0], "the control"
    assert 0 < made[1] < made[0] < 12 and made[2] == 12 and made[3] == 0, made
    assert torch.equal(result.latents[2], whole.latents[2]), "the control: one that never stands is as it was"


@pytest.mark.parametrize("way", ["plain", "guided", "unipc"])
def test_a_ragged_batch_is_its_pictures_alone(way: str) -> None:
    branches: dict[str, Any] = {
        "fidelity": {"name": "toy/fidelity", "guidance_scale": 3.0},
        "spatial": {"name": "toy/spatial", "guidance_scale": 2.0},
    }
    ways: dict[str, dict[str, Any]] = {"plain": {}, "guided": branches, "unipc": {"scheduler": "unipc"}}
    more = ways[way]
    options = {**EARLY, "plant": (0.1, 0.4), "stands": (0.993, 0.8)}
    together = drawn("core/feedback", options, **more)
    phases = [tuple(bool(entry.acts[0, b]) for entry in together.trace.entries if entry.acts is not None) for b in range(4)]
    assert len(set(phases)) > 1, "the control: they hand over at different steps"
    for b in range(4):
        alone = drawn("core/feedback", options, b, **more)
        assert torch.allclose(together.latents[b], alone.latents[0], atol=1e-4), b
        assert [entry.decided[b] for entry in together.trace.entries] == [entry.decided[0] for entry in alone.trace.entries]
        assert moves_of(together)[b] == moves_of(alone)[0]


def test_drawn_again_it_follows_what_was_decided() -> None:
    """Thresholds that lie elsewhere, as rounding may put a picture at the other side of one, change nothing of a picture that is told."""
    first = drawn("core/feedback", EARLY)
    told = [Decided.read(one, "here") for one in first.facts["decided"]]
    other = toys(balancer="core/feedback", balancer_options={**EARLY, **NEVER})
    again = other.compose(first.recipe.pictures, output_type="latent", decided=told)
    assert torch.allclose(again.latents, first.latents, atol=1e-9) and again.facts["decided"] == first.facts["decided"]
    anew = other.compose(first.recipe.pictures, output_type="latent")
    assert not torch.allclose(anew.latents[:2], first.latents[:2], atol=1e-3), "the control: untold, it is another"


# -- what ends a phase ---------------------------------------------------------------------------------------------------------


def run_of(spatial: list[float], fidelity: list[float], known: bool = True, **options: Any) -> list[int]:
    """The phase of each of ten steps of one picture, whose region is a quarter of it, as those λ are seen at them."""
    masks = torch.zeros(1, 1, 4, 4)
    masks[:, :, :2, :2] = 1
    setting = Setting(("f", "s"), ("fidelity", "spatial"), masks, torch.tensor([False, True])[:, None, None])
    balancer = Feedback(FeedbackOptions(**options))
    state, found = balancer.start(setting), []
    for i in range(10):
        step = Step(i, 10, 900 - i, 899 - i, 0.5, 0.6)
        found.append(balancer.phase(state, step, 0))
        seen = Seen(0.75 * torch.tensor([fidelity[i], spatial[i]])[:, None, None], torch.full((2, 1), known), torch.tensor([1]))
        state = balancer.follow(state, step, balancer.decide(state, step, seen))
    return found


FALLS = [1.0 - 0.08 * i for i in range(10)]
FLAT = [0.9] * 10
SPAN: dict[str, Any] = {"plant": (0.2, 0.5), "until": 0.8}


def test_planting_ends_between_its_bounds_where_regions_stand_or_no_longer_fall() -> None:
    assert run_of(FALLS, FLAT, **SPAN, stands=(0.0, 0.0), still=None)[:6] == [0] * 5 + [1], "the control: nothing stands, to the bound"
    assert run_of(FALLS, FLAT, **SPAN, stands=(0.8, 0.0), still=None)[:6] == [0] * 4 + [1, 1], "0.76 at the fourth"
    assert run_of([0.1] * 10, FLAT, **SPAN, stands=(0.8, 0.0), still=None)[:4] == [0, 0, 1, 1], "not before the least share"
    assert run_of(FLAT, FALLS, **SPAN, stands=(0.0, 0.0), still=0.01)[:4] == [0, 0, 1, 1], "it no longer falls"
    assert run_of(FALLS, FALLS, **SPAN, stands=(0.0, 0.0), still=0.01)[:6] == [0] * 5 + [1], "the control: it falls"


def test_moves_end_where_regions_stand_or_no_longer_fall() -> None:
    at = {**SPAN, "plant": (0.2, 0.2)}
    assert run_of(FLAT, FALLS, **at, stands=(0.0, 0.0), still=None) == [0, 0] + [1] * 6 + [2, 2], "the control: to the bound"
    assert run_of(FLAT, FALLS, **at, stands=(0.0, 0.7), still=None) == [0, 0] + [1] * 3 + [2] * 5, "0.68 at the fifth"
    assert run_of(FLAT, FLAT, **at, stands=(0.0, 0.0), still=0.01) == [0, 0] + [1] * 2 + [2] * 6, "two steps with the same λ"
    assert run_of(FLAT, FALLS, **at, stands=(0.0, 0.0), still=0.01) == [0, 0] + [1] * 6 + [2, 2], "the control: it falls"


def test_what_is_not_told_ends_nothing() -> None:
    assert run_of([0.1] * 10, [0.1] * 10, known=False, **SPAN) == [0] * 5 + [1] * 3 + [2, 2]
    assert run_of([0.1] * 10, [0.1] * 10, **SPAN) == [0] * 2 + [1] + [2] * 7, "the control: told"


def test_whatever_a_file_says_was_decided_the_bounds_hold() -> None:
    """A picture's facts may come from anywhere: no planting and no move beyond the run's shares."""
    masks = torch.zeros(1, 1, 4, 4)
    setting = Setting(("f", "s"), ("fidelity", "spatial"), masks, torch.tensor([False, True])[:, None, None])
    balancer = Feedback(FeedbackOptions(**SPAN))
    for told in (0, 1, 2 * 499, MOST):
        state: Phases = balancer.start(setting)
        phases = []
        for i in range(10):
            step = Step(i, 10, 900 - i, 899 - i, 0.5, 0.6)
            phases.append(balancer.phase(state, step, 0))
            state = balancer.follow(state, step, [told])
        assert phases == sorted(phases) and phases.count(0) <= 5 and phases[8:] == [2, 2], told


def test_lambda_is_one_where_attention_knows_nothing_however_large_a_region_is() -> None:
    """Of the worst region; the control: the plain loss of the same attention differs by the regions' sizes."""
    masks = torch.zeros(2, 2, 4, 4)
    masks[0, 0, :1, :1], masks[1, 0], masks[1, 1, :2] = 1, 1, 1
    owners = torch.tensor([[[False] * 2] * 2, [[True, False], [True, True]]])
    setting = Setting(("f", "s"), ("fidelity", "spatial"), masks, owners)
    balancer = Feedback(FeedbackOptions())
    even = (1 - masks.mean(dim=(-2, -1))) * owners.any(dim=0)
    seen = Seen(even.expand(2, 2, 2), torch.ones(2, 2, dtype=torch.bool), torch.tensor([1, 2]))
    step = Step(0, 10, 900, 890, 0.5, 0.6)
    assert [one // 2 for one in balancer.decide(balancer.start(setting), step, seen)] == [parts_of(1.0)] * 2
    assert seen.mean(1) == pytest.approx([15 / 16, 1 / 4])
    better = replace(seen, loss=seen.loss * torch.tensor([[1.0, 1.0], [1.0, 0.5]])[None])
    assert balancer.decide(balancer.start(setting), step, better)[1] // 2 == parts_of(0.5)
    assert parts_of(None) == 0 and 2 * parts_of(99.0) + 1 <= MOST


def test_bounds_out_of_order_are_refused() -> None:
    for options in ({"plant": (0.4, 0.2)}, {"plant": (0.2, 0.6), "until": 0.5}):
        with pytest.raises(BadOption, match="plant"):
            toys(balancer="core/feedback", balancer_options=options)
