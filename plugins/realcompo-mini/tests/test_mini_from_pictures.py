"""The mini family draws over pictures, into them, and larger, by balance: what it draws is where it belongs, and a control shows that it is
the thing itself that does it. `realcompo_mini.compare.inpaint` measures the second on more than a hundred scenes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from realcompo_mini.compare.inpaint import SPATIAL, mask_of, measure, table, task_of, tasks
from realcompo_mini.compare.judge import inside, named
from realcompo_mini.language import parse
from realcompo_mini.train.scenes import sample_scene

from tests import lacking

pytestmark = pytest.mark.skipif(bool(lacking("fidelity")), reason=lacking("fidelity"))
COUNT = 6


@cache
def composer(spatial: str | None) -> Any:
    """Balanced at every step at which both act; the moves of the default are in test_mini_compare.py."""
    import realcompo as rc

    balanced = {"balancer": "core/balance", "balancer_options": {"warmup": 0.3, "finish": 0.7}} if spatial else {}
    return rc.Composer("mini/fidelity", spatial or (), device="cpu", num_inference_steps=12, **balanced)


@cache
def finished() -> tuple[Any, ...]:
    """Tasks, and their scenes without the object that is to be drawn in."""
    from realcompo_mini.compare.draw import boxes

    todo = tasks("tune", COUNT)
    drawn = composer("mini/boxes")([t.before for t in todo], [boxes(t.others) for t in todo], seed=list(range(COUNT)))
    return todo, drawn.images


def test_tasks_leave_one_thing_out_and_name_the_others() -> None:
    for task in tasks("tune", 12):
        assert task.new.phrase in task.after and task.new.phrase not in task.before
        assert [o.phrase for o in task.objects] == [task.after[slice(*o.span)] for o in task.objects]
        assert len(parse(task.before).items) == len(task.others) and task.objects[-1].box == task.new.box
    scene = sample_scene("tune", 3, 0, counts=(3,))
    assert {task_of(scene, i).new.phrase for i in range(3)} == {o.phrase for o in scene.objects}


@pytest.mark.deep
def test_an_object_is_drawn_into_its_box_and_nothing_else_changes() -> None:
    from realcompo_mini.compare.draw import boxes
    from realcompo_mini.scorer import detect

    todo, befores = finished()
    seen, placed = detect(befores), {}
    for row, spatial in SPATIAL.items():
        told = {"condition": [boxes(t.objects) for t in todo]} if spatial else {}
        masks = [mask_of(t.new.box, 128) for t in todo]
        made = composer(spatial)([t.after for t in todo], seed=[9 + b for b in range(COUNT)], image=befores, mask_image=masks, **told)
        found = [measure(*one) for one in zip(todo, befores, made.images, seen, detect(made.images), strict=True)]
        placed[row] = sum(one["placed"] for one in found)
        assert all(one["changed"] == 0 for one in found)
        if spatial:
            assert {len(entry.acting) for entry in made.trace.entries} == {1, 2} and made.trace.probe_calls > 0
    assert placed["the pair"] >= COUNT - 2 and placed["the pair"] > placed["spatial branch off"], placed


def standing(todo: Any, images: Any) -> list[bool]:
    """Whether each thing of the scenes (but the new one) stands in its box."""
    from realcompo_mini.compare.inpaint import wanted
    from realcompo_mini.scorer import detect

    found = zip(todo, detect(images), strict=True)
    return [any(named(wanted(o), d) and inside(wanted(o), d) for d in seen) for task, seen in found for o in task.others]


@pytest.mark.deep
def test_a_picture_is_drawn_over_by_balance() -> None:
    """The things stay where they are told to stand, and the picture is closer to the one it was drawn over than one from noise is."""
    from realcompo_mini.compare.draw import boxes

    todo, befores = finished()
    told = [boxes(t.others) for t in todo]
    prompts, seeds = [t.before for t in todo], [50 + b for b in range(COUNT)]
    over = composer("mini/boxes")(prompts, told, seed=seeds, image=befores, strength=0.5).images
    fresh = composer("mini/boxes")(prompts, told, seed=seeds).images
    given, near, far = (np.stack([np.asarray(one, float) for one in images]) for images in (befores, over, fresh))
    assert np.abs(near - given).mean() < 0.7 * np.abs(far - given).mean()
    stands = standing(todo, over)
    assert sum(stands) >= 0.7 * len(stands)


@pytest.mark.deep
def test_a_second_pass_is_larger_and_shows_the_same() -> None:
    from PIL import Image
    from realcompo_mini.compare.draw import boxes

    todo = finished()[0][:3]
    told, prompts = [boxes(t.others) for t in todo], [t.before for t in todo]
    drawn = composer("mini/boxes")(prompts, told, seed=[0, 1, 2], hires={"scale": 1.5, "strength": 0.5})
    assert [image.size for image in drawn.images] == [(192, 192)] * 3 and drawn.cost.sampling > drawn.trace.entries[11].spent
    stands = standing(todo, [image.resize((128, 128), Image.Resampling.LANCZOS) for image in drawn.images])
    assert sum(stands) >= 0.6 * len(stands), "the layout holds in both passes"
    soft = [image.resize((192, 192), Image.Resampling.BICUBIC) for image in composer("mini/boxes")(prompts, told, seed=[0, 1, 2]).images]

    def edges(images: Any) -> float:
        shades = np.stack([np.asarray(one.convert("L"), float) for one in images])
        return float(np.abs(np.diff(shades, axis=2)).mean())

    assert edges(drawn.images) > edges(soft), "drawn over, it has more detail than what was made larger"


def test_the_page_shows_the_table_of_the_committed_records() -> None:
    from realcompo_mini.compare.draw import read

    from tests import ROOT

    folder = ROOT / "docs" / "results" / "inpaint"
    records = {row: list(read(folder / f"test-{row.replace(' ', '-')}.jsonl")) for row in SPATIAL}
    assert {len({record["scene"] for record in rows}) for rows in records.values()} == {120}
    assert table(records) in (ROOT / "docs" / "from-a-picture.md").read_text("utf-8"), "python -m realcompo_mini.compare.inpaint --report"


def test_the_table_is_of_paired_scenes() -> None:
    rows = {
        "the pair": [{"scene": s, "placed": 1, "in_box": s % 2, "others": 2, "kept": 2, "changed": 0} for s in range(40)],
        "spatial branch off": [{"scene": s, "placed": 0, "in_box": 0, "others": 2, "kept": 1, "changed": 3} for s in range(1, 41)],
    }
    told = table(rows)
    assert "| 39 scenes |" in told and "+1.000 (+1.000 … +1.000)" in told and "| 3 at most |" in told and "0.500 (" in told
