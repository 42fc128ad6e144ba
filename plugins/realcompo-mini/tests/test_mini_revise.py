"""Layouts changed by plain sentences: what each of them does, and what is refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realcompo_mini.language import LanguageError
from realcompo_mini.planner_revise import UNDERSTOOD, Thing, revised

from tests import examples

PROMPT = "a cat left of a dog and two apples"
LAYOUT = (
    Thing("a cat", "a cat", (0.1, 0.3, 0.3, 0.5)),
    Thing("a dog", "a dog", (0.6, 0.4, 0.8, 0.7)),
    Thing("two apples", "two apples", (0.1, 0.7, 0.2, 0.8)),
    Thing("two apples#2", "two apples", (0.3, 0.7, 0.4, 0.8)),
)


def boxes(wish: str, prompt: str = PROMPT) -> dict[str, tuple[float, float, float, float]]:
    return {thing.id: thing.box for thing in revised(prompt, LAYOUT, wish)[0]}


@pytest.mark.parametrize(
    ("wish", "id", "box"),
    [
        ("move the dog left", "a dog", (0.45, 0.4, 0.65, 0.7)),
        ("Move the dog right a lot!", "a dog", (0.8, 0.4, 1.0, 0.7)),
        ("move the dog up by 10%", "a dog", (0.6, 0.3, 0.8, 0.6)),
        ("move the dog down a little", "a dog", (0.6, 0.46, 0.8, 0.76)),
        ("move the dog to the top", "a dog", (0.6, 0.03, 0.8, 0.33)),
        ("move two apples#2 up", "two apples#2", (0.3, 0.55, 0.4, 0.65)),
        ("move the apples right", "two apples", (0.25, 0.7, 0.35, 0.8)),
        ("make the cat wider by 50%", "a cat", (0.05, 0.3, 0.35, 0.5)),
        ("make the dog bigger by 20%", "a dog", (0.58, 0.37, 0.82, 0.73)),
        ("make the dog smaller by 25%", "a dog", (0.62, 0.43, 0.78, 0.67)),
        ("swap the apples#2 and the cat", None, None),
        ("remove the dog", None, None),
    ],
)
def test_wishes(wish: str, id: str | None, box: tuple[float, ...] | None) -> None:
    if "swap" in wish:
        with pytest.raises(LanguageError):  # "the apples#2" is no id and no word
            boxes(wish)
        return
    found = boxes(wish)
    if id is None:
        assert "a dog" not in found and len(found) == 3
        return
    assert found[id] == pytest.approx(box, abs=1e-4)
    others = {thing.id: thing.box for thing in LAYOUT if thing.phrase != id.split("#")[0]}
    assert {key: found[key] for key in others} == others, "nothing else moves"


def test_swapping_moves_the_middles() -> None:
    found = boxes("swap two apples#2 with the cat", "a cat and a dog and two apples")
    assert found["a cat"] == pytest.approx((0.25, 0.65, 0.45, 0.85)) and found["two apples#2"] == pytest.approx((0.15, 0.35, 0.25, 0.45))


def test_several_wishes() -> None:
    found = boxes("move the dog up; then make the cat taller by 50%")
    assert found["a dog"][1] == pytest.approx(0.25) and found["a cat"] == pytest.approx((0.1, 0.25, 0.3, 0.55))


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("dance", "move X left | right"),
        ("", "not understood"),
        ("move the zebra left", "no 'the zebra' in the layout, which holds a cat, a dog, two apples"),
        ("move the apple left", "could be any of two apples, two apples#2"),
        ("swap the cat and the dog", "'a cat' would not be left of 'a dog'"),
        ("move the dog to the left", "would not be left of"),
        ("make the apples smaller by 99%. make the apples smaller by 99%. make the apples smaller a lot", None),
        ("remove the cat; remove the dog; remove the apples", "nothing in the picture"),
        ("move the cat to the left; move the cat left; move the cat left", "at the picture's edge"),
    ],
)
def test_refusals(wish: str, told: str | None) -> None:
    if wish == "":
        assert revised(PROMPT, LAYOUT, wish)[0] == list(LAYOUT)
        return
    if told is None:
        with pytest.raises(LanguageError, match="too small"):
            for _ in range(8):
                boxes(wish + "; make the apples smaller a lot" * 6)
        return
    with pytest.raises(LanguageError) as caught:
        boxes(wish)
    assert told in str(caught.value)


def test_remarks() -> None:
    assert "'a dog'" in revised(PROMPT, LAYOUT, "remove the dog")[1][0]
    assert "not of the mini language" in revised("some oil painting", LAYOUT, "move the dog up")[1][0]


WORDS = ("the cat", "the dog", "the apples", "two apples#2")
WISHES = st.one_of(
    st.builds("move {} {}".format, st.sampled_from(WORDS), st.sampled_from(["left", "right", "up a lot", "down by 7%", "to the bottom"])),
    st.builds("make {} {}".format, st.sampled_from(WORDS), st.sampled_from(["bigger", "smaller a lot", "wider", "shorter by 30%"])),
    st.builds("swap {} and {}".format, st.sampled_from(WORDS), st.sampled_from(WORDS)),
    st.text(max_size=30),
)


@settings(max_examples=examples(150))
@given(st.lists(WISHES, max_size=5), st.integers(0, 99))
def test_whatever_is_wished_boxes_stay_legal_or_it_is_refused(wishes: list[str], seed: int) -> None:
    rng = random.Random(seed)
    layout = []
    for thing in LAYOUT:
        x, y = rng.uniform(0, 0.7), rng.uniform(0, 0.7)
        layout.append(Thing(thing.id, thing.phrase, (x, y, x + rng.uniform(0.03, 0.3), y + rng.uniform(0.03, 0.3))))
    for wish in wishes:
        try:
            layout, _ = revised("a cat and a dog and two apples", layout, wish)
        except LanguageError as error:
            assert str(error)
            continue
        for thing in layout:
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1


def test_what_is_understood_is_listed() -> None:
    with pytest.raises(LanguageError) as caught:
        boxes("hello")
    assert all(form in str(caught.value) for form in UNDERSTOOD)
