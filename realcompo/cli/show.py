"""``realcompo show ID``."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from .common import console, escape, verb
from .completing import ids

if TYPE_CHECKING:
    from ..registry import Registry
    from ..specs import BranchSpec, Spec

NAME = "show"


@verb
def command(
    id: Annotated[str | None, typer.Argument(autocompletion=ids(), help="Id of a component (see realcompo list).")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of recipe files, for editors; of layout files: show layout --schema.")
    ] = False,
) -> int | None:
    """Show a component: its options with meaning and default, what it needs, its licence, and a sample recipe."""
    from ..errors import BadOption

    if schema:
        from ..plans.layouts import schema_text as layout_schema_text
        from ..recipes.schema import schema_text

        if id not in (None, "recipe", "layout"):
            raise BadOption(f"there is no schema of {id!r}", mend="realcompo show --schema (recipes), or realcompo show layout --schema")
        typer.echo(layout_schema_text() if id == "layout" else schema_text(), nl=False)
        return None
    if id is None:
        raise BadOption("no component was named", mend="realcompo show sd/v1-5; `realcompo list` lists them; --schema prints the schema")
    from ..registry import installed

    registry = installed()
    spec = find_any(registry, id)
    out = console()
    out.print(f"[bold]{escape(spec.id)}[/]  {escape(spec.summary)}")
    for name, value in facts(registry, spec).items():
        out.print(f"  [dim]{name:<16}[/] {escape(value)}", soft_wrap=True)
    _print_options(registry, spec)
    sample = sample_recipe(registry, spec)
    if sample:
        out.print("\n[bold]sample recipe[/]  (save it as scene.toml, then: realcompo run scene.toml)\n")
        typer.echo(sample, nl=False)
    return None


def find_any(registry: Registry, name: str) -> Spec:
    """A component of any kind.

    Raises:
        UnknownName, AmbiguousName.
    """
    from ..errors import AmbiguousName, UnknownName, nearest
    from ..specs import BalancerSpec, BranchSpec, PlannerSpec, ScorerSpec, SuiteSpec, SyntheticSpec, TransferSpec, UpscalerSpec

    found: list[Spec] = []
    kinds: tuple[type[Any], ...] = (BranchSpec, BalancerSpec, PlannerSpec, TransferSpec, UpscalerSpec, SuiteSpec, ScorerSpec, SyntheticSpec)
    for kind in kinds:
        try:
            found.append(registry.find(kind, name))
        except UnknownName:
            continue
    exact = [spec for spec in found if spec.id == name]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0]
    if found:
        raise AmbiguousName(f"several components are called {name!r}", mend=f"write one of {', '.join(sorted(spec.id for spec in found))}")
    known = [id for table in registry.tables.values() for id in table]
    raise UnknownName(f"no component is called {name!r}", mend=nearest(name, known))


def facts(registry: Registry, spec: Spec) -> dict[str, str]:
    """What is known of a component without loading it, for people."""
    from ..specs import BranchSpec, PlannerSpec, ScorerSpec, SuiteSpec, TransferSpec

    rows: dict[str, Any] = {"distribution": registry.distribution(spec.id), "class": spec.target}
    if isinstance(spec, BranchSpec):
        rows |= {
            "role": spec.role or "fidelity or spatial",
            "condition": spec.condition,
            "builds on": spec.base,
            "checkpoint": spec.source,
            "revision": spec.revision,
            "guidance scale": spec.guidance_scale,
            "prompt": spec.prompt,
            "licence": spec.licence,
            "needs": ", ".join(spec.requires),
            "takes": ", ".join(spec.accepts),
            "recommends": ", ".join(f"{key} = {value}" for key, value in (spec.recommended or {}).items()),
        }
        traits = spec.traits
        if traits is not None:
            rows |= {
                "family": traits.family,
                "latent space": f"{traits.latent.name}, {traits.latent.channels} channels, 1/{traits.latent.downscale} of its size",
                "predicts": traits.prediction_type,
                "size": f"{traits.default_size[1]}x{traits.default_size[0]} by default, multiples of {traits.size_multiple}",
                "objects": traits.max_objects and f"at most {traits.max_objects}",
                "words": traits.vocabulary and ", ".join(traits.vocabulary),
            }
    if isinstance(spec, PlannerSpec):
        rows["plans"] = ", ".join(spec.kinds)
    if isinstance(spec, TransferSpec):
        rows["condition"] = spec.condition
    if isinstance(spec, SuiteSpec):
        rows |= {"scorers": ", ".join(spec.scorers), "licence": spec.licence}
    if isinstance(spec, ScorerSpec):
        rows |= {
            "columns": ", ".join(f"{one.name} ({one.title}{', less is better' if one.less else ''})" for one in spec.columns),
            "reads": ", ".join(("the picture", *spec.reads)),
            "needs": ", ".join(spec.requires),
            "licence": spec.licence,
        }
    return {name: str(value) for name, value in rows.items() if value not in (None, "", 0)}


def _print_options(registry: Registry, spec: Spec) -> None:
    from rich.table import Table

    fields = spec.options.model_fields if spec.options is not None else {}
    out = console()
    if not fields:
        out.print("\n[bold]options[/]  none")
        return
    table = Table(title="\noptions", title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in ("name", "default", "type", "meaning"):
        table.add_column(column, overflow="fold", no_wrap=column == "name", max_width=34 if column == "type" else None)
    for name, field in fields.items():
        default = spec.defaults[name] if name in spec.defaults else field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() and name not in spec.defaults else toml_value(default)
        table.add_row(name, escape(shown), escape(type_name(field.annotation)), escape(field.description or ""))
    out.print(table)


def toml_value(value: Any) -> str:
    """A default as a recipe would write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def type_name(annotation: Any) -> str:
    """A type in words that users know."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(toml_value(one) for one in inner)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_name(one) for one in inner))
    if origin is Annotated:
        return type_name(inner[0])
    if origin in (tuple, list, set, frozenset):
        if len(inner) == 2 and inner[1] is Ellipsis:
            inner = inner[:1]
        several = "list of " if len(inner) == 1 else ""
        return several + (type_name(inner[0]) if several else f"[{', '.join(type_name(one) for one in inner)}]")
    if origin in (dict, Mapping):
        return "table"
    names = {str: "text", int: "whole number", float: "number", bool: "true | false", type(None): "none"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


_PETS = {"a cat": [0.05, 0.3, 0.5, 0.95], "a dog": [0.5, 0.3, 0.95, 0.95]}


def sample_recipe(registry: Registry, spec: Spec) -> str:
    """A recipe that uses the component, as TOML; empty where none can be made up."""
    import tomli_w

    from ..recipes.writing import one_line_arrays
    from ..specs import BalancerSpec, BranchSpec, UpscalerSpec

    if isinstance(spec, (BalancerSpec, UpscalerSpec)):  # with the branches that are configured, or the embedded ones
        part: dict[str, Any] = {"balancer": spec.id} if isinstance(spec, BalancerSpec) else {}
        part |= {"hires": {"scale": 1.5, "upscaler": spec.id}} if isinstance(spec, UpscalerSpec) else {}
        picture: dict[str, Any] = {"prompt": "a cat and a dog", "seed": 0, "conditions": {"boxes": dict(_PETS)}}
        return one_line_arrays(tomli_w.dumps({**part, "pictures": [picture]}))
    if not isinstance(spec, BranchSpec):
        return ""
    sample = dict(spec.sample or {})
    branches = [spec.id]
    if spec.role != "fidelity":
        partner = _partner(registry, spec)
        branches.insert(0, sample.get("fidelity") or partner or "ID-OF-A-FIDELITY-BRANCH")
    picture = {"prompt": sample.get("prompt", "a cat and a dog"), "seed": 0}
    boxes = sample.get("boxes", dict(_PETS))
    if spec.condition == "boxes" and isinstance(boxes, Mapping):
        picture["conditions"] = {"boxes": {phrase: [float(share) for share in box] for phrase, box in boxes.items()}}
    elif spec.condition in sample:
        picture["conditions"] = {spec.condition: sample[spec.condition]}
    return one_line_arrays(tomli_w.dumps({"branches": branches, "pictures": [picture]}))


def _partner(registry: Registry, spec: BranchSpec) -> str | None:
    """The likeliest fidelity branch: of the same plugin, or known to have the same latent space; else one whose space is open."""
    from ..errors import RealCompoError
    from ..specs import BranchSpec

    ranked: list[tuple[int, str]] = []
    for id in sorted(registry.branches):
        try:
            other = registry.find(BranchSpec, id)
        except RealCompoError:
            continue
        spaces = [one.traits.latent for one in (spec, other) if one.traits is not None]
        if other.role != "fidelity" or spaces[1:] not in ([], spaces[:1]):
            continue
        stranger = id.split("/")[0] != spec.id.split("/")[0]
        ranked.append((2 * stranger + (len(spaces) < 2) + (other.source is None), id))
    return min(ranked)[1] if ranked else None
