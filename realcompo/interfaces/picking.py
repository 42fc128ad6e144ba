"""Rows of what a branch keeps of a batch: the pictures that are asked, out of all that were encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from ..errors import PluginProblem


def picked(value: Any, pictures: Sequence[int], count: int | None = None) -> Any:
    """A value with the rows of these pictures in place of a batch's: any order, repeats allowed.

    Of dataclasses, lists, tuples and mappings, at any depth, each tensor with a row a picture is indexed; what has a method
    ``pick(pictures)`` picks by itself; all else is as it was, numbers and texts in a list among it.

    Args:
        count: B, the pictures of the batch. Where it is None all tensors are to have a row a picture.

    Raises:
        PluginProblem: without `count`, where tensors differ in their first size.
    """
    if count is None:
        sizes = {len(tensor) if tensor.ndim else 0 for tensor in tensors_of(value)}
        if len(sizes) > 1:
            raise PluginProblem(
                f"its conditioning holds tensors whose first sizes are {sorted(sizes)}: which have a row a picture?",
                mend="let Branch.embeddings return its text, (B, …), first, or write Branch.pick",
            )
        count = next(iter(sizes), 0)
    return _picked(value, list(pictures), count)


def is_tensor(value: Any) -> bool:
    """Known by a method that nothing else has: the contracts import no torch."""
    return hasattr(value, "index_select")


def tensors_of(value: Any) -> Iterator[Any]:
    """The tensors that `picked` may index."""
    if is_tensor(value):
        yield value
    elif hasattr(value, "pick"):
        return
    else:
        for one in _parts(value):
            yield from tensors_of(one)


def _parts(value: Any) -> list[Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


def _picked(value: Any, rows: list[int], count: int) -> Any:
    if is_tensor(value):
        return value[rows] if value.ndim and len(value) == count else value
    if hasattr(value, "pick"):
        return value.pick(rows)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _picked(getattr(value, field.name), rows, count) for field in fields(value) if field.init})
    if isinstance(value, Mapping):
        return {key: _picked(one, rows, count) for key, one in value.items()}
    if isinstance(value, tuple):
        made = [_picked(one, rows, count) for one in value]
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    return [_picked(one, rows, count) for one in value] if isinstance(value, list) else value
