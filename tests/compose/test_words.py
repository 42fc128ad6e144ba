"""Words in a pair: each option of words draws beside a spatial branch, is felt, and is drawn again from the picture alone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import realcompo as rc
from realcompo.cli import app
from realcompo.errors import BadOption, DifferentWeights, PhraseNotFound, Remark
from realcompo.registry import Registry
from realcompo.testing.driving import relative

SIDE = 64
PROMPT = "a photo of a cat and a red balloon"
BOXES = {"a cat": (0.0, 0.3, 0.5, 1.0), "a red balloon": (0.5, 0.0, 1.0, 0.6)}
FAR = "two apples on the grass, " * 12
LONG = f"{FAR}a photo of a cat and a red balloon"


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("words") / "thing.safetensors"
    save_file({"<thing>": torch.randn(2, 32, generator=torch.Generator().manual_seed(0))}, str(file))
    return file


def pair(checkpoint: Any, balancer: str = "core/balance", **options: Any) -> rc.Composer:
    """SD 1.x and GLIGEN with random weights, both with the same options."""
    told = {"sd/v1-5": "sd1", "gligen/box": "gligen"}
    branches = [{"name": name, "source": str(checkpoint(family)), "options": options} for name, family in told.items()]
    return rc.Composer(*branches, balancer=balancer, device="cpu", height=SIDE, width=SIDE, num_inference_steps=4)


THING = "a photo of a cat and a red balloon, <thing>"
MARKED = "a photo of a (cat:1.9) and a (red balloon:0.2)"
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "all": ({"prompt_weights": "a1111", "clip_skip": 1, "embeddings": "thing"}, f"{MARKED} BREAK (<thing>:1.2), {FAR}"),
    "compel": ({"prompt_weights": "compel"}, MARKED),
    "a1111": ({"prompt_weights": "a1111"}, MARKED),
    "chunks": ({"long_prompts": "chunks"}, f"{PROMPT}, {LONG}"),
    "clip-skip": ({"clip_skip": 1}, PROMPT),
    "embedding": ({"embeddings": "thing"}, THING),
}


@pytest.mark.parametrize("way", [pytest.param(way, marks=() if way == "all" else pytest.mark.deep) for way in WAYS])
def test_a_pair_draws_with_it_and_again(checkpoint: Any, embedding: Path, tmp_path: Path, way: str) -> None:
    options, prompt = WAYS[way]
    options = {name: [{"source": str(embedding)}] if name == "embeddings" else value for name, value in options.items()}
    picture = pair(checkpoint, **options)(prompt, rc.Boxes(BOXES), seed=1).image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Remark)
        plain = pair(checkpoint)(prompt, rc.Boxes(BOXES), seed=1).image
    moved = np.abs(np.asarray(picture, dtype=float) - np.asarray(plain)).max() / 255
    print(f"{way}: moves a pixel by up to {moved:.2f}")
    assert moved > 1e-2, "without the options the same prompt draws another picture"
    picture.save(tmp_path / "one.png")
    assert rc.reproduce(tmp_path / "one.png").same


def test_an_embedding_that_was_changed_is_told(checkpoint: Any, tmp_path: Path) -> None:
    file = tmp_path / "thing.safetensors"
    save_file({"<thing>": torch.zeros(2, 32)}, str(file))
    pair(checkpoint, embeddings=[{"source": str(file)}])("a <thing> on grass", rc.Boxes({"a <thing>": BOXES["a cat"]}), seed=1).image.save(
        tmp_path / "one.png"
    )
    save_file({"<thing>": torch.ones(3, 32)}, str(file))
    with pytest.raises(DifferentWeights, match="embeddings"):
        rc.reproduce(tmp_path / "one.png")


@pytest.mark.parametrize("balancer", ["core/balance", "core/guided"])
def test_probe_and_moves_read_phrases_past_the_77th_token(checkpoint: Any, balancer: str) -> None:
    """Both regions have a loss at both kinds of reading; cut at 77 tokens the phrase is not there."""
    with pytest.raises(PhraseNotFound, match="last usable token"):
        pair(checkpoint)(LONG, rc.Boxes(BOXES), seed=1)
    trace = pair(checkpoint, balancer, long_prompts="chunks")(LONG, rc.Boxes(BOXES), seed=1).trace
    losses = [entry.placement[0] for entry in trace.entries if entry.placement is not None]
    assert losses and all(bool(loss.isfinite().all()) and bool((loss > 0).all()) for loss in losses)


def test_branches_that_build_on_others_hand_them_on(checkpoint: Any) -> None:
    """layguide and regional by base_options, GLIGEN's layers and ControlNets as options of their own."""
    sd1, words = str(checkpoint("sd1")), {"long_prompts": "chunks"}
    built = {
        "layguide/sd": (sd1, {"base": "sd/v1-5", "base_options": words}),
        "gligen/box": (str(checkpoint("gligen")), {"base": "sd/v1-5", "base_source": sd1, **words}),
        "controlnet/pose-sd15": (str(checkpoint("controlnet-sd1")), {"base_source": sd1, **words}),
    }
    for id, (source, options) in built.items():
        branch = Registry().branch(id, options, source=source)
        text = branch.inner.text if id == "layguide/sd" else branch.text
        assert text.chunk_count(LONG) == 2 and text.chunk_count(PROMPT) == 1, id
        with pytest.raises(BadOption, match="chunks of tokens long"):  # from files, before weights
            type(branch).check_prompts(branch.spec, branch.options, ["a cat, " * 400], source)
    spatial = {"name": "layguide/sd", "source": sd1, "options": {"base": "sd/v1-5", "inner_updates": 1}}
    fidelity = {"name": "sd/v1-5", "source": sd1}
    composer = rc.Composer(fidelity, spatial, words=words, device="cpu", height=SIDE, width=SIDE, num_inference_steps=4)
    assert np.asarray(composer(LONG, rc.Boxes(BOXES), seed=1).image).std() > 0


def test_a_regions_own_prompt(checkpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """GLIGEN's box holds those words; a pair in which nobody draws by them says so, by name; bad marks are told before weights."""
    composer = pair(checkpoint, prompt_weights="a1111")

    def drawn(**words: str) -> torch.Tensor:
        boxes = rc.Boxes([{"phrase": "a cat", "box": BOXES["a cat"], **words}])
        return torch.as_tensor(composer(PROMPT, boxes, seed=1, output_type="latent").images)

    with warnings.catch_warnings():
        warnings.simplefilter("error", Remark)
        assert relative(drawn(), drawn(prompt="a black dog")) > 1e-2
        assert torch.equal(drawn(prompt="a (black:1.5) dog"), drawn(prompt="a black dog")), "a box knows no weights"
    with pytest.warns(Remark, match="sd/v1-5, gligen/box: none of them draws a region by its own negative prompt, so that of 'a cat'"):
        assert torch.equal(drawn(), drawn(negative_prompt="a dog"))
    with pytest.raises(BadOption, match="not closed"):
        drawn(prompt="a (black dog")


def test_marks_that_no_branch_reads(checkpoint: Any) -> None:
    """They are letters, and `check` and the run say so; with the switch on, or without marks, there is nothing to say."""

    def said(prompt: str, **options: Any) -> list[str]:
        return [one for one in pair(checkpoint, **options).remarks([rc.PictureEntry(prompt=prompt)]) if "letters" in one]

    (found,) = said("a (black:1.5) cat")
    assert "sd/v1-5, gligen/box: '(black:1.5)' is letters" in found and "words.prompt_weights" in found
    assert "option lora" in said("a cat <lora:ink:1>")[0]
    assert not said("a (black) cat") and not said("a (black:1.5) cat", prompt_weights="a1111")


def test_words_of_a_recipe(checkpoint: Any, tmp_path: Path) -> None:
    """A region's words are read from a recipe and kept in a picture."""
    recipe = tmp_path / "one.toml"
    recipe.write_text(
        f"""device = "cpu"
height = {SIDE}
width = {SIDE}
num_inference_steps = 4
[[branches]]
name = "sd/v1-5"
source = "{checkpoint("sd1")}"
options = {{ prompt_weights = "a1111", clip_skip = 1 }}
[[branches]]
name = "gligen/box"
source = "{checkpoint("gligen")}"
options = {{ prompt_weights = "a1111", clip_skip = 1 }}
[[pictures]]
prompt = "a (cat:1.3) BREAK a dog"
seed = 1
[[pictures.conditions.boxes]]
phrase = "a cat"
box = [0.0, 0.0, 0.5, 1.0]
prompt = "a black cat"
""",
        encoding="utf-8",
    )
    result = rc.run(recipe)
    (item,) = result.recipe.pictures[0].conditions["boxes"].items
    assert item.prompt == "a black cat" and item.negative_prompt is None
    result.image.save(tmp_path / "one.png")
    assert rc.reproduce(tmp_path / "one.png").same
    found = CliRunner().invoke(app, ["check", str(recipe), "--set", "branches.0.options.clip_skip=9"])
    assert found.exit_code == 2 and "clip_skip = 9" in found.output
    told = CliRunner().invoke(app, ["check", str(recipe)])
    assert told.exit_code == 0 and "cat" in told.output, told.output
