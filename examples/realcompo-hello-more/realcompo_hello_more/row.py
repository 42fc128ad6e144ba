"""A planner: "a cat and a dog on grass" puts the cat left and the dog right, a little higher or lower from seed to seed."""

import random

from realcompo.conditions import Boxes, BoxItem
from realcompo.errors import PlanningError
from realcompo.interfaces import Plan, Planner


class Row(Planner):
    def plan(self, request):
        kept = [BoxItem(id=region.id, phrase=region.phrase, box=region.box) for region in request.keep]
        parts = [part.split(" on ")[0].strip() for part in request.prompt.split(" and ")]
        phrases = [p for p in dict.fromkeys(parts) if p.startswith("a ") and p not in {item.id for item in kept}]
        count = len(phrases) + len(kept)
        if not count:
            raise PlanningError(f"no object in {request.prompt!r}", mend="write 'a cat and a dog'")
        if request.max_objects is not None and count > request.max_objects:
            raise PlanningError(f"{count} objects, the branches take {request.max_objects}", mend="name fewer")
        draw = random.Random(request.seed)
        tops = [draw.uniform(0, 0.4) for _ in phrases]
        boxes = [(i / len(phrases), top, (i + 1) / len(phrases), top + 0.6) for i, top in enumerate(tops)]
        items = [BoxItem(id=phrase, phrase=phrase, box=box) for phrase, box in zip(phrases, boxes, strict=True)]
        return Plan(Boxes([*kept, *items]), ({"role": "planner", "content": f"{count} objects in a row"},))
