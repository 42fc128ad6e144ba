"""The person of the mini world, drawn from a skeleton of 18 joints in OpenPose order (so that a pose ControlNet can be trained)."""

from __future__ import annotations

import colorsys
import math
import random

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

SIDE = 288  # pixels of the drawing
JOINTS = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
Pose = tuple[tuple[float, float], ...]


def _pose(rng: random.Random) -> Pose:
    """18 points (x, y) in shares of the drawing, y downwards."""
    x, neck, hip = 0.5, 0.30, 0.56
    points = {"nose": (x, 0.175), "neck": (x, neck)}
    for side, sign in (("right", -1), ("left", 1)):
        shoulder = (x + sign * 0.085, neck + 0.015)
        style = rng.choice(("down", "out", "up", "hip"))
        upper, lower = {"down": (70, 80), "out": (20, -30), "up": (-45, -75), "hip": (55, 130)}[style]
        upper, lower = upper + rng.uniform(-12, 12), lower + rng.uniform(-15, 15)
        elbow = (shoulder[0] + sign * 0.115 * math.cos(math.radians(upper)), shoulder[1] + 0.115 * math.sin(math.radians(upper)))
        wrist = (elbow[0] + sign * 0.105 * math.cos(math.radians(lower)), elbow[1] + 0.105 * math.sin(math.radians(lower)))
        points |= {f"{side}_shoulder": shoulder, f"{side}_elbow": elbow, f"{side}_wrist": wrist}
        leg = rng.uniform(2, 20)
        hip_point = (x + sign * 0.05, hip)
        knee = (hip_point[0] + sign * 0.17 * math.sin(math.radians(leg)), hip + 0.17 * math.cos(math.radians(leg)))
        bend = leg - rng.uniform(0, 18)
        ankle = (knee[0] + sign * 0.17 * math.sin(math.radians(bend)), knee[1] + 0.17 * math.cos(math.radians(bend)))
        points |= {f"{side}_hip": hip_point, f"{side}_knee": knee, f"{side}_ankle": ankle}
        points |= {f"{side}_eye": (x + sign * 0.03, 0.16), f"{side}_ear": (x + sign * 0.075, 0.175)}
    return tuple(points[name] for name in JOINTS)


POSES: tuple[Pose, ...] = tuple(_pose(random.Random(f"pose {k}")) for k in range(24))


def draw_person(pose: Pose, shirt_hue: float, shaded: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw one person.

    Returns:
        (SIDE, SIDE, 4) uint8 RGBA and the mask of the shirt, (SIDE, SIDE) in 0…1.
    """
    at = {name: (x * SIDE, y * SIDE) for name, (x, y) in zip(JOINTS, pose, strict=True)}
    red, green, blue = colorsys.hsv_to_rgb(shirt_hue / 360, 0.8, 0.88)
    shirt = (int(red * 255), int(green * 255), int(blue * 255), 255)
    skin, trousers, shoe, hair = (247, 200, 160, 255), (70, 74, 96, 255), (40, 36, 40, 255), (92, 58, 36, 255)
    image = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    cloth = Image.new("L", (SIDE, SIDE), 0)
    pen, stencil = ImageDraw.Draw(image), ImageDraw.Draw(cloth)

    def limb(a: str, b: str, width: int, colour: tuple[int, int, int, int], part: float = 1.0) -> None:
        (x0, y0), (x1, y1) = at[a], at[b]
        x1, y1 = x0 + (x1 - x0) * part, y0 + (y1 - y0) * part
        for tool, ink in ((pen, colour), (stencil, 255 if colour == shirt else 0)):
            tool.line((x0, y0, x1, y1), fill=ink, width=width)
            for x, y in ((x0, y0), (x1, y1)):
                tool.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=ink)

    for side in ("right", "left"):
        limb(f"{side}_hip", f"{side}_knee", 34, trousers)
        limb(f"{side}_knee", f"{side}_ankle", 28, trousers)
        x, y = at[f"{side}_ankle"]
        toe = -8 if side == "right" else 8
        pen.rounded_rectangle((x - 17 + toe, y - 6, x + 17 + toe, y + 15), 9, fill=shoe)
        limb(f"{side}_elbow", f"{side}_wrist", 22, skin)
        x, y = at[f"{side}_wrist"]
        pen.ellipse((x - 14, y - 14, x + 14, y + 14), fill=skin)
        limb(f"{side}_shoulder", f"{side}_elbow", 32, shirt)
    body = [at["right_shoulder"], at["left_shoulder"], at["left_hip"], at["right_hip"]]
    for tool, ink in ((pen, shirt), (stencil, 255)):
        tool.polygon(body, fill=ink)  # type: ignore[arg-type]
    for a, b in (
        ("right_shoulder", "left_shoulder"),
        ("right_shoulder", "right_hip"),
        ("left_shoulder", "left_hip"),
        ("right_hip", "left_hip"),
    ):
        limb(a, b, 34, shirt)
    x, y = at["nose"]
    pen.ellipse((x - 44, y - 48, x + 44, y + 34), fill=hair)
    pen.ellipse((x - 36, y - 30, x + 36, y + 40), fill=skin)
    for side in ("right", "left"):
        x, y = at[f"{side}_eye"]
        pen.ellipse((x - 5, y - 2, x + 5, y + 12), fill=shoe)
    data = np.asarray(image).copy()
    if shaded:
        # light from the upper left on a rounded body: the slope of a blurred silhouette
        height = ndimage.gaussian_filter(data[..., 3].astype(np.float32) / 255, 7)
        slope = ndimage.sobel(height, 1) + ndimage.sobel(height, 0)
        shade = np.clip(1 + 0.9 * slope, 0.62, 1.25)
        data[..., :3] = np.clip(data[..., :3] * shade[..., None], 0, 255).astype(np.uint8)
    return data, np.asarray(cloth).astype(np.float32) / 255
