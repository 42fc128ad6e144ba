"""The contract of upscalers: pictures, or latents, that are as large as they were asked for, and of the same things."""

from __future__ import annotations

import copy
from typing import Any

from ..interfaces import Upscaler
from ..specs import UpscalerSpec
from .common import ComponentContract

SIZES = ((64, 64), (48, 80))
"""(height, width) of what is made larger, in pixels."""


class UpscalerContract(ComponentContract[UpscalerSpec]):
    """What every upscaler keeps to. See `ComponentContract` for what can be overridden."""

    kind = UpscalerSpec

    @classmethod
    def upscaler(cls) -> Upscaler:
        built: Upscaler = cls.host().load(cls.spec())(cls.told())
        return built

    @classmethod
    def sample(cls, size: tuple[int, int], count: int = 2) -> Any:
        """Pictures of soft spots, or latents of them at an eighth of the size, as the upscaler works on."""
        import numpy as np
        import torch
        from PIL import Image

        generator = np.random.default_rng(0)
        coarse = [Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)) for _ in range(count)]
        if cls.upscaler().works_on == "pixels":
            return [one.resize((size[1], size[0]), Image.Resampling.BICUBIC) for one in coarse]
        small = [np.asarray(one.resize((size[1] // 8, size[0] // 8), Image.Resampling.BICUBIC)) for one in coarse]
        return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1

    @staticmethod
    def numbers(what: Any) -> Any:
        """Of pictures, or of latents, as one array (B, h, w, C)."""
        import numpy as np

        return np.stack([np.asarray(one, dtype=float) for one in what]) if isinstance(what, list) else what.permute(0, 2, 3, 1).numpy()

    def _made(self, what: Any, size: tuple[int, int], scale: float) -> Any:
        unit = 1 if isinstance(what, list) else 8
        return self.upscaler()(what, (int(size[0] * scale) // unit, int(size[1] * scale) // unit))

    # -- checks ----------------------------------------------------------------------------------------------------------

    def test_as_many_come_back(self) -> None:
        """One for each, in a batch of one too."""
        for count in (1, 3):
            what = self.sample((64, 64), count)
            assert len(self.numbers(self._made(what, (64, 64), 2.0))) == count

    def test_what_it_returns_is_as_large_as_asked(self) -> None:
        """Of the (height, width) that was asked for: not of (width, height), and at any scale."""
        for size in SIZES:
            for scale in (1.5, 2.0):
                what = self.sample(size)
                unit = 1 if isinstance(what, list) else 8
                wanted = (int(size[0] * scale) // unit, int(size[1] * scale) // unit)
                assert self.numbers(self._made(what, size, scale)).shape[1:3] == wanted

    def test_it_shows_the_same_things(self) -> None:
        """Made small again, it is close to what it was."""
        import numpy as np

        before, small = self._there_and_back()
        assert min(np.corrcoef(before[b].ravel(), small[b].ravel())[0, 1] for b in range(len(before))) > 0.5

    def test_each_is_its_own(self) -> None:
        """In the order in which they came."""
        import numpy as np

        before, small = self._there_and_back()
        for b in range(2):
            assert np.abs(small[b] - before[b]).mean() < np.abs(small[b] - before[1 - b]).mean()

    def test_it_is_deterministic(self) -> None:
        """The same twice: a picture is drawn again from its recipe."""
        what = self.sample((64, 64))
        assert (self.numbers(self._made(what, (64, 64), 2.0)) == self.numbers(self._made(what, (64, 64), 2.0))).all()

    def test_what_it_is_given_stays_as_it_is(self) -> None:
        """Nothing is written into its input."""
        what = self.sample((64, 64))
        before = copy.deepcopy(self.numbers(what))
        self._made(what, (64, 64), 2.0)
        assert (self.numbers(what) == before).all()

    def _there_and_back(self) -> tuple[Any, Any]:
        """Numbers before, and after at the size before by means of 2 × 2."""
        what = self.sample((64, 64))
        before, after = self.numbers(what), self.numbers(self._made(what, (64, 64), 2.0))
        _, h, w, channels = before.shape
        return before, after[:, : 2 * h, : 2 * w].reshape(-1, h, 2, w, 2, channels).mean(axis=(2, 4))
