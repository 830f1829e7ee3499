"""The shop without ctxkit, for the comparison: the standard library under ctxkit's names."""

from __future__ import annotations

from asyncio import create_task, to_thread
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "ThreadPoolExecutor",
    "bind",
    "create_task",
    "flush_before_return",
    "get",
    "to_thread",
]

T = TypeVar("T")
_bound: ContextVar[dict[str, object]] = ContextVar("bound")


@contextmanager
def bind(**values: object) -> Iterator[None]:
    """Stand in for :func:`ctxkit.bind`."""
    token = _bound.set(_bound.get({}) | values)
    try:
        yield
    finally:
        _bound.reset(token)


def get(name: str, default: object = None) -> object:
    """Stand in for :func:`ctxkit.get`."""
    return _bound.get({}).get(name, default)


def flush_before_return(function: Callable[..., T]) -> Callable[..., T]:
    """Stand in for :func:`ctxkit.flush_before_return`."""
    return function
