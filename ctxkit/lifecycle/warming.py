"""What is made once in a process and kept from one invocation to the next."""

from __future__ import annotations

import os
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, final, overload
from weakref import WeakSet

from ctxkit.exceptions import ConfigurationError
from ctxkit.lifecycle import _turns
from ctxkit.lifecycle._holding import (
    ASYNC_GENERATOR,
    COROUTINE,
    GENERATOR,
    Held,
    Terms,
    disown,
    needs_arguments,
)
from ctxkit.lifecycle._occasions import SNAPSHOT, THAW, checked_seconds
from ctxkit.lifecycle._turns import CircleError, Turn
from ctxkit.lifecycle.hooks import after_restore, on_init, on_shutdown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import Protocol

    from ctxkit.lifecycle.warming_async import AsyncWarm

    class Warming(Protocol):
        """What ``warm(check=...)`` returns: the decorator."""

        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, factory: Callable[[], Coroutine[Any, Any, T]], /
        ) -> AsyncWarm[T]: ...
        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, factory: Callable[[], AsyncIterator[T]], /
        ) -> AsyncWarm[T]: ...
        @overload
        def __call__(self, factory: Callable[[], Iterator[T]], /) -> Warm[T]: ...
        @overload
        def __call__(self, factory: Callable[[], T], /) -> Warm[T]: ...


T = TypeVar("T")

#: Seconds of a freeze after which a resource is doubted.
AFTER: Final = 10.0
#: The longest that the end of the process waits for one that somebody is making or closing.
PATIENCE: Final = 0.5


@final
class Warm(Generic[T]):
    """Give out the one resource of this process; made by :func:`warm`.

    Args:
        terms: What was agreed on.

    Safety:
        Thread-safe: of many that ask at once, one makes it and the others wait.
    """

    def __init__(self, terms: Terms[T]) -> None:
        update_wrapper(self, terms.factory, updated=())
        self._terms = terms
        self._turn = Turn()
        self._held: Held[T] | None = None
        self._making = False
        _EVERY.add(self)

    def __call__(self) -> T:
        """Return the resource; make it, or make it anew, if that is needed.

        Raises:
            ConfigurationError: Making it needs itself, or its generator yields nothing.
            Exception: What making it raises. The next call tries again.
        """
        held = self._held
        if held is not None and held.sound and held.pid == os.getpid():
            return held.value
        return self._renewed()

    def __repr__(self) -> str:
        return f"<{'cold' if self._held is None else 'warm'} {self._terms.name}>"

    def close(self) -> None:
        """Close the resource, if there is one. The next call makes another. Idempotent.

        Raises:
            ConfigurationError: Another thread is making it and needs what this one is making.
        """
        self.close_within(-1.0)

    def close_within(self, patience: float) -> None:
        """Close the resource, unless it takes longer to have our turn; -1.0: whatever it takes."""
        turn = self._turn
        try:
            if not turn.take(patience):
                return
        except CircleError:
            raise self._terms.needs_itself() from None
        try:
            held, self._held = self._held, None
            if self in _OPEN:
                _OPEN.remove(self)
            if held is not None:
                held.end()
        finally:
            turn.leave()

    def doubt(self, gap: float) -> None:
        """Have the resource checked before it is used again, if the freeze was long enough."""
        held = self._held
        if held is not None and gap >= self._terms.after:
            held.sound = False

    def abandon(self) -> None:
        """Leave the resource to the parent process, and begin anew in this one."""
        self._turn = Turn()
        self._making = False
        held, self._held = self._held, None
        if held is not None:
            disown(held)

    def _renewed(self) -> T:
        turn = self._turn
        try:
            turn.take()
        except CircleError:
            raise self._terms.needs_itself() from None
        try:
            held = self._held
            if held is not None:
                if held.pid == os.getpid() and (held.sound or held.passes()):
                    return held.value
                self.close()
            return self._made()
        finally:
            turn.leave()

    def _made(self) -> T:
        if self._making:
            raise self._terms.needs_itself()
        self._making = True
        try:
            self._held = held = Held(self._terms)
        finally:
            self._making = False
        _OPEN.append(self)
        return held.value


# In the order in which they were made, so what another was made of is closed after it.
_OPEN: Final[list[Warm[Any]]] = []
# For a forked child: one of these may have been in the making, with its lock held.
_EVERY: Final[WeakSet[Warm[Any]]] = WeakSet()


@overload
def warm(  # type: ignore[overload-overlap]
    factory: Callable[[], Coroutine[Any, Any, T]], /
) -> AsyncWarm[T]: ...
@overload
def warm(  # type: ignore[overload-overlap]
    factory: Callable[[], AsyncIterator[T]], /
) -> AsyncWarm[T]: ...
@overload
def warm(factory: Callable[[], Iterator[T]], /) -> Warm[T]: ...
@overload
def warm(factory: Callable[[], T], /) -> Warm[T]: ...
@overload
def warm(
    *,
    check: Callable[[Any], object] | None = None,
    close: Callable[[Any], object] | None = None,
    after: float = AFTER,
    eager: bool = False,
) -> Warming: ...
def warm(
    factory: Any = None,
    /,
    *,
    check: Callable[[Any], Any] | None = None,
    close: Callable[[Any], Any] | None = None,
    after: float = AFTER,
    eager: bool = False,
) -> Any:
    """Make a resource once in each process, and keep it warm from one request to the next.

    For clients and connections that are dear to open: of a database, an HTTP API, an SDK.
    The name says what becomes of it: made in a cold process, and there in a warm one. A
    function that returns it, or one that yields it and then closes it::

        @ctxkit.warm
        def settings():
            return {"currency": "EUR"}


        @ctxkit.warm(check=lambda connection: connection.execute("SELECT 1"))
        def database():
            import sqlite3

            connection = sqlite3.connect("file::memory:")
            yield connection
            connection.close()


        database().execute("SELECT 2")

    It is made at the first call, and again: in a forked child, which never closes its
    parent's; in each clone of a snapshot, before which it is closed; when ``check`` fails
    after a freeze; after ``close()``. What making it raises comes out of the call and is
    not kept. It is closed at shutdown, last made first closed.

    An ``async def`` is given the like, to be awaited: ``await client()``. Its resource
    belongs to the event loop it was made in, each loop has its own, and it is closed when
    that loop closes its asynchronous generators, at its end: ``asyncio.run()`` and every
    server does. Put the closing into a ``finally`` or an ``async with`` there.

    Args:
        factory: A function without parameters: plain, ``async def``, or a generator of
            either kind that yields once.
        check: Given the resource when it is asked for and the process has stood still:
            raises or returns False if another one is to be made. For an ``async def`` it
            may be one too. None: it is kept.
        close: Given the resource to close it; not for generators.
        after: The seconds that the process must have stood still.
        eager: Whether to make it already when the process begins to serve, see
            :func:`ctxkit.on_init`, and when a clone of a snapshot does. Not for
            ``async def``.

    Returns:
        A callable that returns the resource, with ``close()`` (or ``aclose()``).

    Raises:
        ConfigurationError: These cannot be used together, or ``factory`` is no function.

    Context:
        It is made, checked and closed in an empty context: what it starts does not belong
        to the request that needs it first.

    Safety:
        Thread-safe; of many that ask at once, one makes it. Whoever makes or checks it
        blocks the others that ask for it meanwhile.
    """
    after = checked_seconds("warm(after=)", after)
    if factory is None:
        return partial(_warmed, check=check, close=close, after=after, eager=eager)
    return _warmed(factory, check=check, close=close, after=after, eager=eager)


def _warmed(
    factory: Any, *, check: Any, close: Any, after: float, eager: bool
) -> Warm[Any] | AsyncWarm[Any]:
    if not callable(factory):
        raise ConfigurationError(
            "warm()", f"got {factory!r}, which cannot be called", "Give it a function."
        )
    if needs_arguments(factory):
        raise ConfigurationError(
            "warm()",
            f"got {factory!r}, which needs arguments",
            "There is one resource for all callers: write a function without parameters.",
        )
    terms: Terms[Any] = Terms(factory, check, close, after)
    if close is not None and terms.flags & (GENERATOR | ASYNC_GENERATOR):
        raise ConfigurationError(
            f"warm({terms.name}, close=)",
            "is for functions that return the resource, and this one yields it",
            "Close it after the yield.",
        )
    if terms.flags & (COROUTINE | ASYNC_GENERATOR):
        if eager:
            raise ConfigurationError(
                f"warm({terms.name}, eager=)",
                "cannot be made before there is an event loop",
                "Await it where your application starts.",
            )
        from ctxkit.lifecycle.warming_async import AsyncWarm  # noqa: PLC0415 - brings asyncio

        return AsyncWarm(terms)
    made = Warm(terms)
    if eager:
        on_init(made)
        after_restore(made)
    return made


def close_warm() -> None:
    """Close every resource of this process, last made first."""
    for each in reversed(tuple(_OPEN)):
        each.close()


def _close_at_the_end() -> None:
    """Close every resource, but none that is in use for so: others wait for their turn to end.

    The thread that is at it may be one that a signal has interrupted.
    """
    for each in reversed(tuple(_OPEN)):
        each.close_within(PATIENCE)


def _doubt_all(gap: float) -> None:
    for each in tuple(_OPEN):
        each.doubt(gap)


def _abandon_all() -> None:
    for each in tuple(_EVERY):
        each.abandon()
    _OPEN.clear()
    _turns.begin_anew()


THAW.add(_doubt_all)
SNAPSHOT.add(close_warm)
on_shutdown(_close_at_the_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
