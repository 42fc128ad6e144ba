"""Whatever is written, it is encoded or refused: by each rule, in chunks or cut; and tokens stand where compel puts them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import CLIPTextModel

from realcompo.errors import BadOption, PhraseNotFound
from realcompo.interfaces import Region, Regions
from realcompo.toolkit import TextEncoding
from realcompo.toolkit.wording import WordedEncoding
from realcompo.weighing import Piece, write_weights
from tests import examples

WORDS = [
    *("a", "cat", "zebra", "red balloon", ",", ".", ";", "wow!", "猫と犬", "x" * 30),
    *("(red:1.3)", "[dog]", "(a, (b:0.2):2)", "BREAK", r"\(x\)"),
]
PROMPTS = st.lists(st.sampled_from(WORDS), max_size=90).map(" ".join)


@pytest.fixture(scope="module", params=["tokenizer", "tokenizer_2"])
def parts(checkpoint: Any, request: Any) -> tuple[Any, Any]:
    """A tokenizer of SDXL, the second pads with "!", and a text encoder."""
    folder = checkpoint("sdxl")
    tokenizer = TextEncoding.from_folder(folder / request.param).tokenizer
    return tokenizer, CLIPTextModel.from_pretrained(str(folder / "text_encoder")).eval()


@settings(max_examples=examples(40))
@given(PROMPTS, st.sampled_from([None, "a1111", "compel"]), st.booleans())
@example("<|endoftext|>", "compel", True)
@example("", "compel", True)
@example("BREAK BREAK (a:0)", "compel", False)
def test_any_prompt_is_encoded_or_refused(parts: tuple[Any, Any], prompt: str, rule: Any, chunked: bool) -> None:
    text = WordedEncoding(*parts, rule=rule, chunked=chunked)
    try:
        count = text.chunk_count(prompt)
    except BadOption:
        assert "<|" in prompt or len(prompt) > 300
        return
    made = text.encode((prompt, "a cat"))
    assert made.hidden.shape == (2, count * 77, 32) and bool(made.hidden.isfinite().all())
    assert count == 1 or chunked
    if rule is None and count == 1:
        assert torch.allclose(made.hidden, TextEncoding(*parts).encode((prompt, "a cat")).hidden, atol=1e-5)


FRAGMENTS = st.sampled_from(["a cat", "red,", "zebra.", "wow! !", "x" * 20, ";", "two apples on the grass"])


@settings(max_examples=examples(40))
@given(st.lists(st.tuples(FRAGMENTS, st.sampled_from([1.0, 1.5, 0.25])), max_size=60))
def test_tokens_stand_where_compel_puts_them(parts: tuple[Any, Any], pieces: list[tuple[str, float]]) -> None:
    from compel.embeddings_provider import EmbeddingsProvider, SplitLongTextMode

    text = WordedEncoding(*parts, rule="compel", chunked=True)
    spaced = [Piece(f"{words} ", weight) for words, weight in pieces]
    chunks = text.chunks(write_weights(spaced))
    provider = EmbeddingsProvider(*parts, truncate=False, split_long_text_mode=SplitLongTextMode.SENTENCES)
    fragments, weights = [piece.text for piece in spaced] or [""], [piece.weight for piece in spaced] or [1.0]
    ids, told, _ = provider.get_token_ids_and_expand_weights(fragments, weights, device="cpu")
    mine, own = text._padded(chunks)
    assert torch.equal(ids, mine.flatten()) and torch.equal(told, own.flatten())


@settings(max_examples=examples(40))
@given(st.lists(st.sampled_from(["a cat", "a (red:1.2) dog", "two [apples],", "BREAK"]), max_size=60), st.sampled_from(["a1111", "compel"]))
def test_a_phrase_is_found_in_whichever_chunk_it_is(parts: tuple[Any, Any], before: list[str], rule: Any) -> None:
    """Its tokens say the phrase, and its weights sum to one in each repetition of the text."""
    text = WordedEncoding(*parts, rule=rule, chunked=True)
    prompt = " ".join([*before, "a (black:1.3) house"])
    region = Region("h", "black house", span=(prompt.rindex("(black"), len(prompt)))
    try:
        bound = text.set_to([text.chunk_count(prompt), 2])
    except BadOption:
        return
    (indices,) = text.tokens(prompt, [region])
    assert text.token_texts(prompt, indices)[-1] == "house"
    weights = bound.weights((prompt, prompt), Regions(((region,), ()))) if text.chunk_count(prompt) <= 2 else None
    if weights is not None:
        times = weights.shape[-1] // (text.chunk_count(prompt) * 77)
        assert float(weights[0].sum()) == pytest.approx(times) and not weights[1].any()


def test_a_span_of_marks_alone_is_refused(parts: tuple[Any, Any]) -> None:
    text = WordedEncoding(*parts, rule="a1111", chunked=True)
    with pytest.raises(PhraseNotFound, match="only marks"):
        text.tokens("a (red:1.3) cat", [Region("x", "red", span=(6, 10))])
    with pytest.raises(PhraseNotFound, match="lies outside the prompt"):
        text.tokens("a (red:1.3) cat", [Region("x", "red", span=(6, 99))])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rule", ["a1111", "compel"])
def test_in_half_precision_it_is_the_same_up_to_rounding(parts: tuple[Any, Any], rule: Any, dtype: torch.dtype) -> None:
    import copy

    tokenizer, encoder = parts
    prompt = "a (red:1.3) cat BREAK a [dog]"
    whole = WordedEncoding(tokenizer, encoder, rule=rule, chunked=True).encode((prompt,)).hidden
    half = WordedEncoding(tokenizer, copy.deepcopy(encoder).to(dtype), rule=rule, chunked=True).encode((prompt,)).hidden
    assert half.dtype == dtype and float((whole - half).abs().max()) < 0.1
