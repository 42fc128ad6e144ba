"""The contract of condition transfers: f(C) → regions with masks (Eq. 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ..conditions import Box, Boxes, Condition, Keypoints, Segment, Segmentation
from ..errors import BadCondition
from ..interfaces import ConditionTransfer, Region, Regions
from ..specs import TransferSpec
from .common import ComponentContract

if TYPE_CHECKING:
    from torch import Tensor

SIZES = ((64, 64), (512, 512), (768, 512))
GRIDS = ((8, 8), (5, 7), (64, 48))
"""(h, w) of latents and maps that masks are drawn at."""


def boxes() -> SearchStrategy[Condition]:
    """One to four boxes with area, thin ones too; phrases may repeat."""
    wide = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2, unique=True).map(sorted)
    thin = st.floats(0, 0.99).map(lambda start: [start, start + 1e-3])
    pair = wide | thin
    item = st.tuples(st.sampled_from(["a cat", "an apple", "a red balloon"]), pair, pair)
    layout = st.lists(item, min_size=1, max_size=4)
    return layout.map(lambda items: Boxes([(phrase, (x[0], y[0], x[1], y[1])) for phrase, x, y in items]))


def poses() -> SearchStrategy[Condition]:
    """One to three people of one to eighteen visible points, at the picture's edges too; phrases may repeat."""
    from ..conditions.keypoints import OPENPOSE_18

    share = st.floats(0, 1, width=32)
    points = st.dictionaries(st.sampled_from(OPENPOSE_18), st.tuples(share, share), min_size=1)
    people = st.lists(st.tuples(st.sampled_from(["a dancer", "a runner"]), points), min_size=1, max_size=3)
    return people.map(Keypoints)


def segmentations() -> SearchStrategy[Condition]:
    """One to three segments of a square map: rectangles of whole pixels, one pixel too, as runs and as polygons."""

    def built(rows: Sequence[tuple[str, tuple[int, int, int, int], bool]]) -> Condition:
        import numpy as np

        from ..conditions.runs import encode

        items = []
        for phrase, (x, y, w, h), as_runs in rows:
            if as_runs:
                mask = np.zeros((24, 24), dtype=bool)
                mask[y : y + h, x : x + w] = True
                items.append(Segment(phrase=phrase, rle=encode(mask)))
            else:
                items.append(Segment(phrase=phrase, polygons=((x, y, x + w, y, x + w, y + h, x, y + h),)))
        return Segmentation(items=items, size=(24, 24))

    place = st.tuples(st.integers(0, 15), st.integers(0, 15), st.integers(1, 8), st.integers(1, 8))
    return st.lists(st.tuples(st.sampled_from(["a cat", "a house"]), place, st.booleans()), min_size=1, max_size=3).map(built)


def drawn(region: Region, h: int, w: int) -> Tensor | None:
    """(h, w) coverage of a region, or None where the core refuses to draw it."""
    try:
        return Regions(((region,),)).masks(h, w)[0, 0]
    except BadCondition:
        return None


def hints() -> SearchStrategy[Condition]:
    """A picture of edges with one to four boxes of its regions."""
    from ..conditions.hint import SAMPLE, Hint

    return boxes().map(lambda layout: Hint({**SAMPLE, "items": cast(Boxes, layout).items}))


STRATEGIES: Mapping[str, Any] = {"boxes": boxes, "keypoints": poses, "segmentation": segmentations, "hint": hints}
"""Kind of condition → a hypothesis strategy of such conditions."""


class TransferContract(ComponentContract[TransferSpec]):
    """What every transfer keeps to. Override, beside `ComponentContract`'s:

    Attributes:
        examples: how many random conditions each check draws.

    and, for a kind of condition of your own, `conditions()`, `items()` and `outlines()`.
    """

    kind = TransferSpec
    examples: ClassVar[int] = 40

    @classmethod
    def conditions(cls) -> SearchStrategy[Condition]:
        """A hypothesis strategy of valid conditions."""
        kind = cls.spec().condition
        if kind not in STRATEGIES:
            pytest.fail(f"no strategy for conditions of kind {kind!r}: override `conditions` in the plugin's module `conformance`")
        strategy: SearchStrategy[Condition] = STRATEGIES[kind]()
        return strategy

    @classmethod
    def items(cls, condition: Condition) -> Sequence[Any]:
        """The parts of a condition that become one region each, with `id`, `phrase` and perhaps `span`."""
        found: Sequence[Any] = getattr(condition, "items", ())
        return found

    @classmethod
    def outlines(cls, condition: Condition) -> Sequence[Box] | None:
        """A box around each item, which its mask may not leave; None where nothing can be said."""
        items = cls.items(condition)
        return [item.box for item in items] if all(hasattr(item, "box") for item in items) else None

    @classmethod
    def transfer(cls) -> ConditionTransfer:
        built: ConditionTransfer = cls.host().load(cls.spec())(cls.told())
        return built

    def _each(self, check: Any) -> None:
        """Run check(condition, regions) for many conditions and sizes."""
        transfer = self.transfer()

        @settings(
            max_examples=self.examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # a failure is shown as it was found: shrinking floats takes minutes
            suppress_health_check=list(HealthCheck),
        )
        @given(condition=self.conditions(), size=st.sampled_from(SIZES))
        def run(condition: Condition, size: tuple[int, int]) -> None:
            check(condition, transfer(condition, getattr(condition, "size", None) or size))  # what was measured fits its own shape

        run()

    # -- checks ----------------------------------------------------------------------------------------------------------

    def test_it_takes_its_kind(self) -> None:
        """The class and its spec name the same kind of condition."""
        assert self.transfer().kind == self.spec().condition

    def test_regions_keep_ids_and_phrases(self) -> None:
        """One region an item, with its id, phrase and span; ids are unique in a picture."""

        def check(condition: Condition, regions: tuple[Region, ...]) -> None:
            assert all(isinstance(region, Region) for region in regions)
            told = {item.id: (item.phrase, getattr(item, "span", None)) for item in self.items(condition)}
            assert {region.id: (region.phrase, region.span) for region in regions} == told
            assert len(regions) == len(told)

        self._each(check)

    def test_order_of_regions_is_kept(self) -> None:
        """Regions come in the order of the condition's items."""

        def check(condition: Condition, regions: tuple[Region, ...]) -> None:
            place = {item.id: index for index, item in enumerate(self.items(condition))}
            order = [place[region.id] for region in regions if region.id in place]
            assert order == sorted(order)

        self._each(check)

    def test_masks_lie_between_zero_and_one(self) -> None:
        def check(condition: Condition, regions: tuple[Region, ...]) -> None:
            for region in regions:
                assert region.mask is None or (region.mask.min() >= 0 and region.mask.max() <= 1)
                assert region.box is None or (min(region.box) >= 0 and max(region.box) <= 1)
            for h, w in GRIDS:
                for region in regions:
                    mask = drawn(region, h, w)
                    assert mask is None or bool(((mask >= 0) & (mask <= 1)).all())

        self._each(check)

    def test_masks_are_never_empty(self) -> None:
        """A region with area covers something at every resolution, however thin it is."""

        def check(condition: Condition, regions: tuple[Region, ...]) -> None:
            for h, w in GRIDS:
                for region in regions:
                    mask = drawn(region, h, w)
                    assert mask is not None and float(mask.max()) > 0, f"{region.id!r} covers nothing of {h}×{w}"

        self._each(check)

    def test_masks_stay_inside_the_outline(self) -> None:
        """A mask lies where its item is, to a cell or two of a coarse grid: no swapped axes."""

        def check(condition: Condition, regions: tuple[Region, ...]) -> None:
            outlines = self.outlines(condition)
            if outlines is None:
                return
            around = {item.id: outline for item, outline in zip(self.items(condition), outlines, strict=True)}
            for region in regions:
                h, w = 32, 48
                mask = drawn(region, h, w)
                if region.id not in around or mask is None:
                    continue
                x0, y0, x1, y1 = around[region.id]
                rows, columns = mask.amax(dim=1).nonzero().flatten().tolist(), mask.amax(dim=0).nonzero().flatten().tolist()
                assert all(y0 * h - 2 < row < y1 * h + 1 for row in rows)
                assert all(x0 * w - 2 < column < x1 * w + 1 for column in columns)

        self._each(check)

    def test_transfer_is_deterministic(self) -> None:
        """The same condition gives the same masks; nothing is remembered from the last one."""
        transfer = self.transfer()

        def check(condition: Condition, regions: tuple[Region, ...]) -> None:
            again = transfer(condition, SIZES[0])
            once_more = transfer(condition, SIZES[0])
            assert [(r.id, r.box) for r in again] == [(r.id, r.box) for r in once_more]
            for one, other in zip(again, once_more, strict=True):
                assert one.mask is None or (one.mask == other.mask).all()

        self._each(check)
