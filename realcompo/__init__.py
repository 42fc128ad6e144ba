"""RealCompo: any text-to-image model and any layout, pose or segmentation model, balanced pixel by pixel.

Everything is imported on first use, so that ``import realcompo`` and ``realcompo --help`` stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .compose.composer import Composer as Composer
    from .conditions import Boxes as Boxes
    from .conditions import Hint as Hint
    from .conditions import Keypoints as Keypoints
    from .conditions import Segmentation as Segmentation
    from .draw.checking import check_picture as check_picture
    from .draw.reproduce import safe_recipe as safe_recipe
    from .errors import RealCompoError as RealCompoError
    from .hookspecs import hookimpl as hookimpl
    from .pictures.result import Result as Result
    from .pictures.rich import Live as Live
    from .recipes.configuration import user_settings as user_settings
    from .recipes.recipe import Recipe as Recipe
    from .registry import Registry as Registry

_HOMES = {
    "Composer": "compose.composer",
    "Boxes": "conditions",
    "Hint": "conditions",
    "Keypoints": "conditions",
    "Segmentation": "conditions",
    "RealCompoError": "errors",
    "hookimpl": "hookspecs",
    "user_settings": "recipes.configuration",
    "Result": "pictures.result",
    "Live": "pictures.rich",
    "Recipe": "recipes.recipe",
    "BranchEntry": "recipes.recipe",
    "Component": "recipes.recipe",
    "GuidanceOptions": "recipes.recipe",
    "PictureEntry": "recipes.recipe",
    "PlannerEntry": "recipes.recipe",
    "ProbeOptions": "recipes.recipe",
    "Registry": "registry",
    "installed": "registry",
    "generate": "draw.generate",
    "run": "draw.generate",
    "reproduce": "draw.reproduce",
    "safe_recipe": "draw.reproduce",
    "check_picture": "draw.checking",
    "plan": "draw.plan",
    "revise": "draw.plan",
    "evaluate": "evaluation.run",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'realcompo' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
