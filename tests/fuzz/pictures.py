"""Pictures that carry a recipe."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

from realcompo.pictures.png import read_recipe
from realcompo.testing import toy_registry

from .mutations import Mutator, encoded, json_text
from .recipes import use_recipe
from .samples import HOSTILE, sample_recipe


class Pictures:
    """PNGs that carry a recipe: damaged as files, and whole ones with another recipe, another packing, another number of chunks."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry = folder / "pictures", toy_registry()
        self.bomb = zlib.compress(bytes(64 << 20), 9)  # a small chunk that unpacks to much
        self.folder.mkdir(parents=True, exist_ok=True)
        data = {key: value for key, value in sample_recipe().items() if key not in ("set", "unset")}
        data["pictures"] = data["pictures"][:1]
        self.data = {
            "recipe": data,
            "facts": {
                "weights": {"toy/fidelity": {"toy": "x"}},
                "versions": {"torch": "2"},
                "pixels": "00",
                "batch": {"index": 0, "size": 1},
            },
        }

    def make(self, mutator: Mutator) -> bytes:
        data = mutator.data(self.data, [sample_recipe()]) if mutator.random.random() < 0.7 else self.data
        text = json_text(data, mutator)
        text = mutator.words(text, HOSTILE[".json"]) if mutator.random.random() < 0.2 else text
        body = encoded(text, mutator)
        packed = zlib.compress(body)
        kind = mutator.random.randrange(10)
        if kind == 0:
            packed = mutator.bytes(packed)
        elif kind == 1:
            packed = self.bomb
        elif kind == 2:
            packed = zlib.compress(body) + mutator.random.randbytes(9)
        flag = mutator.random.choice((b"\1\0", b"\1\0", b"\1\0", b"\0\0", b"\1\7", b"\2\0"))
        inner = b"realcompo\0" + flag + b"\0\0" + (packed if flag[:1] == b"\1" else body)
        inner = mutator.bytes(inner) if kind == 3 else inner
        chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), chunk(b"IDAT", zlib.compress(bytes(4)))]
        ours = [chunk(mutator.random.choice((b"iTXt", b"iTXt", b"iTXt", b"iTXt", b"tEXt", b"zTXt")), inner)]
        chunks[1:1] = ours * mutator.random.choice((1, 1, 1, 2, 20))
        whole = b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")
        return mutator.bytes(whole) if mutator.random.random() < 0.3 else whole

    def feed(self, sample: bytes) -> None:
        path = self.folder / "picture.png"
        path.write_bytes(sample)
        found = read_recipe(path)
        json.dumps(found.facts, allow_nan=False).encode()
        use_recipe(found.recipe, self.folder, self.registry)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
