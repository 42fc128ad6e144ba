"""Marks of weights are read as A1111 reads them, or refused by name: never a traceback, never another text."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realcompo.errors import BadOption
from realcompo.toolkit.chunks import Token, split
from realcompo.weighing import Piece, Reading, escaped, looks_marked, plain, read_weights, write_weights
from tests import examples


def told(prompt: str) -> list[tuple[str, float]]:
    return [(piece.text, round(piece.weight, 6)) for piece in read_weights(prompt).pieces]


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a (red:1.3) cat", [("a ", 1.0), ("red", 1.3), (" cat", 1.0)]),
        ("a (red) cat", [("a ", 1.0), ("red", 1.1), (" cat", 1.0)]),
        ("a [red] cat", [("a ", 1.0), ("red", 0.909091), (" cat", 1.0)]),
        ("a ((red)) cat", [("a ", 1.0), ("red", 1.21), (" cat", 1.0)]),
        ("(a (red:2) cat:0.5)", [("a ", 0.5), ("red", 1.0), (" cat", 0.5)]),
        (r"a \(red\) \[cat\]", [("a (red) [cat]", 1.0)]),
        ("a cat: (red, blue)", [("a cat: ", 1.0), ("red, blue", 1.1)]),
        ("(a note: in words)", [("a note: in words", 1.1)]),
        ("(red: 1.3 )", [("red", 1.3)]),
        ("(red:.5)(blue:+0.5)", [("redblue", 0.5)]),
        ("", []),
    ],
)
def test_what_is_read(prompt: str, pieces: list[tuple[str, float]]) -> None:
    assert told(prompt) == pieces


def test_break_ends_a_chunk_and_only_as_a_word() -> None:
    read = read_weights("a cat BREAK (a dog:1.2) BREAK on grass BREAKFAST \\(BREAK\\)")
    assert [(piece.text, round(piece.weight, 3), piece.breaks) for piece in read.pieces] == [
        ("a cat ", 1.0, False),
        (" ", 1.0, True),
        ("a dog", 1.2, False),
        (" ", 1.0, False),
        (" on grass BREAKFAST (", 1.0, True),
        (")", 1.0, True),
    ]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a (red cat", "not closed"),
        ("a red) cat", "closes nothing"),
        ("a [red) cat", "closes a"),
        ("a (red:big) cat", "'big' is no weight"),
        ("a (red:) cat", "'' is no weight"),
        ("a (red:inf) cat", "'inf' is no weight"),
        ("a (red:nan) cat", "'nan' is no weight"),
        ("a (red:-1) cat", "'-1' is no weight"),
        ("a (red:1e9) cat", "is no weight"),
        ("a (red:101) cat", "is no weight"),
        ("((red:50):50)", "more than 100"),
        ("[cat:dog:0.5]", "square brackets"),
        ("[cat|dog]", "square brackets"),
        ("(" * 65 + ")" * 65, "more than 64"),
        ("a cat <lora:ink_v2:0.8>", "'<lora:ink_v2:0.8>' names an adapter"),
        ("a <lyco:ink:1:1> cat", "'<lyco:ink:1:1>' names an adapter"),
    ],
)
def test_what_is_refused(prompt: str, message: str) -> None:
    with pytest.raises(BadOption, match=message.replace("(", r"\(")) as error:
        read_weights(prompt)
    assert error.value.mend


def test_marks_that_nobody_reads_are_told_of() -> None:
    """Where brackets are letters: what looks like a weight or an adapter, and not what stands in brackets for itself."""
    found = [looks_marked(text) for text in ("a (red:1.3) cat", "((red) cat: .5 )", "a <lora:ink:1> cat", "a (black and white: 2) x")]
    assert found == ["(red:1.3)", None, "<lora:ink:1>", "(black and white: 2)"]
    assert not any(map(looks_marked, ("a (red) cat", "at 10:30 (noon)", "a cat <thing>", "(a:b)", "a\\(red\\:1.3\\)")))


@settings(max_examples=examples(200))
@given(st.text(st.sampled_from("abBREAK ()[]:|\\.,15é猫\n"), max_size=40))
@example("(BREAK:1.2)BREAK")
def test_any_text_is_read_or_refused(prompt: str) -> None:
    try:
        read = read_weights(prompt)
    except BadOption:
        return
    assert len(read.places) == len(read.text) and list(read.places) == sorted(set(read.places))
    assert all(prompt[place] == letter for place, letter in zip(read.places, read.text, strict=True))
    assert all(0 <= piece.weight <= 100 and math.isfinite(piece.weight) for piece in read.pieces)


@settings(max_examples=examples(200))
@given(st.text(max_size=40))
@example("a BREAK b (c:1.2) \\")
@example("a <lora:ink:0.8>")
def test_escaped_text_is_itself(text: str) -> None:
    read = read_weights(escaped(text))
    assert read.text == text and all(piece.weight == 1 and not piece.breaks for piece in read.pieces)


WEIGHT = st.one_of(st.just(1.0), st.floats(0, 100, allow_nan=False), st.sampled_from([0.0, 1.1, 1e-9]))


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(st.text("ab(]:\\ ", min_size=1, max_size=6), WEIGHT, st.booleans()), max_size=6))
def test_what_is_written_is_read(pieces: list[tuple[str, float, bool]]) -> None:
    written = write_weights([Piece(text, weight, (), breaks) for text, weight, breaks in pieces])
    read = read_weights(written)
    letters = [(letter, piece.weight) for piece in read.pieces for letter in piece.text if letter != " "]
    assert letters == [(letter, weight) for text, weight, _ in pieces for letter in text if letter != " "]
    assert sum(piece.breaks for piece in read.pieces) == sum(breaks for _, _, breaks in pieces)


@settings(max_examples=examples(100))
@given(st.data())
def test_spans_lead_there_and_back(data: st.DataObject) -> None:
    read = read_weights("a (red:1.3) [cat] and \\(two\\) BREAK dogs")
    start = data.draw(st.integers(0, len(read.text) - 1))
    end = data.draw(st.integers(start + 1, len(read.text)))
    assert read.read_span(read.written_span((start, end))) == (start, end)
    assert read.read_span((2, 3)) is None, "a bracket alone is no word"


def test_a_plain_reading_is_the_prompt() -> None:
    assert plain("a (red:1.3) cat") == Reading((Piece("a (red:1.3) cat", 1.0, tuple(range(15))),))


# -- chunks ----------------------------------------------------------------------------------------------------------------------


def tokens(names: list[str]) -> list[Token]:
    return [Token(n, name, 1.0, (n, n + 1)) for n, name in enumerate(names)]


@settings(max_examples=examples(200))
@given(st.lists(st.sampled_from(["cat</w>", "ca", ",</w>", ".</w>"]), max_size=60), st.sampled_from(["compel", "a1111"]))
def test_chunks_hold_every_token_once(names: list[str], rule: str) -> None:
    made = split(tokens(names), 8, rule)  # type: ignore[arg-type]
    assert [token.id for chunk in made for token in chunk] == list(range(len(names)))
    assert all(len(chunk) <= 8 for chunk in made) and all(made[1:] or [True])


def test_where_chunks_end() -> None:
    """compel: full stop, else comma, else word; A1111: a comma that is near, else where it is full."""
    words = ["a</w>", ".</w>", "b</w>", ",</w>", "c</w>", "d", "e</w>", "f</w>"]
    assert [len(chunk) for chunk in split(tokens(words), 6, "compel")] == [2, 6]
    assert [len(chunk) for chunk in split(tokens(words), 6, "a1111")] == [4, 4]
    assert [len(chunk) for chunk in split(tokens(["a</w>", "b"] * 4), 4, "compel")] == [3, 4, 1], "no word is cut in two"
    far = tokens(["x</w>", ",</w>", *["y</w>"] * 60])
    assert len(split(far, 30, "a1111")[0]) == 30 and len(split(far, 20, "a1111")[0]) == 2
