"""Layouts as files: read by `read_layouts`, and those of the first three written by `write_layouts`.

    base.py      a layout, from and to a picture of a recipe
    plain.py     plain JSON, and its JSON schema
    coco.py      COCO's images, annotations and categories
    lmd.py       LMD's text: a list of (name, [x, y, w, h]) on a canvas of 512, background and negative prompt
    literal.py   the reader of that list; nothing is evaluated
    lmd_cache.py, label_studio.py, labelme.py, voc.py, yolo.py   read only
    boxes.py     what the readers share: clipping, bounds, limits
    files.py     files: format by content, bounded in size
    scoring.py   suites of prompts: how well a planner keeps counts and relations

No torch.
"""

from __future__ import annotations

from .base import Layout, layout_of, picture_of
from .files import FORMATS, READ, dump_layouts, parse_layouts, read_layouts, write_layouts
from .plain import SCHEMA_FILE, layout_schema, schema_text

__all__ = [
    "FORMATS",
    "READ",
    "SCHEMA_FILE",
    "Layout",
    "dump_layouts",
    "layout_of",
    "layout_schema",
    "parse_layouts",
    "picture_of",
    "read_layouts",
    "schema_text",
    "write_layouts",
]
