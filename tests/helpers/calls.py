"""Calls without functions: a body, run through interceptors in both colours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import ctxkit
from ctxkit.boundary.intercepting import arun, run
from ctxkit.context import NO_FRAME

if TYPE_CHECKING:
    from collections.abc import Callable


class Drive(Protocol):
    """Runs a body through interceptors, in one of the colours."""

    asynchronous: bool

    def __call__(
        self, body: Callable[..., Any], *chain: ctxkit.Interceptor, **fields: Any
    ) -> Any: ...


def call_of(*, asynchronous: bool = False, **fields: Any) -> ctxkit.Call:
    given: dict[str, Any] = {"name": "m:f", "kind": "call", "args": (), "kwargs": {}}
    given |= {"frame": NO_FRAME, "asynchronous": asynchronous, **fields}
    return ctxkit.Call(**given)


def drive_sync(body: Callable[..., Any], *chain: ctxkit.Interceptor, **fields: Any) -> Any:
    return run(chain, call_of(**fields), body)


def drive_async(body: Callable[..., Any], *chain: ctxkit.Interceptor, **fields: Any) -> Any:
    async def abody(call: ctxkit.Call) -> Any:
        await asyncio.sleep(0)
        return body(call)

    return asyncio.run(arun(chain, call_of(asynchronous=True, **fields), abody))


drive_sync.asynchronous = False  # type: ignore[attr-defined]
drive_async.asynchronous = True  # type: ignore[attr-defined]


class Failing:
    """A body that raises what it is given, one after the other, and then returns."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, call: ctxkit.Call) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now
