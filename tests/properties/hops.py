"""The ways from one place to another, by name, and what the model says of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from properties.known import Holders, Known, copied, forked, nothing, only, sent, shared
from properties.places import InTask, OnThread, Stepping, SteppingAsync

import ctxkit

try:
    from asgiref.sync import sync_to_async
except ImportError:  # without any extra
    sync_to_async = None

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from properties.places import Place


class Parts(NamedTuple):
    """The classes and functions that carry."""

    Thread: Any
    Timer: Any
    ThreadPoolExecutor: Any
    create_task: Any
    to_thread: Any
    run_in_executor: Any


#: ctxkit's own; whatever else carries like them is another one of these.
CTXKIT = Parts(
    ctxkit.Thread,
    ctxkit.Timer,
    ctxkit.ThreadPoolExecutor,
    ctxkit.create_task,
    ctxkit.to_thread,
    ctxkit.run_in_executor,
)


@dataclass(frozen=True)
class Hop:
    """One way to start code elsewhere.

    Attributes:
        to: The kind of place that it leads to.
        start: Called at the origin with the new place; returns what stands for it there.
        carry: What is known there, by what is known at the origin.
        looping: Whether it takes a running loop.
        pool: Which pool it goes to, if it goes to one.
        waits: Whether the origin waits for its end.
        furnished: Whether the thread's holder is the place's own, and follows it.
        home: What becomes known at the origin in the end; called with both, and with what was
            known there at first.
    """

    to: type[Place]
    start: Callable[[Any], Any]
    carry: Callable[[Known], Known]
    looping: bool = False
    pool: str | None = None
    waits: bool = False
    furnished: bool = True
    home: Callable[[Known, Known, Known], None] | None = None


def hops(parts: Parts) -> dict[str, Hop]:
    """Return all ways there are with ``parts``, by name."""
    ways = {
        "Thread": Hop(OnThread, lambda p: _start(p, parts.Thread(target=p.body)), sent),
        "Timer": Hop(OnThread, lambda p: _start(p, parts.Timer(0, p.body)), sent),
        "detached Thread": Hop(
            OnThread,
            lambda p: ctxkit.detached(_start)(p, parts.Thread(target=p.body)),
            nothing,
        ),
        "submit": Hop(
            OnThread, lambda p: p.world.carrying.pool.submit(p.body), sent, pool="carrying"
        ),
        "submit propagated": Hop(
            OnThread,
            lambda p: p.world.plain.pool.submit(ctxkit.propagate(p.body)),
            sent,
            pool="plain",
        ),
        "run_in_executor": Hop(
            OnThread,
            lambda p: parts.run_in_executor(p.world.plain.pool, p.body),
            sent,
            looping=True,
            pool="plain",
        ),
        "run_in_executor carrying": Hop(
            OnThread,
            lambda p: parts.run_in_executor(p.world.carrying.pool, p.body),
            sent,
            looping=True,
            pool="carrying",
        ),
        "to_thread": Hop(
            OnThread,
            lambda p: parts.to_thread(p.body),
            sent,
            looping=True,
            pool="plain",
            waits=True,
        ),
        "create_task": Hop(
            InTask, lambda p: parts.create_task(p.body()), forked, looping=True, furnished=False
        ),
        "asyncio.create_task": Hop(
            InTask, lambda p: asyncio.create_task(p.body()), shared, looping=True, furnished=False
        ),
        "TaskGroup": Hop(InTask, _in_group, shared, looping=True, waits=True, furnished=False),
        **OWN,
    }
    if sync_to_async is not None:
        ways["sync_to_async"] = Hop(
            OnThread,
            lambda p: sync_to_async(p.body, thread_sensitive=False, executor=p.world.plain.pool)(),
            shared,
            looping=True,
            pool="plain",
            waits=True,
            furnished=False,
            home=_all_of_it,
        )
    return ways


def _start(place: Any, thread: Any) -> Any:
    thread.daemon = True  # a test that fails must not hang
    place.world.keep(thread)
    thread.start()
    return thread


async def _in_group(place: Any) -> None:
    async with asyncio.TaskGroup() as group:
        place.task = group.create_task(place.body())


def _task(carrier: Callable[[Any], Callable[[], Coroutine[Any, Any, None]]], place: Any) -> Any:
    return asyncio.ensure_future(carrier(place.body)())


def _what_was_set(origin: Known, there: Known, first: Known) -> None:
    """As ``to_thread(writeback=...)`` does for the holders that it is given."""
    for name in ("plain", "variable"):
        now, before = there.view().get(name), first.view().get(name)
        if now is not None and now != before:
            origin.put(name, now)


def _all_of_it(origin: Known, there: Known, first: Known) -> None:
    """As asgiref does."""
    origin.frame, origin.loose = there.frame, dict(there.loose)


#: What only ctxkit has.
OWN = {
    "to_thread writeback": Hop(
        OnThread,
        lambda p: ctxkit.to_thread(p.body, writeback=[Holders.plain, Holders.variable]),
        sent,
        looping=True,
        pool="plain",
        waits=True,
        home=_what_was_set,
    ),
    "propagated task": Hop(InTask, partial(_task, ctxkit.propagate), copied, looping=True),
    "detached task": Hop(
        InTask,
        lambda p: ctxkit.detached(asyncio.create_task)(p.body()),
        nothing,
        looping=True,
        furnished=False,
    ),
    "detached task that keeps": Hop(
        InTask,
        lambda p: ctxkit.detached(asyncio.create_task, keep=["properties_plain"])(p.body()),
        only("plain"),
        looping=True,
        furnished=False,
    ),
    "iterate": Hop(Stepping, lambda p: ctxkit.iterate(p.body()), copied),
    "propagated generator": Hop(Stepping, lambda p: ctxkit.propagate(p.body)(), copied),
    "detached generator": Hop(
        Stepping,
        lambda p: ctxkit.detached(p.body, keep=[Holders.copied])(),
        only("copied"),
    ),
    "aiterate": Hop(SteppingAsync, lambda p: ctxkit.aiterate(p.body()), copied),
}

#: Ways to hold a context fast. Each is called with a function and returns one that runs there.
CAPTURES: dict[str, tuple[Callable[[], Callable[[Any], Any]], Callable[[Known], Known]]] = {
    "capture": (lambda: ctxkit.capture().wrap, copied),
    "keys": (
        lambda: ctxkit.capture(keys=[Holders.private, "properties_copied"]).wrap,
        only("private", "copied"),
    ),
    "propagate": (lambda: _three(ctxkit.propagate), copied),
    "detached": (
        lambda: _three(partial(ctxkit.detached, keep=["properties_plain"])),
        only("plain"),
    ),
}


def call(f: Callable[..., Any], *args: Any) -> Any:
    return f(*args)


def generate(place: Any) -> Any:
    yield from place.body()


async def cooperate(place: Any) -> None:
    await place.body()


def _three(carrier: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap all that is going to be called there now."""
    return {f: carrier(f) for f in (call, generate, cooperate)}.__getitem__
