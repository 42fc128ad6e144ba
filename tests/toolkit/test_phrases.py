"""Phrase → characters → tokens, by example and by property."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realcompo.errors import PhraseNotFound
from realcompo.interfaces import Region, Regions
from realcompo.testing.checkpoints import WORDS, save_tokenizer
from realcompo.toolkit import TextEncoding
from realcompo.toolkit.phrases import find_phrases
from tests import examples


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextEncoding:
    return TextEncoding.from_folder(save_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def regions(*phrases: Any) -> list[Region]:
    return [
        Region(str(i), phrase if isinstance(phrase, str) else "?", span=None if isinstance(phrase, str) else phrase)
        for i, phrase in enumerate(phrases)
    ]


def found(prompt: str, *phrases: Any) -> list[tuple[str, str]]:
    return [(prompt[slice(*match.span)], match.how) for match in find_phrases(prompt, regions(*phrases))]


@pytest.mark.parametrize(
    ("prompt", "phrases", "expected"),
    [
        ("a cat and a dog", ["a cat", "a dog"], [("cat", "exact"), ("dog", "exact")]),
        ("A Cat and a DOG", ["a cat", "dog"], [("Cat", "exact"), ("DOG", "exact")]),
        ("concatenate a cat", ["cat"], [("cat", "exact")]),
        ("a red  balloon", ["red balloon"], [("red  balloon", "exact")]),
        ("the cat's hat", ["a cat"], [("cat", "inner")]),
        ("two apples on a table", ["apples", "apples"], [("apples", "exact")] * 2),
        ("two apples on a table", ["an apple", "an apple"], [("apples", "number")] * 2),
        ("two apples", ["two apples"], [("apples", "exact")]),
        ("a box of cherries", ["a cherry"], [("cherries", "number")]),
        ("three men", ["a man"], [("men", "number")]),
        ("one glass", ["two glasses"], [("glass", "number")]),
        ("a balloon in the sky", ["a small red balloon"], [("balloon", "head")]),
        ("a cup on a table", ["a cup of hot tea"], [("cup", "head")]),
        ("balloons in the sky", ["a small red balloon"], [("balloons", "head")]),
    ],
)
def test_readings(prompt: str, phrases: list[str], expected: list[tuple[str, str]]) -> None:
    assert found(prompt, *phrases) == expected


def spans(prompt: str, *phrases: Any) -> list[tuple[int, int]]:
    return [match.span for match in find_phrases(prompt, regions(*phrases))]


def test_repetitions_are_taken_in_turn_and_the_last_again() -> None:
    assert spans("a cat, a dog and a cat", "a cat", "a cat", "a cat") == [(2, 5), (19, 22), (19, 22)]


def test_a_short_phrase_leaves_a_long_one_its_words() -> None:
    assert spans("a black cat and a cat", "cat", "a black cat") == [(18, 21), (2, 11)]


def test_the_users_span_comes_first() -> None:
    assert spans("a cat and a cat", "a cat", (2, 5)) == [(12, 15), (2, 5)]


@pytest.mark.parametrize("span", [(3, 3), (-1, 2), (0, 99)])
def test_a_span_outside_the_prompt(span: tuple[int, int]) -> None:
    with pytest.raises(PhraseNotFound, match="lies outside the prompt"):
        spans("a cat", span)


def test_a_phrase_that_is_not_there_names_the_nearest_word() -> None:
    with pytest.raises(PhraseNotFound, match=r"region '0': the phrase 'baloon' is not in the prompt[\s\S]*did you mean 'balloon'"):
        spans("a red balloon", "baloon")


# -- tokens -------------------------------------------------------------------------------------------------------------------


def test_a_word_of_several_pieces_has_them_all(text: TextEncoding) -> None:
    prompt = "a zebra and a cat"
    zebra, cat = text.tokens(prompt, regions("a zebra", "a cat"))
    assert len(zebra) == 5 and zebra[0] == 2 and len(cat) == 1
    assert "".join(text.token_texts(prompt, zebra)) == "zebra"
    ids = text.tokenizer(prompt)["input_ids"]
    assert text.tokenizer.convert_ids_to_tokens(ids[cat[0]]) == "cat</w>"


def test_weights_are_means_and_absent_regions_are_zero(text: TextEncoding) -> None:
    pictures = (tuple(regions("a red zebra", "cat")), tuple(regions("dog")))
    weights = text.weights(["a red zebra and a cat", "a dog"], Regions(pictures))
    assert weights.shape == (2, 2, 77)
    assert weights.sum(-1).tolist() == [[pytest.approx(1), 1], [1, 0]]
    assert (weights[0, 0] > 0).sum() == 6 and weights[1, 0, 2] == 1


def test_past_the_last_usable_token(text: TextEncoding) -> None:
    """75 tokens are usable: the last of 77 holds the end, and the first the start."""
    assert text.tokens("a " * 74 + "cat", regions("cat")) == ((75,),)
    with pytest.raises(PhraseNotFound, match=r"'cat' lies past the text encoder's last usable token \(token 76; it reads 77"):
        text.tokens("a " * 75 + "cat", regions("cat"))
    with pytest.raises(PhraseNotFound, match="'zebra' lies past"):  # half of it is cut off
        text.tokens("a " * 72 + "zebra", regions("zebra"))


def test_a_word_level_tokenizer(tmp_path: Any) -> None:
    """The mini family's kind."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "<unk>", "</s>", *sorted(set(WORDS)), ","]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", model_max_length=32
    ).save_pretrained(str(tmp_path))
    text = TextEncoding.from_folder(tmp_path)
    assert text.limit == 32
    assert text.tokens("A red car, a blue car", regions("a red car", "a blue car")) == ((2, 3), (6, 7))


@settings(max_examples=examples(60))
@given(st.lists(st.sampled_from([*WORDS, "zebra", "caffè", "naïve", "don't", "x-ray", "3"]), min_size=1, max_size=10), st.data())
def test_any_words_of_a_prompt_are_found_at_their_own_tokens(text: TextEncoding, words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    gap = data.draw(st.sampled_from([" ", "  ", " \t"]))
    prompt, phrase = gap.join(words), " ".join(words[start:end])
    (match,) = find_phrases(prompt, regions(phrase))
    assert match.how == "exact"
    (indices,) = text.tokens(prompt, regions(phrase))
    assert list(indices) == list(range(indices[0], indices[-1] + 1)), "neighbours"
    covered = {i for token in indices for i in range(*text._offsets(prompt)[token])}  # two bytes of one letter are two tokens
    assert covered == {i for i in range(*match.span) if not prompt[i].isspace()}
    ids = text.tokenizer(prompt)["input_ids"]
    assert 1 <= indices[0] <= indices[-1] < len(ids) - 1, "never the start or the end token"


@pytest.mark.parametrize("phrase", ["s", "S", "es", "ies"])
def test_a_phrase_that_is_all_ending_is_refused_like_another(phrase: str) -> None:
    with pytest.raises(PhraseNotFound):
        find_phrases("", regions(phrase))


@settings(max_examples=examples(60))
@given(st.text(max_size=40), st.text(min_size=1, max_size=12).filter(str.strip))
def test_any_text_is_found_or_refused(text: TextEncoding, prompt: str, phrase: str) -> None:
    try:
        (indices,) = text.tokens(prompt, regions(phrase))
    except PhraseNotFound:
        return
    assert indices and all(0 < i < 76 for i in indices)
