"""The planner over its whole grammar: every layout valid, every count and relation satisfied; unknown words named."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from realcompo_mini.language import LanguageError, parse, phrase_of
from realcompo_mini.layout import MAX_OBJECTS, related
from realcompo_mini.planner import plan_boxes, plan_layout
from realcompo_mini.world import load_world

from tests import examples

WORLD = load_world()


@st.composite
def items(draw: st.DrawFn) -> tuple[str, int]:
    """An item's words and its count."""
    kind = WORLD.kinds[draw(st.sampled_from(sorted(WORLD.kinds)))]
    count = draw(st.sampled_from([1, 1, 1, *WORLD.numbers.values()]))
    colour = pattern = None
    if kind.colourable:
        colour = draw(st.sampled_from([None, *WORLD.colours]))
        pattern = draw(st.sampled_from([None, *WORLD.patterns]))
    return phrase_of(kind, count, colour, pattern), count


@st.composite
def prompts(draw: st.DrawFn) -> str:
    """A sentence of the grammar with at most six objects."""
    parts = draw(st.lists(items(), min_size=1, max_size=4))
    assume(sum(count for _, count in parts) <= 6)
    text = draw(st.sampled_from(["", "", *(f"{words} " for words in WORLD.styles)])) + parts[0][0]
    for phrase, _ in parts[1:]:
        link = draw(st.sampled_from([", ", " and ", ", and ", *(f" {name} " for name in WORLD.relations)]))
        text += link + phrase
    return text + draw(st.sampled_from(["", *(f" {words}" for words in WORLD.backgrounds.values())]))


@settings(max_examples=examples(150))
@given(prompts(), st.integers(0, 2**31))
def test_every_layout_is_valid(prompt: str, seed: int) -> None:
    sentence = parse(prompt)
    try:
        planned = plan_boxes(prompt, seed)
    except LanguageError as error:
        # the one thing that the grammar can say and a picture cannot show: more things standing than places to stand on
        assert "cannot stand" in str(error)
        assert any(
            r == "on" and 1 < b.count < a.count for r, a, b in zip(sentence.relations, sentence.items, sentence.items[1:], strict=False)
        )
        return
    assert len(planned) == sentence.count
    for item in sentence.items:
        same = [o for o in planned if o.span == item.span]
        assert len(same) == item.count
        assert all(o.phrase == item.phrase == prompt[slice(*o.span)] for o in same)
    for o in planned:
        x0, y0, x1, y1 = o.box
        assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
        assert (x1 - x0) * (y1 - y0) > 0.0015  # about five by five pixels of 128
    groups = [[o.box for o in planned if o.span == item.span] for item in sentence.items]
    for k, relation in enumerate(sentence.relations):
        assert relation is None or related(relation, groups[k], groups[k + 1])
    assert planned == plan_boxes(prompt, seed)


@settings(max_examples=examples(150))
@given(prompts(), st.integers(0, 2**31))
def test_boxes_overlap_little(prompt: str, seed: int) -> None:
    try:
        boxes = [o.box for o in plan_boxes(prompt, seed)]
    except LanguageError:
        return
    for k, a in enumerate(boxes):
        for b in boxes[k + 1 :]:
            shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            least = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
            assert shared <= 0.3 * least  # "on" lets feet sink in a little


def test_relations_mean_what_they_say() -> None:
    layout = dict(plan_layout("a cat left of a dog above a house", 3))
    assert layout["a cat"][2] <= layout["a dog"][0] + 0.03
    assert layout["a dog"][3] <= layout["a house"][1] + 0.03
    layout = dict(plan_layout("a rabbit on a box next to a tree", 3))
    assert abs(layout["a rabbit"][3] - layout["a box"][1]) < 0.1


def test_seeds_differ() -> None:
    assert plan_layout("a cat and a dog", 0) != plan_layout("a cat and a dog", 1)


@pytest.mark.parametrize("word", ["zebra", "gren", "ontop", "seven"])
def test_unknown_word_is_named_and_known_ones_listed(word: str) -> None:
    prompt = {"zebra": "a cat and a zebra", "gren": "a gren car", "ontop": "a cat ontop a box", "seven": "seven apples"}[word]
    with pytest.raises(LanguageError) as caught:
        plan_layout(prompt, 0)
    message = str(caught.value)
    assert repr(word) in message
    for known in (*WORLD.kinds, *WORLD.colours, *WORLD.relations, *WORLD.numbers):
        assert known in message


@pytest.mark.parametrize(
    ("prompt", "part"),
    [
        ("", "ends where"),
        ("a cat and", "ends where an object should follow"),
        ("two cat", "does not agree"),
        ("a cats", "does not agree"),
        ("a red cat", "has no colours"),
        ("a cat on grass a dog", "stands where the end should"),
        ("six apples, six cats and a dog", f"at most {MAX_OBJECTS}"),
    ],
)
def test_errors_say_what_is_wrong(prompt: str, part: str) -> None:
    with pytest.raises(LanguageError, match=part):
        plan_layout(prompt, 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_base_grows_away_from_what_stands_beside_it(seed: int) -> None:
    """Found by the long suite: the box grew into its neighbour, and everything was made tiny until they no longer touched much."""
    boxes = [o.box for o in plan_boxes("four apples on a box next to an apple", seed)]
    assert min((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) > 0.005


def test_kept_regions_stay() -> None:
    box = (0.1, 0.1, 0.4, 0.4)
    planned = plan_boxes("two apples and a dog", 0, keep=[("two apples", box)])
    assert [o.box for o in planned].count(box) == 1
    with pytest.raises(LanguageError, match="is to stay"):
        plan_boxes("a dog", 0, keep=[("a cat", box)])


def test_as_many_as_the_models_take() -> None:
    with pytest.raises(LanguageError, match="at most 2"):
        plan_boxes("three apples", 0, most=2)
