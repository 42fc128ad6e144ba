"""The composer of the last recipe, kept between calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..recipes.option_pictures import copied
from ..recipes.recipe import Recipe
from ..registry import Registry, installed

if TYPE_CHECKING:
    from ..compose.composer import Composer

_kept: tuple[str, Registry, Composer] | None = None


def composer_of(recipe: Recipe, registry: Registry | None = None) -> Composer:
    """The composer of a recipe. The last one is kept, so that its weights are loaded once; one of the same branches with other adapters has
    its branches from it."""
    from ..compose.composer import Composer

    global _kept
    registry = registry or installed()
    named = tuple(one.model_copy(update={"options": copied(one.options)}) if one.options else one for one in recipe.branches)
    recipe = recipe.model_copy(update={"branches": named})  # a picture that has changed since is another picture
    key = json.dumps(recipe.model_copy(update={"pictures": ()}).plain(), sort_keys=True)
    if _kept is not None and _kept[0] == key and _kept[1] is registry:
        return _kept[2]
    before = None if _kept is None or _kept[1] is not registry else _kept[2]
    _kept = None  # two composers' weights may not fit the memory; one that has drawn nothing yet has none
    composer = Composer.from_recipe(recipe, registry)
    if before is not None:
        composer.inherit(before)
        before = None
    _kept = (key, registry, composer)
    return composer
