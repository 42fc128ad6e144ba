"""What mkdocs asks while it builds the site (mkdocs.yml): the README is its home, and what pages link to outside docs/ becomes pages, too.

So that one text serves both readers: on a code host `../examples/recipes/paper-v1.toml` is a file, in the site a page `source/…` that
shows it. A link to nothing is left as it is, and mkdocs, which is strict, refuses it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]*)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".json": "json", ".sh": "sh"}
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp"})
HOME = "README.md"
LARGEST = 200_000
"""Bytes of a text that is shown as a page."""


def on_files(files: Files, config: Any) -> Files:
    """Add the home page, and every page of source that is linked to, however far."""
    root, docs = places(config)
    wanted = [HOME] + [f"{docs}/{file.src_uri}" for file in files.documentation_pages()]
    seen = set(wanted)
    while wanted:
        path = wanted.pop()
        page = uri(path, docs, root)
        if (root / path).suffix in PICTURES:
            if not path.startswith(f"{docs}/"):
                files.append(File.generated(config, page, abs_src_path=str(root / path)))
            continue
        if not path.startswith(f"{docs}/"):
            inclusion = InclusionLevel.UNDEFINED if path == HOME else InclusionLevel.NOT_IN_NAV
            text = relinked(shown(root / path), path, docs, root)
            files.append(File.generated(config, page, content=text, inclusion=inclusion))
        if path.endswith(".md") or (root / path).is_dir():
            new = [one for one in targets(shown(root / path), path, root) if one not in seen]
            seen.update(new)
            wanted += new
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links out of docs/ lead to pages of the site."""
    if page.file.generated_by is not None:
        return markdown
    root, docs = places(config)
    return relinked(markdown, f"{docs}/{page.file.src_uri}", docs, root)


def places(config: Any) -> tuple[Path, str]:
    """The repository's root, and the folder of the pages in it."""
    docs = Path(config.docs_dir)
    return docs.parent, docs.name


def uri(path: str, docs: str, root: Path) -> str:
    """A repository's path → the site's."""
    if path == HOME:
        return "index.md"
    if path.startswith(f"{docs}/"):
        return path.removeprefix(f"{docs}/")
    if (root / path).is_dir():
        return f"source/{path}/index.md"
    return f"source/{path}" if (root / path).suffix in {".md", *PICTURES} else f"source/{path}.md"


def shown(path: Path) -> str:
    """A file, or a folder's list, as Markdown."""
    if path.is_dir():
        readme = path / "README.md"
        if readme.is_file():
            return readme.read_text(encoding="utf-8")
        inside = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
        return f"# {path.name}\n\n" + "\n".join(f"- [{one.name}]({one.name})" for one in inside) + "\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return f"# {path.name}\n\n```{LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n```\n"


def targets(text: str, path: str, root: Path) -> Iterator[str]:
    """Paths of the repository that a page links to, where they are there."""
    for piece in FENCE.split(text)[::2]:
        for found in LINK.finditer(piece):
            target = resolved(found[1], path, root)
            if target is not None:
                yield target


def resolved(link: str, path: str, root: Path) -> str | None:
    """A link of a page → a path of the repository; None if nothing of ours is there that can be shown."""
    if not link:
        return None
    folder = path if (root / path).is_dir() else posixpath.dirname(path)
    target = posixpath.normpath(posixpath.join(folder, link))
    there = root / target
    if target.startswith("..") or not there.exists():
        return None
    if there.is_file() and there.suffix not in PICTURES and there.stat().st_size > LARGEST:
        return None
    return target


def relinked(text: str, path: str, docs: str, root: Path) -> str:
    """A page's text with links as the site has them."""
    here = posixpath.dirname(uri(path, docs, root))

    def link(found: re.Match[str]) -> str:
        target = resolved(found[1], path, root)
        return found[1] if target is None else posixpath.relpath(uri(target, docs, root), here or ".")

    pieces = FENCE.split(text)
    return "".join(piece if number % 2 else LINK.sub(link, piece) for number, piece in enumerate(pieces))
