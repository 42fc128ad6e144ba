"""Write docs/reference and the rooms in docs/architecture.md, or check them."""

from __future__ import annotations

import sys

from tools import house

from .pages import FOLDER, ROOT, pages, stale

ARCHITECTURE = ROOT / "docs" / "architecture.md"


def main(words: list[str]) -> int:
    """`--check` writes nothing."""
    if words not in ([], ["--check"]):
        print(__doc__, "Options: --check", file=sys.stderr)
        return 2
    made = pages()
    found = stale(made)
    page = ARCHITECTURE.read_text(encoding="utf-8")
    rooms = house.drawn_into(page, ROOT / "realcompo")
    if words:
        wrong = [*(f"reference/{name}" for name in found), *([ARCHITECTURE.name] if rooms != page else [])]
        for name in wrong:
            print(f"docs/{name} is stale: run `make reference`", file=sys.stderr)
        return int(bool(wrong))
    ARCHITECTURE.write_text(rooms, encoding="utf-8")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in found:
        path = FOLDER / name
        if name in made:
            path.write_text(made[name], encoding="utf-8")
        else:
            path.unlink()
        print(path.relative_to(FOLDER.parent.parent), "" if name in made else "(removed)")
    print(f"{len(made)} pages, {len(found)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
