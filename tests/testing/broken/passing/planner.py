"""The objects of a prompt ("a cat and a red balloon on grass") in a row."""

import random

from realcompo.conditions import Boxes, BoxItem
from realcompo.errors import PlanningError
from realcompo.interfaces import Plan, Planner


class Row(Planner):
    revises = True

    def plan(self, request):
        if request.wish:
            return self.revised(request)
        kept = [BoxItem(phrase=region.phrase, box=region.box, id=region.id) for region in request.keep]
        phrases = [phrase for phrase in self.phrases(request.prompt) if phrase not in [item.id for item in kept]]
        count = len(kept) + len(phrases)
        if not phrases and not kept:
            raise PlanningError("no object in the prompt", mend="write 'a cat and a dog'")
        if request.max_objects is not None and count > request.max_objects:
            raise PlanningError(f"{count} objects, at most {request.max_objects}", mend="name fewer")
        draw = random.Random(request.seed)
        width = 1 / max(len(phrases), 1)
        items = []
        for index, phrase in enumerate(phrases):
            top = draw.uniform(0, 0.4)
            items.append(BoxItem(phrase=phrase, box=(index * width, top, (index + 1) * width, top + 0.5), id=phrase))
        return Plan(Boxes([*kept, *items]), ({"role": "planner", "content": f"{count} objects"},))

    def revised(self, request):
        left = [region for region in request.layout if request.wish != f"remove {region.phrase}"]
        if len(left) in (0, len(request.layout)):
            raise PlanningError(f"what is {request.wish!r}?", mend="write 'remove a cat'")
        return Plan(Boxes([BoxItem(phrase=region.phrase, box=region.box, id=region.id) for region in left]))

    async def try_many(self, requests):
        return [self.tried(request) for request in requests]

    def tried(self, request):
        try:
            return self.plan(request)
        except PlanningError as error:
            return error

    def requested(self, request):
        return {"prompt": request.prompt}

    def phrases(self, prompt):
        found = [part.split(" on ")[0].strip() for part in prompt.split(" and ")]
        return list(dict.fromkeys(phrase for phrase in found if phrase.startswith("a ") and len(phrase) > 2))
