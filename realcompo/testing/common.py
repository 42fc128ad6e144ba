"""What the contracts of all kinds of component share: how a component is named and built, and the checks of its declaration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar

from ..recipes.recipe import BranchEntry, Component
from ..registry import Registry, installed
from ..specs import Options, Spec

T = TypeVar("T", bound=Spec)


SAMPLE: Mapping[str, Any] = {
    "prompt": "a cat and a red balloon on grass",
    "boxes": {"a cat": (0.0, 0.25, 0.5, 1.0), "a red balloon": (0.5, 0.0, 1.0, 0.625)},
}
"""What a component is asked for where its spec has no sample."""


class ComponentContract(Generic[T]):
    """Base of the contracts. Inherit one of its subclasses in a class whose name starts with ``Test`` and override:

    Attributes:
        component: the id, ``plugin/component``.
        registry: where the component is found; what is installed, if None.
        options: the component's options in this test, where they differ from its defaults.
    """

    component: ClassVar[str]
    registry: ClassVar[Registry | None] = None
    options: ClassVar[Mapping[str, Any]] = {}
    kind: ClassVar[Any]

    @classmethod
    def host(cls) -> Registry:
        """The registry that is asked."""
        return cls.registry or installed()

    @classmethod
    def spec(cls) -> T:
        """The component's spec, with its base resolved into it."""
        found: T = cls.host().find(cls.kind, cls.component)
        return found

    @classmethod
    def told(cls) -> Options:
        """The validated options."""
        return cls.host().options(cls.spec(), cls.options)

    # -- checks of the declaration ---------------------------------------------------------------------------------------

    def test_declaring_imports_no_torch(self) -> None:
        """`realcompo list` reads every plugin: importing the declaring module must stay fast."""
        plugin = self.spec().id.split("/")[0]
        heavy = imported_by(self.host().modules[plugin])
        assert not heavy, f"importing {self.host().modules[plugin]!r} imports {', '.join(heavy)}: use a string target"

    def test_options_are_described(self) -> None:
        """`realcompo show` prints the meaning of every option."""
        options = self.spec().options
        fields = options.model_fields if options is not None else {}
        silent = [name for name, field in fields.items() if not (field.description or "").strip()]
        assert not silent, f"options without a description: {', '.join(silent)}"

    def test_options_survive_a_recipe(self) -> None:
        """Options are written to a recipe file as plain data and read back equal."""
        options = self.told()
        plain = json.loads(json.dumps(options.model_dump(mode="json")))
        entry = (BranchEntry if self.kind.__name__ == "BranchSpec" else Component)(name=self.component, options=plain)
        again = type(entry).model_validate_json(entry.model_dump_json())
        assert self.host().options(self.spec(), again.options) == options


@cache
def imported_by(module: str, heavy: tuple[str, ...] = ("torch", "diffusers", "transformers")) -> tuple[str, ...]:
    """Which heavy packages a fresh interpreter has imported after `module`. One process a module."""
    code = f"import importlib, sys; importlib.import_module({module!r}); print(*(n for n in {heavy!r} if n in sys.modules), sep=',')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"importing {module!r} in a fresh interpreter fails:\n{done.stderr}"
    return tuple(name for name in done.stdout.strip().split(",") if name)
