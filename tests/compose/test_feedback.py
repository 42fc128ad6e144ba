"""Branches asked picture by picture, decisions by what the passes told, and the replay that holds them: each with its control."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import realcompo as rc
from realcompo.compose.decided import Decided
from realcompo.errors import BadPicture, PluginProblem
from realcompo.interfaces import Balancer, Move, Needs, Seen, Setting, Step
from tests.toyworld import PROMPT, TWO, toys

ONE = rc.Boxes({"a cat": (0.1, 0.1, 0.5, 0.9)})
SMALL = rc.Boxes({"a cat": (0.6, 0.55, 0.85, 0.9)})
LAYOUTS = (TWO, ONE, SMALL)


@dataclass(frozen=True)
class State:
    setting: Setting
    phase: tuple[int, ...]


class Feedback(Balancer):
    """The spatial branch draws until its own maps say that regions stand; then the fidelity branch is moved until they stand by its maps;
    then all branches draw together, with a probe."""

    planted, placed, bias = 0.55, 0.6, 0.0

    def start(self, setting: Setting) -> State:
        return State(setting, (0,) * setting.masks.shape[0])

    def needs(self, state: State, step: Step) -> Needs:
        fidelity, spatial = tuple(p > 0 for p in state.phase), tuple(p != 1 for p in state.phase)
        middle = tuple(p == 1 for p in state.phase)
        moves = (Move(2, 0.1, 0.05, pictures=middle), None) if any(middle) else ()
        return Needs((fidelity, spatial), probe=any(p == 2 for p in state.phase), moves=moves, looks=(True, True))

    def weights(self, state: State, step: Step) -> Tensor:
        like = state.setting.masks.new_ones(1, *state.setting.masks.shape[2:])
        shares = {0: (0.0, 1.0), 1: (1.0, 0.0), 2: (0.5, 0.5)}
        return torch.stack([torch.stack([shares[p][k] * like for p in state.phase]) for k in range(2)])

    def decide(self, state: State, step: Step, seen: Seen) -> list[int]:
        by_spatial, by_fidelity = seen.mean(1), seen.mean(0)
        found = []
        for b, phase in enumerate(state.phase):
            told, limit = (by_spatial[b], self.planted) if phase == 0 else (by_fidelity[b], self.placed)
            stands = told is not None and told + self.bias < limit
            found.append(min(phase + int(stands or step.index > 5 * (phase + 1) / 2), 2))
        return found

    def follow(self, state: State, step: Step, decided: Any) -> State:
        return replace(state, phase=tuple(decided))

    def update(self, state: State, step: Step, probe: Any) -> tuple[State, Any]:
        return state, probe(self.weights(state, step))


def drawn(composer: rc.Composer, only: int | None = None, **more: Any) -> rc.Result:
    if only is not None:
        return composer(PROMPT, LAYOUTS[only], seed=4 + only, output_type="latent", **more)
    return composer([PROMPT] * 3, list(LAYOUTS), seed=[4, 5, 6], output_type="latent", **more)


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "guided": {"fidelity": {"name": "toy/fidelity", "guidance_scale": 3.0}, "spatial": {"name": "toy/spatial", "guidance_scale": 2.0}},
    "interval": {
        "fidelity": {"name": "toy/fidelity", "guidance_scale": 3.0},
        "spatial": {"name": "toy/spatial", "guidance_scale": 2.0},
        "guidance": {"interval": (0.3, 3.0)},
    },
    "shared": {
        "fidelity": {"name": "toy/fidelity", "guidance_scale": 3.0},
        "spatial": {"name": "toy/spatial", "guidance_scale": 2.0},
        "guidance": {"unconditional": "shared"},
    },
    "shift": {"spatial": {"name": "toy/spatial", "options": {"shift": 0.2}}},
    "lagged": {"probe": {"lagged": True}},
    "unguided-probe": {"probe": {"guided": False}},
    "offload": {"offload": True},
    "unipc": {"scheduler": "unipc"},
    "euler-ancestral": {"scheduler": "euler-ancestral"},
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_ragged_batch_is_its_pictures_alone(way: str) -> None:
    """Pictures that go different ways in one batch are those drawn alone, and cost what those cost."""
    composer = toys(balancer=Feedback(), **WAYS[way])
    together = drawn(composer)
    ways = [tuple(entry.decided[b] for entry in together.trace.entries) for b in range(3)]
    assert len(set(ways)) > 1, "the control: pictures went different ways"
    for b in range(3):
        alone = drawn(composer, b)
        assert torch.allclose(together.latents[b], alone.latents[0], atol=1e-4), b
        assert ways[b] == tuple(entry.decided[0] for entry in alone.trace.entries)
        kinds = together.costs[b].by_kind(), alone.cost.by_kind()
        for kind in ("predict", "probe", "move"):
            assert kinds[0].get(kind, 0.0) == pytest.approx(kinds[1].get(kind, 0.0), rel=1e-6), kind
    assert together.cost.sampling == pytest.approx(sum(one.sampling for one in together.costs) / 3)
    last = together.trace.entries[-1]
    assert last.spent_each == pytest.approx([one.sampling for one in together.costs])


def test_a_branch_is_called_with_the_pictures_that_ask() -> None:
    composer = toys(balancer=Feedback())
    seen: list[tuple[int, int]] = []
    branch = composer.branches[1]
    predict = branch.predict

    def spy(z: Tensor, step: Step, conditioning: Any, read: bool = False) -> Any:
        seen.append((step.index, len(z)))
        return predict(z, step, conditioning, read)

    branch.predict = spy  # type: ignore[method-assign,assignment]
    result = drawn(composer)
    acts = {entry.step.index: int(entry.acts[1].sum()) for entry in result.trace.entries if entry.acts is not None}
    assert seen == [(index, count) for index, count in acts.items() if count]
    assert any(count < 3 for _, count in seen), "the control: some picture did not ask"


def test_an_idle_picture_has_no_gradient_and_one_must_have_all_branches() -> None:
    result = drawn(toys(balancer=Feedback()))
    probed = [entry for entry in result.trace.entries if entry.loss is not None]
    for entry in probed:
        assert entry.acts is not None and entry.loss is not None
        assert (entry.loss > 0).tolist() == entry.acts.all(dim=0).tolist()
    assert any(not bool(entry.acts.all()) for entry in probed if entry.acts is not None), "the control: a picture was left out"

    class Torn(Feedback):
        def needs(self, state: State, step: Step) -> Needs:
            return Needs(((True, False), (False, True)), probe=True)

    with pytest.raises(PluginProblem, match="not all branches act"):
        toys(balancer=Torn())([PROMPT] * 2, [TWO, ONE], seed=[1, 2])


def test_a_decision_is_a_whole_number_a_picture() -> None:
    class Short(Feedback):
        def decide(self, state: State, step: Step, seen: Seen) -> list[int]:
            return [0]

    with pytest.raises(PluginProblem, match="of 3 pictures"):
        drawn(toys(balancer=Short()))


def test_the_replay_holds_a_picture_whose_threshold_rounds_otherwise() -> None:
    """The loss is pushed over every threshold, as rounding may push one that lies at it: told what was decided, the picture is the same;
    the control, not told, is another."""
    first = drawn(toys(balancer=Feedback(), dtype="float32"))
    told = [Decided.read(one, "here") for one in first.facts["decided"]]
    flipped = Feedback()
    flipped.bias = 0.3
    composer = toys(balancer=flipped, dtype="float32")
    again = composer.compose(first.recipe.pictures, output_type="latent", decided=told)
    assert torch.allclose(again.latents, first.latents, atol=1e-5)
    assert again.facts["decided"] == first.facts["decided"]
    anew = composer.compose(first.recipe.pictures, output_type="latent")
    assert not torch.allclose(anew.latents, first.latents, atol=1e-2)
    mixed = composer.compose(first.recipe.pictures, output_type="latent", decided=[told[0], None, told[2]])
    assert torch.allclose(mixed.latents[[0, 2]], first.latents[[0, 2]], atol=1e-5)
    assert torch.allclose(mixed.latents[1], anew.latents[1], atol=1e-5)


def test_moves_are_replayed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default's moves stop by a threshold: with every threshold moved, `decided` holds the picture, and without it is another."""
    import realcompo.compose.moves as moves

    options = {"plant": 0.2, "until": 0.8, "moves": 12, "length": 0.1, "threshold": 0.3, "stop": True}
    composer = toys(balancer="core/guided", balancer_options=options)
    first = drawn(composer)
    counts = [sum(one["moves"].get("toy/fidelity", [])) for one in first.facts["decided"]]
    assert 0 < sum(counts) < 36, counts
    whole = moves.misplaced
    monkeypatch.setattr(moves, "misplaced", lambda loss, present, move: whole(loss, present, replace(move, threshold=0.01)))
    told = [Decided.read(one, "here") for one in first.facts["decided"]]
    assert torch.allclose(composer.compose(first.recipe.pictures, output_type="latent", decided=told).latents, first.latents, atol=1e-9)
    assert not torch.allclose(composer.compose(first.recipe.pictures, output_type="latent").latents, first.latents, atol=1e-3)


def test_a_saved_picture_is_reproduced_by_its_decisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a PNG: `reproduce` tells the run what the picture says was decided; taken out of it, the pixels differ."""
    from realcompo.draw import reproduce as module
    from realcompo.testing.toys import toy_registry

    options = {"plant": 0.2, "until": 0.8, "moves": 12, "length": 0.1, "threshold": 0.3}
    result = toys(balancer="core/guided", balancer_options=options)(PROMPT, TWO, seed=4)
    path = tmp_path / "one.png"
    result.image.save(path)
    assert result.image.facts["decided"]["moves"]["toy/fidelity"]
    import realcompo.compose.moves as moves

    whole = moves.misplaced
    monkeypatch.setattr(moves, "misplaced", lambda loss, present, move: whole(loss, present, replace(move, threshold=0.01)))
    assert module.reproduce(path, registry=toy_registry()).same
    monkeypatch.setattr(Decided, "read", classmethod(lambda cls, data, where: None))
    assert not module.reproduce(path, registry=toy_registry()).same


@pytest.mark.parametrize(
    "data",
    [[], {"moves": [1]}, {"moves": {"a": [-1]}}, {"choices": ["x"]}, {"choices": [10**9]}, {"candidate": -1}, {"candidate": [1]}],
    ids=range(7),
)
def test_damaged_decisions_are_refused(data: Any) -> None:
    with pytest.raises(BadPicture, match="decided"):
        Decided.read(data, "here.png")


def test_previews_and_images_work_with_ragged_pictures() -> None:
    """A progress function sees B pictures at every step, and a run over images goes picture by picture too."""
    from PIL import Image

    sizes = set()
    composer = toys(balancer=Feedback())
    image = Image.new("RGB", (64, 64), (200, 120, 40))
    result = drawn(composer, image=image, strength=0.8, progress=lambda _, event: sizes.add(len(event.preview())))
    assert sizes == {3} and len(result.latents) == 3
    alone = drawn(composer, 1, image=image, strength=0.8)
    assert torch.allclose(result.latents[1], alone.latents[0], atol=1e-4)
