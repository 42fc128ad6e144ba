"""Phrases of every script stand in the prompt that holds them, and only there; spans are those of the prompt as it was written."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realcompo.errors import PhraseNotFound
from realcompo.interfaces import Region
from realcompo.testing.checkpoints import save_tokenizer
from realcompo.toolkit import TextEncoding
from realcompo.toolkit.phrases import find_phrases
from realcompo.toolkit.scripts import clusters, fold
from tests import examples


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def found(prompt: str, *phrases: str) -> list[str]:
    matches = find_phrases(prompt, [Region(str(i), phrase) for i, phrase in enumerate(phrases)])
    return [prompt[slice(*match.span)] for match in matches]


@pytest.mark.parametrize(
    ("prompt", "phrase", "words"),
    [
        ("a café and a dog", decomposed("a café"), "café"),
        (decomposed("a café and a dog"), "a café", decomposed("café")),
        ("the cat’s house", "the cat's house", "cat’s house"),
        ("the cat's house", "the cat’s house", "cat's house"),
        ("the catʼs house", "the cat`s house", "catʼs house"),
        ("a “red” balloon", '"red" balloon', "“red” balloon"),
        ("a cat, a dog", "a dog,", "dog"),
        ("a cat and a dog", "“a cat”", "cat"),
        ("a ｒｅｄ balloon", "red balloon", "ｒｅｄ balloon"),
        ("a red balloon", "ａ ｒｅｄ　ｂａｌｌｏｏｎ", "red balloon"),
        ("a red\u00a0balloon", "red balloon", "red\u00a0balloon"),
        ("a red\u2009balloon", "red\u202fballoon", "red\u2009balloon"),
        ("a red\u200bballoon", "red balloon", "red\u200bballoon"),
        ("a bal\u200bloon", "balloon", "bal\u200bloon"),
        ("a bal\u00adloon", "balloon", "bal\u00adloon"),
        ("\ufeffa cat", "a cat", "cat"),
        ("a teddy\u2011bear", "teddy-bear", "teddy\u2011bear"),
        ("a teddy-bear", "teddy bear", "teddy-bear"),
        ("a teddy bear", "teddy–bear", "teddy bear"),
        ("die Straße", "STRASSE", "Straße"),
        ("DIE STRASSE", "straße", "STRASSE"),
        ("İstanbul'da bir kedi", "istanbul", "İstanbul"),
        ("KIZ ve kedi", "kız", "KIZ"),
        ("ΟΔΟΣ", "οδος", "ΟΔΟΣ"),
        ("a ﬁsh", "fish", "ﬁsh"),
        ("Ёж и кот", "еж", "Ёж"),
        ("一只猫和一只狗", "一只猫", "一只猫"),
        ("一隻貓，一隻狗", "一隻狗", "一隻狗"),
        ("猫と犬が草の上にいる", "猫", "猫"),
        ("猫と犬が草の上にいる", "犬", "犬"),
        ("ﾊﾞﾅﾅと猫", "バナナ", "ﾊﾞﾅﾅ"),
        (decomposed("バナナと猫"), "バナナ", decomposed("バナナ")),
        ("แมวและหมา", "แมว", "แมว"),
        ("แมวและหมา", "หมา", "หมา"),
        ("고양이와 강아지가 있다", "고양이", "고양이"),
        ("고양이와 강아지가 있다", "강아지", "강아지"),
        ("고양이와 강아지가 있다", "고양이가", "고양이"),
        ("고양이들이 논다", "고양이", "고양이"),
        ("풀밭에서는 고양이가", "풀밭", "풀밭"),
        (decomposed("고양이와 강아지"), "고양이", decomposed("고양이")),
        ("cat이 있다", "cat", "cat"),
        ("قِطَّةٌ وَكَلْبٌ", "قطة", "قِطَّةٌ"),
        ("قطة وكلب", "قِطَّةٌ", "قطة"),
        ("كلـــب", "كلب", "كلـــب"),
        ("שָׁלוֹם עולם", "שלום", "שָׁלוֹם"),
        ("کتاب\u200cها", "کتاب", "کتاب"),
        ("एक लड़की और कुत्ता", "लड़की", "लड़की"),
        ("एक लड़की और कुत्ता", decomposed("लड़की"), "लड़की"),
        ("a 👍🏽 and a dog", "👍🏽", "👍🏽"),
        ("👩\u200d🚀 and a dog", "👩\u200d🚀", "👩\u200d🚀"),
        ("❤\ufe0f and a dog", "❤", "❤\ufe0f"),
        ("🇫🇷🇩🇪", "🇩🇪", "🇩🇪"),
        ("a red猫", "red", "red"),
        ("2匹の猫", "猫", "猫"),
    ],
)
def test_a_phrase_stands_in_the_prompt_that_holds_it(prompt: str, phrase: str, words: str) -> None:
    assert found(prompt, phrase) == [words]


@pytest.mark.parametrize(
    ("prompt", "phrase"),
    [
        ("concatenate", "cat"),
        ("a caf\u0065\u0301", "cafe"),  # not the same word
        ("die Straße", "stras"),
        ("bal\u00adloon", "ball"),
        ("ｃｏｎｃａｔｅｎａｔｅ", "cat"),
        ("कितना", "क"),
        ("एक लड़की", "लड़"),
        ("क्षत्रिय", "क"),
        ("👩\u200d🚀 and a dog", "👩"),
        ("👩\u200d🚀 and a dog", "🚀"),
        ("a 👍🏽", "👍"),
        ("🇫🇷🇩🇪", "🇷🇩"),
        ("물고기", "고기"),
        ("고양이발", "고양이"),
        ("кот", "ко"),
        ("a cat", "\u200b"),
        ("a cat", "猫"),
    ],
)
def test_a_part_of_a_word_or_of_a_character_is_not_found(prompt: str, phrase: str) -> None:
    with pytest.raises(PhraseNotFound):
        found(prompt, phrase)


def test_words_for_certain_come_before_parts_of_others() -> None:
    """In scripts without spaces: 犬小屋 is a kennel, ネコバス a bus."""
    assert [match.span[0] for match in find_phrases("犬小屋と犬", [Region("0", "犬")])] == [4]
    spans = [match.span[0] for match in find_phrases("ネコバスとネコ", [Region("0", "ネコ"), Region("1", "ネコ")])]
    assert spans == [5, 0]


def test_tokens_stay_the_tokenizers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The phrase's tokens are those that cover its characters in the prompt as it stands."""
    text = TextEncoding.from_folder(save_tokenizer(tmp_path_factory.mktemp("tokenizer")))
    for prompt, phrase in (
        (decomposed("a café and a dog"), "café"),
        ("the cat’s house", "cat's"),
        ("一只猫和一只狗", "狗"),
        ("a ｒｅｄ cat", "red"),
    ):
        (match,) = find_phrases(prompt, [Region("0", phrase)])
        (indices,) = text.tokens(prompt, [Region("0", phrase)])
        offsets = text._offsets(prompt)
        assert indices == tuple(i for i, (a, b) in enumerate(offsets) if a < match.span[1] and match.span[0] < b)
        assert "".join(dict.fromkeys(text.token_texts(prompt, indices))) in prompt


LETTERS = st.text(
    st.sampled_from("aZé\u0301\u0130ß ,-'’“\u200b\u200d\u00ad猫のネﾊﾞแม่고양이가ᄀ\u1161\u11a8ِقक्षि👩🚀🏽🇫🇷ｒ\u3000ﬁ1_"), max_size=12
)


@settings(max_examples=examples(300))
@given(LETTERS, LETTERS, LETTERS)
def test_what_stands_between_spaces_is_found_in_any_form(before: str, phrase: str, after: str) -> None:
    """A phrase that holds a letter is found between spaces, whatever its composition, case and the text around it."""
    if not any(c.isalnum() for c in unicodedata.normalize("NFKC", phrase)):
        return
    for form in ("NFC", "NFD", "NFKC"):
        prompt = f"{before} . {unicodedata.normalize(form, phrase)} . {after}"
        (match,) = find_phrases(prompt, [Region("0", phrase)])
        assert 0 <= match.span[0] < match.span[1] <= len(prompt)


@settings(max_examples=examples(300))
@given(LETTERS)
def test_clusters_cover_a_text_and_folding_keeps_the_way_back(text: str) -> None:
    spans = list(clusters(text))
    assert "".join(text[a:b] for a, b in spans) == text
    for loose in (False, True):
        folded = fold(text, loose)
        assert len(folded.text) == len(folded.spans) == len(folded.edges) - 1 == len(folded.breaks) - 1
        assert list(folded.spans) == sorted(folded.spans) and all(0 <= a < b <= len(text) for a, b in folded.spans)


@settings(max_examples=examples(300))
@given(
    st.lists(st.sampled_from(["a", "cat", "cats", "Dog", "red", "x1", "the"]), min_size=1, max_size=8),
    st.sampled_from([" ", ", ", "  ", ""]),
    st.sampled_from(["cat", "dog", "red cat", "x1"]),
)
def test_plain_english_is_found_as_a_search_for_words_finds_it(words: list[str], gap: str, phrase: str) -> None:
    prompt = gap.join(words)
    pattern = r"\s+".join(map(re.escape, phrase.split()))
    expected = [match.span() for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", prompt, re.IGNORECASE)]
    assert [span for span, sure in fold(prompt).find(phrase.split()) if sure] == expected
