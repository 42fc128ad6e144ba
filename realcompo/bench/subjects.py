"""What is measured: a recipe's file, the recipe that a picture carries, or a set of random networks by name."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..compose.composer import Composer
from ..errors import BadOption, UnknownName, nearest
from ..noise.devices import default_device, torch_dtype
from ..plans.planning import Task, raise_first
from ..recipes.configuration import resolve
from ..recipes.recipe import Carried, PictureEntry, Recipe
from ..registry import Registry, installed
from ..specs import BranchSpec, SyntheticSpec
from ..testing.synthetic import HOW, Made, make

SUFFIXES = (".toml", ".yaml", ".yml", ".json", ".png")


@dataclass(frozen=True, eq=False)
class Subject:
    """A composer, ready to draw its pictures.

    Attributes:
        label: what it was asked by.
        pictures: B, with all their conditions: planning is not measured.
        made: its random networks, where it has some.
    """

    label: str
    composer: Composer
    pictures: tuple[PictureEntry, ...]
    made: Made | None = None

    @property
    def networks(self) -> str:
        """How its weights were made, for a record."""
        return "as the recipe names them" if self.made is None else HOW

    def changed(self, label: str, change: Mapping[str, Any], spatial: bool = True) -> Subject:
        """The same networks and pictures, by a recipe that differs.

        Args:
            change: keys of the recipe.
            spatial: with the spatial branches; without them, without their conditions.
        """
        recipe = self.composer.recipe()
        entries = list(self.pictures)
        if not spatial:
            entries = [one.model_copy(update={"conditions": {}}) for one in entries]
        branches = recipe.branches if spatial else recipe.branches[:1]
        plain = {**recipe.plain(), "branches": [one.model_dump(mode="json", exclude_none=True) for one in branches], **change}
        plain.pop("planner", None)
        composer = Composer.from_recipe(Recipe.model_validate(plain), self.composer.registry)
        return replace(self, label=label, composer=composer, pictures=tuple(entries))


@dataclass
class Bench:
    """Opens subjects; networks of one name, size, device and precision are made once.

    Attributes:
        small: random networks are made small.
        copies: pictures a draw: each of the recipe's pictures as often, with seeds that count on.
    """

    stack: ExitStack
    small: bool = False
    copies: int = 1
    registry: Registry = field(default_factory=installed)
    _made: dict[tuple[str, str, str], Made] = field(default_factory=dict)

    def open(self, what: str | Path | None, *, sets: Sequence[str] = (), arguments: Mapping[str, Any] | None = None) -> Subject:
        """A subject by a recipe's file, a picture or a name; the configured default if None.

        Args:
            sets: ``name=value`` each, as with `--set`.
            arguments: keys of the recipe that the command line gives.

        Raises:
            UnknownName: neither a file nor random networks of that name. And what a recipe's own verbs raise.
        """
        given = dict(arguments or {})
        spec = None if what is None or Path(what).suffix.lower() in SUFFIXES else self._spec(str(what))
        if spec is None:
            found = resolve(_source(what), sets=sets, arguments=given, registry=self.registry).recipe
            if self.small:
                raise BadOption("a recipe names its networks itself", where="--mini", mend="leave it out, or name random networks")
            return self._subject("the default" if what is None else str(what), found, None)
        plain = {**spec.recipe, **(spec.small if self.small else {})}
        stated = resolve(plain, sets=sets, arguments=given, registry=self.registry).recipe
        made = self._networks(spec, stated)
        found = resolve(made.recipe, sets=sets, arguments=given, registry=self.registry).recipe
        return self._subject(spec.id.split("/")[1], found, made)

    def _spec(self, name: str) -> SyntheticSpec:
        try:
            return self.registry.find(SyntheticSpec, name)
        except UnknownName:
            known = [id.split("/")[1] for id in self.registry.synthetics]
            raise UnknownName(
                f"{name!r} is neither a recipe's file ({', '.join(SUFFIXES)}) nor a set of random networks",
                mend=nearest(name, known),
            ) from None

    def _networks(self, spec: SyntheticSpec, recipe: Recipe) -> Made:
        device, dtype = default_device(recipe.device), torch_dtype(recipe.dtype)
        home = torch.device("cpu") if recipe.offload else device
        key = (spec.id, str(home), str(dtype))
        if key not in self._made:
            folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="realcompo-bench-")))
            with quiet():
                self._made[key] = make(spec, folder, home, dtype, self.small, self.registry)
        return self._made[key]

    def _subject(self, label: str, recipe: Recipe, made: Made | None) -> Subject:
        composer = Composer.from_recipe(recipe, self.registry)
        entries = list(recipe.pictures) or [_sample(composer, self.registry)]
        entries = [
            one.model_copy(update={"seed": (one.seed or 0) + index, "name": None}) for one in entries for index in range(self.copies)
        ]
        if composer.planner is not None:
            entries = [one.picture for one in raise_first(composer.plan([Task(one) for one in entries], composer.size))]
        return Subject(label, composer, tuple(entries), made)


def _source(what: str | Path | None) -> Any:
    """A recipe file as it is, or the recipe that a PNG carries."""
    if what is None or Path(what).suffix.lower() != ".png":
        return None if what is None else Path(what)
    from ..pictures.png import read_recipe

    return Carried(read_recipe(Path(what)).recipe, str(what))


def _sample(composer: Composer, registry: Registry) -> PictureEntry:
    """What a recipe without pictures draws: the sample of its spatial branches, or of its fidelity branch."""
    specs = [m.spec for m in (*composer.members[1:], composer.members[0]) if m.spec.sample]
    sample = dict(specs[0].sample or {}) if specs else {}
    conditions = {
        m.spec.condition: _data(m.spec, sample) for m in composer.members[1:] if m.spec.condition is not None and _data(m.spec, sample)
    }
    return PictureEntry.model_validate({"prompt": sample.get("prompt", "a cat and a dog"), "seed": 0, "conditions": conditions})


def _data(spec: BranchSpec, sample: Mapping[str, Any]) -> Any:
    own = dict(spec.sample or {})
    return own.get(spec.condition or "") or sample.get(spec.condition or "")


@contextmanager
def quiet() -> Iterator[None]:
    """Without what diffusers and transformers say of networks that are made and cast, and their bars."""
    import diffusers.utils.logging as of_diffusers
    import transformers.utils.logging as of_transformers

    libraries: list[Any] = [of_diffusers, of_transformers]
    levels = [library.get_verbosity() for library in libraries]
    bars = [library.is_progress_bar_enabled() for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity(logging.ERROR)
            library.disable_progress_bar()
        yield
    finally:
        for library, level, bar in zip(libraries, levels, bars, strict=True):
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()
