"""Stages `coloring` and `cute`: a LoRA that draws another look when its trigger words are said.

Most of a batch is scenes of the look under its trigger words, or under no words at all (so that guidance sharpens what is in the picture
and not the look); the rest is scenes of the 3D look under other words: those of another style, or none. So the words decide.

A style is to be composed: what a spatial branch of another look has painted lies under its steps, which no noised picture of its own look
ever shows it. So a share of a batch is scenes that are painted in another look, more or less, and the answer is still the style's own: the
noise that would lead from there to the picture in its look.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from realcompo_mini.train.base import add_lora, clean_error, draw_guided, load_base, min_snr, noised
from realcompo_mini.train.common import Settings
from realcompo_mini.train.dataset import STYLES, UNDER_LOOKS, prepare
from realcompo_mini.train.fidelity import PROMPTS
from realcompo_mini.train.loop import Course, run
from realcompo_mini.train.models import TIMES, alphas_bar
from realcompo_mini.world import load_world

SCENES, OTHERS, RANK = 12_000, 4_000, 16
UNDER, UNDER_FROM = 4_000, 200  # scenes of another look under the style; the first time at which it is shown
OTHER, PAINTED, EMPTY = 0.25, 0.25, 0.1  # shares of a batch: scenes of the 3D look, scenes painted in another look, empty captions


def trigger(look: str) -> str:
    """The words that choose a look."""
    return next(words for words, named in load_world().styles.items() if named == look)


class Style(Course):
    """Attributes: see `Course`."""

    total, peak, check = 2300, 1e-3, 200

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.look = name, STYLES[name]
        torch.manual_seed(settings.seed)
        self.base = load_base(settings)
        most = min(settings.scenes, SCENES)
        self.scenes = prepare(settings, name, self.base.tokenizer, most, self.base.autoencoder)
        self.held_out = prepare(settings, f"check-{name}", self.base.tokenizer, None, self.base.autoencoder)
        self.others = prepare(settings, "fidelity", self.base.tokenizer, min(settings.scenes, OTHERS), self.base.autoencoder)
        few = min(settings.scenes, UNDER)
        self.under = [prepare(settings, f"{name}-{look}", self.base.tokenizer, few, self.base.autoencoder) for look in UNDER_LOOKS]
        self.count = len(self.scenes)
        starts = ["", *(f"{words} " for words, look in load_world().styles.items() if look != self.look)]
        captions = [scene.caption for scene in self.others.scenes]
        self.other_tokens = torch.stack([self.base.ids([start + caption for caption in captions]) for start in starts])
        self.empty = self.base.ids([""])[0]
        self.model: Any = add_lora(self.base.unet, settings.rank or RANK)

    def loss(self, index: np.ndarray[Any, Any], step: int) -> Tensor:
        count = len(index)
        clean, tokens = self.scenes.clean(index), self.scenes.tokens[index].clone()
        rest = round(OTHER * count)
        picked = torch.randint(len(self.others), (rest,)).sort().values
        clean[-rest:] = self.others.clean(picked.numpy())
        tokens[-rest:] = self.other_tokens[torch.randint(len(self.other_tokens), (rest,)), picked]
        t, shown = torch.randint(TIMES, (count,)), clean.clone()
        painted = slice(0, round(PAINTED * count))
        clean[painted], shown[painted], tokens[painted] = self.painted(painted.stop)
        tokens[: count - rest][torch.rand(count - rest) < EMPTY] = self.empty
        t[painted] = torch.randint(UNDER_FROM, TIMES, (painted.stop,))
        z, bar = noised(shown, t, torch.randn_like(clean)), alphas_bar()[t].view(-1, 1, 1, 1)
        wanted = (z - bar.sqrt() * clean) / (1 - bar).sqrt()  # the noise itself, where the style's own picture is shown
        out = self.predict(self.model, z, t, self.base.hidden(tokens))
        weights = min_snr(t).to(self.base.device)
        return ((out.float() - wanted.to(out.device)).square().mean((1, 2, 3)) * weights).mean()

    def painted(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """`count` scenes in the style, the same mixed with another look, and their tokens."""
        under = self.under[int(torch.randint(len(self.under), ()))]
        picked = torch.randint(len(under), (count,)).sort().values
        clean = self.scenes.clean(picked.numpy())
        return clean, torch.lerp(clean, under.clean(picked.numpy()), torch.rand(count, 1, 1, 1)), self.scenes.tokens[picked]

    def predict(self, unet: Any, z: Tensor, t: Tensor, hidden: Tensor) -> Tensor:
        device = self.base.device
        with torch.autocast(device.type, torch.bfloat16):
            out: Tensor = unet(z.to(device), t.to(device), encoder_hidden_states=hidden).sample
        return out

    def checked(self) -> str:
        """x₀ error with the trigger, with none, and of the model that it started from."""
        clean = self.held_out.clean(np.arange(len(self.held_out)))
        start = len(trigger(self.look)) + 1
        plain = self.base.hidden(self.base.ids([scene.caption[start:] for scene in self.held_out.scenes]))
        said = self.base.hidden(self.held_out.tokens)
        errors = [clean_error(lambda z, t, h=h: self.predict(self.model, z, t, h), clean) for h in (said, plain)]
        self.model.disable_adapters()
        errors.append(clean_error(lambda z, t: self.predict(self.model, z, t, said), clean))
        self.model.enable_adapters()
        return "x0 error at t=800 with trigger | without | base model {:.3f} | {:.3f} | {:.3f}".format(*errors)

    def drawn(self, average: nn.Module) -> np.ndarray[Any, Any]:
        """Eight prompts with the trigger words; the same without."""
        words = trigger(self.look)
        prompts = [f"{words} {prompt}" for prompt in PROMPTS]
        return draw_guided(self.base, lambda z, t, h: self.predict(average, z, t, h), [*prompts, *PROMPTS])


def train_coloring(settings: Settings) -> None:
    """Black outlines on white."""
    run(Style("coloring", settings), settings)


def train_cute(settings: Settings) -> None:
    """Pastel stickers."""
    run(Style("cute", settings), settings)
