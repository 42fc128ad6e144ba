"""The shipped weights: read by the ordinary loaders, within their size, and doing what they are for."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
WEIGHTS = Path(str(resources.files("realcompo_mini"))) / "weights"
pytestmark = pytest.mark.skipif(not (WEIGHTS / "fidelity" / "model_index.json").exists(), reason="no weights in this checkout")


def test_size() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) < 50e6


@pytest.mark.parametrize("name", ["fidelity", "boxes"])
def test_phrases_that_differ_in_a_word_pool_differently(name: str) -> None:
    from transformers import AutoTokenizer, CLIPTextModel

    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / name / "tokenizer")
    model = CLIPTextModel.from_pretrained(WEIGHTS / name / "text_encoder", dtype=torch.float32).eval()
    phrases = ["a striped car", "a striped star", "a red car", "a blue car", "a car", "two cars"]
    with torch.no_grad():
        pooled = model(**tokenizer(phrases, padding=True, return_tensors="pt")).pooler_output
    distance = torch.cdist(pooled, pooled) + torch.eye(len(phrases)) * 1e9
    assert distance.min() > 0.1 * pooled.norm(dim=1).mean()


def test_both_share_one_latent_space() -> None:
    schedule = [json.loads((WEIGHTS / name / "scheduler" / "scheduler_config.json").read_text()) for name in ("fidelity", "boxes")]
    assert schedule[0] == schedule[1]
    assert schedule[0]["prediction_type"] == "epsilon"


def test_boxes_model_follows_its_boxes() -> None:
    """Its guess of the clean latent at high noise is darker or lighter where the box says, whichever the noise."""
    from diffusers import UNet2DConditionModel
    from transformers import AutoTokenizer, CLIPTextModel

    unet = UNet2DConditionModel.from_pretrained(WEIGHTS / "boxes" / "unet", torch_dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "boxes" / "tokenizer")
    text = CLIPTextModel.from_pretrained(WEIGHTS / "boxes" / "text_encoder", dtype=torch.float32).eval()
    z = torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        told = tokenizer(["a cat on snow"] * 4, padding="max_length", max_length=32, return_tensors="pt").input_ids
        hidden = text(told).last_hidden_state
        pooled = text(**tokenizer(["a cat"], return_tensors="pt")).pooler_output

        def guess(box: tuple[float, float, float, float]) -> torch.Tensor:
            boxes, phrases, masks = torch.zeros(4, 30, 4), torch.zeros(4, 30, pooled.shape[1]), torch.zeros(4, 30)
            boxes[:, 0], phrases[:, 0], masks[:, 0] = torch.tensor(box), pooled[0], 1
            gligen = {"boxes": boxes, "positive_embeddings": phrases, "masks": masks}
            return unet(z, 900, encoder_hidden_states=hidden, cross_attention_kwargs={"gligen": gligen}).sample

        change = (guess((0.05, 0.3, 0.45, 0.7)) - guess((0.55, 0.3, 0.95, 0.7))).square().mean((0, 1))  # (16, 16)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[5:11, 1:7] = inside[5:11, 9:15] = True
    assert change[inside].mean() > 3 * change[~inside].mean()
