"""The machine: devices and their memory, versions against the lowest that were tested, plugins, and the user's files of settings."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import RealCompoError
from ..recipes.configuration import Settings, default_user_file, project_file, resolve, user_settings
from ..registry import Registry


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        name, found: what it is, and what was found.
        wrong: whether something has to be done; `mend` says what. A mend without it is an offer.
    """

    name: str
    found: str
    wrong: bool = False
    mend: str = ""


def devices() -> list[Line]:
    """Processor, memory and accelerators. A torch that cannot be imported is a line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.uname().system} {platform.machine()}, Python {platform.python_version()}"
    found = [Line("cpu", f"{cores} cores, {_bytes(_memory())} of memory; {system}")]
    try:
        from ..noise.devices import accelerators

        for name, told, memory in accelerators():
            share = f", {size_text(memory[0])} free of {size_text(memory[1])}" if memory is not None else "; it shares the memory above"
            found.append(Line(name, told + share))
    except Exception as error:  # a broken installation may raise anything
        mend = "install torch again: https://pytorch.org/get-started"
        return [*found, Line("torch", f"it cannot be used: {type(error).__name__}: {error}", True, mend)]
    if len(found) == 1:
        offer = "" if sys.platform == "darwin" else "if there is an NVIDIA GPU here, install torch with CUDA"
        found.append(Line("accelerator", "none that torch can use: pictures are drawn on the CPU", mend=offer))
    return found


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _bytes(count: int | None) -> str:
    return "unknown" if count is None else size_text(count)


def size_text(count: int) -> str:
    """Bytes as a person reads them: 8.0 GiB."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << power:
            return f"{count / (1 << power):.1f} {unit}"
    return f"{count} bytes"


def versions(distribution: str = "realcompo") -> list[Line]:
    """What a distribution asks for, which is the lowest that was tested, against what is installed.

    What only an extra asks for is an offer where it is missing.
    """
    from packaging.requirements import Requirement

    try:
        own, asked = importlib.metadata.version(distribution), importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return [Line(distribution, "it is not installed as a distribution", mend=f"pip install {distribution}")]
    found, seen = [Line(distribution, own)], set()
    for text in asked:
        need = Requirement(text)
        extra = next((one for one in ("lora", "gguf", "t5", "studio") if need.marker and f'"{one}"' in str(need.marker)), None)
        if (need.marker is not None and extra is None) or need.name in seen:
            continue
        seen.add(need.name)
        lowest = f"at least {str(need.specifier).removeprefix('>=')}" if need.specifier else ""
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            mend = f"pip install '{distribution}[{extra}]'" if extra else f"pip install '{need.name}{need.specifier}'"
            told = "not installed" + (f" (only for {extra})" if extra else "")
            found.append(Line(need.name, told, extra is None, mend))
            continue
        fits = need.specifier.contains(version, prereleases=True)
        mend = "" if fits else f"pip install '{need.name}{need.specifier}'"
        found.append(Line(need.name, f"{version} ({lowest})" if lowest else version, not fits, mend))
    return found


def plugins(registry: Registry) -> list[Line]:
    """Plugins with what they bring, then those that are not in use, and why."""
    brought: dict[str, dict[str, int]] = {}
    places: dict[str, str] = {}
    for noun, specs in registry.tables.items():
        for id in specs:
            plugin = id.partition("/")[0]
            brought.setdefault(plugin, {}).setdefault(noun, 0)
            brought[plugin][noun] += 1
            places[plugin] = registry.distribution(id)
    found = [
        Line(plugin, f"{places[plugin]}: {', '.join(_counted(*one) for one in counts.items())}")
        for plugin, counts in sorted(brought.items())
    ]
    return [*found, *(Line(one.plugin, f"{one.distribution}: {one.reason}", True, _plugin_mend(one.reason)) for one in registry.problems)]


def _counted(noun: str, count: int) -> str:
    """``2 branches``, ``1 branch``: of a plural."""
    one = noun[:-2] if noun.endswith("ches") else noun[:-1]
    return f"{count} {noun if count != 1 else one}"


def _plugin_mend(reason: str) -> str:
    if "claimed by" in reason:
        return "uninstall all but one of them"
    return "update it, or install it again with what it needs; or uninstall it: the others are drawn with all the same"


def settings_lines(folder: Path | None = None) -> tuple[Settings, list[Line]]:
    """The settings, and what was found of the files that make them; where one cannot be read, its error and the settings of none."""
    user, project = default_user_file(), project_file(folder or Path.cwd())
    found = [Line("user file", f"{user}{'' if user.is_file() else ' (not there: all is at its default)'}")]
    if project is not None:
        found.append(Line("project file", str(project)))
    try:
        settings = user_settings(folder)
    except RealCompoError as error:
        return Settings(), [*found, _problem(error)]
    try:
        resolve(None, folder=folder)
    except RealCompoError as error:
        found.append(_problem(error))
    return settings, [*found, *_folder_lines(settings)]


def _problem(error: RealCompoError) -> Line:
    return Line("settings", f"{error.where}: {error.what}" if error.where else error.what, True, error.mend or "")


def _folder_lines(settings: Settings) -> Iterator[Line]:
    for folder in settings.models:
        there = folder.is_dir()
        mend = "" if there else "mount the disk that it is on, or take it out of models in the user file"
        yield Line("model folder", f"{folder}{'' if there else ' is not there'}", not there, mend)
