"""A suite and a scorer: pets side by side, and whether a picture is another inside its boxes than outside."""

import numpy as np

from realcompo.conditions import Boxes
from realcompo.interfaces import Case, Scorer, Suite

PETS = ("cat", "dog", "fish")


class Pets(Suite):
    """Each pair of pets with two noises: pictures of one scene, which share their layout."""

    def cases(self, seed=None):
        pairs = [(a, b) for a in PETS for b in PETS if a < b]
        return [self.case(a, b, noise, seed or 0) for a, b in pairs for noise in range(2)]

    def case(self, a, b, noise, seed):
        boxes = Boxes({f"a {a}": (0, 0.2, 0.4, 0.8), f"a {b}": (0.6, 0.2, 1, 0.8)})
        return Case(
            id=f"{a}-{b}-{noise}",
            prompt=f"a {a} and a {b}",
            seed=2 * seed + noise,
            scene=f"{a}-{b}",
            conditions={"boxes": boxes},
        )


class Contrast(Scorer):
    """Mean difference of colour between each box and the rest of the picture, of 255."""

    def score(self, shots):
        return [self.record(np.asarray(shot.image, dtype=float), shot.case.conditions.get("boxes")) for shot in shots]

    def record(self, pixels, boxes):
        height, width = pixels.shape[:2]
        found = []
        for item in boxes.items if boxes else ():
            inside = np.zeros((height, width), dtype=bool)
            inside[int(item.box[1] * height) : int(item.box[3] * height), int(item.box[0] * width) : int(item.box[2] * width)] = True
            found.append(float(np.abs(pixels[inside].mean(axis=0) - pixels[~inside].mean(axis=0)).mean()))
        return {"contrast": sum(found), "boxes": len(found)}
