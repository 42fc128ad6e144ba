"""`run`: the contract of one component, or of all components of a plugin, as a pytest session of its own."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import PluginProblem, RealCompoError, UnknownName, nearest
from ..registry import Registry, installed
from ..specs import Spec, SyntheticSpec

_sessions: dict[str, dict[str, type[Any]]] = {}
_numbers = count(1)

_FILE = '''"""Written by realcompo.testing.run."""
from realcompo.testing.runner import _sessions
globals().update(_sessions[{key!r}])
'''


def run(name: str, registry: Registry | None = None, extra_args: Sequence[str] = (), plugins: Sequence[object] = ()) -> int:
    """Run the contract of a component (by its id) or of all components of a plugin (by its name), with pytest, in this process.

    A plugin's own subclasses, in its module ``conformance``, are run in place of the plain contract: that is where a source, a sample or a
    hypothesis strategy of its own belongs.

    Args:
        name: ``"hello"`` or ``"hello/branch"``.
        registry: where components are found; what is installed, if None.
        extra_args, plugins: for pytest.

    Returns:
        pytest's exit code: 0 if everything passed.

    Raises:
        UnknownName: no such plugin or component.
        PluginProblem: the plugin did not load.
    """
    try:
        import pytest
    except ImportError as error:
        raise RealCompoError("the conformance kit needs pytest and hypothesis", mend="pip install 'realcompo[test]'") from error
    classes = contracts(name, registry)
    key = f"{next(_numbers)}"
    _sessions[key] = {_class_name(id): cls for id, cls in classes.items()}
    with tempfile.TemporaryDirectory(prefix="realcompo-test-") as folder:
        file = Path(folder) / f"test_contract_{key}.py"
        file.write_text(_FILE.format(key=key), encoding="utf-8")
        (Path(folder) / "pytest.ini").write_text("[pytest]\nfilterwarnings = ignore::pytest.PytestAssertRewriteWarning\n", encoding="utf-8")
        options = [
            "-c",
            f"{folder}/pytest.ini",
            "--rootdir",
            folder,
            "--import-mode=importlib",
            "-p",
            "no:cacheprovider",
            "-q",
            "-ra",
            "--no-header",
        ]
        try:
            return int(pytest.main([*options, *extra_args, str(file)], plugins=list(plugins)))
        finally:
            del _sessions[key]


def contracts(name: str, registry: Registry | None = None) -> dict[str, type[Any]]:
    """Id → test class, for a component or for all components of a plugin.

    Raises:
        UnknownName, PluginProblem: see `run`.
    """
    registry = registry or installed()
    # random networks are recipes: `realcompo bench NAME --mini` draws with them, and what they are made for has a contract of its own
    specs: dict[str, Spec] = {
        id: spec for table in registry.tables.values() for id, spec in table.items() if not isinstance(spec, SyntheticSpec)
    }
    chosen = [id for id in specs if name in (id, id.split("/")[0])] or [id for id in specs if name == id.split("/")[1]]
    if not chosen:
        for problem in registry.problems:
            if problem.plugin == name.split("/")[0]:
                raise PluginProblem(str(problem), mend="see `realcompo list`")
        raise UnknownName(f"no plugin or component is called {name!r}", mend=nearest(name, {*specs, *(id.split("/")[0] for id in specs)}))
    found: dict[str, type[Any]] = {}
    for id in chosen:
        own = _own(registry.modules[id.split("/")[0]]).get(id)
        base = own or _contract(specs[id])
        values: dict[str, Any] = {"component": id, "registry": registry, "__module__": __name__}
        found[id] = type(_class_name(id), (base,), values)
    return found


def _class_name(id: str) -> str:
    return "Test_" + re.sub(r"\W", "_", id)


def _contract(spec: Spec) -> type[Any]:
    import realcompo.testing as kit

    name = type(spec).__name__.removesuffix("Spec") + "Contract"
    found: type[Any] = getattr(kit, name)
    return found


def _own(module: str) -> dict[str, type[Any]]:
    """Id → the contract that a plugin wrote for it itself, in ``<its module>.conformance``."""
    name = f"{module}.conformance"
    try:
        if importlib.util.find_spec(name) is None:
            return {}
    except ModuleNotFoundError:  # the plugin is a single module, not a package
        return {}
    import realcompo.testing as kit

    bases = (
        kit.BranchContract,
        kit.TransferContract,
        kit.BalancerContract,
        kit.PlannerContract,
        kit.UpscalerContract,
        kit.SuiteContract,
        kit.ScorerContract,
    )
    values = vars(importlib.import_module(name)).values()
    classes = [value for value in values if isinstance(value, type) and issubclass(value, bases) and value not in bases]
    return {cls.component: cls for cls in classes if hasattr(cls, "component")}
