"""Words past a text encoder's last token are told, and a textual inversion of several vectors is read whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import realcompo as rc
from realcompo.cli import app
from realcompo.errors import BadCheckpoint, PhraseNotFound, Remark
from realcompo.interfaces import Region, Regions, Request
from realcompo.recipes.recipe import PictureEntry
from realcompo.testing.checkpoints import save_tokenizer
from realcompo.toolkit import TextEncoding
from realcompo.toolkit.placeholders import expand
from tests import examples

LONG = " ".join(["a red balloon and"] * 40) + " a cat"


def composer(source: Any, **more: Any) -> rc.Composer:
    fidelity = (
        source if not isinstance(source, Path) else {"name": more.pop("name", "sd/v1-5"), "source": str(source), **more.pop("entry", {})}
    )
    return rc.Composer(
        fidelity,
        more.pop("spatial", ()),
        num_inference_steps=1,
        height=64,
        width=64,
        device="cpu",
        scheduler="euler",
        scheduler_options={"timestep_spacing": "trailing"},
        **more,
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextEncoding:
    return TextEncoding.from_folder(save_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@settings(max_examples=examples(60))
@given(st.lists(st.sampled_from(["a", "cat", "zebra", "猫と犬", "cafe\u0301", "👩‍🚀", ",", "x" * 30]), max_size=40))
def test_what_is_read_and_what_is_not_make_up_the_prompt(text: TextEncoding, words: list[str]) -> None:
    prompt = " ".join(words)
    end = text.unread(prompt)
    count = len(text.tokenizer(prompt)["input_ids"])
    assert bool(end) == (count > 77) and prompt.endswith(end)
    if end:  # without its end it is read whole, and with one character more of it no longer
        start = len(prompt) - len(end)
        assert len(text.tokenizer(prompt[:start])["input_ids"]) <= 78
        with pytest.raises(PhraseNotFound, match="last usable token"):
            text.tokens(prompt, [Region("x", "?", span=(start, len(prompt)))])


def test_the_run_the_result_and_check_tell_of_a_long_prompt(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    made = composer(checkpoint("sd1"))
    with pytest.warns(Remark, match="last one does nothing") as told:
        result = made(LONG, seed=0, output_type="latent")
    (remark,) = result.remarks
    assert (
        [str(one.message) for one in told if one.category is Remark] == [remark] and "a cat" in remark and "sd/v1-5: the prompt" in remark
    )
    assert made.remarks(result.recipe.pictures) == [remark] and made.remarks() == []
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'device = "cpu"\nheight = 64\nwidth = 64\nnum_inference_steps = 4\n[[branches]]\nname = "sd/v1-5"\n'
        f'source = "{checkpoint("sd1")}"\n'
        f'[[pictures]]\nprompt = "{LONG}"\nseed = 1\n[[pictures]]\nprompt = "{LONG}"\nseed = 2\n'
    )
    for verb in (["check"], ["run", "--quiet", "-o", str(tmp_path / "out")]):
        said = CliRunner().invoke(app, [verb[0], str(recipe), *verb[1:]])
        assert said.exit_code == 0 and said.output.count("warning: sd/v1-5: the prompt is longer") == 1, said.output


def test_a_short_prompt_is_told_nothing(checkpoint: Callable[[str], Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Remark)
        assert composer(checkpoint("sd1"))("a cat", negative_prompt="a dog", seed=0).remarks == ()


def test_negative_prompts_and_a_branchs_own_are_told_where_they_are_used(checkpoint: Callable[[str], Path]) -> None:
    made = composer(checkpoint("sd1"))
    with pytest.warns(Remark):
        (remark,) = made("a cat", negative_prompt=LONG, seed=0, output_type="latent").remarks
    assert "sd/v1-5: the negative prompt" in remark
    with pytest.warns(Remark):  # which is not read at all: its length is of no account
        (remark,) = made("a cat", negative_prompt=LONG, guidance_scale=1, seed=0, output_type="latent").remarks
    assert "the negative prompt does nothing" in remark and "longer" not in remark
    own = composer(checkpoint("sd1"), entry={"prompt": "{prompt}, " + LONG, "negative_prompt": LONG})
    kinds = [remark.split(" is longer")[0] for remark in own.remarks([PictureEntry(prompt="a dog")])]
    assert kinds == ["sd/v1-5: the prompt of its own", "sd/v1-5: the negative prompt of its own"]


@pytest.mark.parametrize(("name", "family"), [("gligen/box", "gligen"), ("layguide/sd", "sd1"), ("controlnet/pose-sd15", "controlnet-sd1")])
def test_spatial_branches_tell_too(checkpoint: Callable[[str], Path], name: str, family: str) -> None:
    source = str(checkpoint(family))
    spatial = {"name": name, "source": source, **({"options": {"base_source": source}} if "controlnet" in name else {})}
    made = composer(checkpoint("sd1"), spatial=[spatial])
    (remark,) = made.remarks([PictureEntry(prompt=LONG)])
    assert remark.startswith(f"sd/v1-5, {name}: the prompt")
    branch = made.branches[1]
    assert type(branch).unread(branch.spec, branch.options, [LONG, "a cat"], branch) == (made.branches[0].text.unread(LONG), "")  # type: ignore[attr-defined]


def test_a_region_past_the_last_token_is_an_error(checkpoint: Callable[[str], Path]) -> None:
    made = composer(checkpoint("sd1"), spatial=[{"name": "gligen/box", "source": str(checkpoint("gligen"))}])
    with pytest.raises(PhraseNotFound, match="'cat' lies past the text encoder's last usable token"):
        made(LONG, rc.Boxes({"a cat": (0.1, 0.1, 0.9, 0.9)}))


# -- textual inversions of several vectors ------------------------------------------------------------------------------------


def with_inversions(pipeline: Any, **vectors: int) -> Any:
    generator = torch.Generator().manual_seed(0)
    for token, count in vectors.items():
        pipeline.load_textual_inversion(torch.randn(count, pipeline.text_encoder.config.hidden_size, generator=generator), token=token)
    return pipeline


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from realcompo.testing.sources import small_checkpoint

    made = StableDiffusionPipeline.from_pretrained(small_checkpoint("sd1"), safety_checker=None)
    return with_inversions(made, **{"<thing>": 3, "sks": 2, "<one>": 1})


@pytest.mark.parametrize(
    "prompt",
    [
        "a photo of <thing> and a dog",
        "<thing>",
        "<one> and sks",
        "asks for <thing>, <thing>",
        "sks<thing>sks",
        "<thing>_1",
        "a cat",
        "猫 <thing> 犬",
    ],
)
def test_placeholders_are_read_as_in_the_pipeline(pipeline: Any, prompt: str) -> None:
    """Its prompt, and its negative prompt."""
    branch = composer(pipeline).branches[0]
    asked = branch.encode(Request((prompt,), (prompt,), Regions(((),)), (None,), (64, 64), 7.5))
    right, wrong = pipeline.encode_prompt(prompt, "cpu", 1, True, prompt)
    assert torch.equal(asked.conditional.hidden, right) and torch.equal(asked.unconditional.hidden, wrong)


@pytest.mark.parametrize(
    ("prompt", "phrase", "places"),
    [
        ("a photo of <thing> and a dog", "<thing>", (4, 5, 6)),
        ("a photo of <thing> and a dog", "a <thing>", (4, 5, 6)),
        ("a photo of <thing> and a dog", "a dog", (9,)),
        ("a <Thing> dog", "<thing>", (2, 3, 4)),
        ("<one> sks cat", "sks", (2, 3)),
        ("<one> sks cat", "sks cat", (2, 3, 4)),
        ("<thing> <thing>_1 <thing>_2 dog", "dog", (4,)),
        ("sks sks dog", "dog", (5,)),
    ],
)
def test_a_phrase_has_all_tokens_of_its_placeholder(pipeline: Any, prompt: str, phrase: str, places: tuple[int, ...]) -> None:
    text = TextEncoding(pipeline.tokenizer, pipeline.text_encoder)
    assert text.tokens(prompt, [Region("r", phrase)]) == (places,)
    weights = text.weights([prompt], Regions(((Region("r", phrase),),)))
    assert weights[0, 0].nonzero().flatten().tolist() == list(places)


def test_spelling_out_is_done_once(pipeline: Any) -> None:
    once = expand("a <thing>, sks", pipeline.tokenizer).text
    assert once == "a <thing> <thing>_1 <thing>_2, sks sks_1" and expand(once, pipeline.tokenizer).text == once


@settings(max_examples=examples(80))
@given(parts=st.lists(st.sampled_from(["<thing>", "sks", "<one>", "cat", " ", ", ", "é", "<thing>_1", "猫"]), max_size=8))
def test_every_token_leads_back_to_its_characters(pipeline: Any, parts: list[str]) -> None:
    prompt = "".join(parts)
    text = TextEncoding(pipeline.tokenizer)
    spans = [span for span in text._offsets(prompt) if span != (0, 0)]
    assert all(0 <= a <= b <= len(prompt) for a, b in spans) and spans == sorted(spans)
    for a, b in spans:
        assert "<" not in prompt[a + 1 : b]


def test_placeholders_count_towards_the_end(pipeline: Any) -> None:
    text = TextEncoding(pipeline.tokenizer, pipeline.text_encoder)
    assert text.unread("a " * 72 + "<thing>") == "" and text.unread("a " * 73 + "<thing> dog") == "<thing> dog"


def test_two_encoders_may_know_a_word_by_different_numbers_of_vectors(checkpoint: Callable[[str], Path]) -> None:
    made = StableDiffusionXLPipeline.from_pretrained(str(checkpoint("sdxl")))
    for part, count in (("", 2), ("_2", 3)):
        encoder, tokenizer = getattr(made, f"text_encoder{part}"), getattr(made, f"tokenizer{part}")
        made.load_textual_inversion(
            torch.randn(count, encoder.config.hidden_size), token="<thing>", text_encoder=encoder, tokenizer=tokenizer
        )
    branch = composer(made).branches[0]
    region = Region("t", "<thing>", box=(0.1, 0.1, 0.9, 0.9))
    asked = branch.encode(Request(("a <thing> dog",), ("",), Regions(((region,),)), (None,), (64, 64), 7.5))
    assert asked.weights[0, 0].nonzero().flatten().tolist() == [2, 3, 4]
    right, _, pooled, _ = made.encode_prompt("a <thing> dog", device="cpu", do_classifier_free_guidance=True)
    assert torch.equal(asked.conditional.hidden, right) and torch.equal(asked.conditional.pooled, pooled)
    assert branch.text.unread("a " * 73 + "<thing>") == "<thing>"  # of the second alone


def test_a_word_without_a_vector_is_refused(checkpoint: Callable[[str], Path]) -> None:
    made = StableDiffusionPipeline.from_pretrained(str(checkpoint("sd1")), safety_checker=None)
    made.tokenizer.add_tokens("<thing>")
    with pytest.raises(BadCheckpoint, match="knows '<thing>', for which its text encoder has no vector"):
        composer(made)("a <thing>", seed=0)


def test_a_grounded_phrase_is_pooled_at_its_end(pipeline: Any) -> None:
    """Old configs let transformers take the highest id for the end, which is the placeholder's."""
    text = TextEncoding(pipeline.tokenizer, pipeline.text_encoder)
    pooled = text.pool(["a <thing>", "a cat"])
    ids = pipeline.tokenizer(expand("a <thing>", pipeline.tokenizer).text, return_tensors="pt").input_ids
    assert torch.allclose(pooled[0], pipeline.text_encoder(ids).last_hidden_state[0, -1], atol=1e-5)
    plain = pipeline.tokenizer("a cat", return_tensors="pt").input_ids
    assert torch.allclose(pooled[1], pipeline.text_encoder(plain).pooler_output[0], atol=1e-5)
    with pytest.raises(PhraseNotFound, match="longer than the 77 tokens"):
        text.pool([LONG])
