"""The shop without ctxkit, for the comparison: the standard library under ctxkit's names."""

from __future__ import annotations

from asyncio import create_task, to_thread
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import iscoroutinefunction
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "EngineUnavailable",
    "Pool",
    "ThreadPoolExecutor",
    "bind",
    "checkpoint",
    "create_task",
    "defer",
    "flush_before_return",
    "function",
    "get",
    "to_thread",
]

T = TypeVar("T")
_bound: ContextVar[dict[str, object]] = ContextVar("bound")
_threads = ThreadPoolExecutor(thread_name_prefix="plain")


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


def function(body: Callable[..., Any] | None = None, **_options: object) -> Any:
    """Stand in for :func:`ctxkit.function`: without retries, deadlines and a limit."""

    def made(body: Any) -> Any:
        if iscoroutinefunction(body):
            body.start = lambda *args: create_task(body(*args))
        else:
            body.start = lambda *args: _threads.submit(body, *args)
        body.spawn = lambda *args: _threads.submit(body, *args)
        return body

    return made if body is None else made(body)


def checkpoint() -> None:
    """Stand in for :func:`ctxkit.checkpoint`: nobody can stop a thread."""


def defer(callback: Callable[..., object]) -> None:
    """Stand in for :func:`ctxkit.defer`: nobody tells when it is over."""


class EngineUnavailable(Exception):  # noqa: N818 - as it is called there
    """Stand in for :class:`ctxkit.EngineUnavailable`: never raised."""


#: Stand in for :class:`ctxkit.Pool`.
Pool = SimpleNamespace(static=lambda **_: None)
