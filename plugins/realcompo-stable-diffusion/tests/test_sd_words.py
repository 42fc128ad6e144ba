"""Words: weights, prompts past 77 tokens, clip skip and textual inversions draw what diffusers' pipelines draw from compel's embeddings,
from the hidden states by hand, or from load_textual_inversion; and each is felt."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

import realcompo as rc
from realcompo.conditions import Boxes
from realcompo.errors import BadCheckpoint, BadOption, PhraseNotFound
from realcompo.interfaces import Region
from realcompo.noise.diffusion import Solver
from realcompo.registry import Registry
from realcompo.testing.driving import draw_alone, relative, request
from realcompo.toolkit import TextEncoding
from realcompo.toolkit.wording import WordedEncoding
from tests import sliced

STEPS, GUIDANCE, SIDE = 4, 5.0, 64
KINDS = {"sd1": ("StableDiffusionPipeline", "sd/v1-5"), "sdxl": ("StableDiffusionXLPipeline", "sd/xl-base")}
NEGATIVE = "a blue car"
LONG = "a photo of a cat and a red balloon. " * 6 + "two apples on the grass, " * 16 + "a black dog on a sofa"
MARKED = "a photo of a (red:1.9) cat, (two apples:0.3) and a dog on the grass"
IN_COMPEL = "a photo of a (red)1.9 cat, (two apples)0.3 and a dog on the grass"
BARE = "a photo of a red cat, two apples and a dog on the grass"


def noise(count: int = 1) -> torch.Tensor:
    return torch.stack([torch.randn(4, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(b)) for b in range(count)])


@pytest.fixture(scope="module")
def pipes(checkpoint: Any) -> Callable[[str], Any]:
    made: dict[str, Any] = {}

    def of(family: str) -> Any:
        if family not in made:
            more = {} if family == "sdxl" else {"safety_checker": None}
            made[family] = getattr(diffusers, KINDS[family][0]).from_pretrained(str(checkpoint(family)), **more)
            made[family].set_progress_bar_config(disable=True)
        return made[family]

    return of


def branch(checkpoint: Any, family: str, **options: Any) -> Any:
    return Registry().branch(KINDS[family][1], options, source=str(checkpoint(family)))


def ours(one: Any, prompts: Any, negatives: Any = (NEGATIVE,), conditions: Any = None) -> torch.Tensor:
    asked = request(prompts, negatives=negatives, guidance_scale=GUIDANCE, size=(SIDE, SIDE), conditions=conditions)
    return draw_alone(one, asked, noise(len(prompts)), steps=STEPS)


def theirs(pipe: Any, one: Any, **asked: Any) -> torch.Tensor:
    pipe.scheduler = Solver("ddim", one.traits.schedule, STEPS).scheduler
    return pipe(  # type: ignore[no-any-return]
        num_inference_steps=STEPS, guidance_scale=GUIDANCE, latents=noise(), height=SIDE, width=SIDE, output_type="latent", **asked
    ).images


def by_compel(pipe: Any, family: str, prompt: str, negative: str, bare: str) -> dict[str, torch.Tensor]:
    """compel's embeddings of a prompt in its own syntax, by its own parser; SDXL's encoders each by itself: compel 2.5 pads no pair."""
    from compel import Compel, ReturnedEmbeddingsType

    kind = {"sd1": "LAST_HIDDEN_STATES_NORMALIZED", "sdxl": "PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED"}[family]
    parts = [(pipe.tokenizer, pipe.text_encoder)] + ([(pipe.tokenizer_2, pipe.text_encoder_2)] if family == "sdxl" else [])
    compels = [Compel(*part, truncate_long_prompts=False, returned_embeddings_type=ReturnedEmbeddingsType[kind]) for part in parts]
    pairs = [one.pad_conditioning_tensors_to_same_length([one(prompt), one(negative)]) for one in compels]
    made = {name: torch.cat([pair[n] for pair in pairs], dim=-1) for n, name in enumerate(("prompt_embeds", "negative_prompt_embeds"))}
    if family == "sdxl":
        pooled = compels[1].conditioning_provider.get_pooled_embeddings([bare, negative])
        made |= {"pooled_prompt_embeds": pooled[:1], "negative_pooled_prompt_embeds": pooled[1:]}
    return made


# -- weights and long prompts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", KINDS)
def test_weights_are_compels(checkpoint: Any, pipes: Any, family: str) -> None:
    one, pipe = branch(checkpoint, family, prompt_weights="compel"), pipes(family)
    mine = ours(one, (MARKED,))
    its = theirs(pipe, one, **by_compel(pipe, family, IN_COMPEL, NEGATIVE, BARE))
    print(f"{family}: parity {relative(its, mine):.1e}, the weights move the latents by {relative(ours(one, (BARE,)), mine):.2f}")
    assert relative(its, mine) < 1e-4
    assert relative(ours(one, (BARE,)), mine) > 1e-2, "the weights must be felt"
    off = branch(checkpoint, family)
    assert relative(ours(off, (BARE,)), ours(one, (BARE,))) < 1e-5, "words without marks mean what they meant"
    assert relative(ours(off, (MARKED,)), mine) > 1e-2, "without the option, brackets are letters"


@pytest.mark.parametrize("family", sliced([(kind,) for kind in KINDS], 2))
def test_past_77_tokens_it_is_compels_chunks(checkpoint: Any, pipes: Any, family: str) -> None:
    one, pipe = branch(checkpoint, family, long_prompts="chunks"), pipes(family)
    assert one.text.chunk_count(LONG) == 3
    mine = ours(one, (LONG,))
    its = theirs(pipe, one, **by_compel(pipe, family, LONG, NEGATIVE, LONG))
    assert relative(its, mine) < 1e-4
    assert relative(ours(branch(checkpoint, family), (LONG,)), mine) > 1e-2, "what lies past the 77th token must be felt"
    against = ours(one, (NEGATIVE,), (LONG,))  # the prompt is padded, the negative one is long
    told = by_compel(pipe, family, LONG, NEGATIVE, LONG)
    turned = {k.removeprefix("negative_") if k.startswith("negative_") else f"negative_{k}": v for k, v in told.items()}
    assert relative(theirs(pipe, one, **turned), against) < 1e-4


@pytest.mark.parametrize("family", KINDS)
def test_without_the_option_a_long_prompt_is_cut_as_in_diffusers(checkpoint: Any, pipes: Any, family: str) -> None:
    one, pipe = branch(checkpoint, family), pipes(family)
    mine = ours(one, (LONG,))
    assert relative(theirs(pipe, one, prompt=LONG, negative_prompt=NEGATIVE), mine) < 1e-4
    assert relative(mine, ours(one, (BARE,))) > 1e-2


def test_weights_in_long_prompts_and_a_break(checkpoint: Any, pipes: Any) -> None:
    """compel's .and() is where BREAK stands."""
    one, pipe = branch(checkpoint, "sd1", prompt_weights="compel"), pipes("sd1")
    words = "a red balloon on the grass, " * 14
    mine = ours(one, (f"{words}a (cat:1.5) BREAK a (dog:0.3) on a sofa",))
    told = by_compel(pipe, "sd1", f'("{words}a (cat)1.5", "a (dog)0.3 on a sofa").and()', NEGATIVE, "")
    assert told["prompt_embeds"].shape[1] == 3 * 77
    assert relative(theirs(pipe, one, **told), mine) < 1e-4
    assert relative(ours(one, (f"{words}a cat a dog on a sofa",)), mine) > 1e-2


def test_weights_by_a1111(checkpoint: Any) -> None:
    """By hand: multiplied, and the mean restored. The norm of a random checkpoint leaves no mean; CLIP's own does, and so does this one."""
    one = branch(checkpoint, "sd1", prompt_weights="a1111")
    encoder = copy.deepcopy(one.text.encoder)
    torch.nn.init.constant_(getattr(encoder, "text_model", encoder).final_layer_norm.bias, -0.1)
    text = WordedEncoding(one.text.tokenizer, encoder, rule="a1111", chunked=True)
    plain = TextEncoding(one.text.tokenizer, encoder).encode((BARE,)).hidden
    weights = torch.ones(77)
    for words, weight in (("red", 1.9), ("two apples", 0.3)):
        (indices,) = text.tokens(MARKED, [Region("x", words, span=(MARKED.index(words), MARKED.index(words) + len(words)))])
        weights[list(indices)] = weight
    assert (weights != 1).sum() == 3
    weighed = plain * weights[:, None]
    by_hand = weighed * (plain.mean() / weighed.mean())
    assert relative(by_hand, text.encode((MARKED,)).hidden) < 1e-5
    assert relative(by_hand, plain) > 1e-1 and relative(by_hand, weighed) > 1e-3
    assert relative(ours(one, (BARE,)), ours(one, (MARKED,))) > 1e-2
    assert torch.isfinite(one.text.encode(("(a cat:0)",)).hidden).all()


def test_a_picture_is_the_same_alone_and_beside_longer_ones(checkpoint: Any) -> None:
    one = branch(checkpoint, "sd1", prompt_weights="a1111")
    prompts, negatives = (MARKED, LONG, "a cat BREAK a dog"), ("", NEGATIVE, "a sofa")
    assert [one.text.chunk_count(prompt) for prompt in prompts] == [1, 3, 2]
    together = ours(one, prompts, negatives)
    for b in range(3):
        asked = request(prompts[b : b + 1], negatives=negatives[b : b + 1], guidance_scale=GUIDANCE, size=(SIDE, SIDE))
        assert relative(draw_alone(one, asked, noise(3)[b : b + 1], steps=STEPS), together[b : b + 1]) < 1e-4


def test_phrases_are_found_in_any_chunk_and_maps_are_of_their_words(checkpoint: Any) -> None:
    """Maps of a phrase that stands in the last chunk; those of a batch are those alone, though its text stands there several times."""
    one = branch(checkpoint, "sd1", prompt_weights="a1111")
    prompt = f"{LONG} and a \\(small\\) ((house:1.2):1.2)"
    boxes = Boxes({"a cat": (0.0, 0.0, 0.5, 0.5), "a (small) house": (0.5, 0.5, 1.0, 1.0)})
    found = one.text.tokens(prompt, [Region("c", "a cat"), Region("h", "a (small) house")])
    assert max(found[0]) < 77 and min(found[1]) >= 2 * 77
    assert one.text.token_texts(prompt, found[1])[-1] == "house" and one.text.token_texts(prompt, found[1])[0] in ("(", "a")
    step = Solver("ddim", one.traits.schedule, 10).steps[4]

    def maps(prompts: tuple[str, ...]) -> torch.Tensor:
        asked = request(prompts, conditions=[boxes] * len(prompts), size=(SIDE, SIDE))
        return one.attend(noise(len(prompts)), step, one.encode(asked))  # type: ignore[no-any-return]

    alone = maps((prompt,))
    beside = maps((prompt, "a cat BREAK a (small:1) house".replace("(small:1)", r"\(small\)")))
    assert alone.shape == (1, 2, 2, 2) and bool((alone > 0).all())
    assert relative(alone, beside[:1]) < 1e-4
    assert relative(alone[0, 0], alone[0, 1]) > 1e-3, "two phrases have two maps"
    with pytest.raises(PhraseNotFound, match="long_prompts"):
        branch(checkpoint, "sd1", clip_skip=1).text.tokens(LONG, [Region("x", "a black dog")])


# -- clip skip -------------------------------------------------------------------------------------------------------------------


def test_clip_skip_of_sdxl_is_diffusers(checkpoint: Any, pipes: Any) -> None:
    one, pipe = branch(checkpoint, "sdxl", clip_skip=1), pipes("sdxl")
    mine = ours(one, (BARE,))
    assert relative(theirs(pipe, one, prompt=BARE, negative_prompt=NEGATIVE, clip_skip=1), mine) < 1e-4
    assert relative(ours(branch(checkpoint, "sdxl", clip_skip=0), (BARE,)), mine) > 1e-2


@pytest.mark.parametrize("skip", [1, 2])
def test_clip_skip_of_sd1_is_an_earlier_state_through_the_norm(checkpoint: Any, pipes: Any, skip: int) -> None:
    """Not diffusers' pipeline: under transformers 5 its clip_skip raises."""
    one, pipe = branch(checkpoint, "sd1", clip_skip=skip), pipes("sd1")
    ids = pipe.tokenizer([BARE, NEGATIVE], padding="max_length", max_length=77, return_tensors="pt").input_ids
    encoder = pipe.text_encoder
    with torch.no_grad():
        output = encoder(ids, output_hidden_states=True)
        made = getattr(encoder, "text_model", encoder).final_layer_norm(output.hidden_states[-1 - skip])
    mine = ours(one, (BARE,))
    told = {"prompt_embeds": made[:1], "negative_prompt_embeds": output.last_hidden_state[1:]}  # as diffusers: all layers
    assert relative(theirs(pipe, one, **told), mine) < 1e-4
    assert relative(ours(branch(checkpoint, "sd1"), (BARE,)), mine) > 1e-2


# -- textual inversion -----------------------------------------------------------------------------------------------------------


def vectors(count: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One word of three vectors in each layout, and SDXL's pair."""
    folder = tmp_path_factory.mktemp("embeddings")
    three = vectors(3, 32, 1)
    paths = {name: folder / f"{name}.safetensors" for name in ("diffusers", "thing", "xl")}
    paths |= {"a1111": folder / "old.pt", "first": folder / "first.pt"}
    save_file({"<thing>": three}, str(paths["diffusers"]))
    save_file({"emb_params": three}, str(paths["thing"]))
    save_file({"clip_l": vectors(2, 32, 2), "clip_g": vectors(2, 48, 3)}, str(paths["xl"]))
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": three}, "name": "old", "step": 10}, paths["a1111"])
    first = torch.nn.ParameterDict({"*": torch.nn.Parameter(three)})  # as the authors' own code wrote them
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": first}, paths["first"])
    return paths


INVERTED = "a photo of a <thing> and a dog on the grass"


@pytest.mark.parametrize("layout", ["diffusers", "thing", "a1111", pytest.param("first", marks=pytest.mark.deep)])
def test_an_embedding_is_diffusers(checkpoint: Any, files: dict[str, Path], layout: str) -> None:
    pipe: Any = diffusers.StableDiffusionPipeline.from_pretrained(str(checkpoint("sd1")), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_textual_inversion(str(files["diffusers"]), token="<thing>")
    told = {"source": str(files[layout]), "token": "<thing>"}
    one = branch(checkpoint, "sd1", embeddings=[told], allow_pickle=layout in ("a1111", "first"))
    mine = ours(one, (INVERTED,))
    assert relative(theirs(pipe, one, prompt=INVERTED, negative_prompt=NEGATIVE), mine) < 1e-4
    assert relative(ours(branch(checkpoint, "sd1"), (INVERTED,)), mine) > 1e-2
    (indices,) = one.text.tokens(INVERTED, [Region("x", "a <thing>")])
    assert len(indices) == 3, "a phrase is read at all its vectors"
    assert one.text.token_texts(INVERTED, indices) == ("<thing>",) * 3
    assert set(one.fingerprint()) == {"unet", "text_encoder", "vae", "embeddings"}


def test_an_sdxl_embedding_is_diffusers(checkpoint: Any, files: dict[str, Path]) -> None:
    pipe: Any = diffusers.StableDiffusionXLPipeline.from_pretrained(str(checkpoint("sdxl")))
    pipe.set_progress_bar_config(disable=True)
    for n, end in (("", "l"), ("_2", "g")):
        states = vectors(2, 32, 2) if end == "l" else vectors(2, 48, 3)
        encoder, tokenizer = getattr(pipe, f"text_encoder{n}"), getattr(pipe, f"tokenizer{n}")
        pipe.load_textual_inversion(states, token="<thing>", text_encoder=encoder, tokenizer=tokenizer)
    one = branch(checkpoint, "sdxl", embeddings=[{"source": str(files["xl"]), "token": "<thing>"}])
    mine = ours(one, (INVERTED,))
    assert relative(theirs(pipe, one, prompt=INVERTED, negative_prompt=NEGATIVE), mine) < 1e-4
    assert relative(ours(branch(checkpoint, "sdxl"), (INVERTED,)), mine) > 1e-2


def test_its_vectors_are_nobody_elses(checkpoint: Any, files: dict[str, Path]) -> None:
    """Another branch of the same checkpoint shares the UNet, and neither the text encoder nor the word."""
    before = branch(checkpoint, "sd1")
    one = branch(checkpoint, "sd1", embeddings=[{"source": str(files["diffusers"])}])
    after = branch(checkpoint, "sd1")
    assert one.unet is before.unet is after.unet
    assert before.text.encoder is after.text.encoder is not one.text.encoder
    assert "<thing>" not in after.text.tokenizer.get_vocab()
    weighed = branch(checkpoint, "sd1", embeddings=[{"source": str(files["diffusers"])}], prompt_weights="compel")
    assert relative(ours(one, (INVERTED,)), ours(weighed, (INVERTED,))) < 1e-4
    marked = INVERTED.replace("<thing>", "(<thing>:1.5)")
    assert relative(ours(one, (INVERTED,)), ours(weighed, (marked,))) > 1e-2
    assert len(weighed.text.tokens(marked, [Region("x", "a <thing>")])[0]) == 3


def test_a_pipeline_that_you_hold_is_read_so_too(checkpoint: Any, files: dict[str, Path]) -> None:
    """Its own textual inversions among the weighed words; those of the option would change it, and are refused."""
    pipe: Any = diffusers.StableDiffusionPipeline.from_pretrained(str(checkpoint("sd1")), safety_checker=None)
    pipe.load_textual_inversion(str(files["diffusers"]), token="<thing>")
    held = Registry().branch("sd/pipeline", {"prompt_weights": "a1111"}, source=pipe)
    told = branch(checkpoint, "sd1", embeddings=[{"source": str(files["diffusers"])}], prompt_weights="a1111")
    assert relative(ours(told, (INVERTED,)), ours(held, (INVERTED,))) < 1e-5
    with pytest.raises(BadCheckpoint, match="a pipeline that you hold"):
        Registry().inspect("sd/pipeline", {"embeddings": [{"source": str(files["thing"])}]}, pipe)


# -- what is refused, before a weight is loaded ------------------------------------------------------------------------------------


def refused(checkpoint: Any, family: str, match: str, error: type[Exception], **options: Any) -> None:
    with pytest.raises(error, match=match) as found:
        Registry().inspect(KINDS[family][1], options, str(checkpoint(family)))
    assert getattr(found.value, "mend", None)


def test_embeddings_that_do_not_fit(checkpoint: Any, files: dict[str, Path], tmp_path: Path) -> None:
    def file(name: str, **tensors: torch.Tensor) -> str:
        save_file(tensors, str(tmp_path / name))
        return str(tmp_path / name)

    def of(source: Any, token: str | None = "<thing>") -> dict[str, Any]:
        return {"embeddings": [{"source": str(source), "token": token}]}

    sd2 = file("sd2.safetensors", emb_params=vectors(2, 1024, 0))
    refused(checkpoint, "sd1", "this is an SD 2.x embedding of width 1024, the branch's is 32", BadCheckpoint, **of(sd2))
    refused(checkpoint, "sd1", "an SDXL embedding", BadCheckpoint, **of(files["xl"]))
    refused(checkpoint, "sdxl", "for one text encoder", BadCheckpoint, **of(files["thing"]))
    refused(checkpoint, "sd1", "pickled", BadCheckpoint, **of(files["a1111"]))
    refused(checkpoint, "sd1", "no such embedding", BadCheckpoint, **of(tmp_path / "none.safetensors"))
    refused(checkpoint, "sd1", "holds 2 tensors", BadCheckpoint, **of(file("two.safetensors", a=vectors(1, 32, 0), b=vectors(1, 32, 0))))
    refused(checkpoint, "sd1", "overflowed", BadCheckpoint, **of(file("nan.safetensors", a=vectors(1, 32, 0) * float("nan"))))
    refused(checkpoint, "sd1", "not 1 to 75 vectors", BadCheckpoint, **of(file("many.safetensors", a=vectors(76, 32, 0))))
    for token in ("cat", "<|endoftext|>"):
        refused(checkpoint, "sd1", "a word of the tokenizer already", BadOption, **of(files["thing"], token))
    refused(checkpoint, "sd1", "not one word", BadOption, **of(files["thing"], "two words"))
    twice = {"embeddings": [{"source": str(files[name]), "token": "<thing>"} for name in ("thing", "diffusers")]}
    refused(checkpoint, "sd1", "a word of two embeddings", BadOption, **twice)
    refused(checkpoint, "sd1", "read as a mark", BadOption, prompt_weights="a1111", **of(files["thing"], "thing:2"))


def test_options_that_cannot_be(checkpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(checkpoint, "sd1", "clip_skip = 3, and the text_encoder has 2 layers", BadOption, clip_skip=3)
    refused(checkpoint, "sdxl", "clip_skip = 2", BadOption, clip_skip=2)
    monkeypatch.setattr("realcompo.toolkit.words.find_spec", lambda name: None)
    refused(checkpoint, "sd1", "need the package compel", BadOption, prompt_weights="compel")


@pytest.mark.parametrize("prompt", ["a (red cat", "a (red:many) cat", "a cat, " * 400, "a cat <|endoftext|>"])
def test_prompts_that_cannot_be_read_are_refused_before_weights(checkpoint: Any, prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realcompo.toolkit.loading.Loader.module", lambda *_: pytest.fail("weights were loaded"))
    told = {"name": "sd/v1-5", "source": str(checkpoint("sd1")), "options": {"prompt_weights": "a1111"}}
    with pytest.raises(BadOption):
        rc.Composer(told, device="cpu", height=SIDE, width=SIDE, num_inference_steps=2)(prompt, seed=0)
