"""Stage `boxes`: the gated (GLIGEN) model of the flat look, blind to attributes.

Trained whole, from scratch: with the base frozen, as GLIGEN trains, models of this size never come to notice their boxes. The loss is the
error of the clean latent, first at high noise only, because that is where a layout is decided; later times come as often as their number
says (density ∝ t), because RealCompo leaves the last steps, which paint the look, to the fidelity model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from realcompo_mini.train.autoencoder import load_autoencoder
from realcompo_mini.train.base import clean_error, late_times, noised
from realcompo_mini.train.common import Settings, to_pictures
from realcompo_mini.train.dataset import Scenes, prepare
from realcompo_mini.train.loop import Course, run
from realcompo_mini.train.models import alphas_bar, build_unet, for_training, open_gates
from realcompo_mini.train.sample import draw
from realcompo_mini.train.text import all_phrases, embed_phrases, ids, load_text

# until which step, lowest t, bounds of the weight (1 − ᾱ) / ᾱ
STAGES = ((700, 600, 0.0, 300.0), (1300, 300, 0.3, 100.0), (10**9, 0, 0.3, 30.0))
DROP_BOTH, DROP_BOXES, DROP_TEXT = 0.06, 0.05, 0.05


def phrase_table(text: nn.Module, tokenizer: CLIPTokenizer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Standardised pooled embeddings (P, 128) of all phrases, and the mean and deviation (128,) that did it."""
    table = embed_phrases(text, tokenizer, all_phrases())  # type: ignore[arg-type]
    mean, deviation = table.mean(0), table.std(0)
    return (table - mean) / deviation, mean, deviation


class BoxesCourse(Course):
    """Attributes: see `Course`."""

    name, total, peak, check = "boxes", 4500, 1e-3, 200

    def __init__(self, settings: Settings) -> None:
        self.settings, self.device = settings, torch.device(settings.device)
        self.tokenizer, text = load_text(settings.out)
        self.text = text.eval().requires_grad_(False)
        self.table, _, _ = phrase_table(self.text, self.tokenizer)
        self.text.to(self.device)  # type: ignore[arg-type]
        self.scenes, self.held_out = (prepare(settings, name, self.tokenizer) for name in ("boxes", "check-boxes"))
        self.count = len(self.scenes)
        self.empty = ids(self.tokenizer, [""])[0]
        torch.manual_seed(settings.seed)
        unet = build_unet(gated=True)
        open_gates(unet)
        self.model: Any = for_training(unet, self.device)
        self.autoencoder = load_autoencoder(settings.out)

    def stage(self, step: int) -> tuple[int, float, float]:
        """Of `STAGES`: lowest t, bounds of the weight."""
        return next(stage[1:] for stage in STAGES if step < stage[0])

    @torch.no_grad()
    def hidden(self, tokens: Tensor) -> Tensor:
        """(B, L, 128) of token ids (B, L)."""
        out: Tensor = self.text(tokens.to(self.device)).last_hidden_state
        return out

    def predict(self, model: Any, z: Tensor, t: Tensor, hidden: Tensor, boxes: Tensor, phrases: Tensor, mask: Tensor) -> Tensor:
        """ε (B, 8, 16, 16) for boxes (B, 30, 4), standardised phrase embeddings (B, 30, 128) and mask (B, 30)."""
        gligen = {"boxes": boxes, "positive_embeddings": phrases, "masks": mask}
        gligen = {name: tensor.to(self.device) for name, tensor in gligen.items()}
        with torch.autocast(self.device.type, torch.bfloat16):
            out: Tensor = model(
                z.to(self.device), t.to(self.device), encoder_hidden_states=hidden, cross_attention_kwargs={"gligen": gligen}
            ).sample
        return out

    def loss(self, index: np.ndarray[Any, Any], step: int) -> Tensor:
        scenes, count = self.scenes, len(index)
        lowest, low, high = self.stage(step)
        bars = alphas_bar()
        weights = ((1 - bars) / bars).clamp(low, high)
        weights = weights / weights[lowest:].mean()
        clean, t, tokens = scenes.clean(index), late_times(count, lowest), scenes.tokens[index].clone()
        mask = scenes.mask[index].clone()
        chance = torch.rand(count)
        mask[chance < DROP_BOTH + DROP_BOXES] = 0
        tokens[(chance < DROP_BOTH) | (chance > 1 - DROP_TEXT)] = self.empty
        noise = torch.randn_like(clean)
        phrases = self.table[scenes.phrases[index]] * scenes.mask[index].unsqueeze(-1)
        out = self.predict(self.model, noised(clean, t, noise), t, self.hidden(tokens), scenes.boxes[index], phrases, mask)
        error = (out.float() - noise.to(out.device)).square().mean((1, 2, 3))
        return (error * weights[t].to(out.device)).mean()

    def checked(self) -> str:
        """Error of the clean latent at one time with the right boxes and with another scene's: how far the model follows boxes."""
        scenes = self.held_out
        clean, hidden = scenes.clean(np.arange(len(scenes))), self.hidden(scenes.tokens)

        def error(shift: int) -> float:
            told = (scenes.boxes.roll(shift, 0), self.table[scenes.phrases.roll(shift, 0)], scenes.mask.roll(shift, 0))
            return clean_error(lambda z, t: self.predict(self.model, z, t, hidden, *told), clean)

        return f"x0 error at t=800 with right | shuffled boxes {error(0):.3f} | {error(1):.3f}"

    @torch.no_grad()
    def drawn(self, average: nn.Module) -> np.ndarray[Any, Any]:
        """Rows in pairs: eight held-out scenes as rendered (through the autoencoder), and the same captions and boxes drawn."""
        scenes: Scenes = self.held_out
        count, guidance = 16, 2.0
        autoencoder = self.autoencoder.cpu()
        hidden = self.hidden(torch.cat([ids(self.tokenizer, [""] * count), scenes.tokens[:count]]))
        mask = torch.cat([torch.zeros_like(scenes.mask[:count]), scenes.mask[:count]])
        told = (scenes.boxes[:count].repeat(2, 1, 1), self.table[scenes.phrases[:count]].repeat(2, 1, 1), mask)

        def noise_of(z: Tensor, t: Tensor) -> Tensor:
            out = self.predict(average, torch.cat([z, z]), torch.cat([t, t]), hidden, *told)
            without, with_boxes = out.float().cpu().chunk(2)
            return without + guidance * (with_boxes - without)

        truth = to_pictures(autoencoder.decode(scenes.clean(np.arange(count)) / autoencoder.config.scaling_factor).sample)
        made = draw(noise_of, count, autoencoder)
        return np.concatenate([truth[:8], made[:8], truth[8:], made[8:]])


def train(settings: Settings) -> None:
    """Train, or go on."""
    run(BoxesCourse(settings), settings)
