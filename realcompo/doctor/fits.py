"""Which ids a model can serve, what fits together, and what a pair of branches lacks on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import RealCompoError
from ..recipes.configuration import Settings
from ..registry import Registry
from ..specs import BranchSpec, LatentSpace
from ..toolkit.kinds import FAMILIES, Kind
from ..toolkit.options import CheckpointOptions
from ..toolkit.sources import open_checkpoint, weight_files
from .files import Found

PAPER = ("sd/v1-5", "gligen/box")
"""The paper's v1: docs/paper-systems.md."""
_DISTRIBUTIONS = {"sd": "realcompo-stable-diffusion", "gligen": "realcompo-gligen"}
_SPATIAL = ("GLIGEN", "ControlNet", "T2I-Adapter")
_OPTIONS = (
    (re.compile(r"a (LoRA|LoHa|LoKr)\b"), "option lora"),
    (re.compile(r"an IP-Adapter$"), "option ip_adapter"),
    (re.compile(r"a textual inversion embedding$"), "option embeddings"),
    (re.compile(r"a VAE$|a folder of Autoencoder(KL|DC)$"), "option vae"),
)
"""What a file is → where it goes."""


@dataclass(frozen=True)
class Use:
    """What a model is good for.

    Attributes:
        ids: of branches whose source it can be, those that its name speaks of first.
        role, condition, latent: of these branches.
        option: where it goes if it is no source.
        options: without which it is none: {"base": …} of layers that are put on another branch.
        base: id of the branch that it builds on, whose checkpoint it needs too; "" where it is whole.
        wrong, mend: why it is none, where it looks like one.
    """

    ids: tuple[str, ...] = ()
    role: str = ""
    condition: str = ""
    latent: LatentSpace | None = None
    option: str = ""
    options: tuple[tuple[str, str], ...] = ()
    base: str = ""
    wrong: str = ""
    mend: str = ""


@dataclass(frozen=True)
class Space:
    """What draws and what places in one latent space.

    Attributes:
        draws, places: (source, ids) of the models that are here.
        anywhere: ids that need no checkpoint of their own: they place by another branch's network.
        sample: branches of a recipe, for a pair that is here; empty where there is none.
        float16: bytes of the sample's weights in float16, counted from headers; None where these do not tell.
    """

    latent: str
    draws: tuple[tuple[str, tuple[str, ...]], ...]
    places: tuple[tuple[str, tuple[str, ...]], ...]
    anywhere: tuple[str, ...]
    sample: tuple[Mapping[str, Any], ...]
    float16: int | None = None


@dataclass(frozen=True)
class Need:
    """What a branch needs: whether it is here, and what to do where it is not."""

    id: str
    source: str
    here: bool
    told: str
    mend: str = ""


@contextmanager
def offline() -> Iterator[None]:
    """Nothing is fetched, whatever the environment allows."""
    before = os.environ.get("REALCOMPO_DOWNLOAD")
    os.environ["REALCOMPO_DOWNLOAD"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["REALCOMPO_DOWNLOAD"]
        else:
            os.environ["REALCOMPO_DOWNLOAD"] = before


class Uses:
    """Asks the branches themselves (`Branch.inspect`) what they can draw with: each kind of file once.

    Args:
        registry: of the plugins.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._known: dict[tuple[Any, ...], Use] = {}
        self._groups: dict[tuple[str, str], list[BranchSpec]] = {}
        self._families: set[str] = set()
        self.anywhere: list[BranchSpec] = []
        for id in registry.branches:
            try:
                spec = registry.find(BranchSpec, id)
            except RealCompoError:
                continue
            if spec.traits is None and spec.role == "spatial" and "base" in _fields(spec):
                self.anywhere.append(spec)
            if spec.traits is None or spec.source is None or spec.source.startswith("package://"):
                continue
            self._families.add(spec.traits.family)
            self._groups.setdefault((str(spec.target), spec.traits.family), []).append(spec)

    def of(self, found: Found) -> Use:
        """What one model is good for."""
        if found.wrong:
            return Use()
        key = found.signature or (found.what,)
        if key not in self._known:
            self._known[key] = self._ask(found)
        use = self._known[key]
        return Use(**{**vars(use), "ids": _narrowed(use.ids, f"{found.source} {found.path.name}")}) if use.ids else use

    def _ask(self, found: Found) -> Use:
        what = found.kind.what if found.kind is not None else found.what
        for kind, option in _OPTIONS:
            if kind.match(what):
                return Use(option=option)
        spatial = any(word in what for word in _SPATIAL)
        if found.kind is not None and found.kind.family is None and not spatial:
            return Use()
        first: RealCompoError | None = None
        for (_, family), specs in self._groups.items():
            if found.kind is not None and spatial != (specs[0].role == "spatial"):
                continue
            for options in self._options(specs[0]):
                try:
                    with offline():
                        traits = self.registry.inspect(specs[0].id, options, str(found.path))
                except RealCompoError as error:
                    if first is None and not options and found.kind is not None and family == _family(found.kind):
                        first = error
                    continue
                own = specs[0].traits
                other = traits.family != family and traits.family in self._families  # one of no published family is its class's
                if (other and not options) or own is None or traits.latent != own.latent:
                    continue
                ids = tuple(one.id for one in sorted(specs, key=lambda one: one.base is not None))
                role, condition = specs[0].role or "either", specs[0].condition or ""
                base = options.get("base") or _default_base(specs[0])
                return Use(ids, role, condition, traits.latent, options=tuple(sorted(options.items())), base=base)
        return Use() if first is None else Use(wrong=first.what, mend=first.mend or "")

    def _options(self, spec: BranchSpec) -> Iterable[dict[str, str]]:
        yield {}
        if spec.role == "spatial" and "base" in _fields(spec) and _fields(spec)["base"].default is None and spec.traits is not None:
            alike = (one for group in self._groups.values() for one in group if one.role == "fidelity" and one.traits is not None)
            base = next((one for one in alike if one.traits is not None and one.traits.latent == spec.traits.latent), None)
            if base is not None:
                yield {"base": base.id}


def _fields(spec: BranchSpec) -> Mapping[str, Any]:
    return spec.options.model_fields if spec.options is not None else {}


def _default_base(spec: BranchSpec) -> str:
    """The branch that one builds on unless its options say another."""
    own = spec.defaults.get("base", _fields(spec)["base"].default if "base" in _fields(spec) else None)
    return own if isinstance(own, str) else ""


def _family(kind: Kind) -> str:
    """`Traits.family` of the branches that a file of this kind is for."""
    return "" if kind.family is None else f"{FAMILIES[kind.family]}{' with GLIGEN' if kind.gated else ''}"


def _narrowed(ids: Sequence[str], name: str) -> tuple[str, ...]:
    """The ids with those first, or of ControlNets those alone, whose component's first word is in a name: pose, canny, dreamshaper."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    said = [id for id in ids if id.split("/")[1].split("-")[0] in plain]
    if said and all(id.startswith(ids[0].split("/")[0] + "/") for id in ids) and len(ids) > 1:
        return tuple(said)
    return (*said, *(id for id in ids if id not in said))


def spaces(models: Sequence[tuple[Found, Use]], anywhere: Sequence[BranchSpec]) -> list[Space]:
    """What fits together: models of one latent space, whoever made them."""
    latents = {use.latent.name: use.latent for _, use in models if use.latent is not None}
    found = []
    for name in sorted(latents):
        draws = [(one, use) for one, use in models if use.latent == latents[name] and use.role != "spatial"]
        places = [(one, use) for one, use in models if use.latent == latents[name] and use.role == "spatial"]
        sample: list[dict[str, Any]] = []
        used = [some[0][0].numbers for some in (draws, places) if some]
        if draws:
            one, use = draws[0]
            sample = [{"name": use.ids[0], "source": one.source}]
            if places:
                other, told = places[0]
                beneath = next((model for model, its in draws if told.base in its.ids), None)
                options = dict(told.options)
                if beneath is not None:
                    options |= {"base": told.base, "base_source": beneath.source}
                sample.append({"name": told.ids[0], "source": other.source, **({"options": options} if options else {})})
            elif anywhere:
                sample.append({"name": anywhere[0].id, "source": one.source, "options": {"base": use.ids[0]}})
            else:
                sample = []
        pairs = [tuple((one.source, use.ids) for one, use in some) for some in (draws, places)]
        found.append(
            Space(
                name,
                pairs[0],
                pairs[1],
                tuple(spec.id for spec in anywhere) if draws else (),
                tuple(sample),
                2 * sum(used) if all(used) and sample else None,
            )
        )
    return found


def needs(registry: Registry, settings: Settings, models: Sequence[tuple[Found, Use]], ids: Sequence[str] = PAPER) -> list[Need]:
    """Of each branch whether its weights are here; else what on this machine could serve, and what to fetch."""
    found = []
    for id in ids:
        try:
            spec = registry.find(BranchSpec, id)
        except RealCompoError as error:
            found.append(
                Need(id, "", False, error.what, f"pip install {_DISTRIBUTIONS.get(id.split('/')[0], 'the plugin that brings it')}")
            )
            continue
        source = settings.sources.get(id, spec.source or "")
        try:
            with offline():
                checkpoint = open_checkpoint(source, CheckpointOptions(), revision=spec.revision, parts=("unet",), weights=False)
                registry.inspect(id, {}, source)
                if checkpoint.folder is not None:
                    for part in ("unet", "text_encoder", *(("vae",) if spec.role == "fidelity" else ())):
                        weight_files(checkpoint.folder / part, CheckpointOptions())
        except RealCompoError as error:
            found.append(Need(id, source, False, error.what, _mend(id, source, spec, error, models)))
        else:
            found.append(Need(id, source, True, f"here: {checkpoint.describe()}"))
    return found


def _mend(id: str, source: str, spec: BranchSpec, error: RealCompoError, models: Sequence[tuple[Found, Use]]) -> str:
    ready = [(one, use) for one, use in models if id in use.ids and not use.options]
    if ready:
        names = ", ".join(one.source for one, _ in ready[1:4])
        also = f" (or {names})" if names else ""
        own = f"; that is of its architecture, and its own weights are: hf download {spec.source}"
        return f'put into the user file, under [sources]: "{id}" = "{ready[0][0].source}"{also}{own}'
    if source != spec.source:
        return error.mend or "check the user file's sources"
    layers = next(
        (
            f"; or put the layers that are here on another branch: source = {one.source!r}, options {dict(use.options)}"
            for one, use in models
            if id in use.ids
        ),
        "",
    )
    licence = f" (licence: {spec.licence})" if spec.licence else ""
    return f"hf download {source}{licence}{layers}"
