"""The conformance kit: what each contract checks, read from its source (importing it would import torch)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from .markdown import attributes, cell, code, summary, table

CONTRACTS = ("BranchContract", "TransferContract", "BalancerContract", "PlannerContract", "SuiteContract", "ScorerContract")
SHARED = "ComponentContract"


def classes(root: Path) -> dict[str, ast.ClassDef]:
    """Name → contract, of realcompo/testing."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((root / "realcompo" / "testing").glob("*.py"))]
    found = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: node for node in found if node.name in (*CONTRACTS, SHARED)}


def page(root: Path) -> str:
    """All contracts."""
    found = classes(root)
    lines = [
        "# Conformance checks",
        "",
        "What `realcompo test NAME` runs, and what a plugin's own tests inherit (`from realcompo.testing import BranchContract`).",
        "[Write a plugin](../write-a-plugin.md) shows how.",
    ]
    for name in (SHARED, *CONTRACTS):
        node = found[name]
        doc = ast.get_docstring(node)
        lines += ["", f"## {name}", "", cell(_about(doc))]
        lines += ["", table(("check", "what it asks"), [[code(test), cell(about)] for test, about in tests(node)])]
        settable = attributes(doc)
        if settable:
            lines += ["", "To override:", "", table(("attribute", "meaning"), [[code(one), cell(text)] for one, text in settable.items()])]
    return "\n".join(lines)


def _about(doc: str | None) -> str:
    """What a contract is; how to write one is said above."""
    return re.split(r"\. (?:Override|Inherit)\b", summary(doc))[0].rstrip(".") + "."


def tests(node: ast.ClassDef) -> list[tuple[str, str]]:
    """(name, meaning) of a contract's own checks; one without a docstring says it by its name."""
    found = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")]
    return [
        (one.name, summary(ast.get_docstring(one)) or one.name.removeprefix("test_").replace("_", " ").capitalize() + ".") for one in found
    ]
