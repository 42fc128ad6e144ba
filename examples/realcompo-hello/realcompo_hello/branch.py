"""A branch that knows its world in closed form: pictures are x₀ ~ N(mean, 1), so its noise prediction is exact and needs no weights."""

import zlib

import torch
from PIL import Image

from realcompo.interfaces import Branch, Prediction


class HelloBranch(Branch):
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, spec, options, *, source=None, device="cpu", dtype=None):
        self.spec, self.options, self.traits = spec, options, spec.traits
        self.to(device, dtype)

    def encode(self, request):
        """Once a run: the mean picture (B, 4, h, w), and which of the 4 channels each region shows in (B, R, 4)."""
        h, w = (side // 8 for side in request.size)
        mean = torch.tensor([zlib.crc32(p.encode()) % 10 / 20 for p in request.prompts])[:, None, None, None].repeat(1, 4, h, w)
        channels = torch.zeros(len(request.prompts), request.regions.most, 4)
        for b, regions in enumerate(request.regions.pictures):
            for r, region in enumerate(regions):
                channels[b, r, zlib.crc32(region.phrase.encode()) % 4] = 1
        if self.spec.role == "spatial":
            mean = mean + torch.einsum("brc,brhw->bchw", channels, request.regions.masks(h, w))
        return mean.to(self.device), channels.to(self.device)

    def predict(self, z, step, conditioning, read=False):
        self.check_step(step)
        noise = (1 - step.alpha_bar) ** 0.5 * (z - step.alpha_bar**0.5 * conditioning[0].to(z))  # ε̂ = √(1−ᾱ) (z − √ᾱ mean)
        return Prediction(noise, self.attend(z, step, conditioning) if read else None)

    def attend(self, z, step, conditioning):
        """Maps (B, R, h, w): how much of each region's channel a pixel shows. Smooth in z; zero for absent regions."""
        self.check_step(step)
        return torch.einsum("brc,bchw->brhw", conditioning[1].to(z), z.sigmoid())

    def decode(self, z):
        pixels = (z[:, :3].float().sigmoid() * 255).to(torch.uint8).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
        return [Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()) for picture in pixels]

    def to(self, device=None, dtype=None):
        self.device, self.dtype = torch.device(device or self.device), dtype or self.dtype
        return self
