"""Rows of things, and whether they are there."""

import json

import numpy as np
from PIL import ImageColor

from realcompo.conditions import Boxes
from realcompo.interfaces import Case, Scorer, Suite

THINGS = ("cat", "dog", "car")


class Rows(Suite):
    def cases(self, seed=None):
        return [self.case(number, noise, seed or 0) for number in range(len(THINGS)) for noise in range(2)]

    def case(self, number, noise, seed):
        phrases = [f"a {thing}" for thing in THINGS[: number + 1]]
        width = 1 / len(phrases)
        boxes = [(phrase, (k * width, 0.2, (k + 1) * width, 0.9)) for k, phrase in enumerate(phrases)]
        name = f"{number}-{noise}"
        truth = {"things": phrases}
        conditions = {"boxes": Boxes(boxes)}
        return Case(name, " and ".join(phrases), 10 * seed + noise, str(number), conditions=conditions, truth=truth, file=f"rows/{name}")

    def files(self, cases):
        return {"rows/prompts.json": json.dumps([case.prompt for case in cases])}


class Coloured(Scorer):
    """Whether each object's own colour, the first word of its phrase after the article, fills its box."""

    def score(self, shots):
        return [self.one(np.asarray(shot.image, dtype=float), shot.case.truth["objects"]) for shot in shots]

    def one(self, pixels, objects):
        shares = [self.share(pixels, thing) for thing in objects]
        return {"right": sum(share > 0.5 for share in shares), "objects": len(objects), "mean": float(pixels.mean())}

    def share(self, pixels, thing):
        colour = ImageColor.getrgb(thing["phrase"].split()[1])
        h, w = pixels.shape[:2]
        x0, y0, x1, y1 = thing["box"]
        inside = pixels[int(y0 * h) : int(y1 * h), int(x0 * w) : int(x1 * w)]
        return float((np.abs(inside - colour).max(axis=2) < 30).mean())

    def whole(self, column, records):
        means = [record["mean"] for record in records]
        return sum(means) / len(means)
