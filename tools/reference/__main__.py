"""Write docs/reference, or check it."""

from __future__ import annotations

import sys

from .pages import FOLDER, pages, stale


def main(words: list[str]) -> int:
    """`--check` writes nothing."""
    if words not in ([], ["--check"]):
        print(__doc__, "Options: --check", file=sys.stderr)
        return 2
    made = pages()
    found = stale(made)
    if words:
        for name in found:
            print(f"docs/reference/{name} is stale: run `make reference`", file=sys.stderr)
        return int(bool(found))
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
