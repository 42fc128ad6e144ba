"""What A1111's line of settings says of a checkpoint beyond its name: the digest of its file, where it is one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import RealCompoError

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe


def wanted(asked: bool | None) -> bool:
    """Whether the line is written: as the command says, else as the user file does."""
    if asked is not None:
        return asked
    from ..recipes.configuration import user_settings

    return user_settings().parameters


def model_facts(recipe: Recipe) -> dict[str, str]:
    """The fact of `pictures.parameters.MODEL`; empty where the fidelity branch's source is no single file. A file that was loaded has been
    digested already, which is remembered."""
    first = next((one for one in recipe.branches if one.role != "spatial"), None)
    if first is None or first.source is None:
        return {}
    from ..pictures.parameters import MODEL
    from ..toolkit.loading import sha256_of
    from ..toolkit.options import CheckpointOptions
    from ..toolkit.sources import open_checkpoint

    try:
        single = open_checkpoint(first.source, CheckpointOptions()).single
    except RealCompoError:  # pickled, or of another kind, which a plugin reads itself
        return {}
    return {} if single is None else {MODEL: sha256_of(single.file.path)}
