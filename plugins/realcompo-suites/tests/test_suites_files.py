"""Public suites: names, seeds and folders are those that their own programs read, and their programs' files are read as they write them."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from realcompo_suites.coco import CocoBoxes
from realcompo_suites.compbench import RESULTS, USUAL, CompBench
from realcompo_suites.conformance import write_coco, write_compbench, write_geneval
from realcompo_suites.geneval import GenEval
from realcompo_suites.layouts import LayoutFile
from realcompo_suites.options import CATEGORIES, CocoOptions, CompBenchOptions, GenEvalOptions, LayoutOptions

from realcompo.conditions import Boxes
from realcompo.errors import BadOption
from realcompo.evaluation.run import Evaluation, evaluate
from realcompo.plans.layouts import Layout, write_layouts
from realcompo.testing import toy_registry, toys

ALONE = 'branches = ["toy/fidelity"]\nnum_inference_steps = 2\ndevice = "cpu"\n'


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Evaluate a suite by a toy, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REALCOMPO_CONFIG", str(tmp_path / "none.toml"))
    (tmp_path / "toy.toml").write_text(ALONE)
    registry = toy_registry(EntryPoint("suites", "realcompo_suites", "realcompo"))

    def run(suite: str, *options: str, **more: Any) -> Evaluation:
        return evaluate(suite, ["toy.toml"], "out", options=options, registry=registry, **more)

    return run


def test_compbench_names_and_seeds(tmp_path: Path) -> None:
    """As its inference script writes them: PROMPT_ID.png in samples, IDs counting through the category, seeds 42 to 51 for each prompt."""
    suite = CompBench(CompBenchOptions(folder=str(write_compbench(tmp_path)), categories=("color", "spatial")))
    cases = suite.cases()
    assert len(cases) == 30 and [case.seed for case in cases[:10]] == list(range(42, 52)) == [case.seed for case in cases[10:20]]
    assert cases[0].file == "color/samples/a green bench and a red car_000000" and cases[19].file == "color/samples/a blue cat_000019"
    assert cases[20].file == "spatial/samples/a dog on the left of a cat_000000", "what follows a tab is no prompt"
    assert [case.seed for case in suite.cases(seed=7)[:2]] == [7, 8]
    assert set(USUAL) == set(CATEGORIES) and set(USUAL.values()) == set(RESULTS)
    with pytest.raises(BadOption, match=r"texture_val\.txt: there are no such prompts"):
        CompBench(CompBenchOptions(folder=str(tmp_path), categories=("texture",))).cases()
    with pytest.raises(BadOption, match=r"no folder of prompt files is named"):
        CompBench(CompBenchOptions()).cases()


def test_compbench_results_are_read_as_they_are_numbered(draw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture of eight cannot be drawn. BLIP's answers count the seven that are there, UniDet's carry the ID."""
    encode, seen = toys.ToyBranch.encode, []

    def bad(self: Any, request: Any) -> Any:
        told = encode(self, request)
        seen.append(request.prompts[0])
        if "bench" in request.prompts[0] and seen.count(request.prompts[0]) == 2:
            told.mean[0, 0, 0, 0] = float("nan")
        return told

    monkeypatch.setattr(toys.ToyBranch, "encode", bad)
    told = [f"folder={write_compbench(tmp_path / 'prompts')}", 'categories=["color", "spatial"]', "images=4"]
    first = draw("suites/t2i-compbench", *told)
    assert first.table.rows[0].failed == 1 and first.table.columns == {}
    pictures = Path("out/toy/pictures")
    names = sorted(path.name for path in (pictures / "color" / "samples").iterdir())
    assert len(names) == 7 and "a green bench and a red car_000001.png" not in names
    with pytest.raises(BadOption, match=r"T2I-CompBench's scorer \(blip\) has not written it yet"):
        draw("suites/t2i-compbench", *told, scorers=["suites/compbench-files"], draws=False)
    blip = [{"question_id": n, "answer": f"{n / 10:.4f}"} for n in range(7)]
    unidet = [{"question_id": n, "answer": 1 - n / 10} for n in (3, 1, 0, 2)]
    for folder, place, answers in (("color", "annotation_blip", blip), ("spatial", "labels/annotation_obj_detection_2d", unidet)):
        (pictures / folder / place).mkdir(parents=True)
        (pictures / folder / place / "vqa_result.json").write_text(json.dumps(answers))
    found = draw("suites/t2i-compbench", *told, scorers=["suites/compbench-files"], draws=False)
    (row,) = found.table.rows
    assert row.kinds["color"]["suites/compbench-files.score"] == pytest.approx(sum(range(7)) / 70)
    assert row.kinds["spatial"]["suites/compbench-files.score"] == pytest.approx((1 + 0.9 + 0.8 + 0.7) / 4)
    lines = [json.loads(line) for line in Path("out/toy/suites-compbench-files.jsonl").read_text("utf-8").splitlines()]
    scores = {line["case"]: line["score"]["score"] for line in lines}
    assert scores["color-000002"] == pytest.approx(0.1), "the second that is there"
    assert scores["spatial-000003"] == pytest.approx(0.7)
    assert "| toy | 0.300 | 0.850 |" in Path("out/table.md").read_text("utf-8")


def test_geneval_folders(draw: Any, tmp_path: Path) -> None:
    """NNNNN/samples/NNNNN.png and NNNNN/metadata.jsonl, which its program reads with json.load."""
    path = write_geneval(tmp_path / "meta.jsonl")
    cases = GenEval(GenEvalOptions(metadata=str(path))).cases()
    assert [case.file for case in cases[:5]] == [*(f"00000/samples/{n:05d}" for n in range(4)), "00001/samples/00000"]
    assert [case.seed for case in cases[:5]] == [42, 43, 44, 45, 42] and {case.kind for case in cases} >= {"counting", "colors"}
    draw("suites/geneval", f"metadata={path}", "images=1")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for number, row in enumerate(rows):
        folder = Path(f"out/toy/pictures/{number:05d}")
        assert json.loads((folder / "metadata.jsonl").read_text("utf-8")) == row
        assert [one.name for one in (folder / "samples").iterdir()] == ["00000.png"]
    path.write_text('{"prompt": "a cat"}\n')
    with pytest.raises(BadOption, match="no prompt and tag"):
        GenEval(GenEvalOptions(metadata=str(path))).cases()


def test_coco_sentences_name_every_object(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "instances.json")
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({"annotations": [{"image_id": 7, "id": 1, "caption": "Two friends at home. "}]}))
    cases = CocoBoxes(CocoOptions(instances=str(path), captions=str(captions), images=2)).cases()
    assert [case.prompt for case in cases[::2]] == ["Two friends at home with a cat and a dog", "a photo with an apple"]
    boxes = cases[0].conditions["boxes"]
    assert isinstance(boxes, Boxes)
    assert [cases[0].prompt[slice(*(item.span or (0, 0)))] for item in boxes.items] == ["a cat", "a dog"]
    assert [item.box for item in boxes.items] == [(0, 0.2, 0.4, 0.8), (0.5, 0.1, 1, 1)], "pixels to shares"
    assert len(CocoBoxes(CocoOptions(instances=str(path), least=2)).cases()) == 1
    with pytest.raises(BadOption, match="none of its pictures has such objects"):
        CocoBoxes(CocoOptions(instances=str(path), least=3)).cases()
    path.write_text("{}")
    with pytest.raises(BadOption, match="it has no images"):
        CocoBoxes(CocoOptions(instances=str(path))).cases()


def test_a_file_of_layouts_is_a_suite(tmp_path: Path) -> None:
    items = Boxes({"a cat": (0, 0.2, 0.4, 0.9)}).items
    write_layouts([Layout("a cat", items), Layout("a cat", items)], tmp_path / "x.json", "json")
    cases = LayoutFile(LayoutOptions(file=str(tmp_path / "x.json"), images=2)).cases()
    assert [case.id for case in cases] == ["a-cat-0", "a-cat-1", "a-cat-2-0", "a-cat-2-1"] and cases[0].conditions["boxes"] == Boxes(
        list(items)
    )
