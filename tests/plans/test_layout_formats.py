"""Layouts of annotation tools: read whatever their versions write; what cannot be drawn, or would harm, is an error of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from realcompo.errors import BadCondition, RealCompoError
from realcompo.plans.layouts import parse_layouts, read_layouts


def one(data: Any, form: str | None = None, **more: Any) -> Any:
    (layout,) = parse_layouts(data if isinstance(data, str) else json.dumps(data), form, **more)
    return layout


def boxes(data: Any, form: str | None = None, **more: Any) -> dict[str, tuple[float, ...]]:
    return {item.phrase: tuple(round(share, 6) for share in item.box) for item in one(data, form, **more).items}


def coco(box: Any, **more: Any) -> dict[str, Any]:
    row = {"id": "1", "image_id": "1", "category_id": 3.0, "bbox": box, **more}
    return {"images": [{"id": 1, "width": "200", "height": 100}], "categories": [{"id": "3", "name": "猫"}], "annotations": [row]}


def test_coco_a_little_outside_is_clipped_and_more_refused() -> None:
    found = one(coco(["-0.6", 10, 100, 90.7]))
    assert found.items[0].box == pytest.approx((0, 0.1, 0.497, 1)) and "clipped" in found.remarks[0] and found.items[0].phrase == "猫"
    assert one(coco([10, 10, 20, 20])).remarks == ()
    for box in (
        [-5, 0, 10, 10],
        [0, 0, 210, 10],
        [0, 0, 0, 10],
        [5, 5, -3, 4],
        [1e400, 0, 1, 1],
        [float("nan"), 0, 1, 1],
        [[], 0, 1, 1],
        None,
    ):
        with pytest.raises(BadCondition, match="annotation 0"):
            one(coco(box))
    with pytest.raises(BadCondition, match="has no name"):
        one(coco([0, 0, 5, 5], category_id=[4]))


def test_lmd_a_little_outside_and_its_cache() -> None:
    reply = "[('a cat', [10, 10, 20, 20]), ('a dog', [300, 120, 214, 396])]\nBackground prompt: a room\nNegative prompt: "
    assert one("Caption: x\nObjects: " + reply).items[1].box == pytest.approx((300 / 512, 120 / 512, 1, 1))
    for text in (
        json.dumps({"a cat": [reply], "a dog": reply}, indent=1),
        "\r\n".join(json.dumps({name: [reply]}) for name in ("a cat", "a dog")),
        "\n".join(json.dumps({"prompt": name, "response": reply}) for name in ("a cat", "a dog")),
    ):
        found = parse_layouts(text)
        assert [layout.prompt for layout in found] == ["a cat", "a dog"] and found[0].background == "a room"
    assert "reply 1 of 2" in one({"a cat": ["I cannot", reply]}).remarks[-1]
    for bad in ({"a cat": ["I cannot"]}, {"a cat": 3}, {}, [3]):
        with pytest.raises(RealCompoError):
            one(bad, "lmd-cache")


def task(*results: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "annotations": [{"result": list(results)}], "data": {"image": "/up/room.jpg"}, **more}


def place(**more: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 60, "rotation": 0, "rectanglelabels": ["cat"], **more}
    return {"type": "rectanglelabels", "original_width": 640, "original_height": 480, "value": value}


def test_label_studio() -> None:
    wanted = {"cat": (0.1, 0.2, 0.4, 0.8)}
    short = {"image": "/up/room.jpg", "id": 1, "label": [{**place()["value"], "original_width": 640, "original_height": 480}]}
    bare = {name: share for name, share in place()["value"].items() if name != "rectanglelabels"}
    tagged = [
        {**place(), "type": "rectangle", "id": "a", "value": bare},
        {**place(), "type": "labels", "id": "a", "value": {**bare, "labels": ["cat"]}},
    ]
    for data in (
        [task(place())],
        task(place()),
        [short],
        [task(*tagged)],
        [task(), task(place())],
        [{"completions": [{"result": [place()]}]}],
    ):
        assert boxes(data) == wanted
    assert one(task(place())).size == (480, 640) and one(task(place())).name == "room"
    turned = one(task(place(x=50, y=20, width=30, height=20, rotation=90)))
    assert turned.items[0].box == pytest.approx((0.5 - 0.2 * 480 / 640, 0.2, 0.5, 0.2 + 0.3 * 640 / 480)), "clockwise, in pixels"
    shape = {"points": [[10, 10], [50, 20], [30, 70]], "polygonlabels": ["dog"]}
    assert boxes(task({"type": "polygonlabels", "value": shape})) == {"dog": (0.1, 0.1, 0.5, 0.7)}
    ring = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20, "ellipselabels": ["egg"]}
    assert boxes(task({"type": "ellipselabels", "value": ring})) == {"egg": (0.4, 0.3, 0.6, 0.7)}
    for bad in (place(x=None), place(width=float("inf")), place(x=90), place(width=0), place(rectanglelabels=[]), place(rotation="x")):
        with pytest.raises(BadCondition, match="result 0"):
            one(task(bad))
    with pytest.raises(BadCondition, match="holds no boxes"):
        one([task()], "label-studio")


def labelme(*shapes: Any, **more: Any) -> dict[str, Any]:
    return {"shapes": list(shapes), "imagePath": "..\\room.jpg", "imageHeight": 100, "imageWidth": 200, **more}


def test_labelme() -> None:
    cat = {"label": "cat", "points": [[100, 80], [20, 10]], "shape_type": "rectangle"}
    ball = {"label": "ball", "points": [[100, 50], [100, 40]], "shape_type": "circle"}
    dog = {"label": "dog", "points": [[0, 0], [50, 5], [20, 60]]}
    data = labelme(cat, ball, dog, {"label": "x", "points": [[1, 1]], "shape_type": "point"})
    wanted = {"cat": (0.1, 0.1, 0.5, 0.8), "ball": (0.45, 0.4, 0.55, 0.6), "dog": (0, 0, 0.25, 0.6)}
    assert boxes(data) == boxes([data]) == wanted
    assert one(data).name == "room" and "was left out" in one(data).remarks[0]
    assert one(labelme(cat, imageHeight=None), size=(100, 200)).items[0].box == pytest.approx(wanted["cat"])
    for bad in (
        labelme(3),
        labelme({**cat, "points": [[1, 2]]}),
        labelme({**cat, "points": [[1, "x"], [3, 4]]}),
        labelme({**cat, "label": None}),
        labelme({**cat, "points": [[0, 0], [900, 10]]}),
        labelme({**cat, "points": [[5, 5], [5, 9]]}),
        labelme(cat, imageWidth=0),
    ):
        with pytest.raises(BadCondition):
            one(bad)


def voc(*corners: Any, head: str = "", more: str = "") -> str:
    names = ("xmin", "ymin", "xmax", "ymax")
    parts = "".join(f"<{name}>{value}</{name}>" for name, value in zip(names, corners, strict=True))
    return (
        f"{head}<annotation>{more}<filename>room.jpg</filename><size><width>200</width><height>100</height></size><object><name>cat</name>"
        f"<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part><bndbox>{parts}</bndbox></object></annotation>"
    )


def test_voc() -> None:
    assert boxes(voc(20, 10, 100, 50)) == boxes(voc(100, 50, "20.0", " 10 ")) == {"cat": (0.1, 0.1, 0.5, 0.5)}
    assert boxes(voc(1, 1, 200, 100)) == {"cat": (0, 0, 1, 1)}, "VOC counts from 1"
    assert boxes(voc(0, 1, 200, 100)) == {"cat": (0, 0.01, 1, 1)}, "a box at 0 says that the file does not"
    assert boxes(voc(21, 11, 100, 50, more="<source><database>The VOC2012 Database</database></source>")) == {"cat": (0.1, 0.1, 0.5, 0.5)}
    assert len(parse_layouts(f"<all>{voc(0, 0, 9, 9)}{voc(0, 0, 9, 9)}</all>")) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<!DOCTYPE a [<!ENTITY b "x">]><annotation>&b;</annotation>', "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "document type"),
        ("<a>" * 100_000, "nested too deeply"),
        ("<annotation>", "it is no XML"),
        ("<html></html>", "is not Pascal VOC's"),
        ("<annotation>&b;</annotation>", "it is no XML"),
        (voc(20, 10, 300, 50), "lies outside"),
        (voc(20, 10, 20, 50), "no area"),
        (voc("nan", 10, 20, 50), "no bndbox"),
        ("<annotation><object/></annotation>", "how many pixels"),
    ],
)
def test_bad_xml_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadCondition, match=said):
        one(text)


def test_yolo(tmp_path: Path) -> None:
    text = "0 0.25 0.5 0.3 0.6\r\n\r\n1 0.1 0.1 0.3 0.1 0.3 0.5\r\n"
    wanted = {"cat": (0.1, 0.2, 0.4, 0.8), "red dog": (0.1, 0.1, 0.3, 0.5)}
    assert boxes(text, names=["cat", "red dog"]) == wanted
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "room.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    for name, content in (
        ("classes.txt", "cat\r\nred dog\r\n"),
        ("labels/obj.names", "\ufeffcat\nred dog"),
        ("data.yaml", "names: {0: cat, 1: red dog}"),
        ("labels/data.yaml", "nc: 2\nnames: [cat, red dog]"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
        (layout,) = read_layouts(tmp_path / "labels" / "room.txt", size=(100, 200))
        assert [item.phrase for item in layout.items] == list(wanted), name
        (tmp_path / name).unlink()
    (tmp_path / "data.yaml").write_text('names: [!!timestamp "cat"]')
    with pytest.raises(BadCondition, match="it is no YAML"):
        read_layouts(tmp_path / "labels" / "room.txt", size=(100, 200))
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(BadCondition, match=r"how its classes are called\n.*--names"):
        read_layouts(tmp_path / "labels" / "room.txt")
    assert boxes("0 0.5 0.5 0.2 0.2 0.9", names=["cat"]) == boxes("0 0.5 0.5 0.2 0.2" + " 0.5 0.5 2" * 17, names=["cat"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 0.5 0.5",
        "0 0.5 0.5 0.2 nan",
        "0 .5 .5 .2 .2 .1 .1 .1 .1 .1",
        "5 .5 .5 .2 .2",
        "0 50 50 20 20",
        "0 .5 .5 0 .2",
        "-1 .5 .5 .1 .1",
    ],
)
def test_bad_yolo_is_refused(text: str) -> None:
    with pytest.raises(BadCondition):
        one(text, "yolo", names=["cat"])


def test_other_encodings_and_bounds(tmp_path: Path) -> None:
    path = tmp_path / "room.xml"
    path.write_bytes(voc(20, 10, 100, 50, head='<?xml version="1.0" encoding="gbk"?>').replace("cat", "猫").encode("gbk"))
    assert read_layouts(path)[0].items[0].phrase == "猫"
    path.write_bytes(voc(20, 10, 100, 50).encode("utf-16"))
    assert read_layouts(path)[0].items[0].phrase == "cat"
    rows = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}] * 1001
    with pytest.raises(BadCondition, match="1001 boxes"):
        one({"images": [{"id": 1, "width": 9, "height": 9}], "categories": [{"id": 1, "name": "a"}], "annotations": rows})
