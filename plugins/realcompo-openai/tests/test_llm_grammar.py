"""The grammar of counts and relations, as docs/llm-planner.md states it; what it cannot read restrains nobody."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realcompo_openai.grammar import read
from realcompo_openai.reply import RawObject, RawReply
from realcompo_openai.validate import validate

from realcompo.interfaces import PlanRequest
from tests import examples


def things(prompt: str) -> dict[str, tuple[int, int | None]]:
    return {thing.text: (thing.low, thing.high) for thing in read(prompt).things if thing.required and thing.sure}


def relations(prompt: str) -> list[tuple[str, str, str]]:
    return [(one.subjects[-1].text, one.name, " + ".join(thing.text for thing in one.objects)) for one in read(prompt).relations]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat and two dogs", {"a cat": (1, 1), "two dogs": (2, 2)}),
        ("a pair of shoes", {"a pair of shoes": (1, 2)}),
        ("a group of five people, several birds", {"a group of five people": (5, 5), "several birds": (1, None)}),
        ("a photo of a black and white dog", {"a black and white dog": (1, 1)}),
        ("a big, red ball", {"a big, red ball": (1, 1)}),
        ("a cat sleeping on a sofa. The cat is happy", {"a cat": (1, 1), "a sofa": (1, 1)}),
        ("a dog running through the forest", {"a dog": (1, 1)}),
        ("a butterfly, a purple butterfly", {"a butterfly": (1, 1), "a purple butterfly": (1, 1)}),
        ("a cup left of a plate", {"a cup": (1, 1), "a plate": (1, 1)}),
        ("35 mm photograph, 8k", {}),
        ("a man wearing a hat", {"a man": (1, 1)}),
    ],
)
def test_counts(prompt: str, expected: dict[str, tuple[int, int | None]]) -> None:
    assert things(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat to the left of a dog", [("a cat", "left of", "a dog")]),
        ("a cat left of a dog and above a mat", [("a cat", "left of", "a dog"), ("a cat", "above", "a mat")]),
        ("a bird between a cup and a plate", [("a bird", "between", "a cup + a plate")]),
        ("On a table stand three cups", [("three cups", "on", "a table")]),
        ("a cat in a park", []),
        ("The bird flies above the house", [("The bird", "above", "the house")]),
    ],
)
def test_relations(prompt: str, expected: list[tuple[str, str, str]]) -> None:
    assert relations(prompt) == expected


def test_positions() -> None:
    found = [(one.thing.text, one.place) for one in read("In the top left corner, a sun; a cat on the right").positions]
    assert found == [("a sun", "top left"), ("a cat", "right")]


WORDS = [
    *("a", "the", "two", "of", "and", "on", "left", "right", "in", ",", "."),
    *("cat", "dogs", "pair", "group", "to", "no", "between", "7"),
]


@settings(max_examples=examples(300))
@given(st.text(max_size=200) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_reads_anything(prompt: str) -> None:
    reading = read(prompt)
    for thing in reading.things:
        assert all(prompt[m[0] : m[1]] for m in thing.mentions)
    validate(RawReply((RawObject("cat", (0.1, 0.1, 0.5, 0.5), "corners"),)), PlanRequest(prompt, (64, 64)), 60)


def test_what_is_not_read_is_a_warning() -> None:
    prompt = "cats chasing mice behind curtains"
    verdict = validate(RawReply((RawObject("cats", (0.1, 0.1, 0.5, 0.5), "corners"),)), PlanRequest(prompt, (512, 512)), 60)
    assert not verdict.problems and any("depth" in warning for warning in verdict.warnings) and any("cats" in w for w in verdict.warnings)
