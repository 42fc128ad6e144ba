"""What can be known of a picture before it is drawn: its regions, and the tokens that each branch reads them at. Loads no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..interfaces import Branch, Region
from ..recipes.recipe import PictureEntry

if TYPE_CHECKING:
    from ..compose.composer import Composer


@dataclass(frozen=True)
class PictureCheck:
    """A picture that can be drawn.

    Attributes:
        regions: the union over its branches, in the order of a trace's maps; none of a picture that is still to be planned.
        tokens: branch → region id → the tokens that its maps are read at; None where its tokenizer is not at hand.
        lacking: kinds of condition that the planner makes when it is drawn.
    """

    regions: tuple[Region, ...] = ()
    tokens: Mapping[str, Mapping[str, tuple[str, ...]] | None] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()


def check_picture(composer: Composer, picture: PictureEntry, index: int = 0) -> PictureCheck:
    """A picture checked against the branches that are to draw it.

    Args:
        index: of the picture, in messages.

    Raises:
        BadCondition: a branch without its condition, or with more regions than it takes. PhraseNotFound: words that no token stands for.
    """
    from ..compose.assembly import check_prompts

    wanting = [m for m in composer.members if m.role == "spatial" and m.spec.condition is not None and m.condition(picture) is None]
    if wanting and composer.planner is not None:
        return PictureCheck(lacking=tuple(sorted({str(m.spec.condition) for m in wanting})))
    regions = composer.check_picture(picture, index)
    check_prompts(composer.members, [picture], composer.registry)
    tokens = {}
    for m in composer.members:
        cls: type[Branch] = composer.registry.load(m.spec)
        tokens[m.name] = cls.locate(m.spec, m.options(composer.registry), m.own_prompt(picture.prompt), m.own_regions(regions), m.source)
    return PictureCheck(regions, tokens)
