"""Stage `tokencompose`: a LoRA taught to attend to each object with its own words (Wang et al., "TokenCompose", CVPR 2024).

Beside the denoising loss, on the cross-attention A (mean over heads) of the mid and up blocks, and of the down block whose maps RealCompo
reads: L_token = mean over an object's words of (1 − Σ_mask A / Σ A)², and L_pixel, the binary cross-entropy of A of its noun and the mask.
Objects that share their words ("two apples") are one mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realcompo.interfaces import Region
from realcompo.toolkit import TextEncoding
from realcompo.toolkit.maps import MapPlace, attention_probabilities, cross_attention_places
from realcompo_mini.train.base import add_lora, draw_guided, load_base, min_snr, noised
from realcompo_mini.train.common import Settings
from realcompo_mini.train.dataset import Scenes, prepare
from realcompo_mini.train.fidelity import PROMPTS
from realcompo_mini.train.loop import Course, run
from realcompo_mini.train.models import SIDE, TIMES
from realcompo_mini.train.render import render_masks
from realcompo_mini.train.scenes import Scene
from realcompo_mini.train.sprites import load

SCENES, RANK, EMPTY = 16_000, 16, 0.1
TOKEN, PIXEL = 0.1, 0.02  # weights of the two losses beside the denoising loss, which is about 0.08
CHECK_TIMES = (400, 600, 800)


@dataclass(frozen=True)
class Grounded:
    """N words of a batch: picture, token and mask of each; (N,), (N,), (N, SIDE, SIDE) in [0, 1], and which are nouns (N,)."""

    picture: Tensor
    token: Tensor
    mask: Tensor
    noun: Tensor


def grounding_losses(attention: Tensor, words: Grounded) -> tuple[Tensor, Tensor]:
    """(L_token, L_pixel) of one place.

    Args:
        attention: A (B, h·w, L), the mean over heads, row by row; h = w divides SIDE.
    """
    side = round(attention.shape[1] ** 0.5)
    mask = F.adaptive_avg_pool2d(words.mask.unsqueeze(1), side).flatten(1)
    seen = attention[words.picture, :, words.token]
    inside = (seen * mask).sum(1) / seen.sum(1).clamp(min=1e-8)
    nouns = seen[words.noun].clamp(1e-5, 1 - 1e-5)
    return (1 - inside).square().mean(), F.binary_cross_entropy(nouns, mask[words.noun])


@contextmanager
def watched(places: list[MapPlace], seen: dict[str, Tensor]) -> Iterator[None]:
    """While it lasts, each forward pass leaves A (B, N, L) of every place in `seen`, with a graph: unlike the toolkit's reader, one to the
    weights too."""

    def hook(place: MapPlace, attn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        context = args[1] if len(args) > 1 else kwargs["encoder_hidden_states"]
        seen[place.name] = attention_probabilities(attn, hidden, context).mean(1)

    handles = [place.module.register_forward_pre_hook(partial(hook, place), with_kwargs=True) for place in places]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def grounded_places(unet: nn.Module) -> list[MapPlace]:
    """Mid and up blocks, and the down block at half the latent's size."""
    return [p for p in cross_attention_places(unet) if p.level == 1 or not p.name.startswith("down")]


class TokenCompose(Course):
    """Attributes: see `Course`."""

    name, total, peak, check = "tokencompose", 800, 7e-4, 200

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.base = load_base(settings)
        self.sprites = load(settings.out / "sprites" / "sprites.npz")
        self.scenes = prepare(settings, "fidelity", self.base.tokenizer, min(settings.scenes, SCENES), self.base.autoencoder)
        self.held_out = prepare(settings, "check-fidelity", self.base.tokenizer, None, self.base.autoencoder)
        self.count = len(self.scenes)
        self.empty = self.base.ids([""])[0]
        self.encoding = TextEncoding(self.base.tokenizer)
        self.model: Any = add_lora(self.base.unet, settings.rank or RANK)
        self.places = grounded_places(self.model)
        self._words: dict[tuple[int, int], list[tuple[int, Tensor, bool]]] = {}

    def words(self, scene: Scene) -> list[tuple[int, Tensor, bool]]:
        """(token, mask (SIDE, SIDE), whether it is the noun) of every word that names something of a scene."""
        masks = torch.from_numpy(render_masks(scene, "3d", self.sprites)).float()
        spans = list(dict.fromkeys(o.span for o in scene.objects))
        regions = [Region(str(k), scene.caption[slice(*span)], span=span) for k, span in enumerate(spans)]
        # words that say what and how it is; an article's or a number's attention says nothing of a place
        inner = [Region(r.id, r.phrase.split(" ", 1)[1] if " " in r.phrase else r.phrase, span=_inner(r)) for r in regions]
        found: list[tuple[int, Tensor, bool]] = []
        for span, tokens in zip(spans, self.encoding.tokens(scene.caption, inner), strict=True):
            union = masks[[o.span == span for o in scene.objects]].amax(0)
            small = F.adaptive_avg_pool2d(union[None], SIDE)[0]
            if small.any():
                found += [(token, small, token == tokens[-1]) for token in tokens]
        return found

    def grounded(self, scenes: Scenes, index: np.ndarray[Any, Any], leave: Tensor | None = None) -> Grounded:
        """The words of a batch; none of pictures that `leave` (B,) marks."""
        rows = []
        for b, k in enumerate(index.tolist()):
            key = (id(scenes), k)
            if key not in self._words:
                self._words[key] = self.words(scenes.scenes[k])
            if leave is None or not leave[b]:
                rows += [(b, *row) for row in self._words[key]]
        picture, token, mask, noun = zip(*rows, strict=True)
        device = self.base.device
        return Grounded(
            torch.tensor(picture, device=device),
            torch.tensor(token, device=device),
            torch.stack(mask).to(device),
            torch.tensor(noun, device=device),
        )

    def predict(self, unet: Any, z: Tensor, t: Tensor, hidden: Tensor) -> Tensor:
        device = self.base.device
        with torch.autocast(device.type, torch.bfloat16):
            out: Tensor = unet(z.to(device), t.to(device), encoder_hidden_states=hidden).sample
        return out

    def loss(self, index: np.ndarray[Any, Any], step: int) -> Tensor:
        count = len(index)
        clean, tokens = self.scenes.clean(index), self.scenes.tokens[index].clone()
        blank = torch.rand(count) < EMPTY
        tokens[blank] = self.empty
        t, noise = torch.randint(TIMES, (count,)), torch.randn_like(clean)
        seen: dict[str, Tensor] = {}
        with watched(self.places, seen):
            out = self.predict(self.model, noised(clean, t, noise), t, self.base.hidden(tokens)).float()
        loss = ((out - noise.to(out.device)).square().mean((1, 2, 3)) * min_snr(t).to(out.device)).mean()
        words = self.grounded(self.scenes, index, blank)
        pairs = [grounding_losses(attention, words) for attention in seen.values()]
        token, pixel = (torch.stack(part).mean() for part in zip(*pairs, strict=True))
        return loss + TOKEN * token + PIXEL * pixel

    @torch.no_grad()
    def inside(self, time_step: int) -> tuple[float, float]:
        """(share of the objects' attention inside their masks, ε error) on held-out scenes: of the network as it stands."""
        index = np.arange(len(self.held_out))
        clean = self.held_out.clean(index)
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        t = torch.full((len(clean),), time_step)
        words, seen = self.grounded(self.held_out, index), {}
        with watched(self.places, seen):
            out = self.predict(self.model, noised(clean, t, noise), t, self.base.hidden(self.held_out.tokens)).float().cpu()
        shares = []
        for attention in seen.values():
            side = round(attention.shape[1] ** 0.5)
            mask = F.adaptive_avg_pool2d(words.mask.unsqueeze(1), side).flatten(1)
            maps = attention[words.picture, :, words.token]
            shares.append(float(((maps * mask).sum(1) / maps.sum(1)).mean()))
        return float(np.mean(shares)), float((out - noise).square().mean())

    def checked(self) -> str:
        """In-mask attention and ε error, beside those of the model that it started from."""
        said = []
        for time_step in CHECK_TIMES:
            inside, error = self.inside(time_step)
            self.model.disable_adapters()
            before, error_before = self.inside(time_step)
            self.model.enable_adapters()
            said.append(f"t={time_step} in mask {inside:.3f} | {before:.3f}, ε error {error:.4f} | {error_before:.4f}")
        return ", ".join(said) + " (trained | base model)"

    def drawn(self, average: nn.Module) -> np.ndarray[Any, Any]:
        return draw_guided(self.base, lambda z, t, h: self.predict(average, z, t, h), [*PROMPTS, *PROMPTS])


def _inner(region: Region) -> tuple[int, int]:
    """The characters of a phrase without its article or number."""
    start, end = region.span or (0, 0)
    _, space, rest = region.phrase.partition(" ")
    return (end - len(rest), end) if space else (start, end)


def train(settings: Settings) -> None:
    """Train, or go on."""
    run(TokenCompose(settings), settings)
