"""What is mutated where several targets take it: a recipe that uses everything, poses and maps in their files' formats, hostile words."""

from __future__ import annotations

from typing import Any

POINTS = {"nose": (0.5, 0.2), "neck": (0.5, 0.3), "right_shoulder": (0.4, 0.3), "left_shoulder": (0.6, 0.3), "left_hip": (0.55, 0.6)}
SQUARE = ((4.0, 4.0, 40.0, 4.0, 40.0, 40.0, 4.0, 40.0),)


def sample_recipe() -> dict[str, Any]:
    """Plain data that uses every part of a recipe."""
    pictures = [
        {"prompt": "a cat and a dog", "seed": 3, "name": "pets", "conditions": {"boxes": {"a cat": [0.1, 0.2, 0.5, 0.9]}}},
        {
            "prompt": "a dancer",
            "negative_prompt": "blur",
            "conditions": {
                "boxes": [{"phrase": "a dancer", "box": [0.1, 0.1, 0.9, 0.9], "id": "one", "span": [0, 8]}],
                "keypoints": {"items": [{"phrase": "a dancer", "points": {k: list(v) for k, v in POINTS.items()}}], "size": [64, 64]},
                "segmentation": {"size": [64, 64], "items": [{"phrase": "a dancer", "label": "person", "polygons": [list(SQUARE[0])]}]},
                "toy/spatial": {"kind": "boxes", "items": [{"phrase": "a dancer", "box": [0.2, 0.1, 0.8, 0.9]}]},
            },
        },
        {
            "prompt": "a runner",
            "conditions": {"boxes": {"a runner": [0.1, 0.2, 0.5, 0.9]}, "keypoints": {"file": "pose.json", "phrases": ["a runner"]}},
        },
    ]
    return {
        "version": 1,
        "branches": [
            {"name": "toy/fidelity", "guidance_scale": 3.0, "options": {"spread": 0.5}, "prompt": "{prompt}, sharp"},
            {"name": "toy/spatial", "role": "spatial", "transfer": {"name": "core/boxes", "options": {}}},
        ],
        "balancer": {"name": "core/balance", "options": {"inside": [0.0, 0.8]}},
        "probe": {"every": 1, "detach": ["toy/spatial"], "guided": True, "timestep": "t"},
        "scheduler": "ddim",
        "num_inference_steps": 4,
        "height": 64,
        "width": 64,
        "device": "cpu",
        "dtype": "float32",
        "offload": False,
        "pictures": pictures,
        "set": {"branches.0.options.sharpness": 2.0},
        "unset": ["device"],
    }


def openpose() -> dict[str, Any]:
    """OpenPose's JSON of one person."""
    numbers = [part for n in range(18) for part in (10.0 + 2 * n, 5.0 + 3 * n, 0.9 if n % 5 else 0.0)]
    return {"version": 1.3, "canvas_width": 64, "canvas_height": 64, "people": [{"pose_keypoints_2d": numbers}]}


def coco() -> dict[str, Any]:
    """COCO's JSON with a person, a polygon and run lengths."""
    person = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [4, 4, 36, 36],
        "keypoints": [part for n in range(17) for part in (9 + n, 8 + 2 * n, 2)],
    }
    shapes: list[Any] = [[list(SQUARE[0])], {"size": [64, 64], "counts": [100, 50, 3946]}, {"size": [64, 64], "counts": "T3R2nn0"}]
    return {
        "images": [{"id": 1, "file_name": "x.png", "width": 64, "height": 64}],
        "annotations": [{**person, "id": n, "segmentation": shape} for n, shape in enumerate(shapes)],
        "categories": [{"id": 1, "name": "person"}],
    }


HOSTILE = {
    ".toml": (
        "[a]\n",
        "[[pictures]]\n",
        "a.b.c = 1\n",
        "x = 1979-05-27T07:32:00Z\n",
        "x = inf\n",
        "x = nan\n",
        "'''",
        '"""',
        "x = {",
        "= 1\n",
    ),
    ".yaml": (
        *("!!python/object/apply:os.system ['touch canary']", "!!python/name:os.system ", "!!binary aGk=", "!!set {a, b}", "!!timestamp "),
        *(
            "&a ",
            "*a",
            "<<: {a: 1}\n",
            "? [a, b]\n: c\n",
            "---\n",
            "...\n",
            "%YAML 9.9\n",
            "2001-01-01",
            "1:30",
            ".inf",
            ".nan",
            "0o17",
            "~",
        ),
        *(
            "!!omap [a: 1]",
            "!!pairs [a: 1]",
            "=",
            "|\n",
            ">-\n",
            "\t",
            "!x ",
            "!<tag:yaml.org,2002:python/tuple> []",
            "yes",
            "{a: b, a: c}",
        ),
    ),
    ".json": ("NaN", "-Infinity", "//", "'", "{}", "[]", '{"a": 1, "a": 2}', "1e999", "0123", "\\u0000", "\\ud800"),
}
"""Suffix of a file → words that its parser may stumble over."""
