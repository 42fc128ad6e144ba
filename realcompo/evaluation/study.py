"""What is asked: a suite's cases, the recipes that draw them, the scorers that judge them, and the folder where all of it is kept.

A folder of an evaluation::

    suite.json               the suite with its options: another one is refused
    layouts.jsonl            what was planned, a line a scene; layouts.json is the same as a file of layouts
    RECIPE/recipe.json       what draws
    RECIPE/pictures/…        the pictures, and what the suite puts beside them
    RECIPE/drawn.jsonl       a line a picture: its file, what it cost in F, or why it could not be drawn
    RECIPE/PLUGIN-SCORER.jsonl   a line a picture: what the scorer says of it
    table.md, table.json, frontier.png
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import BadOption, BadRecipe, PluginProblem
from ..files import claimed, file_name
from ..interfaces import Case, Scorer, Suite
from ..recipes.configuration import parse_set, resolve
from ..recipes.recipe import Carried, Recipe
from ..registry import Registry, installed
from ..specs import ScorerSpec, SuiteSpec
from .lines import unwritable, write_own

PICTURES, DRAWN, LAYOUTS = "pictures", "drawn.jsonl", "layouts.jsonl"


@dataclass(frozen=True)
class Entrant:
    """A recipe that takes part.

    Attributes:
        name: in tables, and of its folder.
        recipe: of all layers, without pictures of its own.
        folder: where its pictures and records are.
    """

    name: str
    recipe: Recipe
    folder: Path

    @property
    def text(self) -> str:
        """Of recipe.json."""
        return json.dumps(self.recipe.plain(), indent=1, ensure_ascii=False) + "\n"

    def picture(self, case: Case) -> Path:
        """The file of a case."""
        return self.folder / PICTURES / f"{case.file or file_name(case.id)}.png"


@dataclass(frozen=True)
class Judge:
    """A scorer that judges.

    Attributes:
        spec: what its plugin declares.
        scorer: ready to score.
        told: its options, as plain data.
    """

    spec: ScorerSpec
    scorer: Scorer
    told: Mapping[str, Any]

    @property
    def file(self) -> str:
        """Of its records, in a recipe's folder."""
        return f"{self.spec.id.replace('/', '-')}.jsonl"


@dataclass(frozen=True)
class Study:
    """An evaluation, before anything is drawn.

    Attributes:
        spec, suite, told: the suite, with its options as plain data.
        seed: of the noises, or None for the suite's own.
        cases: that are drawn, in order.
        entrants: in the order of the table.
        judges: likewise.
        folder: see the module.
        registry: where components are found.
    """

    spec: SuiteSpec
    suite: Suite
    told: Mapping[str, Any]
    seed: int | None
    cases: tuple[Case, ...]
    entrants: tuple[Entrant, ...]
    judges: tuple[Judge, ...]
    folder: Path
    registry: Registry

    @property
    def identity(self) -> dict[str, Any]:
        """What a folder must agree on. How many of the cases are drawn is left open: more can follow."""
        return {"suite": self.spec.id, "options": dict(self.told), "seed": self.seed}

    @contextmanager
    def claimed(self, making: bool = True) -> Iterator[None]:
        """The folder, for this run alone.

        Raises:
            BadOption: it is another suite's, another run is at work there, or it cannot be written to.
        """
        where, file = str(self.folder), self.folder / "suite.json"
        if not making and not file.exists():
            raise BadOption("nothing was drawn here", where=where, mend="leave --score-only and --table out, or name another folder: -o")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from None
        with _locked(self.folder / ".lock", where):
            text = json.dumps(self.identity, indent=1, ensure_ascii=False) + "\n"
            there = file.read_text("utf-8", "replace") if file.exists() else text
            if there != text:
                raise BadOption(
                    f"it holds another evaluation: {' '.join(there.split())}",
                    where=where,
                    mend="choose another folder with -o, or the suite, options and seed that it was begun with",
                )
            write_own(file, text)
            yield


@contextmanager
def _locked(path: Path, where: str) -> Iterator[None]:
    """A lock that goes with the process."""
    with ExitStack() as held:
        try:
            free = held.enter_context(claimed(path))
        except OSError as error:
            raise unwritable(path, error) from None
        if not free:
            raise BadOption("another run is at work in it", where=where, mend="wait for it, or choose another folder with -o")
        yield


def study_of(
    suite: str,
    recipes: Sequence[str | Path],
    folder: str | Path,
    *,
    scorers: Sequence[str] | None = None,
    options: Sequence[str] = (),
    limit: int | None = None,
    scenes: int | None = None,
    seed: int | None = None,
    sets: Sequence[str] = (),
    arguments: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    drawing: bool = True,
) -> Study:
    """What is asked, read and checked; loads no weights.

    Args:
        suite: id.
        recipes: files, each perhaps with a name before it ("ours=scene.toml"); none: those that were drawn in the folder before.
        scorers: ids; the suite's own where they are None.
        options: "name=value" of the suite, "plugin/scorer.name=value" of a scorer.
        limit: the first so many pictures. scenes: the first so many scenes of each kind.
        sets, arguments: layers of every recipe, see `resolve`.
        drawing: whether anything will be drawn.

    Raises:
        BadOption, UnknownName, BadRecipe: what cannot be meant. PluginProblem: the suite's cases break their contract.
    """
    registry = registry or installed()
    folder = Path(folder).expanduser()
    spec = registry.find(SuiteSpec, suite)
    names = list(dict.fromkeys(registry.find(ScorerSpec, name).id for name in (spec.scorers if scorers is None else scorers)))
    own, theirs = options_of(options, names)
    built = registry.suite(spec.id, own)
    cases = checked(built.cases(seed), spec.id)
    device = str((arguments or {}).get("device") or "")
    judges = []
    for name in names:
        found = registry.find(ScorerSpec, name)
        told = registry.options(found, theirs.get(name))
        judges.append(Judge(found, registry.scorer(name, theirs.get(name), device or _device()), told.model_dump(mode="json")))
    entrants = [_entrant(text, folder, sets, arguments or {}, registry, drawing) for text in recipes] or _earlier(folder, drawing, registry)
    twice = [one.name for n, one in enumerate(entrants) if one.name in {other.name for other in entrants[:n]}]
    if twice:
        raise BadOption(f"two recipes are called {twice[0]!r}", mend="name them apart: first=a/scene.toml second=b/scene.toml")
    return Study(
        spec=spec,
        suite=built,
        told=registry.options(spec, own).model_dump(mode="json"),
        seed=seed,
        cases=_first(cases, limit, scenes),
        entrants=tuple(entrants),
        judges=tuple(judges),
        folder=folder,
        registry=registry,
    )


def _device() -> str:
    """The best device there is, as for recipes that name none."""
    from ..noise.devices import default_device

    return str(default_device(None))


def options_of(options: Sequence[str], scorers: Sequence[str], flag: str = "--scorer") -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Those of the suite, and those of each scorer.

    Args:
        flag: by which scorers are named.

    Raises:
        BadOption: what is none, or is one of a scorer that is not named.
    """
    own: dict[str, Any] = {}
    theirs: dict[str, dict[str, Any]] = {}
    for text in options:
        name, sign, value = text.partition("=")
        owner, dot, option = name.rpartition(".")
        if not sign:
            raise BadOption("it is not of the form NAME=VALUE", where=f"--with {text!r}", mend="write for example --with split=test")
        table = own
        if dot:
            if owner not in scorers:
                mend = f"name it with {flag}, too; of this run: {', '.join(scorers) or 'none'}"
                raise BadOption(f"no scorer of this run is called {owner!r}", where=f"--with {text!r}", mend=mend)
            table = theirs.setdefault(owner, {})
        try:
            table[option] = parse_set(f"value={value}")[1]
        except BadRecipe as error:
            if not value.strip() or value.lstrip()[0] in "[{\"'":
                raise BadOption(error.what, where=f"--with {text!r}", mend=error.mend) from None
            table[option] = value  # a path, most likely
    return own, theirs


def _entrant(
    text: str | Path, folder: Path, sets: Sequence[str], arguments: Mapping[str, Any], registry: Registry, drawing: bool
) -> Entrant:
    name, sign, path = str(text).partition("=")
    if not sign or isinstance(text, Path) or Path(text).expanduser().exists():
        name, path = Path(text).stem, str(text)
    name = file_name(name)
    recipe = resolve(Path(path).expanduser(), sets=sets, arguments=arguments, registry=registry).recipe
    found = Entrant(name, recipe.model_copy(update={"pictures": ()}), folder / name)
    there = found.folder / "recipe.json"
    if not drawing and there.exists() and there.read_text("utf-8", "replace") != found.text:
        raise BadOption(f"the pictures of {name!r} were drawn by another recipe", where=str(there), mend="draw with this one first")
    return found


def _earlier(folder: Path, drawing: bool, registry: Registry) -> list[Entrant]:
    """The recipes that a folder holds already. It may be a stranger's: what only the user may turn on is refused before it is drawn."""
    found = []
    for file in sorted(folder.glob("*/recipe.json")):
        try:
            recipe = Recipe.model_validate(json.loads(file.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise BadRecipe(f"it cannot be read: {error}", where=str(file), mend="name the recipe's own file") from None
        if drawing:
            resolve(Carried(recipe, str(file)), registry=registry)
        found.append(Entrant(file.parent.name, recipe, file.parent))
    if not found:
        raise BadOption("no recipe is named, and none was drawn here", where=str(folder), mend="name a recipe's file")
    return found


def checked(cases: Sequence[Case], suite: str) -> tuple[Case, ...]:
    """A suite's cases, if they can be drawn side by side into one folder.

    Raises:
        PluginProblem: says what is wrong with which case.
    """
    ids: set[str] = set()
    files: set[str] = set()
    prompts: dict[str, str] = {}
    for case in cases:
        where = f"{suite}, case {case.id!r}"
        file = (case.file or file_name(case.id)).lower()
        parts = PurePosixPath(file).parts
        if not case.id or case.id in ids:
            raise PluginProblem("two cases have one id" if case.id else "it has no id", where=where, mend="give each case an id of its own")
        if file in files:
            raise PluginProblem(f"two cases have one file, {file!r}", where=where, mend="give each case a file of its own")
        if not parts or file.startswith("/") or "\\" in file or "\0" in file or {".", ".."} & set(parts):
            raise PluginProblem(f"its file {case.file!r} leaves the folder", where=where, mend="name parts below it, divided by '/'")
        if not case.prompt.strip() or prompts.setdefault(case.group, case.prompt) != case.prompt:
            raise PluginProblem(
                "it has no prompt, or another than the rest of its scene",
                where=where,
                mend="give each scene one prompt: they share a layout",
            )
        ids.add(case.id)
        files.add(file)
    if not ids:
        raise PluginProblem("it has no cases", where=suite, mend="see its options: realcompo show")
    return tuple(cases)


def _first(cases: Sequence[Case], limit: int | None, scenes: int | None) -> tuple[Case, ...]:
    if scenes is not None:
        known: dict[str, dict[str, None]] = {}
        for case in cases:
            of_kind = known.setdefault(case.kind, {})
            if len(of_kind) < scenes:
                of_kind[case.group] = None
        cases = [case for case in cases if case.group in known[case.kind]]
    return tuple(cases[:limit])
