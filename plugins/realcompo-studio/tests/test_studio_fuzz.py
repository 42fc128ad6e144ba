"""Any value in any place of a recipe: it can be drawn, or all that is wrong with it is told, with what and mend, as JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from realcompo_studio.checking import check
from realcompo_studio.problems import Unfit, answer
from realcompo_studio.sharing import SUFFIX, text_of
from studio_client import toys

from realcompo.registry import Registry
from realcompo.testing import toy_registry
from tests import examples

FULL: dict[str, Any] = {
    **toys(),
    "version": 1,
    "balancer": {"name": "core/guided", "options": {"plant": 0.3, "moves": 2}},
    "probe": {"every": 1, "detach": [], "guided": True, "timestep": "t"},
    "planner": {"name": "core/none", "options": {}},
    "scheduler": "ddim",
    "scheduler_options": {"timestep_spacing": "trailing"},
    "height": 64,
    "width": 64,
    "dtype": "float32",
    "offload": False,
}
FULL.pop("planner")
KEYPOINTS = {"items": [{"id": "3", "phrase": "a cat", "points": {"nose": [0.5, 0.5], "neck": [0.5, 0.6]}}], "size": [64, 64]}
SEGMENTS = {
    "items": [{"id": "4", "phrase": "a dog", "label": "animal", "polygons": [[0, 0, 8, 0, 8, 8]]}],
    "backdrop": [],
    "size": [64, 64],
}
FULL["pictures"][0]["conditions"] |= {"keypoints": KEYPOINTS, "segmentation": SEGMENTS}

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["\ud800", "toy/spatial", "mini/fidelity", "core/balance", "../../etc/passwd", "x" * 5000, "cuda:7", "1e400"]),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
)


@cache
def registry() -> Registry:
    found: Registry = toy_registry()
    return found


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places of plain data."""
    yield at
    for key, one in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(one, (*at, key))


PLACES = [at for at in places(FULL) if at]


def put(data: Any, at: tuple[Any, ...], value: Any) -> None:
    for part in at[:-1]:
        data = data[part]
    data[at[-1]] = value


def told(data: Any) -> None:
    """Check a recipe: either way its words are JSON, and a fine one has a text in every form."""
    try:
        found = check(data, registry())
    except Unfit as unfit:
        assert unfit.problems
        json.dumps(answer(unfit.problems))
        for problem in unfit.problems:
            assert problem.error.what and problem.error.mend, problem
            assert "unexpected" not in problem.error.what
        return
    json.dumps(found.recipe.plain())
    for form in SUFFIX:
        assert text_of(found.recipe, form, registry())[0]  # type: ignore[arg-type]


def test_the_whole_is_fine() -> None:
    told(FULL)
    assert check(FULL, registry()).recipe.pictures[0].seed == 3


@settings(max_examples=examples(150))
@given(st.sampled_from(PLACES), JUNK)
@example(("pictures", 0, "conditions", "boxes", "items", 0, "box"), [0.1, 0.2, 10**400, 1])
@example(("num_inference_steps",), 10**30)
@example(("pictures", 0, "conditions", "segmentation", "size"), [10**9, 10**9])
@example(("pictures", 0, "conditions", "segmentation", "items", 0, "polygons"), None)
def test_any_value_in_any_place_is_taken_or_told(at: tuple[Any, ...], value: Any) -> None:
    data = copy.deepcopy(FULL)
    put(data, at, value)
    told(data)


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=2, max_size=5))
def test_several_at_once(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    data = copy.deepcopy(FULL)
    for at, value in changes:
        try:
            put(data, at, value)
        except (KeyError, IndexError, TypeError):
            continue  # what held the place was replaced before
    told(data)


@settings(max_examples=examples(60))
@given(st.sampled_from(PLACES), st.text(max_size=12), JUNK)
def test_any_key_that_is_too_many_is_told(at: tuple[Any, ...], key: str, value: Any) -> None:
    data = copy.deepcopy(FULL)
    node = data
    for part in at:
        node = node[part]
    if isinstance(node, dict) and key not in node:
        node[key] = value
    told(data)
