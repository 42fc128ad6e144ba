"""Which pages there are, and whether the committed ones are those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from realcompo.registry import Registry, installed

from . import checks, commands, components, errors, hooks, recipes

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Made by `make reference`: edit the source, not this page. -->\n\n"


def pages(registry: Registry | None = None, root: Path = ROOT) -> dict[str, str]:
    """File name → text of every page.

    Args:
        registry: whose components are listed; of what is installed, those that this repository brings, if None.
        root: of the repository, for what is read from the source.
    """
    host = installed() if registry is None else registry
    own = None if registry is not None else distributions(root)
    made = {
        **{f"{kind}.md": components.page(host, kind, own) for kind in components.KINDS},
        "cli.md": commands.page(),
        "hooks.md": hooks.page(),
        "recipe.md": recipes.page(),
        "errors.md": errors.page(root),
        "conformance.md": checks.page(root),
    }
    made["index.md"] = index(made)
    return {name: NOTE + text.rstrip("\n") + "\n" for name, text in sorted(made.items())}


def index(made: Mapping[str, str]) -> str:
    """The page that leads to the others: each by its title and its first paragraph."""
    lines = ["# Reference", "", "Made from the declarations by `make reference`; the test suite fails when a page is stale.", ""]
    for name in sorted(made):
        title, _, rest = made[name].removeprefix("# ").partition("\n")
        lines.append(f"- [{title}]({name}): {rest.strip().split(chr(10) * 2)[0].replace(chr(10), ' ')}")
    return "\n".join(lines)


def stale(made: Mapping[str, str], folder: Path = FOLDER) -> list[str]:
    """Names of pages that differ from the committed ones, are missing, or are there for no reason."""
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in {*made, *there} if made.get(name) != there.get(name))


def distributions(root: Path) -> frozenset[str]:
    """Names of the distributions that this repository holds.

    Raises:
        SystemExit: one of them is not installed, so that its components would be missing from the pages.
    """
    import importlib.metadata
    import tomllib

    files = [root / "pyproject.toml", *sorted(root.glob("plugins/*/pyproject.toml"))]
    names = frozenset(str(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]) for path in files)
    for name in sorted(names):
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise SystemExit(f"{name} is not installed: run `make test` once, or pip install -e it") from None
    return names
