"""Planning as a part of the core: what is kept and wished, whose words are used, many at once; `plan`, `export`, `import` as verbs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import realcompo as rc
from realcompo.errors import PlanningError
from realcompo.interfaces import Plan, PlanRequest
from realcompo.plans.planning import Task, ask, finished
from realcompo.recipes.configuration import parse_text
from realcompo.recipes.recipe import PictureEntry
from tests.plans.rows import BASE, Row

Cli = Callable[..., Result]


@pytest.fixture
def cli(registry: Any) -> Cli:
    from realcompo.cli import app

    Path("base.toml").write_text(
        'branches = ["toy/fidelity", "toy/spatial"]\nplanner = "rows/row"\nnum_inference_steps = 2\ndevice = "cpu"\n'
    )
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


# -- the core ----------------------------------------------------------------------------------------------------------------


def test_what_is_kept_keeps_box_and_id(registry: Any) -> None:
    kept = rc.Boxes([{"phrase": "a dog", "box": (0.1, 0.2, 0.3, 0.4), "id": "pet"}])
    found = rc.plan("a cat and a dog", keep=kept, recipe=BASE)
    assert [(item.id, item.box) for item in found.items][1] == ("pet", (0.1, 0.2, 0.3, 0.4))  # type: ignore[attr-defined]
    free = rc.plan("a cat and a dog", recipe=BASE)
    assert free.items[1].box != (0.1, 0.2, 0.3, 0.4)  # type: ignore[attr-defined]


def test_a_planner_that_moves_what_is_kept_is_found_out(registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Row, "moves_kept", True)
    with pytest.raises(PlanningError, match="moved 'a dog', which was to stay"):
        rc.plan("a cat and a dog", keep=rc.Boxes({"a dog": (0.1, 0.2, 0.3, 0.4)}), recipe=BASE)


def test_a_wish_changes_the_layout(registry: Any) -> None:
    boxes = rc.Boxes({"a cat": (0.1, 0.4, 0.3, 0.8)})
    assert rc.revise("a cat", boxes, "up", recipe=BASE).items[0].box == pytest.approx((0.1, 0.0, 0.3, 0.4))  # type: ignore[attr-defined]
    with pytest.raises(PlanningError, match="not understood"):
        rc.revise("a cat", boxes, "sideways", recipe=BASE)
    with pytest.raises(PlanningError, match="takes no wish"):
        rc.revise("a cat", boxes, "up", recipe={**BASE, "planner": "rows/deaf"})


@pytest.mark.parametrize("use", [(), ("background",), ("negative",), ("background", "negative")])
def test_a_planners_words_are_used_if_the_recipe_asks(registry: Any, use: tuple[str, ...]) -> None:
    recipe = {
        **BASE,
        "planner": {"name": "rows/row", "use": list(use)},
        "pictures": [{"prompt": "a cat", "negative_prompt": "fog", "seed": 1}],
    }
    entry = rc.run(recipe).recipe.pictures[0]
    assert entry.prompt == ("a cat, deep sea" if "background" in use else "a cat")
    assert entry.negative_prompt == ("fog, blur" if "negative" in use else "fog")


def test_words_that_the_branches_do_not_know_are_left_out(registry: Any) -> None:
    from dataclasses import replace

    composer = rc.Composer(
        "toy/fidelity", "toy/spatial", planner={"name": "rows/row", "use": ["background"]}, registry=registry, device="cpu"
    )
    composer.members = [replace(m, traits=replace(m.traits, vocabulary=("a", "cat", "deep"))) for m in composer.members]
    (found,) = composer.plan([Task(PictureEntry(prompt="a cat", seed=1))])
    assert found.picture.prompt == "a cat" and "do not know 'sea'" in found.remarks[-1]  # type: ignore[union-attr]


def test_all_pictures_of_a_call_are_asked_for_at_once(registry: Any) -> None:
    composer = rc.Composer("toy/fidelity", "toy/spatial", planner="rows/row", registry=registry, device="cpu", num_inference_steps=2)
    composer(["a cat", "a dog and a cow", "an owl"], seed=1)
    assert Row.batches == [3]
    with pytest.raises(PlanningError, match="1 of 2 pictures have no plan; the first: no noun"):
        composer(["a cat", "nothing"], seed=1)


def test_default_batches_and_running_loops() -> None:
    found = asyncio.run(Row().try_many([PlanRequest("a cat", (8, 8)), PlanRequest("x", (8, 8))]))
    assert isinstance(found[0], Plan) and isinstance(found[1], PlanningError)

    async def notebook() -> Any:
        return ask(Row(), [PlanRequest("a cat", (8, 8))])

    assert isinstance(asyncio.run(notebook())[0], Plan) and ask(Row(), []) == []

    async def fails() -> None:
        raise KeyError("x")

    async def within() -> None:
        finished(fails())

    for work in (fails, within):
        with pytest.raises(KeyError):
            finished(work())


# -- the verb ----------------------------------------------------------------------------------------------------------------


def test_plan_writes_a_recipe_to_edit(cli: Cli) -> None:
    done = cli("plan", "a cat and a dog", "--recipe", "base.toml", "--seed", 2, "-o", "scene.toml")
    assert done.exit_code == 0, done.output
    assert "note: depth was not checked" in done.stderr
    text = Path("scene.toml").read_text()
    assert text.startswith("# Planned by rows/row, seed 2.") and "# Note: depth was not checked" in text
    assert '"a cat" = [0.0, 0.2, 0.5, 0.9]' in text, "every box on one line"
    assert parse_text(text, ".toml").pictures[0].seed == 2
    drawn = cli("run", "scene.toml", "-o", "out", "--show", "layout")
    assert drawn.exit_code == 0, drawn.output
    assert {path.name for path in Path("out").iterdir()} == {
        "a-cat-and-a-dog.png",
        "a-cat-and-a-dog.layout.png",
        "a-cat-and-a-dog.loss.png",
    }


def test_keep_revise_and_picture(cli: Cli) -> None:
    assert cli("plan", "a cat and a dog", "--recipe", "base.toml", "-n", 3, "-o", "scene.yaml").exit_code == 0
    before = parse_text(Path("scene.yaml").read_text(), ".yaml").pictures
    assert [one.seed for one in before] == [0, 1, 2] and Image.open("scene.layouts.png").width > 700

    several = cli("plan", "--keep", "scene.yaml")
    assert several.exit_code == 2 and "it holds 3 pictures" in several.stderr
    done = cli("plan", "--revise", "scene.yaml", "up", "--picture", 1, "-o", "scene.yaml")
    assert done.exit_code == 0, done.output
    after = parse_text(Path("scene.yaml").read_text(), ".yaml").pictures
    assert after[0] == before[0] and after[2] == before[2], "the other pictures stay"
    assert [item.box[1] for item in after[1].conditions["boxes"].items] == [0.0, 0.0]  # type: ignore[attr-defined]

    text = (
        Path("base.toml").read_text()
        + '[[pictures]]\nprompt = "a cat and a dog"\nseed = 4\n[pictures.conditions.boxes]\n"a dog" = [0.1, 0.1, 0.2, 0.2]\n'
    )
    Path("half.toml").write_text(text)
    done = cli("plan", "--keep", "half.toml", "-o", "whole.toml")
    assert done.exit_code == 0, done.output
    boxes = parse_text(Path("whole.toml").read_text(), ".toml").pictures[0].conditions["boxes"].items  # type: ignore[attr-defined]
    assert [(one.phrase, one.box) for one in boxes] == [("a cat", (0.0, 0.3, 0.5, 0.9)), ("a dog", (0.1, 0.1, 0.2, 0.2))]


def test_dry_run_asks_nobody(cli: Cli) -> None:
    done = cli("plan", "a cat", "--recipe", "base.toml", "--dry-run", "-n", 2)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [one["request"]["seed"] for one in told] == [0, 1] and told[0]["sends"] == {"ask": "a cat"} and Row.batches == []


def test_some_plans_may_fail(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Row.plan

    def odd(self: Row, request: PlanRequest) -> Plan:
        if request.seed == 1:
            raise PlanningError("an odd seed", mend="another")
        return plan(self, request)

    monkeypatch.setattr(Row, "plan", odd)
    done = cli("plan", "a cat", "--recipe", "base.toml", "-n", 3, "-o", "scene.toml", "--sheet", "x/sheet.png")
    assert done.exit_code == 2 and "an odd seed" in done.stderr and Path("x/sheet.png").exists()
    assert [one.seed for one in parse_text(Path("scene.toml").read_text(), ".toml").pictures] == [0, 2]


def test_score(cli: Cli) -> None:
    Path("suite.toml").write_text(
        '[[prompt]]\nkind = "a"\ntext = "a cat left of a dog"\nobjects = [["a cat", 1], ["a dog", 1]]\n'
        'relations = [["a cat", "left of", "a dog"]]\n'
        '[[prompt]]\nkind = "b"\ntext = "a cat right of a dog"\nobjects = [["a cat", 1], ["a dog", 2]]\n'
        'relations = [["a cat", "right of", "a dog"]]\n'
        '[[prompt]]\nkind = "b"\ntext = "nothing"\nobjects = [["nothing", 1]]\n'
    )
    done = cli("plan", "--score", "suite.toml", "--recipe", "base.toml", "-o", "scores.jsonl")
    assert done.exit_code == 0, done.output
    assert re.search(r"total +3 +2 +3/5 \(60%\) +1/2 \(50%\) +1/3 \(33%\)", done.stdout), done.stdout
    rows = [json.loads(line) for line in Path("scores.jsonl").read_text().splitlines()]
    assert [row["right"] for row in rows] == [True, False, False] and Row.batches == [3]
    assert "'a dog': 1, not 2" in rows[1]["wrong"] and rows[2]["wrong"] == ["no noun"]


def test_export_and_import(cli: Cli) -> None:
    assert cli("plan", "a cat and a dog", "--recipe", "base.toml", "-n", 2, "-o", "scene.toml").exit_code == 0
    before = parse_text(Path("scene.toml").read_text(), ".toml").pictures
    for form, file in (("json", "a.json"), ("coco", "b.json"), ("lmd", "c.txt")):
        done = cli("export", "scene.toml", "--to", form, "-o", file)
        assert done.exit_code == 0, done.output
        assert ("its seed" in done.stderr) == (form != "json")
        back = cli("import", file, "--recipe", "base.toml", "-o", f"{form}.toml")
        assert back.exit_code == 0, back.output
        after = parse_text(Path(f"{form}.toml").read_text(), ".toml").pictures
        assert [one.prompt for one in after] == [one.prompt for one in before]
        again = cli("export", f"{form}.toml", "--to", form)
        assert form == "lmd" or again.stdout == Path(file).read_text()
    assert cli("run", "coco.toml", "-o", "out").exit_code == 0
    picture = cli("export", "out/a-cat-and-a-dog.png")
    assert picture.exit_code == 0 and json.loads(picture.stdout)["pictures"][0]["prompt"] == "a cat and a dog"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plan"], "the prompt is missing"),
        (["plan", "--revise", "base.toml"], "the wish is missing"),
        (["plan", "a cat", "--keep", "base.toml", "--revise", "base.toml"], "given together"),
        (["plan", "up", "--revise", "base.toml"], "it holds no pictures"),
        (["plan", "a cat", "--picture", "1", "--recipe", "base.toml"], "--picture chooses"),
        (["plan", "nothing", "--recipe", "base.toml", "-n", "2"], "2 of 2 pictures have no plan"),
        (["plan", "a cat", "--recipe", "base.toml", "-o", "none/x.toml"], "cannot be written"),
        (["plan", "--score", "genral", "--recipe", "base.toml"], "no such suite"),
        (["plan", "a cat", "--score", "general"], "asks for the prompts of its suite"),
        (["plan", "--score", "mini", "-o", "x.toml"], "something.jsonl"),
        (["export", "base.toml"], "it holds no pictures"),
        (["export", "base.toml", "--to", "xml"], "no format of layouts is called 'xml'"),
        (["import", "none.json"], "no such file"),
        (["import", "base.toml", "--from", "lmd"], "a recipe, not a layout of another program"),
        (["import", "base.toml", "--use", "seed"], "write --use background"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_of_the_user_are_messages(cli: Cli, words: list[str], told: str) -> None:
    done = cli(*words)
    assert done.exit_code == 2, done.output
    assert told in done.stderr and "mend: " in done.stderr


# -- suites ------------------------------------------------------------------------------------------------------------------


def test_suites_are_whole_and_a_perfect_planner_has_all_of_them() -> None:
    """The judge is not deaf: each label has a layout that is right, and breaking it in one way is seen."""
    from realcompo.plans.layouts.scoring import RELATIONS, SUITES, read_suite, score, table

    at = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1), "next to": (-1, 0), "on": (0, -1), "in": (0, 0)}
    assert set(at) == set(RELATIONS)
    for name in SUITES:
        scores = []
        for case in read_suite(name):
            places = {words: [1.0 + 3 * n, 5.0] for n, (words, _) in enumerate(case.objects)}
            for first, relation, second in reversed(case.relations):
                dx, dy = at[relation]
                places[first] = [places[second][0] + 2 * dx, places[second][1] + (1 if relation == "on" else 2) * dy]
            items = []
            for words, count in case.objects:
                x, y = places[words]
                items += [(words, tuple((v + 3) / 18 for v in (x + n / 9, y, x + n / 9 + 1, y + 1))) for n in range(count)]
            right = score(case, Plan(rc.Boxes(items)))
            assert right.right, right
            assert not score(case, Plan(rc.Boxes([*items[1:], ("a giraffe", (0, 0, 1, 1))]))).right
            mirrored = [(words, (1 - b[2], 1 - b[3], 1 - b[0], 1 - b[1])) for words, b in items]
            assert score(case, Plan(rc.Boxes(mirrored))).right == all(one[1] == "next to" for one in case.relations)
            scores.append(right)
        assert table(scores)[-1][1] == table(scores)[-1][5] == len(scores) >= 16
