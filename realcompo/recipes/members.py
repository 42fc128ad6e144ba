"""From the names in a recipe to the members of a composition: what is known of a branch before its weights are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..conditions import Condition
from ..errors import BadOption, PluginProblem, UnknownName, nearest
from ..interfaces import Branch, Region
from ..processes import PREDICTIONS
from ..registry import Registry
from ..specs import BranchSpec, LatentSpace, Options, Role, Schedule, Traits
from .option_pictures import copied
from .parts import read_part
from .picture_entry import PictureEntry
from .recipe import DEFAULT_STEPS, BranchEntry


@dataclass(frozen=True)
class Member:
    """A branch's place in a composition, known before its weights are.

    Attributes:
        entry: what the recipe says of it.
        spec: what its plugin declares.
        traits: latent space, prediction type, schedule … from config files.
        source: an object in memory, or what the entry or spec names.
        ready: the branch itself, where the caller brought one.
    """

    entry: BranchEntry
    spec: BranchSpec
    traits: Traits
    role: Role
    source: Any = None
    ready: Branch | None = None

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def guidance_scale(self) -> float:
        """What the recipe says; else what its plugin recommends, and none of a network that knows none, whatever is recommended for others
        (a branch may be put upon any base)."""
        if self.entry.guidance_scale is not None:
            return self.entry.guidance_scale
        if self.traits.guidance == "none":
            return 1.0
        return 7.5 if self.spec.guidance_scale is None else self.spec.guidance_scale

    def build(self, registry: Registry, device: Any, dtype: Any) -> Branch:
        """Load the weights (or take the branch that is there).

        Raises:
            PluginProblem: what the plugin built is no complete branch. And what loading raises.
        """
        if self.ready is not None:
            return self.ready
        branch = registry.branch(
            self.spec.id,
            self.entry.options,
            source=self.source,
            device=self.entry.device or device,
            dtype=dtype,
        )
        check_branch(branch)
        return branch

    def options(self, registry: Registry) -> Options:
        """Its options, every one written out: the branch's own where the caller brought one."""
        return self.ready.options if self.ready is not None else registry.options(self.spec, self.entry.options)

    def own_prompt(self, prompt: str) -> str:
        """This branch's prompt; '{prompt}' in it stands for the picture's."""
        template = self._template
        return prompt if template is None else template.replace("{prompt}", prompt)

    @property
    def weighs(self) -> bool:
        """Whether it reads weights of words in prompts, itself or by the branch that it builds on."""
        own = self.ready.options.model_dump() if self.ready is not None else {**self.spec.defaults, **self.entry.options}
        beneath = own.get("base_options")
        return any(isinstance(told, Mapping) and told.get("prompt_weights") is not None for told in (own, beneath))

    @property
    def _template(self) -> str | None:
        return self.spec.prompt if self.entry.prompt is None else self.entry.prompt

    def own_regions(self, regions: Sequence[Region]) -> tuple[Region, ...]:
        """The regions as this branch's prompt holds them: a span counts characters of the picture's prompt, which stands further on in
        a prompt of the branch's own, or not in it at all; then the phrase is looked for."""
        template = self._template
        if template is None:
            return tuple(regions)
        at = template.find("{prompt}")
        spans = [None if r.span is None or at < 0 else (r.span[0] + at, r.span[1] + at) for r in regions]
        return tuple(r if r.span == span else replace(r, span=span) for r, span in zip(regions, spans, strict=True))

    def condition(self, picture: PictureEntry) -> Condition | None:
        """What the picture tells this branch: by its name first, then by its kind."""
        for key in (self.name, self.spec.id, self.spec.id.split("/")[1], self.spec.condition):
            if key is not None and key in picture.conditions:
                return picture.conditions[key]
        return None


def member(what: Any, role: Role, registry: Registry) -> Member:
    """A member from a name, a recipe's entry, a `Branch`, or an object (a diffusers pipeline) that some branch accepts as its source.

    A member stays what it is: whoever makes many compositions of the same branches looks at each branch's files once.

    Raises:
        UnknownName, BadOption, BadCheckpoint, Incompatible. PluginProblem: a `Branch` that lacks what every branch has.
    """
    if isinstance(what, Member):
        return what
    if isinstance(what, Branch):
        check_branch(what)
        spec = what.spec
        entry = BranchEntry(name=spec.id, role=role)
        return Member(entry, spec, what.traits, _role(spec, entry, role), ready=what)
    source = None
    if not isinstance(what, (str, BranchEntry, Mapping)):
        kind = type(what).__name__
        takers = [spec for spec in registry.branches.values() if kind in spec.accepts and spec.role in (role, None)]
        if not takers:
            raise UnknownName(
                f"no {role} branch takes a {kind}",
                mend="give an id, a Branch, or a pipeline that `realcompo list` shows",
            )
        source, what = what, takers[0].id
    if isinstance(what, str):
        what = BranchEntry(name=what)
    entry = what if isinstance(what, BranchEntry) else read_part(BranchEntry, what, f"a {role} branch")
    spec = registry.find(BranchSpec, entry.name)
    if entry.options:
        entry = entry.model_copy(update={"options": copied(entry.options)})
    source = source if source is not None else (entry.source or spec.source)
    traits = registry.inspect(spec.id, entry.options, source)
    return Member(entry, spec, traits, _role(spec, entry, role), source)


def same_network(one: Member, other: Member) -> bool:
    """Whether two members, neither of which the caller brought, are built of one checkpoint on one device: their options may differ."""
    return (
        one.ready is None
        and other.ready is None
        and (one.spec, one.source, one.entry.device, one.role) == (other.spec, other.source, other.entry.device, other.role)
    )


_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "spec": ("BranchSpec",),
    "options": ("Options",),
    "traits": ("Traits",),
    "device": ("device", "str"),
    "dtype": ("dtype",),
}
"""Attribute of a branch → names of the classes (or of their bases) that it may be of: torch is not imported here."""
_METHODS = (
    "encode",
    "predict",
    "predict_half",
    "attend",
    "to",
    "decode",
    "preview",
    "predict_unguided",
    "fingerprint",
    "inspect",
    "locate",
    "remarks",
)


def check_branch(branch: Any) -> None:
    """Refuse a branch, a stranger's perhaps, that lacks what a run will ask of it.

    Raises:
        PluginProblem: says which attribute or method, and what it should be.
    """
    where = f"the branch of class {type(branch).__name__}"
    if not isinstance(branch, Branch):
        raise PluginProblem("it is no Branch", where=where, mend="derive it from realcompo.interfaces.Branch")
    for name, kinds in _ATTRIBUTES.items():
        try:
            value = getattr(branch, name, None)
        except Exception as error:  # a property of a stranger's can raise anything
            raise PluginProblem(f"its {name} cannot be asked for: {type(error).__name__}: {error}", where=where, mend=_set(name)) from error
        if not {cls.__name__ for cls in type(value).__mro__} & set(kinds):
            raise PluginProblem(f"its {name} is {_what(value)}, not a {kinds[0]}", where=where, mend=_set(name))
    for name in _METHODS:
        if not callable(getattr(branch, name, None)):
            raise PluginProblem(f"its {name} is no method", where=where, mend=f"define {name}, or leave it as Branch has it")
    id = branch.spec.id
    if not isinstance(id, str) or not all(id.partition("/")):
        raise PluginProblem(f"its spec's id is {id!r}", where=where, mend="write it 'plugin/component'")
    _check_traits(branch.traits, where)


def _check_traits(traits: Traits, where: str) -> None:
    """Refuse traits that no picture can be sized by."""
    latent, size = traits.latent, traits.default_size
    whole = {"latent.channels": getattr(latent, "channels", None), "latent.downscale": getattr(latent, "downscale", None)}
    whole["size_multiple"] = traits.size_multiple
    wrong = {
        "latent": not isinstance(latent, LatentSpace),
        "schedule": not isinstance(traits.schedule, Schedule),
        "default_size": not (isinstance(size, tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)),
        "prediction_type": traits.prediction_type not in PREDICTIONS,
        **{name: type(value) is not int or value < 1 for name, value in whole.items()},
    }
    for name, bad in wrong.items():
        if bad:
            value = whole[name] if name in whole else getattr(traits, name)
            raise PluginProblem(f"its traits say {name} = {_what(value)}", where=where, mend="realcompo.specs.Traits says what each is")


def _what(value: Any) -> str:
    """A value in a message, briefly."""
    text = repr(value) if value is None or isinstance(value, (str, int, float, tuple)) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _set(name: str) -> str:
    if name in ("device", "dtype"):
        return f"let the property {name} return that of its network"
    return f"set self.{name} in its __init__, as given there" if name != "traits" else "set self.traits in its __init__: see Branch.inspect"


def _role(spec: BranchSpec, entry: BranchEntry, asked: Role) -> Role:
    role = entry.role or spec.role or asked
    if role != asked:
        raise BadOption(f"{spec.id!r} is a {role} branch, asked for as {asked}", mend=f"give it as {role}=")
    return role


def recommended_steps(spec: BranchSpec) -> int:
    """num_inference_steps where nobody says: what the fidelity branch's plugin recommends, as for recipes."""
    return int((spec.recommended or {}).get("num_inference_steps", DEFAULT_STEPS))


def sort_roles(entries: Sequence[BranchEntry], registry: Registry) -> tuple[BranchEntry, list[BranchEntry]]:
    """A recipe's fidelity branch, and its spatial ones.

    Raises:
        BadOption: none or several fidelity branches.
    """
    roles = [entry.role or registry.find(BranchSpec, entry.name).role or "spatial" for entry in entries]
    fidelity = [entry for entry, role in zip(entries, roles, strict=True) if role == "fidelity"]
    if len(fidelity) != 1:
        raise BadOption(
            f"a recipe has one fidelity branch, this one has {len(fidelity)}",
            mend="set role = 'fidelity' on one branch",
        )
    return fidelity[0], [entry for entry, role in zip(entries, roles, strict=True) if role == "spatial"]


def guided(members: Sequence[Member], guidance: float | Mapping[str, float] | None) -> list[Member]:
    """The members with the guidance scale of one call: one for all, or a table of branch name → scale.

    Raises:
        UnknownName: a name that is none of the members'.
    """
    if guidance is None:
        return list(members)
    names = {key: m.name for m in members for key in (m.name, m.spec.id, m.spec.id.split("/")[1])}
    if not isinstance(guidance, Mapping):
        scales = {m.name: guidance for m in members}
    else:
        unknown = [key for key in guidance if key not in names]
        if unknown:
            raise UnknownName(f"guidance_scale names {unknown[0]!r}", mend=nearest(unknown[0], names))
        scales = {names[key]: value for key, value in guidance.items()}
    return [replace(m, entry=m.entry.model_copy(update={"guidance_scale": scales[m.name]})) if m.name in scales else m for m in members]
