"""Layout files: export ∘ import ∘ export is byte-identical, boxes stay within half a pixel, what a format cannot hold is named."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import realcompo as rc
from realcompo.conditions import BoxItem, Keypoints
from realcompo.errors import BadCondition, BadOption, RealCompoError
from realcompo.plans.layouts import (
    FORMATS,
    SCHEMA_FILE,
    Layout,
    dump_layouts,
    layout_of,
    parse_layouts,
    picture_of,
    read_layouts,
    schema_text,
    write_layouts,
)
from realcompo.plans.layouts.literal import read_literal, write_text
from realcompo.recipes.recipe import PictureEntry
from tests import examples

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=16)
PHRASES = TEXTS.filter(lambda text: bool(text.strip()))


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Any layout, awkward texts and very thin boxes included."""
    shares = st.one_of(st.floats(0, 1, allow_subnormal=False), st.sampled_from([0.0, 1e-9, 0.5, 0.500001, 1 - 1e-9, 1.0]))
    items = []
    for _ in range(draw(st.integers(0, 3))):
        (x0, x1), (y0, y1) = (sorted(draw(st.lists(shares, min_size=2, max_size=2, unique=True))) for _ in range(2))
        span = draw(st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)))
        items.append({"phrase": draw(PHRASES), "box": (x0, y0, x1, y1), "span": span, "id": draw(st.sampled_from(["", "", "", "mine"]))})
    try:
        made = rc.Boxes(items).items
    except BadCondition:  # "mine" twice
        assume(False)
    size = draw(st.tuples(st.integers(1, 3000), st.integers(1, 3000)))
    return Layout(draw(TEXTS), made, draw(TEXTS), draw(TEXTS), size, draw(st.none() | st.integers(0, 9)), draw(st.none() | TEXTS))


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=examples(40))
@given(several=st.lists(layouts(), min_size=1, max_size=2))
def test_export_import_export_is_the_same_bytes(form: str, several: list[Layout]) -> None:
    text, _ = dump_layouts(several, form)
    back = parse_layouts(text, form)
    assert dump_layouts(back, form)[0].encode() == text.encode()
    assert len(back) == len(several)
    for one, other in zip(several, back, strict=True):
        height, width = (512, 512) if form == "lmd" else one.size
        assert [item.phrase for item in other.items] == [item.phrase for item in one.items]
        for a, b in zip(one.items, other.items, strict=True):
            assert all(abs(x - y) * side <= 0.5 + 1e-9 for x, y, side in zip(a.box, b.box, (width, height, width, height), strict=True))


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=examples(30))
@given(one=layouts())
def test_what_is_lost_is_named_and_nothing_else(form: str, one: Layout) -> None:
    """Each part that reads back otherwise is named; the control: a format that names nothing gives the layout back."""
    text, lost = dump_layouts([one], form)
    (back,) = parse_layouts(text, form)
    told = "\n".join(lost)
    parts = {
        "seed": one.seed != back.seed,
        "name": (one.name or None) != (back.name or None),
        "size": one.size != back.size,
        "ids": [item.id for item in one.items] != [item.id for item in back.items],
        "spans": [item.span for item in one.items] != [item.span for item in back.items],
        "negative prompt": one.negative_prompt != back.negative_prompt,
        "background": one.background != back.background,
        " prompt": one.prompt != back.prompt,
    }
    missing = [name for name, changed in parts.items() if changed and name not in told]
    assert not missing, (missing, told)
    if form == "json":
        assert lost == [] and back == one


def test_texts_of_lmd_are_read_as_python_would_but_not_evaluated() -> None:
    """Python's own literal_eval, which the reader does not use, is the judge."""
    for text in (
        "['a']",
        "[(\"it's\", [1, 2.5, -3, .5]), ('q\"', [])]",
        "[1, (2, 3), [4,],]",
        r"['\x41\u00e9\n\\']",
        "[]",
        "()",
        "[1e3, +2]",
    ):
        assert read_literal(text, "x")[0] == _lists(ast.literal_eval(text))
    for text in (
        "__import__('os')",
        "[1 + 1]",
        "['a' 'b']",
        "[x]",
        "['a",
        "[1",
        "[[[[[[[[[[1]]]]]]]]]]",
        "['\\ud800']",
        "{1: 2}",
        "[" * 99999,
    ):
        with pytest.raises(BadCondition):
            read_literal(text, "x")


@settings(max_examples=examples(80))
@given(TEXTS)
def test_texts_are_written_on_one_line_and_read_back(text: str) -> None:
    written = write_text(text)
    assert "\n" not in written and read_literal(written, "x")[0] == text == ast.literal_eval(written)


def _lists(value: Any) -> Any:
    return [_lists(one) for one in value] if isinstance(value, (list, tuple)) else value


# -- other people's files ----------------------------------------------------------------------------------------------------

LMD = """Caption: A realistic image of a green car parking on the left of a blue truck
Objects: [('a green car', [21, 281, 211, 159]), ('a blue truck', [269, 283, 209, 160])]
Background prompt: A realistic landscape scene
Negative prompt: fog
"""


def test_lmds_own_form() -> None:
    (one,) = parse_layouts(LMD)
    assert one.items[0].phrase == "a green car" and one.items[0].box == (21 / 512, 281 / 512, 232 / 512, 440 / 512)
    assert (one.background, one.negative_prompt, one.prompt[:11]) == ("A realistic landscape scene", "fog", "A realistic")
    picture, remarks = picture_of(one)
    assert picture.negative_prompt == "fog" and "landscape" not in picture.prompt and any("landscape" in remark for remark in remarks)
    assert picture_of(one, use=["background"])[0].prompt.endswith(", A realistic landscape scene")
    bare = "[('a cat', [0, 0, 100, 100]), ('a cat', [200, 0, 100, 100])]\nBackground prompt: a street\nNegative prompt:\n"
    (other,) = parse_layouts(bare)
    assert [item.id for item in other.items] == ["a cat", "a cat#2"]
    picture, remarks = picture_of(other)
    assert picture.prompt == "a cat" and "holds no prompt" in remarks[0]
    assert len(parse_layouts(LMD + "\n" + bare + LMD)) == 3


def test_cocos_own_form(tmp_path: Path) -> None:
    data = {
        "info": {"year": 2017},
        "images": [{"id": 9, "file_name": "000000000009.jpg", "width": 640, "height": 480, "license": 1}],
        "annotations": [
            {
                "id": 5,
                "image_id": 9,
                "category_id": 17,
                "bbox": [10.5, 20.0, 100.0, 50.25],
                "segmentation": [[1, 2, 3, 4, 5, 6]],
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": 17, "name": "cat", "supercategory": "animal"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(data))
    (one,) = read_layouts(tmp_path / "coco.json")
    assert one.size == (480, 640) and one.name == "000000000009" and one.items[0].phrase == "cat"
    assert one.items[0].box == pytest.approx((10.5 / 640, 20 / 480, 110.5 / 640, 70.25 / 480))
    results = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}]
    with pytest.raises(BadCondition, match="how many pixels"):
        parse_layouts(json.dumps(results))


BAD = {
    "lmd": ["", "hello", "Objects: 3", "Objects: [('a cat')]", "Objects: [('a cat', [1, 2, 3])]", "Objects: [('a cat', [1, 2, -3, 4])]",
            "Objects: [('a cat', [500, 2, 30, 4])]", "Objects: [('', [1, 2, 3, 4])]", "Caption: x", "Objects: [(1, [1, 2, 3, 4])]"],
    "json": ["", "{", "[]", "{}", '{"format": "realcompo-layout", "pictures": 3}',
             '{"format": "realcompo-layout", "pictures": [{"prompt": "a", "objects": [{"phrase": "a", "box": [0, 0, 0, 1]}]}]}',
             '{"format": "realcompo-layout", "pictures": [{"prompt": "a", "objects": [{"phrase": " ", "box": [0, 0, 1, 1]}]}]}',
             '{"format": "realcompo-layout", "pictures": [{"prompt": "a", "objects": [{"phrase": "a", "box": [0, 0, NaN, 1]}]}]}',
             '{"format": "realcompo-layout", "version": 2, "pictures": []}', "[" * 100_000],
    "coco": ["", "3", '{"images": 3}', '{"images": [{"id": 1, "width": 5, "height": 5}], "annotations": [{"image_id": 1}]}',
             '{"images": [{"id": 1, "width": 5, "height": 5}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}]}',
             '{"images": [{"id": 1, "width": 5, "height": 5}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 1]}],'
             ' "categories": [{"id": 1, "name": "a"}]}', '{"images": [null], "annotations": [null]}'],
}  # fmt: skip


@pytest.mark.parametrize(("form", "text"), [(form, text) for form, texts in BAD.items() for text in texts])
def test_bad_files_are_errors_of_ours(form: str, text: str) -> None:
    with pytest.raises(RealCompoError) as caught:
        parse_layouts(text, form)
    assert caught.value.mend


def test_bad_paths_and_formats(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none", tmp_path / "binary", tmp_path):
        with pytest.raises(BadCondition):
            read_layouts(path)
    with pytest.raises(BadOption, match="coc"):
        dump_layouts([], "coc")
    with pytest.raises(BadOption, match="cannot be written"):
        write_layouts([], tmp_path / "none" / "x.json", "json")


# -- the schema, and recipes -------------------------------------------------------------------------------------------------


def test_the_shipped_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "write it again: realcompo show layout --schema > realcompo/plans/layouts/layout.schema.json"
    )


@settings(max_examples=examples(20))
@given(several=st.lists(layouts(), max_size=2))
def test_what_is_exported_is_of_the_schema(several: list[Layout]) -> None:
    """Judged by a few lines of JSON schema that share nothing with the models; the control: a broken file is not of it."""
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    data = json.loads(dump_layouts(several, "json")[0])
    assert list(complaints(data, schema, schema)) == []
    assert list(complaints({**data, "more": 1}, schema, schema)) and list(complaints({**data, "pictures": [{"prompt": 3}]}, schema, schema))


def complaints(data: Any, schema: Any, root: Any) -> Any:
    """The words of JSON schema that ours uses."""
    if "$ref" in schema:
        yield from complaints(data, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema and all(list(complaints(data, one, root)) for one in schema["anyOf"]):
        yield f"{data!r} is none of them"
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    if "type" in schema and not isinstance(data, kinds[schema["type"]]):
        yield f"{data!r} is no {schema['type']}"
        return
    if "const" in schema and data != schema["const"]:
        yield f"{data!r} is not {schema['const']!r}"
    if schema.get("type") in ("integer", "number") and not schema.get("minimum", data) <= data <= schema.get("maximum", data):
        yield f"{data!r} is out of bounds"
    if isinstance(data, dict) and schema.get("type") == "object":
        yield from (f"{name} is missing" for name in schema.get("required", ()) if name not in data)
        for name, value in data.items():
            if name in schema["properties"]:
                yield from complaints(value, schema["properties"][name], root)
            elif schema.get("additionalProperties") is False:
                yield f"{name} is unknown"
    if schema.get("type") == "array":
        parts = schema.get("prefixItems") or [schema["items"]] * len(data)
        for value, part in zip(data, parts, strict=True):
            yield from complaints(value, part, root)


def test_a_picture_and_its_layout() -> None:
    boxes = rc.Boxes([BoxItem(phrase="a cat", box=(0.1, 0.1, 0.5, 0.5), id="pet"), BoxItem(phrase="a cat", box=(0.6, 0.1, 0.9, 0.5))])
    pose = Keypoints({"a cat": {"nose": (0.5, 0.5), "neck": (0.5, 0.6)}})
    picture = PictureEntry(prompt="a cat and a cat", seed=3, conditions={"boxes": boxes, "keypoints": pose})
    layout, lost = layout_of(picture, (64, 128))
    assert layout.size == (64, 128) and layout.seed == 3 and layout.items == boxes.items and "keypoints" in lost[0]
    assert picture_of(layout)[0].conditions == {"boxes": boxes}
    with pytest.raises(BadCondition, match="no boxes") as caught:
        layout_of(PictureEntry(prompt="x", conditions={"keypoints": pose}))
    assert "keypoints" in str(caught.value.mend)
    told = picture_of(Layout("a dog", boxes.items), prompt="a cat")[1]
    assert told == [] and picture_of(Layout("a dog", boxes.items))[1][0].startswith("not in the prompt, word for word: 'a cat'")
