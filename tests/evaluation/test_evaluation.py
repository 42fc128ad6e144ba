"""Evaluations of toys: what is drawn, judged, kept and told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from realcompo.cli import app
from realcompo.draw.batch import draw
from realcompo.errors import BadOption, BadPicture, PlanningError, PluginProblem, UnknownName
from realcompo.evaluation import drawing
from realcompo.evaluation.lines import Lines
from realcompo.evaluation.run import Evaluation, EvaluationInterrupted, Silent, evaluate
from realcompo.evaluation.tables import markdown
from realcompo.plans.layouts import read_layouts
from realcompo.recipes.configuration import resolve
from realcompo.recipes.recipe import PictureEntry
from realcompo.registry import Registry
from realcompo.testing import toy_registry, toys
from realcompo.testing.scenes import ToyLight, ToySceneOptions, ToyScenes
from tests.toyworld import toys_installed

BOTH = 'branches = ["toy/fidelity", "toy/spatial"]\nnum_inference_steps = 3\ndevice = "cpu"\n'
ALONE = 'branches = ["toy/fidelity"]\nnum_inference_steps = 3\ndevice = "cpu"\n'


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registry:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "testing" / "broken"))
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both.toml").write_text(BOTH)
    (tmp_path / "alone.toml").write_text(ALONE)
    found: Registry = toy_registry(EntryPoint("passing", "passing", "realcompo"))
    return found


def run(registry: Registry, *recipes: str, **more: Any) -> Evaluation:
    return evaluate("toy/scenes", recipes, "out", registry=registry, **{"options": ["count=4"], **more})


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def break_prompts(monkeypatch: pytest.MonkeyPatch, word: str, error: Exception | None = None) -> None:
    """A toy whose text is NaN, or that raises, where a word is in the prompt."""
    encode = toys.ToyBranch.encode

    def bad(self: Any, request: Any) -> Any:
        told = encode(self, request)
        for b, prompt in enumerate(request.prompts):
            if word in prompt and error is not None:
                raise error
            if word in prompt:
                told.mean[b, 0, 0, 0] = float("nan")
        return told

    monkeypatch.setattr(toys.ToyBranch, "encode", bad)


# -- drawing -----------------------------------------------------------------------------------------------------------------


def test_the_pictures_are_those_of_run(registry: Registry) -> None:
    """A recipe with the suite's pictures in it, drawn by `realcompo run`, gives the same pixels."""
    run(registry, "both.toml")
    cases = ToyScenes(ToySceneOptions(count=4)).cases()
    pictures = tuple(PictureEntry(prompt=c.prompt, seed=c.seed, conditions=dict(c.conditions), name=c.id) for c in cases)
    recipe = resolve(Path("both.toml"), registry=registry).recipe.model_copy(update={"pictures": pictures})
    draw(recipe, "run", registry=registry)
    for case in cases:
        ours, theirs = (Image.open(f"{folder}/{case.id}.png") for folder in ("out/both/pictures", "run"))
        assert ours.tobytes() == theirs.tobytes()
    assert len(list(Path("out/both/pictures").iterdir())) == len(cases) == 8


def test_every_line_is_counted_by_hand(registry: Registry) -> None:
    """The table is what its lines say, the toy scorer what its pixels say."""
    found = run(registry, "both.toml", "alone.toml")
    for row in found.table.rows:
        scores = [line["score"] for line in lines(f"out/{row.name}/toy-light.jsonl")]
        assert row.figures["toy/light.lit"].value == pytest.approx(sum(s["lit"] for s in scores) / sum(s["boxes"] for s in scores))
        assert row.figures["toy/light.gain"].value == pytest.approx(sum(s["gain"] for s in scores) / 8)
        colours = np.array([line["score"]["colour"] for line in lines(f"out/{row.name}/toy-spread.jsonl")])
        assert row.figures["toy/spread.spread"].value == pytest.approx(float(np.abs(colours.mean(axis=0) - 127.5).sum()))
    both, alone = found.table.rows
    assert both.figures["toy/light.lit"].value > 0.9 and alone.figures["toy/light.lit"].value < 0.9, "regions are lit where they are drawn"
    gap = alone.gaps["toy/light.gain"]
    assert gap.value == pytest.approx(alone.figures["toy/light.gain"].value - both.figures["toy/light.gain"].value) and gap.high < 0
    assert not both.gaps and (both.drawn, both.failed) == (8, 0)
    assert {path.name for path in found.files} == {"table.md", "table.json", "frontier.png"}
    assert json.loads(Path("out/table.json").read_text("utf-8"))["rows"][1]["gaps"]["toy/light.gain"]["value"] == gap.value


def test_a_poisoned_picture_is_recorded_and_the_rest_goes_on(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    word = ToyScenes(ToySceneOptions(count=4)).cases()[2].prompt.split()[1]
    clean = run(registry, "both.toml", batch_size=3)
    whole = {line["case"]: line for line in lines("out/both/drawn.jsonl")}
    Path("out").rename("clean")
    with monkeypatch.context() as patch:
        break_prompts(patch, word)
        found = run(registry, "both.toml", batch_size=3)
        drawn = {line["case"]: line for line in lines("out/both/drawn.jsonl")}
        before = Path("out/both/drawn.jsonl").read_bytes()
        run(registry, "both.toml", batch_size=3)
        assert Path("out/both/drawn.jsonl").read_bytes() == before, "what failed is not tried again unasked"
    bad = {id for id, line in drawn.items() if "error" in line}
    assert bad and len(drawn) == 8 and set(found.failed["both"]) == bad and "NaN" in next(iter(found.failed["both"].values()))
    assert [drawn[id]["pixels"] for id in drawn if id not in bad] == [whole[id]["pixels"] for id in whole if id not in bad]
    assert found.table.rows[0].failed == len(bad) and found.table.common == 8 - len(bad) < clean.table.common
    again = run(registry, "both.toml", batch_size=3, retry=True)
    assert again.table == clean.table and not again.failed


def test_a_plugin_that_stumbles_over_one_prompt(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    word = ToyScenes(ToySceneOptions(count=4)).cases()[2].prompt.split()[1]
    break_prompts(monkeypatch, word, IndexError("list index out of range"))
    found = run(registry, "both.toml", batch_size=4)
    assert {"IndexError: list index out of range"} == set(found.failed["both"].values()) and found.table.common > 0
    break_prompts(monkeypatch, "a ", IndexError("always"))
    with pytest.raises(PluginProblem, match=r"all of the first 8 pictures failed; the first: IndexError: always"):
        run(registry, "alone.toml")


def test_a_recipe_that_cannot_be_drawn_ends_the_run_before_any_picture(registry: Registry) -> None:
    Path("bad.toml").write_text(BOTH.replace("toy/spatial", "toy/fidelity-v"))
    with pytest.raises(BadOption):
        run(registry, "both.toml", "bad.toml")
    assert not Path("out/both").exists()


def test_what_is_not_this_recipes_is_not_written_over(registry: Registry) -> None:
    run(registry, "both.toml")
    Path("both.toml").write_text(BOTH.replace("3", "4"))
    with pytest.raises(BadPicture, match=r"not what this recipe asks for"):
        run(registry, "both.toml")
    before = Path("out/both/pictures/0-0.png").read_bytes()
    found = run(registry, "both.toml", overwrite=True)
    assert Path("out/both/pictures/0-0.png").read_bytes() != before and found.table.common == 8


def test_a_folder_is_of_one_suite_and_one_run(registry: Registry) -> None:
    run(registry, "both.toml")
    with pytest.raises(BadOption, match="it holds another evaluation"):
        run(registry, "both.toml", options=["count=5"])
    with pytest.raises(BadOption, match="it holds another evaluation"):
        run(registry, "both.toml", seed=7)

    class Second(Silent):
        def part(self, what: str, name: str, done: int, total: int) -> None:
            with pytest.raises(BadOption, match="another run is at work"):
                run(registry, "both.toml")
            told.append(what)

    told: list[str] = []
    run(registry, "alone.toml", watch=Second())
    assert {"drawing", "toy/light", "toy/spread"} <= set(told)


def test_more_pictures_can_follow(registry: Registry) -> None:
    assert run(registry, "both.toml", limit=3).table.common == 3
    few = {path.name: path.stat().st_mtime_ns for path in Path("out/both/pictures").iterdir()}
    assert len(few) == 3
    found = run(registry, "both.toml")
    assert found.table.common == 8 and {name: Path(f"out/both/pictures/{name}").stat().st_mtime_ns for name in few} == few
    assert {case.rsplit("-", 1)[0] for case in _cases_of(registry, scenes=1)} == {"0", "1"}, "one scene of each kind"


def _cases_of(registry: Registry, **more: Any) -> Sequence[str]:
    evaluate("toy/scenes", ["alone.toml"], "few", registry=registry, options=["count=4"], **more)
    return [line["case"] for line in lines("few/alone/drawn.jsonl")]


def test_ctrl_c_stops_and_a_second_start_goes_on(registry: Registry) -> None:
    whole = evaluate("toy/scenes", ["both.toml"], "whole", registry=registry, options=["count=4"], batch_size=3)

    class Stop(Silent):
        def part(self, what: str, name: str, done: int, total: int) -> None:
            if done == 4:
                raise KeyboardInterrupt

    with pytest.raises(EvaluationInterrupted, match=r"stopped: what is finished is in out; the same command goes on"):
        run(registry, "both.toml", batch_size=3, watch=Stop())
    assert len(lines("out/both/drawn.jsonl")) == 4
    assert run(registry, "both.toml", batch_size=3).table == whole.table
    assert Path("out/both/drawn.jsonl").read_bytes() == Path("whole/both/drawn.jsonl").read_bytes()


def test_a_finished_evaluation_draws_and_judges_nothing(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(registry, "both.toml")
    monkeypatch.setattr(ToyLight, "score", lambda *_: pytest.fail("it was judged again"))
    monkeypatch.setattr(drawing, "attempt", lambda *_, **__: pytest.fail("it was drawn again"))
    assert run(registry, "both.toml").table == first.table
    assert run(registry, draws=False).table == first.table, "the folder knows its recipes"
    assert run(registry, draws=False, judges=False).table == first.table


def test_pictures_of_another_recipe_are_not_told_as_this_ones(registry: Registry) -> None:
    run(registry, "both.toml")
    Path("both.toml").write_text(BOTH.replace("3", "4"))
    with pytest.raises(BadOption, match="drawn by another recipe"):
        run(registry, "both.toml", draws=False)


def test_a_strangers_folder_turns_nothing_on(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe.json that a folder brings is as little trusted as a picture's; links in it lead nowhere."""
    run(registry, "both.toml", limit=1)
    plain = json.loads(Path("out/both/recipe.json").read_text("utf-8"))
    plain["branches"][0]["options"] = {"shift": 0.3}
    monkeypatch.setattr(toys.ToyOptions, "guarded", frozenset({"shift"}), raising=False)
    kept = Path("out/both/recipe.json").read_text("utf-8")
    Path("out/both/recipe.json").write_text(json.dumps(plain), "utf-8")
    with pytest.raises(BadOption, match=r"recipe\.json.*turns shift on, which a stranger's recipe could misuse"):
        run(registry)
    Path("out/both/recipe.json").write_text(kept, "utf-8")
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    for name in ("table.md", "both/drawn.jsonl", "both/toy-light.jsonl"):
        Path(f"out/{name}").unlink()
        Path(f"out/{name}").symlink_to(outside)
        try:
            run(registry, "both.toml", limit=1)
        except BadOption as error:
            assert "cannot be written" in error.what
        assert outside.read_text() == "mine"
        Path(f"out/{name}").unlink(missing_ok=True)


def test_other_options_of_a_scorer_judge_anew(registry: Registry) -> None:
    """A line holds what was judged: pictures that changed, or a scorer's other words, are judged again."""
    run(registry, "both.toml")
    text = Path("out/both/toy-light.jsonl").read_text("utf-8")
    Path("out/both/toy-light.jsonl").write_text(text.replace('"asked": "', '"asked": "other'), "utf-8")
    assert run(registry, "both.toml", draws=False, judges=False).table.common == 0
    assert run(registry, "both.toml", draws=False).table.common == 8
    image = Image.open("out/both/pictures/0-0.png")
    image.putpixel((0, 0), (1, 2, 3))
    image.save("out/both/pictures/0-0.png")
    Path("out/both/toy-light.jsonl").unlink()
    with pytest.raises(BadPicture, match="not those that were drawn"):
        run(registry, "both.toml", draws=False)


# -- layouts -----------------------------------------------------------------------------------------------------------------


def test_layouts_are_planned_once_for_all_recipes_and_noises(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("both.toml").write_text(BOTH + 'planner = "passing/row"\n')
    Path("other.toml").write_text(BOTH.replace("3", "2"))
    options = ["count=4", "placed=false"]
    run(registry, "both.toml", "other.toml", options=options)
    planned = lines("out/layouts.jsonl")
    assert [line["scene"] for line in planned] == [f"scene {n}" for n in range(4)]
    published = read_layouts("out/layouts.json")
    assert [layout.name for layout in published] == [f"scene {n}" for n in range(4)]
    from realcompo.pictures.png import read_recipe

    for name in ("0-0", "0-1"):
        for recipe in ("both", "other"):
            (picture,) = read_recipe(f"out/{recipe}/pictures/{name}.png").recipe.pictures
            assert picture.conditions["boxes"].items[0].box == published[0].items[0].box
    from passing.planner import Row

    with monkeypatch.context() as patch:
        patch.setattr(Row, "plan", lambda *_: pytest.fail("it was planned again"))
        run(registry, "both.toml", "other.toml", options=options)
    changed = [{**line, "prompt": "a unicorn"} if line["scene"] == "scene 0" else line for line in planned]
    Path("out/layouts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed), "utf-8")
    run(registry, "both.toml", "other.toml", options=options)
    assert [line["prompt"] for line in lines("out/layouts.jsonl")] == [*(line["prompt"] for line in changed), planned[0]["prompt"]]


def test_a_scene_without_a_plan_is_recorded_and_the_rest_goes_on(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    import passing.planner

    Path("both.toml").write_text(BOTH + 'planner = "passing/row"\n')
    plan = passing.planner.Row.plan

    def fussy(self: Any, request: Any) -> Any:
        if " and " in request.prompt:
            raise PlanningError("two are too many", mend="ask for one")
        return plan(self, request)

    monkeypatch.setattr(passing.planner.Row, "plan", fussy)
    found = run(registry, "both.toml", "alone.toml", options=["count=4", "placed=false"], scorers=["toy/spread"])
    assert found.table.common == 4 and set(found.failed) == {"both"} and "two are too many" in found.failed["both"]["1-0"]
    assert found.table.rows[1].drawn == 8, "who needs no layout draws all"
    monkeypatch.setattr(passing.planner.Row, "plan", plan)
    again = run(registry, "both.toml", "alone.toml", options=["count=4", "placed=false"], scorers=["toy/spread"], retry=True)
    assert again.table.common == 8 and not again.failed


def test_a_planners_own_words_are_kept(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that uses the planner's background has it after the prompt of every noise, as `realcompo run` would; one without spatial
    branches has not."""
    import dataclasses

    import passing.planner

    from realcompo.pictures.png import read_recipe

    plan = passing.planner.Row.plan
    monkeypatch.setattr(passing.planner.Row, "plan", lambda self, request: dataclasses.replace(plan(self, request), background="on snow"))
    Path("both.toml").write_text(BOTH + 'planner = {name = "passing/row", use = ["background"]}\n')
    run(registry, "both.toml", "alone.toml", options=["count=2", "placed=false"])
    prompts = {name: read_recipe(f"out/{name}/pictures/1-1.png").recipe.pictures[0].prompt for name in ("both", "alone")}
    assert prompts["both"] == f"{prompts['alone']}, on snow"


def test_nobody_plans(registry: Registry) -> None:
    with pytest.raises(BadOption, match=r"no recipe names a planner"):
        run(registry, "both.toml", options=["placed=false"])


# -- words -------------------------------------------------------------------------------------------------------------------


def test_wrong_words_are_answered(registry: Registry) -> None:
    for more, error, said in (
        ({"scorers": ["toy/dark"]}, UnknownName, "no scorer is called"),
        ({"options": ["count"]}, BadOption, "NAME=VALUE"),
        ({"options": ["cuont=3"]}, BadOption, "did you mean 'count'"),
        ({"options": ["toy/dark.x=3"]}, BadOption, "no scorer of this run"),
        ({"against": "nobody"}, BadOption, "no recipe is called"),
        ({"column": "nothing"}, BadOption, "no column is called"),
        ({"batch_size": 0}, BadOption, "batch_size = 0"),
        ({"draws": False}, BadOption, "nothing was drawn here"),
    ):
        with pytest.raises(error, match=said):
            evaluate("toy/scenes", ["alone.toml"], f"out-{said}", registry=registry, limit=1, **more)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="two recipes are called 'both'"):
        run(registry, "both.toml", "both=alone.toml")
    with pytest.raises(BadOption, match="no recipe is named"):
        evaluate("toy/scenes", [], "nowhere", registry=registry)


def test_a_torn_line_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    first = Lines(path, "case")
    first.add({"case": "a", "n": 1})
    first.add({"case": "b", "text": "two\u2028lines"})
    path.write_bytes(path.read_bytes() + b'{"case": "c", "n"')
    assert len(Lines(path, "case", writing=False)) == 2 and path.read_bytes().endswith(b'"n"')
    again = Lines(path, "case")
    again.add({"case": "c", "n": 3})
    assert [json.loads(line)["case"] for line in path.read_text("utf-8").split("\n")[:-1]] == ["a", "b", "c"]
    assert (again.get("b") or {})["text"] == "two\u2028lines"
    with pytest.raises(BadOption, match="no plain data"):
        again.add({"case": "d", "n": float("nan")})


# -- command -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    module = ModuleType("evaluation_test_plugin")
    module.__dict__["REALCOMPO_API"] = 1
    (tmp_path / "both.toml").write_text(BOTH)
    (tmp_path / "alone.toml").write_text(ALONE)
    with toys_installed("evaluation-test", module, monkeypatch, tmp_path):
        yield lambda *words: CliRunner().invoke(app, [*words])


def test_the_command(cli: Any) -> None:
    done = cli("eval", "toy/scenes", "both.toml", "plain=alone.toml", "-o", "out", "--limit", "4", "--against", "plain", "-q")
    assert done.exit_code == 0, done.output
    assert "## Against plain" in done.output and "out/frontier.png" in done.output
    assert Path("out/table.md").read_text("utf-8") in done.output
    table = cli("eval", "toy/scenes", "-o", "out", "--limit", "4", "--table", "--frontier", "spread")
    assert table.exit_code == 0 and "| plain |" in table.output
    bad = cli("eval", "toy/scenes", "both.toml", "-o", "out", "--with", "count=3")
    assert bad.exit_code == 2 and "choose another folder" in bad.output
    shown = cli("list").output
    assert "toy/scenes" in shown and "toy/light" in shown and "suites" in shown
    assert "reads" in cli("show", "toy/light").output and "toy/spread" in cli("show", "toy/scenes").output


def test_ctrl_c_on_the_command_line(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drawing.Drawing, "draw", stop)
    done = cli("eval", "toy/scenes", "both.toml", "-o", "out")
    assert done.exit_code == 130 and "the same command goes on from here" in done.output


def test_a_table_without_scorers(registry: Registry) -> None:
    found = run(registry, "alone.toml", scorers=[], limit=2)
    assert "| alone | 0.0 | 2 | 0 |" in markdown(found.table) and len(found.files) == 2
