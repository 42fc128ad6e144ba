"""Where a batch's pictures lie in its store: each a file of its own, or in shards, whose parts wait until all of a shard are settled."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .manifest import Manifest
from .packing import Format, Member, pack, shard_name, unpack
from .stores import Store
from .tally import Tally

SIZE = 256
"""Pictures of a shard: about 100 MB of 512 × 512."""
PARTS = "parts/"


@dataclass(frozen=True)
class Packing:
    """How pictures are kept: a PNG each, or in shards of so many."""

    format: Format = "png"
    size: int = SIZE


class Shards:
    """The pictures of one batch.

    Args:
        packing: how they are kept.
        store: where.
        manifest: which of them are done; shards are lines of it.
        sizes: of the store's files, as listed; shards that are written are put in.
        names: the pictures' files in the recipe's order, which decides their shards.
        tally: counts shards that are written.
    """

    def __init__(
        self, packing: Packing, store: Store, manifest: Manifest, sizes: dict[str, int], names: Sequence[str], tally: Tally
    ) -> None:
        self.packing, self.store, self.manifest, self.sizes, self.names, self.tally = packing, store, manifest, sizes, names, tally
        self._number = {name: index // packing.size for index, name in enumerate(names)}
        self._open: Counter[int] = Counter()
        self._packed: set[str] = set()

    def begin(self) -> None:
        """Which pictures earlier runs have packed."""
        self._packed = {name for line in self.manifest.shards.values() if self._is_whole(line) for name in line["pictures"]}

    def _is_whole(self, line: Mapping[str, Any]) -> bool:
        """A shard is as it was written; where nothing else vouches for that, by its checksum."""
        if self.sizes.get(line["shard"]) != line["size"]:
            return False
        return self.store.whole or hashlib.sha256(self.store.read(line["shard"])).hexdigest() == line["sha256"]

    # -- a picture -------------------------------------------------------------------------------------------------------------

    def place(self, name: str) -> str:
        """Where a picture is written: parts wait for their shard."""
        return name if self.packing.format == "png" else f"{PARTS}{name}"

    def holder(self, name: str) -> str:
        """The file that holds a picture."""
        return shard_name(self._number[name], self.packing.format) if name in self._packed else self.place(name)

    def has(self, name: str, size: int) -> bool:
        """Whether a picture of so many bytes is there as it was written, packed or by itself."""
        return name in self._packed or self.sizes.get(self.place(name)) == size

    # -- a shard ---------------------------------------------------------------------------------------------------------------

    def wait_for(self, pending: Iterable[str]) -> None:
        """Pictures whose shards are not packed before they are settled."""
        self._open.update(self._number[name] for name in pending)

    def settled(self, name: str) -> None:
        """A picture that was waited for is done or given up; the last of a shard has it packed."""
        number = self._number[name]
        self._open[number] -= 1
        if not self._open[number] and self.packing.format != "png":
            self._pack(number)

    def _pack(self, number: int) -> None:
        """Write a shard, say so, and remove its parts; a kill in between costs nothing."""
        form, shard = self.packing.format, shard_name(number, self.packing.format)
        kept = any(name in self._packed for _, name in self._of(number))  # where it is not as it was written, nobody looks into it
        there = unpack(self.store.read(shard), form, f"{self.store.address}/{shard}") if kept else {}
        members = []
        for index, name in self._of(number):
            if self.manifest.state(name) == "done":
                data = there[name] if name in self._packed else self.store.read(self.place(name))
                members.append(Member(index, name, data))
        data = pack(members, form)
        self.store.write(shard, data)
        names = [member.name for member in members]
        self.manifest.add({"shard": shard, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pictures": names})
        self.manifest.flush()  # before its parts go
        self.sizes[shard] = len(data)
        self.tally.shards += 1
        self._packed |= set(names)
        self.store.remove(map(self.place, names))

    def _of(self, number: int) -> list[tuple[int, str]]:
        """(place in the recipe, file) of a shard's pictures."""
        start = number * self.packing.size
        return list(enumerate(self.names[start : start + self.packing.size], start))

    def end(self) -> None:
        """Pack what a killed run left open, and remove the parts that it left lying."""
        if self.packing.format == "png":
            return
        for number in range(-(-len(self.names) // self.packing.size)):
            if any(self.manifest.state(name) == "done" and name not in self._packed for _, name in self._of(number)):
                self._pack(number)
        self.store.remove([name for name in self.store.sizes() if name.startswith(PARTS)])
        self.store.tidy()
