"""The pictures of a result, by a short name for scripts: what `realcompo.pictures.result` holds."""

from __future__ import annotations

from .pictures.result import Picture, Result, sign

__all__ = ["Picture", "Result", "sign"]
