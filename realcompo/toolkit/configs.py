"""Config files: of a checkpoint's folder, and those of the published checkpoints, which ship with us for single files.

The tokenizer of all of them is CLIP's; its merges ship too, and its vocabulary follows from them.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import BadCheckpoint
from .file_kinds import not_weights

FILES = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json", "tokenizer_2": "tokenizer_config.json"}
"""Part → name of its config file; ``config.json`` for all others."""

START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_TOKENS = 49408
"""How many tokens CLIP's vocabulary has."""


def read_json(path: Path) -> dict[str, Any]:
    """A table of a JSON file.

    Raises:
        BadCheckpoint: missing, damaged, or no table.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadCheckpoint(f"{path.name} is missing", where=str(path.parent), mend="fetch or copy the checkpoint again") from None
    except (ValueError, RecursionError, OSError) as error:
        raise not_weights(path, "a table", error) from None
    if not isinstance(value, dict):
        raise BadCheckpoint(f"{path.name} holds no table", where=str(path.parent), mend="fetch or copy the checkpoint again")
    return value


def read_config(folder: Path, part: str) -> dict[str, Any]:
    """The config of a part's folder ``folder/part``; see `read_json`."""
    return read_json(folder / part / FILES.get(part, "config.json"))


@cache
def _published(family: str) -> str:
    return resources.files(__package__).joinpath("published", f"{family}.json").read_text(encoding="utf-8")


def published(family: str) -> dict[str, dict[str, Any]]:
    """Part → config of the published checkpoints of a family ('sd1', 'sd2', 'sdxl'); ``model_index`` is the pipeline's own."""
    return dict(json.loads(_published(family)))


@cache
def _merges() -> tuple[tuple[str, str], ...]:
    data = resources.files(__package__).joinpath("published", "clip-merges.txt.gz").read_bytes()
    lines = gzip.decompress(data).decode("utf-8").splitlines()[1:]
    pairs = (line.split(" ") for line in lines)
    return tuple((a, b) for a, b in pairs)


def clip_tokenizer(pad_token: str = END) -> Any:
    """CLIP's tokenizer, with the padding token that a text encoder was trained with: the end token, or '!' in OpenCLIP's.

    The vocabulary is the 256 bytes, each alone and at a word's end, then one token a merge, then start and end.
    """
    from transformers import CLIPTokenizer

    merges = _merges()
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges), START, END]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    cls: Any = CLIPTokenizer  # pairs of strings are what it takes; its annotation says strings
    return cls(vocab=vocabulary, merges=list(merges), pad_token=pad_token, model_max_length=77)


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in the vocabulary's order: printable bytes for themselves, the others after U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [*map(chr, printable), *(chr(256 + n) for n in range(len(others)))]
