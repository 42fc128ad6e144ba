"""A small network with real attention, read through a hook."""

import math
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import nn

from realcompo.errors import PhraseNotFound
from realcompo.interfaces import Branch, Prediction

LENGTH, WIDTH = 12, 8


@dataclass(frozen=True)
class Conditioning:
    """text and empty (B, L) word numbers; layout (B, 1, h, w); tokens (B, R, L) of each region; guidance_scale."""

    text: torch.Tensor
    empty: torch.Tensor
    layout: torch.Tensor
    tokens: torch.Tensor
    guidance_scale: float


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.value = nn.Conv2d(WIDTH, WIDTH, 1), nn.Linear(WIDTH, WIDTH)

    def probabilities(self, features, words):
        scores = torch.einsum("bwij,blw->blij", self.query(features), words) / math.sqrt(WIDTH)
        return scores.softmax(dim=1)

    def forward(self, features, words):
        return features + torch.einsum("blij,blw->bwij", self.probabilities(features, words), self.value(words))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(64, WIDTH)
        self.enter = nn.Conv2d(5, WIDTH, 3, padding=1)
        self.attention = Attention()
        self.leave = nn.Conv2d(WIDTH, 4, 3, padding=1)

    def forward(self, z, t, text, layout):
        features = torch.tanh(self.enter(torch.cat([z, layout], dim=1)) + t / 1000)
        return z + self.leave(self.attention(features, self.words(text)))


class SmallBranch(Branch):
    def __init__(self, spec, options, *, source=None, device="cpu", dtype=None):
        self.spec, self.options, self.traits = spec, options, self.inspect(spec, options, source)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.network = Network().to(device, dtype or torch.float32)

    @classmethod
    def inspect(cls, spec, options, source=None):
        return spec.traits

    @torch.no_grad()
    def encode(self, request):
        h, w = (side // 8 for side in request.size)
        tokens = torch.zeros(len(request.prompts), request.regions.most, LENGTH)
        for b, prompt in enumerate(request.prompts):
            for r, region in enumerate(request.regions.pictures[b]):
                tokens[b, r, self.places(prompt, region.phrase)] = 1
        layout = torch.zeros(len(request.prompts), 1, h, w)
        for b, condition in enumerate(request.conditions):
            for item in condition.items if condition is not None else ():
                x0, y0, x1, y1 = item.box
                layout[b, 0, int(y0 * h) : math.ceil(y1 * h), int(x0 * w) : math.ceil(x1 * w)] += zlib.crc32(item.phrase.encode()) % 3 + 1
        empty = self.numbers([""] * len(request.prompts))
        return Conditioning(self.numbers(request.prompts), empty, layout, tokens, request.guidance_scale)

    def places(self, prompt, phrase):
        words, wanted = prompt.split(), [word for word in phrase.split() if word not in self.options.words]
        if not set(wanted) <= set(words):
            raise PhraseNotFound(f"{phrase!r} is not in {prompt!r}", mend="use words of the prompt")
        return [place for place, word in enumerate(words) if word in wanted]

    def numbers(self, prompts):
        rows = [[zlib.crc32(word.encode()) % 63 + 1 for word in prompt.split()][:LENGTH] for prompt in prompts]
        return torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows])

    def run(self, z, step, text, layout):
        self.check_step(step)
        return self.network(z, step.t, text, layout.to(z))

    def predict(self, z, step, conditioning, read=False):
        maps = self.attend(z, step, conditioning) if read else None
        with torch.no_grad():
            noise = self.run(z, step, conditioning.text, conditioning.layout)
            empty = self.run(z, step, conditioning.empty, conditioning.layout)
            noise = empty + conditioning.guidance_scale * (noise - empty)
        return Prediction(noise, maps)

    def predict_half(self, z, step, conditioning, half, read=False):
        return self.predict(z, step, replace(conditioning, guidance_scale=float(half == "conditional")), read)

    def attend(self, z, step, conditioning):
        with self.borrowed() as seen:
            self.run(z, step, conditioning.text, conditioning.layout)
        maps = torch.einsum("blij,brl->brij", seen[0], conditioning.tokens.to(seen[0]))
        return maps

    @contextmanager
    def borrowed(self):
        seen, awake = [], [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        for parameter in awake:
            parameter.requires_grad_(False)
        attention = self.network.attention
        handle = attention.register_forward_pre_hook(lambda module, args: seen.append(module.probabilities(*args)))
        try:
            yield seen
        finally:
            handle.remove()
            for parameter in awake:
                parameter.requires_grad_(True)

    def decode(self, z):
        pixels = (z[:, :3].sigmoid() * 255).to(torch.uint8).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
        return [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in pixels]

    def to(self, device=None, dtype=None):
        self.network.to(device=device, dtype=dtype)
        return self

    @property
    def device(self):
        return self.network.leave.weight.device

    @property
    def dtype(self):
        return self.network.leave.weight.dtype

    def fingerprint(self):
        return {"network": str(zlib.crc32(self.network.leave.weight.detach().numpy().tobytes()))}
