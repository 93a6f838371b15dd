"""Coroutines that never wait, without an event loop around them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


def finished(awaitable: Awaitable[T]) -> T:
    """The result. Raises RuntimeError if it waits for anything."""
    coroutine: Any = awaitable.__await__()
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("It waits for something.")
