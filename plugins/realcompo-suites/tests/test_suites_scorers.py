"""Scorers against figures made by hand, and on small random models saved in the real formats; no figure of theirs means anything."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from realcompo_suites import geneval
from realcompo_suites.boxes import average_precision, record
from realcompo_suites.clip import Aesthetic, Clip, ClipScore
from realcompo_suites.conformance import pictures
from realcompo_suites.detector import Detector, Found, iou, label_of
from realcompo_suites.geneval import GenEvalObjects, pixels, relations
from realcompo_suites.options import AestheticOptions, ClipOptions, GenEvalScorerOptions
from realcompo_suites.small import small_clip, small_detector, small_head

from realcompo.errors import BadCheckpoint, BadOption
from realcompo.interfaces import Case, Shot

LEFT, RIGHT = (0.0, 0.0, 0.4, 1.0), (0.6, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    small_detector(folder / "detector")
    small_clip(folder / "clip")
    small_head(folder / "head")
    return folder


# -- boxes -------------------------------------------------------------------------------------------------------------------


def test_phrases_become_classes() -> None:
    labels = ("cat", "dog", "hot dog", "bus", "baby")
    said = {"a cat": "cat", "two red cats": "cat", "the hot dog": "hot dog", "three buses": "bus", "two babies": "baby", "a unicorn": None}
    assert {phrase: label_of(phrase, labels) for phrase in said} == said


def test_a_detection_serves_one_object() -> None:
    wanted = [("cat", LEFT), ("cat", RIGHT), ("dog", RIGHT)]
    most = (0.6, 0.0, 1.0, 0.75)
    got = record(wanted, [Found("cat", 0.9, LEFT), Found("dog", 0.8, most), Found("bus", 0.7, RIGHT)], overlap=0.5)
    assert (got["objects"], got["in_box"], got["all"], got["judged"]) == (3, 2, 0, 1)
    assert got["iou"] == pytest.approx(1.0 + 0.75)
    assert record(wanted[:1], [Found("cat", 0.9, LEFT)], 0.5)["all"] == 1 and record([], [], 0.5)["judged"] == 0
    assert iou(LEFT, RIGHT) == 0 and iou(LEFT, (0.0, 0.0, 0.4, 0.5)) == pytest.approx(0.5)


def test_average_precision_by_hand() -> None:
    """Two boxes; detections by score: right, wrong, right. Precision is 1 up to a recall of 1/2, then 2/3: 51 of 101 places and 50."""
    perfect = [record([("cat", LEFT)], [Found("cat", 0.5, LEFT)], 0.5)]
    assert average_precision(perfect, (0.5,)) == 1
    assert average_precision([record([("cat", LEFT)], [], 0.5)], (0.5,)) == 0
    mixed = [
        record([("cat", LEFT)], [Found("cat", 0.9, LEFT), Found("cat", 0.8, RIGHT)], 0.5),
        record([("cat", RIGHT)], [Found("cat", 0.7, RIGHT)], 0.5),
    ]
    assert average_precision(mixed, (0.5,)) == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    twice = [record([("cat", LEFT)], [Found("cat", 0.9, LEFT), Found("cat", 0.8, LEFT)], 0.5), *perfect]
    assert average_precision(twice, (0.5,)) < 1, "the same box found twice is once too often"
    loose = [record([("cat", LEFT)], [Found("cat", 0.9, (0.0, 0.0, 0.4, 0.7))], 0.5)]
    assert average_precision(loose, (0.5, 0.65)) == 1 and average_precision(loose, (0.5, 0.75)) == 0.5
    assert average_precision([*perfect, record([("dog", LEFT)], [], 0.5)], (0.5,)) == 0.5, "classes weigh alike"


def test_any_detector_by_folder(models: Path) -> None:
    """Boxes in shares of the picture, classes by name, best first; alone or beside others."""
    detector = Detector(str(models / "detector"), "cpu", 0.0, False)
    images = [shot.image.resize((96, 48)) for shot in pictures()[:3]]
    found = detector(images)
    assert all(len(some) == 6 and {one.label for one in some} <= set(detector.labels.values()) for some in found)
    assert all(a.score >= b.score for some in found for a, b in pairwise(some))
    assert all(-1 <= share <= 2 for some in found for one in some for share in one.box)
    assert detector(images[1:2])[0] == found[1]
    with pytest.raises(BadCheckpoint, match="it cannot be loaded"):
        Detector("nobody/no-detector", "cpu", 0.3, False)
    with pytest.raises(BadOption, match="no model is named"):
        Detector(None, "cpu", 0.3, False)


# -- GenEval -----------------------------------------------------------------------------------------------------------------


def right(asked: dict[str, Any], found: list[Found], colours: dict[str, str] | None = None) -> list[str]:
    """What GenEval's questions find wrong, with a detector and a colour model that answer as told."""
    scorer = GenEvalObjects(GenEvalScorerOptions(clip=None if colours is None else "told"))
    scorer._detector = lambda images: [found for _ in images]  # type: ignore[assignment]
    scorer._colours = lambda image, some, name: [(colours or {}).get(name, "red")] * len(some)  # type: ignore[method-assign]
    (told,) = scorer.score([Shot(Case("a", "x", 0, truth=asked), Image.new("RGB", (100, 100)))])
    assert told.get("correct", int(not told.get("wrong"))) == int(not told.get("wrong"))
    return list(told["wrong"]) if "wrong" in told else ["not judged"]


def test_genevals_questions() -> None:
    cat, dog = Found("cat", 0.95, LEFT), Found("dog", 0.5, RIGHT)
    one = {"tag": "single_object", "include": [{"class": "cat", "count": 1}]}
    assert right(one, [cat]) == [] and right(one, [dog]) == ["0 of 1 cat"]
    assert right(one, [Found("cat", 0.2, LEFT)]), "below the threshold"
    count = {"tag": "counting", "include": [{"class": "cat", "count": 1}], "exclude": [{"class": "cat", "count": 2}]}
    assert right(count, [cat]) == [] and right(count, [cat, Found("cat", 0.92, RIGHT)])
    assert right(count, [cat, Found("cat", 0.8, RIGHT)]) == [], "counting asks for a surer detection"
    red = {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "red"}]}
    assert right(red, [cat], {"cat": "red"}) == [] and right(red, [cat], {"cat": "blue"}) == ["0 of 1 cat red"]
    assert right(red, [cat]) == ["not judged"], "without a colour model"
    place = {"tag": "position", "include": [{"class": "cat", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}]}
    assert right(place, [cat, dog]) == [] and right(place, [Found("cat", 0.9, RIGHT), Found("dog", 0.9, LEFT)]) == ["dog not right of"]
    assert right(place, [dog]) == ["0 of 1 cat", "nothing for dog to be right of"]


def test_where_things_stand() -> None:
    def at(x: float, y: float, side: float = 0.1) -> Found:
        return Found("x", 1, (x - side, y - side, x + side, y + side))

    assert relations(at(0.2, 0.5), at(0.8, 0.5), (100, 100), 0.1) == {"left of"}
    assert relations(at(0.5, 0.8), at(0.5, 0.2), (100, 100), 0.1) == {"below"}
    assert relations(at(0.2, 0.2), at(0.8, 0.8), (100, 100), 0.1) == {"left of", "above"}
    assert relations(at(0.5, 0.5), at(0.5, 0.5), (100, 100), 0.1) == set() == relations(at(0.5, 0.5), at(0.52, 0.5), (100, 100), 0.1)
    assert relations(at(0.2, 0.2), at(0.8, 0.8), (1000, 100), 0.1) == {"left of"}, "in a wide picture pixels count, not shares"
    assert pixels(Found("x", 1, (-0.2, 0.5, 0.1, 0.5)), (100, 50)) == (0, 25, 10, 26)


def test_overall_is_the_mean_of_tags() -> None:
    records = [{"tag": "a", "correct": 1}, {"tag": "a", "correct": 1}, {"tag": "b", "correct": 0}, {"tag": "c"}]
    assert GenEvalObjects(GenEvalScorerOptions()).whole("overall", records) == 0.5


def test_colours_by_clip(models: Path) -> None:
    """The nearest of ten colours, each the mean of three sentences, whatever a random model makes of them."""
    scorer = GenEvalObjects(GenEvalScorerOptions(clip=str(models / "clip")))
    image = pictures()[0].image
    (told,) = scorer._colours(image, [Found("cat", 1, (0.0, 0.0, 0.5, 0.5))], "cat")
    clip = Clip(str(models / "clip"), "cpu", False)
    means = []
    for colour in geneval.COLOURS:
        sentences = [f"a photo of a {colour} cat", f"a photo of a {colour}-colored cat", f"a photo of a {colour} object"]
        mean = clip.texts(sentences).mean(dim=0)
        means.append(mean / mean.norm())
    look = clip.images([image.crop((0, 0, 32, 32))])[0]
    assert told == geneval.COLOURS[int((torch.stack(means) @ look).argmax())]


# -- CLIP --------------------------------------------------------------------------------------------------------------------


def test_clip_score_is_the_cosine(models: Path) -> None:
    shots = pictures()[:2]
    told = ClipScore(ClipOptions(model=str(models / "clip"))).score(shots)
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    network = CLIPModel.from_pretrained(models / "clip").eval()
    pixels_ = AutoImageProcessor.from_pretrained(models / "clip")(images=[s.image for s in shots], return_tensors="pt")
    words = AutoTokenizer.from_pretrained(models / "clip")([s.case.prompt for s in shots], padding=True, return_tensors="pt")
    with torch.no_grad():
        seen = network(input_ids=words["input_ids"], attention_mask=words["attention_mask"], pixel_values=pixels_["pixel_values"])
    cosines = torch.nn.functional.cosine_similarity(seen.image_embeds, seen.text_embeds)
    assert [one["clip"] for one in told] == pytest.approx(cosines.tolist(), abs=1e-5)
    long = Shot(Case("x", "cat " * 300, 0), shots[0].image)
    assert -1 <= ClipScore(ClipOptions(model=str(models / "clip"))).score([long])[0]["clip"] <= 1, "a long prompt is cut off"


def test_the_aesthetic_predictor_is_its_layers(models: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    head = small_head(models / "head")
    (told,) = Aesthetic(AestheticOptions(model=str(models / "clip"), head=str(head))).score(pictures()[:1])
    layers = load_file(head)
    look = Clip(str(models / "clip"), "cpu", False).images([pictures()[0].image])
    for name in ("layers.0", "layers.2"):
        look = look @ layers[f"{name}.weight"].T + layers[f"{name}.bias"]
    assert told["aesthetic"] == pytest.approx(float(look), abs=1e-5)
    torch.save(layers, tmp_path / "head.pth")
    (same,) = Aesthetic(AestheticOptions(model=str(models / "clip"), head=str(tmp_path / "head.pth"))).score(pictures()[:1])
    assert same == told
    torch.save({"weight": torch.zeros(1, 7), "bias": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(BadCheckpoint, match="takes embeddings of 7 numbers, the CLIP model gives 16"):
        Aesthetic(AestheticOptions(model=str(models / "clip"), head=str(tmp_path / "other.pth"))).score(pictures()[:1])
    torch.save({"weight": torch.zeros(3, 16), "bias": torch.zeros(3)}, tmp_path / "wide.pth")
    with pytest.raises(BadCheckpoint, match="no aesthetic predictor"):
        Aesthetic(AestheticOptions(model=str(models / "clip"), head=str(tmp_path / "wide.pth"))).score(pictures()[:1])


class Sings:
    """Pickled: writes a file when it is read."""

    def __init__(self, told: Path) -> None:
        self.told = told

    def __reduce__(self) -> Any:
        return Path.write_text, (self.told, "a pickle was read")


def test_a_pickle_in_a_pth_runs_nothing(models: Path, tmp_path: Path) -> None:
    (tmp_path / "head.pth").write_bytes(pickle.dumps(Sings(tmp_path / "sang")))
    torch.save({"weight": Sings(tmp_path / "sang")}, tmp_path / "zip.pth")
    for name in ("head.pth", "zip.pth"):
        with pytest.raises(BadCheckpoint, match="no plain tensors"):
            Aesthetic(AestheticOptions(model=str(models / "clip"), head=str(tmp_path / name))).score(pictures()[:1])
    assert not (tmp_path / "sang").exists()
