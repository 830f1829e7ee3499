"""What is made once in an event loop and kept from one invocation to the next.

Apart, since it needs asyncio, which nothing else does.
"""

from __future__ import annotations

import os
from asyncio import (
    AbstractEventLoop,
    CancelledError,
    Task,
    current_task,
    get_running_loop,
    shield,
    wait,
)
from contextvars import Context
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, final

from ctxkit.lifecycle._holding import ASYNC_GENERATOR, Terms, disown
from ctxkit.lifecycle._occasions import SNAPSHOT, THAW
from ctxkit.lifecycle.hooks import on_shutdown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

T = TypeVar("T")


@final
class _Held(Generic[T]):
    """Hold one resource of one loop."""

    __slots__ = ("checking", "generator", "making", "pid", "sound", "waits_for")

    def __init__(self, terms: Terms[T], loop: AbstractEventLoop) -> None:
        self.generator: AsyncGenerator[T, None]
        self.generator = terms.factory() if terms.flags & ASYNC_GENERATOR else _life(terms)
        self.pid: int = os.getpid()
        self.sound: bool = True
        self.making: Task[T] = _apart(loop, self._make(terms))
        self.checking: Task[bool] | None = None
        #: What the making of this one awaits: another that is being made.
        self.waits_for: _Held[Any] | None = None

    async def _make(self, terms: Terms[T]) -> T:
        try:
            return await anext(self.generator)
        except StopAsyncIteration:
            raise terms.yields_nothing() from None

    async def passes(self, terms: Terms[T]) -> bool:
        """Ask whether it is still good, if there is somebody to ask."""
        try:
            verdict: Any = None if terms.check is None else terms.check(self.making.result())
            if hasattr(verdict, "__await__"):
                verdict = await verdict
        # How most clients say that they are not. In a task of our own: what was cancelled is
        # something of the client's.
        except (Exception, CancelledError):  # noqa: BLE001
            return False
        self.sound = verdict is not False
        return self.sound

    async def end(self, terms: Terms[T]) -> None:
        """Close it; what that raises is logged."""
        if not self.making.done():
            self.making.cancel()
            await wait((self.making,))
        if self.making.cancelled() or self.making.exception() is not None:
            return
        try:
            await self._close(terms)
        except (Exception, CancelledError):  # as above
            import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

            logging.getLogger("ctxkit").exception("ctxkit.warm.failed: %s", terms.name)

    async def _close(self, terms: Terms[T]) -> None:
        try:
            await anext(self.generator)
        except StopAsyncIteration:
            return
        await self.generator.aclose()
        raise terms.yields_again()


async def _life(terms: Terms[T]) -> AsyncGenerator[T, None]:
    """Make what is returned, and close it, as a generator: loops close those at their end."""
    value: T = await terms.factory()
    try:
        yield value
    finally:
        closing: Any = None if terms.close is None else terms.close(value)
        if hasattr(closing, "__await__"):
            await closing


@final
class AsyncWarm(Generic[T]):
    """Give out the one resource of the running event loop; made by :func:`ctxkit.warm`.

    Args:
        terms: What was agreed on.

    Safety:
        Of many tasks that ask at once, one makes it and the others wait; cancelling one of
        them disturbs none of the others. Needs asyncio.
    """

    def __init__(self, terms: Terms[T]) -> None:
        update_wrapper(self, terms.factory, updated=())
        self._terms = terms
        self._held: dict[AbstractEventLoop, _Held[T]] = {}

    async def __call__(self) -> T:
        """Return the resource; make it, or make it anew, if that is needed.

        Raises:
            ConfigurationError: Making it needs itself, or its generator yields nothing.
            Exception: What making it raises. The next call tries again.
        """
        loop = get_running_loop()
        while True:
            held = self._held.get(loop)
            if held is None or held.pid != os.getpid():
                held = self._made(loop)
            value = await (shield(held.making) if held.making.done() else self._awaited(held))
            if held.sound:
                return value
            checking = held.checking
            if checking is None or checking.done():  # whoever asked may have been cancelled
                checking = held.checking = _apart(loop, held.passes(self._terms))
            good = await shield(checking)
            held.checking = None
            if good:
                return value
            if self._held.get(loop) is held:
                await self.aclose()

    def __repr__(self) -> str:
        return f"<{'warm' if self.loops() else 'cold'} {self._terms.name}>"

    async def aclose(self) -> None:
        """Close the resource of the running loop, if there is one. Idempotent."""
        loop = get_running_loop()
        held = self._held.pop(loop, None)
        if held is not None and held.pid == os.getpid():
            await shield(_apart(loop, held.end(self._terms)))

    def loops(self) -> tuple[AbstractEventLoop, ...]:
        """Return the loops that have a resource and are not closed; forget the others."""
        for loop in tuple(self._held):
            if loop.is_closed():
                self._held.pop(loop, None)
        return tuple(self._held)

    def doubt(self, gap: float) -> None:
        """Have the resources checked before they are used again, if the freeze was long enough."""
        if gap >= self._terms.after:
            for held in tuple(self._held.values()):
                held.sound = False

    def abandon(self) -> None:
        """Leave the resources to the parent process, and begin anew in this one."""
        held, self._held = self._held, {}
        if held:
            disown(held)

    async def _awaited(self, held: _Held[T]) -> T:
        """Wait until it is made, unless that waits for what awaits it here."""
        maker = _made_by(current_task())
        if maker is None:
            return await shield(held.making)
        link: _Held[Any] | None = held
        while link is not None:
            if link is maker:
                raise self._terms.needs_itself()
            link = link.waits_for
        maker.waits_for = held
        try:
            return await shield(held.making)
        finally:
            maker.waits_for = None

    def held_in(self, loop: AbstractEventLoop) -> _Held[T] | None:
        """Return what is made, or in the making, in that loop."""
        return self._held.get(loop)

    def _made(self, loop: AbstractEventLoop) -> _Held[T]:
        self.loops()
        held = self._held[loop] = _Held(self._terms, loop)

        def note(task: Task[T]) -> None:
            if (task.cancelled() or task.exception() is not None) and self._held.get(loop) is held:
                del self._held[loop]

        held.making.add_done_callback(note)
        if self in _OPEN:
            _OPEN.remove(self)
        _OPEN.append(self)
        return held


# In the order in which the latest of each was made.
_OPEN: Final[list[AsyncWarm[Any]]] = []


def _made_by(task: Task[Any] | None) -> _Held[Any] | None:
    """Return what that task of the running loop makes."""
    loop = get_running_loop()
    for each in tuple(_OPEN):
        held = each.held_in(loop)
        if held is not None and held.making is task:
            return held
    return None


def _apart(loop: AbstractEventLoop, work: Coroutine[Any, Any, T]) -> Task[T]:
    """Run ``work`` in a task with an empty context.

    What it starts must not keep the request that happened to need it first. Not by the
    argument ``context``, which task factories need not know.
    """
    return Context().run(loop.create_task, work)


async def aclose_warm() -> None:
    """Close every resource of the running loop, last made first."""
    for each in reversed(tuple(_OPEN)):
        await each.aclose()


def close_warm_loops() -> None:
    """Close the resources of loops that are idle, by running those once more."""
    for each in reversed(tuple(_OPEN)):
        for loop in each.loops():
            # A running one closes them itself, at its end; and a thread runs one at a time.
            if not loop.is_running() and not _in_a_loop():
                loop.run_until_complete(each.aclose())


def _in_a_loop() -> bool:
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


def _doubt_all(gap: float) -> None:
    for each in tuple(_OPEN):
        each.doubt(gap)


def _abandon_all() -> None:
    for each in _OPEN:
        each.abandon()
    _OPEN.clear()


THAW.add(_doubt_all)
SNAPSHOT.add(close_warm_loops)
on_shutdown(close_warm_loops)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
