"""Write docs/reference, the rooms in docs/architecture.md and the figures in docs/bench.md and docs/scale.md, or check them."""

from __future__ import annotations

import json
import sys

from tools import bench_page, house, throughput

from .pages import FOLDER, ROOT, pages, stale

ARCHITECTURE, BENCH, SCALE = (ROOT / "docs" / f"{name}.md" for name in ("architecture", "bench", "scale"))


def main(words: list[str]) -> int:
    """`--check` writes nothing."""
    if words not in ([], ["--check"]):
        print(__doc__, "Options: --check", file=sys.stderr)
        return 2
    made = pages()
    found = stale(made)
    texts = {path: path.read_text(encoding="utf-8") for path in (ARCHITECTURE, BENCH, SCALE)}
    new = {
        ARCHITECTURE: house.drawn_into(texts[ARCHITECTURE], ROOT / "realcompo"),
        BENCH: bench_page.drawn_into(texts[BENCH], BENCH.with_suffix("")),
        SCALE: throughput.drawn_into(texts[SCALE], json.loads((ROOT / throughput.RECORD).read_text(encoding="utf-8"))),
    }
    if words:
        wrong = [*(f"reference/{name}" for name in found), *(path.name for path in new if new[path] != texts[path])]
        for name in wrong:
            print(f"docs/{name} is stale: run `make reference`", file=sys.stderr)
        return int(bool(wrong))
    for path, text in new.items():
        path.write_text(text, encoding="utf-8")
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
