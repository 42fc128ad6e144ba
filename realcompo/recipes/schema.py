"""The JSON schema of recipe files, for editors, made from the models. A test checks that recipe.schema.json is current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..conditions import HINTS
from ..conditions.keypoints import OPENPOSE_18
from .recipe import MAX_CANDIDATES, VERSION, Recipe

SCHEMA_FILE = Path(__file__).with_name("recipe.schema.json")


def recipe_schema() -> dict[str, Any]:
    """The schema of a recipe file: the models', and what only files hold (extends, prompts, set, unset, bare names)."""
    schema = Recipe.model_json_schema()
    parts = schema["$defs"]
    parts.pop("Condition", None)
    numbers = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "minItems": 4, "maxItems": 4}
    item = {
        "type": "object",
        "required": ["phrase", "box"],
        "additionalProperties": False,
        "properties": {
            "phrase": {"type": "string", "description": "words of the prompt that this box holds"},
            "box": {**numbers, "description": "x0, y0, x1, y1 as shares of the picture's width and height"},
            "id": {"type": "string", "description": "names the region; made from the phrase where it is missing"},
            "span": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2},
            "prompt": {"type": "string", "description": "what to draw in it, for branches that draw a region by words of its own"},
            "negative_prompt": {"type": "string", "description": "what not to draw in it"},
        },
    }
    parts["Boxes"] = {
        "description": "phrase = [x0, y0, x1, y1], or a list where a phrase stands several times",
        "anyOf": [
            {"type": "object", "additionalProperties": numbers},
            {"type": "array", "items": item},
            {
                "type": "object",
                "required": ["items"],
                "properties": {"kind": {"const": "boxes"}, "items": {"type": "array", "items": item}},
            },
        ],
    }
    conditions = parts["PictureEntry"]["properties"]["conditions"]
    drawn_over = parts["PictureEntry"]["properties"]
    for name in ("image", "mask_image"):
        beside = {"type": "string", "description": "a file beside the recipe"}
        drawn_over[name] = {"description": drawn_over[name]["description"], "anyOf": [beside, {"$ref": "#/$defs/PictureCopy"}]}
    hires = schema["properties"]["hires"]
    hires["anyOf"] = [{"type": "number", "exclusiveMinimum": 1, "maximum": 8, "description": "its scale"}, *hires["anyOf"]]
    candidates = schema["properties"]["candidates"]
    candidates["anyOf"] = [{"type": "integer", "minimum": 1, "maximum": MAX_CANDIDATES, "description": "how many"}, *candidates["anyOf"]]
    parts |= _measured_conditions()
    kinds = {"boxes": "Boxes", "keypoints": "Keypoints", "segmentation": "Segmentation", "hint": "Hint"}
    conditions.update(
        type="object", properties={kind: {"$ref": f"#/$defs/{name}"} for kind, name in kinds.items()}, additionalProperties=True
    )
    for name in ("BranchEntry", "Component", "PlannerEntry"):
        parts[f"{name}Table"] = parts.pop(name)
        parts[name] = {"anyOf": [{"type": "string", "description": "its id alone"}, {"$ref": f"#/$defs/{name}Table"}]}
    prompts = {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {
            "file": {"type": "string", "description": "a text file beside the recipe, one prompt a line"},
            "negative_prompt": {"type": "string"},
            "seed": {"type": "integer", "description": "of the first picture; the others count on"},
            "each": {"type": "integer", "minimum": 1, "description": "pictures of each prompt"},
        },
    }
    properties = {
        "$schema": {"type": "string"},
        "extends": {"type": "string", "description": "another recipe beside this one, which this one changes"},
        **schema["properties"],
        "prompts": {
            "description": "a text file of prompts, one picture each",
            "anyOf": [{"type": "string"}, prompts],
        },
        "set": {"type": "object", "description": 'dotted name → value, put in last: "branches.0.guidance_scale" = 5'},
        "unset": {
            "type": "array",
            "items": {"type": "string"},
            "description": "dotted names of values that are none (TOML has no null)",
        },
    }
    properties["version"] = {**properties["version"], "minimum": 1, "maximum": VERSION}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RealCompo recipe",
        "description": "Everything that decides a batch of pictures. See docs/recipes.md.",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": dict(sorted(parts.items())),
    }


def _measured_conditions() -> dict[str, Any]:
    """Poses and maps: as data, or a file beside the recipe."""
    pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    points = {
        "type": "object",
        "propertyNames": {"enum": list(OPENPOSE_18)},
        "additionalProperties": {**pair, "description": "x, y as shares of the picture's width and height"},
    }
    common = {"phrase": {"type": "string"}, "id": {"type": "string"}, "span": {**pair, "items": {"type": "integer", "minimum": 0}}}
    size = {**pair, "items": {"type": "integer", "minimum": 1}, "description": "height, width in pixels that the numbers belong to"}
    people = {"type": "array", "items": {"type": "object", "additionalProperties": False, "properties": {**common, "points": points}}}
    shape = {
        "label": {"type": "string", "description": "the class whose colour it takes; found from the phrase where it is missing"},
        "rle": {"description": "COCO's run lengths"},
        "polygons": {"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 6}},
    }
    segments = {"type": "array", "items": {"type": "object", "additionalProperties": False, "properties": {**common, **shape}}}
    file = {"type": "string", "description": "beside the recipe"}
    return {
        "Keypoints": {
            "description": "phrase = { nose = [x, y], … }, a list of people, or a file of OpenPose or COCO",
            "anyOf": [
                {"type": "object", "required": ["file", "phrases"], "properties": {"file": file, "size": size}},
                {"type": "object", "required": ["items"], "properties": {"kind": {"const": "keypoints"}, "items": people, "size": size}},
                {"type": "object", "additionalProperties": points},
                people,
            ],
        },
        "Hint": {
            "description": "a picture that a ControlNet is shown as it is, with boxes for its regions, or none",
            "anyOf": [
                {
                    "type": "object",
                    "required": ["file", "of"],
                    "properties": {"file": file, "of": {"enum": list(HINTS)}, "boxes": {"$ref": "#/$defs/Boxes"}},
                },
                {
                    "type": "object",
                    "required": ["png", "of"],
                    "properties": {
                        "png": {"type": "string", "description": "base64"},
                        "of": {"enum": list(HINTS)},
                        "items": {"type": "array"},
                    },
                },
            ],
        },
        "Segmentation": {
            "description": "segments with their words and a backdrop, or a file: a colour map, an index map or COCO",
            "anyOf": [
                {"type": "object", "required": ["file", "phrases"], "properties": {"file": file}},
                {
                    "type": "object",
                    "required": ["size"],
                    "additionalProperties": False,
                    "properties": {"kind": {"const": "segmentation"}, "items": segments, "backdrop": segments, "size": size},
                },
            ],
        },
    }


def schema_text() -> str:
    """As it stands in recipe.schema.json."""
    return json.dumps(recipe_schema(), indent=2, ensure_ascii=False) + "\n"
