"""The product's own source, read: nothing asks, runs what it is given, or unpickles; SECURITY.md names tests that are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests import ROOT

ASKS = {"input", "getpass", "prompt", "confirm", "raw_input"}
RUNS = {"eval", "exec", "compile", "__import__", "system", "popen", "Popen", "loads_pickle", "literal_eval", "load_module", "run_path"}
ALLOWED = {
    "realcompo/testing/runner.py": "the conformance kit runs pytest",
    "plugins/realcompo-mini/realcompo_mini/train/sprites.py": "training fetches sprites by npm; not part of use",
    "realcompo/draw/many/workers.py": "it starts this interpreter with a module of ours",
}


def calls(tree: ast.AST) -> Iterator[tuple[int, str, ast.Call]]:
    """(line, last name, call) of all calls but those of modules' own functions of the name, such as re.compile and torch.compile."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.lineno, node.func.id, node
            elif isinstance(node.func, ast.Attribute):
                holder = ast.unparse(node.func.value)
                name = node.func.attr
                if not (name in ("compile", "eval", "exec") or (name == "prompt" and holder != "typer")):
                    yield node.lineno, name, node
                if holder in ("pickle", "marshal", "shelve", "dill", "joblib"):
                    yield node.lineno, f"{holder}.{name}", node


def faults(text: str) -> list[str]:
    """What of a module asks on the terminal, runs what it is given, or unpickles."""
    found = []
    for line, name, call in calls(ast.parse(text)):
        keywords = {one.arg: ast.unparse(one.value) for one in call.keywords}
        whole = ast.unparse(call.func)
        bad = name in ASKS or name in RUNS or name.startswith(("pickle.", "marshal.", "shelve.", "dill.", "joblib."))
        bad = (
            bad or keywords.get("trust_remote_code") == "True" or keywords.get("shell") == "True" or keywords.get("allow_pickle") == "True"
        )
        bad = bad or (whole == "torch.load" and keywords.get("weights_only") != "True")
        bad = bad or (whole == "yaml.load" and not keywords.get("Loader", "").endswith("_PlainLoader"))
        bad = bad or whole in ("yaml.unsafe_load", "yaml.full_load", "yaml.load_all") or "custom_pipeline" in keywords
        if bad:
            found.append(f"{line}: {whole}")
    return found


def test_nothing_asks_runs_or_unpickles() -> None:
    """In all of the product's source."""
    files = [*ROOT.glob("realcompo/**/*.py"), *ROOT.glob("plugins/*/realcompo_*/**/*.py")]
    assert len(files) > 150
    found = {str(path.relative_to(ROOT)): faults(path.read_text()) for path in files}
    assert {name: bad for name, bad in found.items() if bad and name not in ALLOWED} == {}
    for text in (
        "input('?')",
        "eval('1')",
        "typer.confirm('?')",
        "pickle.load(f)",
        "torch.load(f)",
        "yaml.load(f, Loader=yaml.Loader)",
        "x.from_pretrained(y, trust_remote_code=True)",
        "subprocess.run('x', shell=True)",
        "os.system('x')",
    ):
        assert faults(text), text
    assert not faults("re.compile('x'); torch.load(f, weights_only=True); yaml.load(t, Loader=_PlainLoader)")


def test_security_names_tests_that_are_there() -> None:
    """Each test and each file that SECURITY.md names."""
    text = (ROOT / "SECURITY.md").read_text()
    source = "".join(path.read_text() for path in [*ROOT.glob("tests/**/*.py"), *ROOT.glob("plugins/*/tests/*.py")])
    names = set(re.findall(r"`(test_\w+)`", text))
    assert len(names) > 12 and all(f"def {name}(" in source for name in names), [name for name in names if f"def {name}(" not in source]
    paths = set(re.findall(r"`((?:tests|plugins)/[\w/.-]+)`", text))
    assert len(paths) > 6 and all((ROOT / path).exists() for path in paths)
