"""Any layout that the schema lets through is saved, loaded, drawn, transferred to masks, and composed on the toys."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from realcompo.compose.composer import Composer
from realcompo.errors import BadCondition
from realcompo.pictures.overlays import draw_layout, draw_layouts
from realcompo.plans.layouts import parse_layouts, picture_of
from realcompo.recipes.configuration import parse_text, resolve
from realcompo.recipes.recipe import Recipe
from realcompo.recipes.writing import to_json, to_toml, to_yaml, write_recipe
from realcompo.testing.toys import toy_registry
from tests import examples

SHARES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-12, 0.25, 0.25 + 1e-9, 0.75, 1.0]))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CORNERS = st.tuples(SHARES, SHARES, SHARES, SHARES)
BOXES = st.one_of(
    CORNERS.map(lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])]),
    CORNERS.map(lambda c: [c[0] / 2, c[1] / 2, 0.5 + c[2] / 2, 0.5 + c[3] / 2]),
    CORNERS.map(list),
)
OBJECTS = st.fixed_dictionaries(
    {"phrase": st.one_of(st.sampled_from(["a cat", "kind", "items", "🙂 \n x"]), TEXTS), "box": BOXES},
    optional={"id": st.sampled_from(["", "a", "b"]), "span": st.lists(st.integers(0, 5), min_size=2, max_size=2)},
)
FILES = st.fixed_dictionaries(
    {"prompt": TEXTS, "objects": st.lists(OBJECTS, min_size=1, max_size=4)},
    optional={"negative_prompt": TEXTS, "background": TEXTS, "seed": st.integers(0, 9), "width": st.integers(1, 999)},
)
"""Also what the schema does not let through: it has to be refused, by an error of ours."""

REGISTRY = toy_registry()
BRANCHES = ["toy/fidelity", "toy/spatial"]
COMPOSER = Composer(*BRANCHES, registry=REGISTRY, num_inference_steps=2, height=16, width=24, device="cpu")
met = {"through": 0, "refused": 0}


@settings(max_examples=examples(50))
@given(picture=FILES)
@example(picture={"prompt": "a cat", "objects": [{"phrase": "a cat", "box": [0.2, 0.2, 0.2 + 1e-15, 1]}]})
@example(picture={"prompt": "x", "objects": [{"phrase": "a cat", "box": [0, 0, 1, 1]}] * 60})
def test_any_layout_that_the_schema_lets_through(picture: dict[str, object]) -> None:
    text = json.dumps({"format": "realcompo-layout", "pictures": [picture]})
    try:
        (layout,) = parse_layouts(text)
    except BadCondition as error:
        assert error.mend
        met["refused"] += 1
        return
    met["through"] += 1
    entry, _ = picture_of(layout)
    entry = entry.model_copy(update={"seed": 1})
    recipe = Recipe.model_validate({"branches": BRANCHES, "pictures": [entry], "num_inference_steps": 2, "device": "cpu"})

    for suffix, writer in ((".toml", to_toml), (".yaml", to_yaml), (".json", to_json)):
        assert parse_text(writer(recipe), suffix).pictures == recipe.pictures  # saved and loaded
    with tempfile.TemporaryDirectory() as folder:
        path = write_recipe(recipe, Path(folder) / "scene.toml", ["a note", "of two\nlines"])
        loaded = resolve(path, registry=REGISTRY, user_file=Path(folder) / "none").recipe
    assert loaded.pictures == recipe.pictures

    (condition,) = loaded.pictures[0].conditions.values()
    regions = REGISTRY.transfer("boxes")(condition, (16, 24))  # f(C)
    assert [region.phrase for region in regions] == [one["phrase"] for one in picture["objects"]]  # type: ignore[index,attr-defined]
    blank = Image.new("RGB", (48, 32))
    drawn = draw_layout(blank.copy(), regions)  # drawn
    assert np.asarray(drawn).any() and draw_layouts([("x", regions)], (16, 24)).width > 0

    result = COMPOSER.compose(loaded.pictures)  # composed
    masks = result.batch_regions.masks(2, 3)
    assert masks.shape == (1, len(regions), 2, 3) and bool((masks.flatten(2).sum(dim=2) > 0).all()), "a region with area is never empty"
    assert torch.isfinite(result.latents).all() and result.image.size == (24, 16)


def test_both_kinds_were_met() -> None:
    """The control of the test above: it is worth nothing if everything is refused, or nothing is."""
    if not sum(met.values()):  # it comes later, or runs in another process
        test_any_layout_that_the_schema_lets_through()
    assert met["through"] >= 5 and met["refused"] >= 5, met
