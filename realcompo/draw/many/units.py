"""From a recipe's pictures to units that are drawn at once, planned where they lack a layout. Planning goes ahead of drawing, so far and no
farther: a server that plans is busy while the networks are, and a batch that is stopped has planned little for nothing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...errors import BadOption, PlanningError
from ...interfaces.engine import Unit
from ...plans.planning import PlannedPicture, Task, joined
from ...recipes.recipe import PICTURES, PictureEntry, read_condition
from ..batch import PLAN_AHEAD, Item
from .attempt import SURELY
from .manifest import Manifest

if TYPE_CHECKING:
    from ...compose.composer import Composer

AHEAD = 2
"""Windows of planning that may wait to be drawn."""
WORDS = ("prompt", "negative_prompt")
"""What a planner may add words to, where the recipe uses them."""


def made_of(asked: PictureEntry, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """What a planner made of a picture, as its line of the manifest keeps it: "planned", the conditions, and "words", the texts that it
    added to. Empty where it was drawn as the recipe has it.

    Args:
        drawn: plain data of the entry that was drawn.
    """
    before = asked.model_dump_plain()
    conditions = drawn.get("conditions", {})
    words = {name: drawn[name] for name in WORDS if drawn.get(name, before[name]) != before[name]}
    return {**({"planned": conditions} if conditions != before["conditions"] else {}), **({"words": words} if words else {})}


class Units:
    """The units of one round.

    Args:
        pending: whether a picture is to be drawn.
        place: picture's file → where it is written.
        failed: is told of pictures that could not be planned.
        judge: whether what is drawn is judged at once.
        surely: so many pictures of a window that all lack a layout are no accident; None: any number is. Once one could be planned, it is
            `SURELY` at least.
    """

    def __init__(
        self,
        composer: Composer,
        manifest: Manifest,
        grouped: Sequence[tuple[int, list[Item]]],
        pending: Callable[[Item], bool],
        place: Callable[[str], str],
        failed: Callable[[Item, str], None],
        judge: bool = False,
        surely: int | None = 1,
    ) -> None:
        self.composer, self.manifest, self.grouped = composer, manifest, grouped
        self.pending, self.place, self.failed, self.judge = pending, place, failed, judge
        self._surely = surely

    def __iter__(self) -> Iterator[Unit]:
        """In their order.

        Raises:
            PlanningError: nothing of a window could be planned, surely: a server that is down will not plan the next ones either.
        """
        if self.composer.planner is None:
            for number, group in self.grouped:
                yield self._unit(number, group, {})
            return
        for window in ahead(self._windows(), AHEAD):
            for number, group, planned in window:
                lacking = [item for item in group if isinstance(planned.get(item.path.name), PlanningError)]
                for item in lacking:
                    self.failed(item, str(planned[item.path.name]))
                rest = [item for item in group if item not in lacking]
                if any(map(self.pending, rest)):
                    yield self._unit(number, rest, planned)

    def _windows(self) -> Iterator[list[tuple[int, list[Item], dict[str, Any]]]]:
        more = iter(self.grouped)
        size = max(1, PLAN_AHEAD // max((len(group) for _, group in self.grouped), default=1))
        while window := list(islice(more, size)):
            asked = [item for _, group in window for item in group if self._drawn(item) is None]
            found = self.composer.plan([Task(item.entry) for item in asked]) if asked else []
            problems = [one for one in found if isinstance(one, PlanningError)]
            if len(problems) < len(found):
                self._surely = None if self._surely is None else max(self._surely, SURELY)
            elif problems and self._surely is not None and len(problems) >= self._surely:
                raise joined(problems, len(found))
            planned = {item.path.name: one for item, one in zip(asked, found, strict=True)}
            yield [(number, group, planned) for number, group in window]

    def _drawn(self, item: Item) -> dict[str, Any] | None:
        """What was planned of a picture that is there already: its line."""
        line = self.manifest.get(item.path.name)
        return None if line is None or line["request"] != item.request or self.pending(item) or "planned" not in line else line

    def _unit(self, number: int, group: Sequence[Item], planned: dict[str, Any]) -> Unit:
        return Unit(number, tuple(self._picture(item, planned.get(item.path.name)) for item in group))

    def _picture(self, item: Item, planned: PlannedPicture | None) -> dict[str, Any]:
        entry = item.entry if planned is None else planned.picture
        known = self._drawn(item) if planned is None else None
        if known is not None:
            placed = {key: read_condition(key, data) for key, data in known["planned"].items()}
            entry = entry.model_copy(update={"conditions": placed, **known.get("words", {})})
        for name, _ in PICTURES:
            copy = getattr(entry, name)
            if copy is not None and copy.png is None:
                raise BadOption(
                    f"{name} is too large to be handed to a worker", where=item.path.name, mend="draw without --workers, --on and --format"
                )
        return {
            "entry": entry.model_dump_plain(),
            "transcript": [] if planned is None else list(planned.transcript),
            "file": item.path.name,
            "place": self.place(item.path.name),
            "request": item.request,
            "write": self.pending(item),
            "judge": {"prompt": item.entry.prompt, "negative_prompt": item.entry.negative_prompt} if self.judge else None,
        }


def ahead(source: Iterable[Any], most: int) -> Iterator[Any]:
    """What a source yields, made by a thread that is so far ahead at most; its error is raised where it would have been."""
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(most)
    ended = threading.Event()

    def put(one: tuple[bool, Any]) -> bool:
        while not ended.is_set():
            try:
                made.put(one, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def fill() -> None:
        try:
            for one in source:
                if not put((True, one)):
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    threading.Thread(target=fill, daemon=True).start()
    try:
        while True:
            good, one = made.get()
            if good:
                yield one
            elif one is None:
                return
            else:
                raise one
    finally:
        ended.set()
