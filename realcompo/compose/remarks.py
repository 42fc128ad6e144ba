"""What a user should know of a run that can be drawn, but hardly as meant: words that no text encoder reads, steps that begin too late."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Sequence

from ..errors import Remark
from ..interfaces import Balancer, Branch
from ..noise.diffusion import FLOW, Solver
from ..recipes.members import Member
from ..recipes.recipe import PictureEntry
from ..registry import Registry
from ..specs import FlowSchedule, NoiseSchedule
from ..weighing import looks_marked, read_weights
from .assembly import REGION_PROMPTS, region_words
from .guidance import twice
from .levels import acting_at

_WORD = re.compile(r"[^\W_]+")
LATE = 0.75
"""A run that begins below this share of the trained timesteps takes the first noise for less than it is."""

Unread = Callable[[int, Sequence[str]], Sequence[str] | None]
"""(k, texts) → of each, the end that branch k does not read; None where that is not known."""


def branch_remarks(members: Sequence[Member], registry: Registry, balancer: Balancer, steps: int) -> list[str]:
    """What the branches say of a run before it is drawn (see `Branch.remarks`), each after its branch's name. The balancer is asked at
    each of `steps` which branches act, on a picture without regions."""
    acting = acting_at(members, balancer, steps)
    balanced = [i for i, acts in enumerate(acting) if len(acts) > 1 and all(acts)]
    span = (balanced[0] / steps, (balanced[-1] + 1) / steps) if balanced else None
    said = []
    for m in members:
        cls: type[Branch] = type(m.ready) if m.ready is not None else registry.load(m.spec)
        said += [f"{m.name}: {remark}" for remark in cls.remarks(m.spec, m.options(registry), span)]
    return said


def unread_of_files(members: Sequence[Member], registry: Registry) -> Unread:
    """From tokenizer files, before weights are loaded; of branches that are there, from themselves."""

    def ask(k: int, texts: Sequence[str]) -> Sequence[str] | None:
        m = members[k]
        cls: type[Branch] = type(m.ready) if m.ready is not None else registry.load(m.spec)
        return cls.unread(m.spec, m.options(registry), texts, m.source if m.ready is None else m.ready)

    return ask


def unread_of_branches(members: Sequence[Member], branches: Sequence[Branch]) -> Unread:
    """From branches that are loaded."""

    def ask(k: int, texts: Sequence[str]) -> Sequence[str] | None:
        branch = branches[k]
        return type(branch).unread(members[k].spec, branch.options, texts, branch)

    return ask


def text_remarks(members: Sequence[Member], pictures: Sequence[PictureEntry], unread: Unread) -> list[str]:
    """One for each text whose end lies past a text encoder's last token, with the branches that do not read it and the end itself."""
    lost: dict[tuple[str, str], list[str]] = {}
    for k, m in enumerate(members):
        texts: dict[tuple[str, str], None] = {}
        for picture in pictures:
            own = m.own_prompt(picture.prompt)
            texts["prompt" if own == picture.prompt else "prompt of its own", own] = None
            if m.guidance_scale > 1:
                negative = m.entry.negative_prompt
                kind = "negative prompt" if negative is None else "negative prompt of its own"
                texts[kind, picture.negative_prompt if negative is None else negative] = None
        asked = [key for key in texts if key[1].strip()]
        ends = unread(k, [text for _, text in asked]) if asked else None
        for (kind, _), end in zip(asked, ends or (), strict=False):
            if end:
                lost.setdefault((kind, end), []).append(m.name)
    return [
        f"{', '.join(names)}: the {kind} is longer than the text encoder's tokens; what lies past the last one does "
        f"nothing: {end if len(end) <= 160 else end[:100] + ' … ' + end[-50:]!r} (shorten it, say what matters earlier, or let it go on in "
        "chunks: words.long_prompts)"
        for (kind, end), names in lost.items()
    ]


def vocabulary_remarks(members: Sequence[Member], pictures: Sequence[PictureEntry], registry: Registry) -> list[str]:
    """One where prompts hold words that a branch of a closed vocabulary (`Traits.vocabulary`) has never seen: it draws something, but
    nobody's unicorn. A textual inversion whose word stands in its file alone may be any of them, so nothing is said beside it."""
    lost: dict[tuple[str, ...], list[str]] = {}
    for m in members:
        own = [one.token for one in getattr(m.options(registry), "embeddings", ())]
        if m.traits.vocabulary is None or None in own:
            continue
        known = {word.casefold() for word in m.traits.vocabulary}
        strange: dict[str, None] = {}
        for text in dict.fromkeys(m.own_prompt(picture.prompt) for picture in pictures):
            told = " ".join(piece.text for piece in read_weights(text).pieces) if m.weighs else text
            for token in own:
                told = told.replace(token, " ")
            strange |= dict.fromkeys(word for word in _WORD.findall(told) if word.casefold() not in known)
        if strange:
            lost.setdefault(tuple(strange), []).append(m.name)
    return [
        f"{', '.join(names)}: trained on a small language, which lacks {', '.join(map(repr, words[:6]))}"
        f"{' …' if len(words) > 6 else ''}: something else is drawn (`realcompo show {names[0]}` lists its words)"
        for words, names in lost.items()
    ]


def negative_remarks(members: Sequence[Member], pictures: Sequence[PictureEntry], registry: Registry) -> list[str]:
    """Where a negative prompt does nothing: one of a branch's own that it does not read, or a picture's that no branch reads. It is read by
    a pass of its own, which a branch without guidance, or told its guidance as a number, does not make."""
    deaf = [m for m in members if not reads_negative(m, registry)]
    own = [m.name for m in deaf if (m.entry.negative_prompt or "").strip()]
    whole = len(deaf) == len(members) and any(picture.negative_prompt.strip() for picture in pictures)
    whole = whole and any(m.entry.negative_prompt is None for m in members)
    names = own + [m.name for m in deaf if whole and m.entry.negative_prompt is None]
    if not names:
        return []
    return [
        f"{', '.join(names)}: the negative prompt does nothing, no second pass reads it (guidance_scale above 1 makes "
        "one; a distilled network's option true_cfg_scale does, where it has it)"
    ]


def reads_negative(member: Member, registry: Registry) -> bool:
    """Whether a branch makes a pass with the negative prompt."""
    return twice(member) or float(getattr(member.options(registry), "true_cfg_scale", 1.0)) > 1


def region_remarks(members: Sequence[Member], pictures: Sequence[PictureEntry], registry: Registry) -> list[str]:
    """One for each word of a region's own that no branch draws with."""
    lost: dict[tuple[str, str], None] = {}
    for picture in pictures:
        for name in REGION_PROMPTS:
            told = {item.phrase for _, item in region_words(members, picture, registry, name, used=False)}
            used = {item.phrase for _, item in region_words(members, picture, registry, name)}
            lost |= dict.fromkeys((name, phrase) for phrase in sorted(told - used))
    names = ", ".join(m.name for m in members)
    return [
        f"{names}: none of them draws a region by its own {name.replace('_', ' ')}, so that of {phrase!r} does nothing (regional/any does)"
        for name, phrase in lost
    ]


def weight_remarks(members: Sequence[Member], pictures: Sequence[PictureEntry]) -> list[str]:
    """One where some branches read weights in a prompt that has some, and others see letters; or where all do."""
    reading, others = ([m for m in members if m.weighs is told] for told in (True, False))
    marks = [found for m in others for picture in pictures if not reading and (found := looks_marked(m.own_prompt(picture.prompt)))]
    if marks:
        said = f"{', '.join(m.name for m in others)}: {marks[0][:60]!r} is letters like others to them"
        return [f"{said} ({'adapters are the option lora' if marks[0][0] == '<' else 'weights are read with words.prompt_weights'})"]
    for picture in pictures if reading and others else ():
        both = {m.own_prompt(picture.prompt) for m in reading} & {m.own_prompt(picture.prompt) for m in others}
        if any(piece.weight != 1 or piece.breaks for prompt in both for piece in read_weights(prompt).pieces):
            names = [", ".join(m.name for m in some) for some in (reading, others)]
            return [
                f"{names[0]}: weights are read in {min(both)[:60]!r}, but to {names[1]} the brackets are letters (say prompt_weights for "
                "all of them, by words)"
            ]
    return []


def step_remarks(solver: Solver) -> list[str]:
    """One where the first step is far from pure noise: "leading" timesteps of very few steps, or of more than half of the trained ones."""
    first, trained = solver.steps[0].t, solver.scheduler.config.num_train_timesteps
    if solver.name == FLOW or not isinstance(solver.schedule, NoiseSchedule):
        first = FlowSchedule.sigma(solver.steps[0].alpha_bar) * trained
    if first >= LATE * (trained - 1) or solver.begin:  # one that begins with a picture begins where it is meant to
        return []
    return [
        f"{len(solver.steps)} steps of {solver.name} begin at timestep {first:g} of {trained}, where the networks expect a half-drawn "
        "picture, not noise: take another number of steps (50), or scheduler_options.timestep_spacing = 'trailing'"
    ]


def warn(told: Sequence[str]) -> None:
    """Python's warnings of them, at the line outside this package that asked for the run, by the composer or by `rc.generate`."""
    frame, level = sys._getframe(1), 2
    ours = {__name__.partition(".")[0], "torch", "contextlib"}  # torch.no_grad stands between
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in ours:
        frame, level = frame.f_back, level + 1
    for remark in told:
        warnings.warn(remark, Remark, stacklevel=level)
