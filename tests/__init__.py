"""Tests by the rooms of realcompo/; `house` holds those of the whole: imports, docs, examples, strangers' wheels."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
