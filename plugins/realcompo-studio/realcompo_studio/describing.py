"""What is installed, as plain data: components with their options' schemas, and which of them compose. The page makes its forms of it.

What plugins declare is told at once, without torch. What needs the libraries (config files of checkpoints, which pairs compose) is looked
at once, in the background.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

from realcompo.errors import RealCompoError
from realcompo.recipes.configuration import guarded_options
from realcompo.recipes.recipe import Recipe
from realcompo.registry import Registry
from realcompo.specs import BranchSpec, NoOptions, Spec, Traits

from .first import alone
from .problems import Problem, unexpected

Plain = dict[str, Any]


class Catalogue:
    """The components of a registry; `look` finds out what takes the libraries."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._traits: dict[str, Traits] = {}
        self._problems: dict[str, Problem] = {}
        self._found: Plain = {"checked": False, "pairs": None, "solvers": None, "balances": None}
        self._revises: dict[str, bool] = {}
        self._schedulers: list[str] = [Recipe().scheduler]
        self._lock = threading.Lock()
        self._looking: threading.Thread | None = None

    @property
    def checked(self) -> bool:
        """Whether `look` is through."""
        return bool(self._found["checked"])

    def plain(self) -> Plain:
        """As `GET /api/components` tells it."""
        found, registry = dict(self._found), self.registry
        return {
            "checked": found.pop("checked"),
            "branches": [self._branch(id) for id in sorted(registry.branches)],
            "balancers": [self._component(registry.balancers[id]) for id in sorted(registry.balancers)],
            "transfers": [{**self._component(spec), "condition": spec.condition} for _, spec in sorted(registry.transfers.items())],
            "planners": [
                {**self._component(spec), "kinds": list(spec.kinds), "revises": self._revises.get(id)}
                for id, spec in sorted(registry.planners.items())
            ],
            "schedulers": list(self._schedulers),
            **found,
        }

    def _component(self, spec: Spec) -> Plain:
        return {
            "id": spec.id,
            "summary": spec.summary,
            "distribution": self.registry.distribution(spec.id),
            "schema": schema_of(spec),
            "defaults": _jsonable(spec.defaults),
        }

    def _branch(self, id: str) -> Plain:
        problem = self._problems.get(id)
        try:
            spec = self.registry.find(BranchSpec, id)
        except RealCompoError as error:
            spec, problem = self.registry.branches[id], Problem(error)
        traits = self._traits.get(id) or spec.traits
        told: Plain = {"latent": None, "family": None, "prediction": None, "size": None, "multiple": None}
        told |= {"max_objects": None, "vocabulary": None, "classes": None, "hints": None, "guidance": None}
        if traits is not None:
            told = {
                "latent": asdict(traits.latent),
                "family": traits.family,
                "prediction": traits.prediction_type,
                "size": list(traits.default_size),
                "multiple": traits.size_multiple,
                "max_objects": traits.max_objects,
                "vocabulary": None if traits.vocabulary is None else list(traits.vocabulary),
                "classes": None if traits.classes is None else list(traits.classes),
                "hints": None if traits.hints is None else list(traits.hints),
                "guidance": traits.guidance,
            }
        return {
            **self._component(spec),
            "role": spec.role,
            "condition": spec.condition,
            **told,
            "guidance_scale": 7.5 if spec.guidance_scale is None else spec.guidance_scale,
            "steps": (spec.recommended or {}).get("num_inference_steps"),
            "licence": spec.licence,
            "prompt": spec.prompt,
            "problem": None if problem is None else problem.plain(),
        }

    # -- what takes the libraries --------------------------------------------------------------------------------------------------------

    def look_soon(self, then: Callable[[], None]) -> None:
        """Look in the background, once; `then` is called when it is done."""
        with self._lock:
            if self._looking is not None:
                return
            self._looking = threading.Thread(target=self._look_and_tell, args=(then,), name="catalogue", daemon=True)
        self._looking.start()

    def _look_and_tell(self, then: Callable[[], None]) -> None:
        with alone("look"):
            self.look()
        then()

    def look(self) -> None:
        """Find out which branches can be used here and which compose. Imports torch; loads no weights."""
        from realcompo import Composer
        from realcompo.noise.diffusion import SCHEDULERS
        from realcompo.recipes.members import member

        registry = self.registry
        roles: dict[str, tuple[Literal["fidelity", "spatial"], ...]] = {}
        members: dict[str, dict[str, Any]] = {}  # looked at once each, though each is in many pairs
        for id in sorted(registry.branches):
            problem = None
            try:
                spec = registry.find(BranchSpec, id)
                roles[id] = ("fidelity", "spatial") if spec.role is None else (spec.role,)
                members[id] = {role: member(id, role, registry) for role in roles[id]}
                self._traits[id] = members[id][roles[id][-1]].traits
            except Exception as error:
                problem = error
            if problem is not None:
                self._problems[id] = Problem(unexpected(problem))

        def compose(first: str, *others: str, **settings: Any) -> None:
            Composer(members[first]["fidelity"], [members[other]["spatial"] for other in others], registry=registry, **settings)

        pairs: Plain = {}
        solvers: Plain = {}
        for first in (id for id in roles if "fidelity" in roles[id]):
            broken = self._problems.get(first)
            pairs[first], solvers[first] = {}, {}
            for other in (id for id in roles if "spatial" in roles[id] and id != first):
                reason = broken or self._problems.get(other)
                pairs[first][other] = reason.plain() if reason else _trouble(partial(compose, first, other))
            for name in SCHEDULERS:
                solvers[first][name] = broken.plain() if broken else _trouble(partial(compose, first, scheduler=name))
        balances = {id: _trouble(partial(registry.balancer, id)) for id in sorted(registry.balancers)}
        for id, planner in registry.planners.items():
            if _trouble(partial(registry.load, planner)) is None:
                self._revises[id] = bool(registry.load(planner).revises)
        self._schedulers = list(SCHEDULERS)
        self._found = {"checked": True, "pairs": pairs, "solvers": solvers, "balances": balances}


def _trouble(attempt: Callable[[], Any]) -> Plain | None:
    """Why something cannot be done, or None. A stranger's plugin may raise anything."""
    try:
        attempt()
    except Exception as error:
        return Problem(unexpected(error)).plain()
    return None


def schema_of(spec: Spec) -> Plain:
    """The JSON schema of a component's options, with the defaults that hold for it, and which of them no recipe may turn on."""
    cls = spec.options or NoOptions
    try:
        schema: Plain = cls.model_json_schema()
    except Exception:  # a stranger's type that pydantic has no schema for: names and meanings are better than nothing
        fields = {name: {"description": field.description or ""} for name, field in cls.model_fields.items()}
        schema = {"type": "object", "properties": fields}
    for name, field in schema.get("properties", {}).items():
        if name in spec.defaults:
            field["default"] = _jsonable(spec.defaults[name])
        if guarded_options(spec, {name: True}):
            field["x-guarded"] = True
    return schema


def vocabulary(registry: Registry, branch: str | None) -> Plain:
    """Classes of a segmentation branch with their colours; ADE20K's where it says none.

    Raises:
        UnknownName: no branch of that name.
    """
    from realcompo.conditions.palette import ADE20K, ALIASES

    palette: Mapping[str, Any] = ADE20K
    closed = False
    if branch is not None:
        spec = registry.find(BranchSpec, branch)
        own = getattr(registry.options(spec), "palette", None)
        if own:
            palette, closed = own, True
        elif spec.traits is not None and spec.traits.classes is not None:
            palette, closed = {name: ADE20K[name] for name in spec.traits.classes if name in ADE20K}, True
    words: dict[str, list[str]] = {}
    for word, name in ALIASES.items():
        words.setdefault(name, []).append(word)
    classes = [{"name": name, "colour": list(colour), "words": words.get(name, [])} for name, colour in palette.items()]
    return {"closed": closed, "classes": classes}


def poses(box: tuple[float, float, float, float], size: tuple[int, int]) -> Plain:
    """The built-in poses, each placed in a box of a picture of (height, width)."""
    from realcompo.conditions.drawing import HUES, LIMBS
    from realcompo.conditions.keypoints import OPENPOSE_18
    from realcompo.conditions.skeletons import POSES, skeleton

    return {
        "joints": list(OPENPOSE_18),
        "limbs": [list(limb) for limb in LIMBS],
        "joint_colours": [list(hue) for hue in HUES[: len(OPENPOSE_18)]],
        "limb_colours": [list(hue) for hue in HUES[: len(LIMBS)]],
        "poses": {name: {joint: list(point) for joint, point in skeleton(name, box, size).items()} for name in POSES},
    }


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(one) for one in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
