"""Lifetimes: what ends with a frame, and how it is told that nobody waits for it any more."""

from __future__ import annotations

from _thread import allocate_lock
from contextlib import suppress
from time import sleep
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from ctxkit.context._current import CURRENT
from ctxkit.context.frame import NO_FRAME, CallFrame
from ctxkit.exceptions import Cancelled, ConfigurationError, FrameClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ctxkit.context.frame import Frame

    Deferred = tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]


class Startable(Protocol):
    """Be what was started in a frame, and ends with it: a task, or a future."""

    def cancel(self) -> bool:
        """Ask it to stop."""
        ...

    def done(self) -> bool:
        """Return whether it has come to its end."""
        ...


@final
class Lifetime:
    """Know what ends with a frame: what was deferred, what was started, and who wants it to end.

    Args:
        name: What can be cancelled with it: the name of the function that was started. Empty
            for what ends with its caller alone.

    Safety:
        Any thread may defer, start and cancel at any time; the frame is closed once.

    Attributes:
        cancelled: Whether nobody waits for it any more.
        over: Whether the frame was closed.
        started: What was started in the frame and has not ended.
        within: The frame around it, of an invocation inside of what can be cancelled.
        leaving: What was cancelled by a call that could not await it, and is awaited here.
        failed: What was started, has failed, and is to be told unless somebody has looked.
    """

    __slots__ = (
        "_deferred",
        "_wakers",
        "cancelled",
        "failed",
        "leaving",
        "name",
        "over",
        "started",
        "within",
    )

    def __init__(self, name: str = "") -> None:
        self.name: str = name
        self.cancelled: bool = False
        self.over: bool = False
        self.started: set[Startable] = set()
        self.leaving: set[Startable] = set()
        self.within: Frame | None = None
        self.failed: list[Any] = []
        self._deferred: list[Deferred] = []
        self._wakers: list[Callable[[], object]] = []

    def defer(self, callback: Callable[..., object], args: Any, kwargs: Any) -> None:
        """Have ``callback`` called when the frame is closed.

        Raises:
            FrameClosed: It was closed.
        """
        deferred = callback, args, kwargs
        self._deferred.append(deferred)
        if self.over:  # meanwhile: whoever closed it may have seen it, or not
            try:
                self._deferred.remove(deferred)
            except ValueError:
                return
            raise FrameClosed("defer")

    def cancel(self) -> None:
        """Tell everything beneath that nobody waits for it any more."""
        self.cancelled = True
        for wake in [*self._wakers]:
            wake()

    def add_waker(self, wake: Callable[[], object]) -> None:
        """Have ``wake`` called when it is cancelled, by whoever cancels."""
        self._wakers.append(wake)

    def remove_waker(self, wake: Callable[[], object]) -> None:
        """Take off what :meth:`add_waker` has put on."""
        self._wakers.remove(wake)

    def closing(self) -> Generator[Any, None, list[BaseException]]:
        """End what was started, then run what was deferred, the last first, until there is none.

        Sync and async share this plan.

        Yields:
            :data:`ENDING` where what was started is to be ended; and what each callback has
            returned, for whoever can await it. What that raises is to be thrown in.

        Returns:
            The errors, in the order they came.
        """
        errors: list[BaseException] = []
        while True:
            try:
                if self.started or self.leaving:
                    yield ENDING
                elif self._deferred:
                    callback, args, kwargs = self._deferred.pop()
                    yield callback(*args, **kwargs)
                elif self.over:
                    return errors
                else:
                    self.over = True  # and look once more: something may have come meanwhile
            except BaseException as error:  # noqa: BLE001 - each runs, whatever the others do
                errors.append(error)


#: Asks whoever follows :meth:`Lifetime.closing` to end what was started.
ENDING: Final = object()

#: The lifetime of every frame that was closed.
OVER: Final = Lifetime()
OVER.over = True


def lifetime_of(frame: Frame) -> Lifetime:
    """Return the lifetime of the crossing that ``frame`` belongs to, made now if need be."""
    root = frame.root
    lifetime = root.lifetime
    if lifetime is None:
        with _lock:
            lifetime = root.lifetime
            if lifetime is None:
                lifetime = root.lifetime = Lifetime()
    return lifetime


_lock: Final = allocate_lock()


def open_lifetime(action: str) -> Lifetime | None:
    """Return the lifetime of the current frame; None outside of every frame.

    Args:
        action: What it is wanted for, as a part of a sentence.

    Raises:
        FrameClosed: The frame was closed.
    """
    root = CURRENT.get(NO_FRAME).root
    if root is NO_FRAME:
        return None
    lifetime = lifetime_of(root)
    if lifetime.over:
        raise FrameClosed(action)
    return lifetime


def defer(callback: Callable[..., object], /, *args: Any, **kwargs: Any) -> None:
    """Have ``callback(*args, **kwargs)`` called when the current call or request ends.

    ::

        @ctxkit.function
        def export(order):
            path = write(order)
            ctxkit.defer(path.unlink)
            return upload(path)

    Args:
        callback: Called the last first, after what was started in the frame has ended, and
            before its telemetry is flushed; also when the body has failed or was cancelled, and
            when another callback has failed. What it returns is awaited, if the call or request
            is asynchronous and it can be.
        args: Its arguments.
        kwargs: Its keyword arguments.

    Raises:
        FrameClosed: The frame was closed: this code outlived its call or request.
        ConfigurationError: There is no call and no request, or ``callback`` cannot be called.

    Context:
        Called in the frame that is being closed. Its errors are raised from a call whose body
        succeeded, the first of them; all others are logged.
    """
    if not callable(callback):
        raise ConfigurationError("defer()", f"got {callback!r}", "Give a callable.")
    lifetime = open_lifetime("defer")
    if lifetime is None:
        raise ConfigurationError(
            "defer()",
            "was called outside of every call, request and invocation",
            "Open one: with ctxkit.invocation(...).",
        )
    lifetime.defer(callback, args, kwargs)


def remaining() -> float | None:
    """Return the seconds left for the work at hand, never below zero; None without a deadline.

    What to hand to a client that takes a timeout: ``requests.get(url, timeout=remaining())``.
    """
    deadline = CURRENT.get(NO_FRAME).deadline
    return None if deadline is None else deadline.remaining()


def checkpoint() -> None:
    """Raise if the work at hand should stop; for loops in synchronous code.

    A coroutine is cancelled at its next ``await``. A thread cannot be stopped from outside, so
    it asks::

        for row in rows:
            ctxkit.checkpoint()
            export(row)

    Raises:
        DeadlineExceeded: Its time is over.
        Cancelled: Its caller does not wait for it any more.

    Safety:
        Costs a look at each frame between here and the outermost call.
    """
    frame = CURRENT.get(NO_FRAME)
    deadline = frame.deadline
    if deadline is not None and deadline.passed():
        raise deadline.exceeded()
    for lifetime in _lifetimes(frame):
        if lifetime.cancelled:
            raise Cancelled(lifetime.name)


def _lifetimes(frame: Frame) -> Iterator[Lifetime]:
    """Yield the lifetimes of ``frame`` and of those that it was called from, inside out."""
    while True:
        root = frame.root
        lifetime = root.lifetime
        if lifetime is not None:
            yield lifetime
        if type(root) is CallFrame:
            frame = root.outer
        elif lifetime is not None and lifetime.within is not None:
            frame = lifetime.within
        else:
            return


def put_within(frame: Frame, outer: Frame) -> None:
    """Have what cancels the work in ``outer`` stop that in ``frame``, a root of its own, too."""
    if any(each.name for each in _lifetimes(outer)):
        lifetime_of(frame).within = outer


@final
class Wakeup:
    """Wake a wait of this thread when the work at hand is cancelled; a with-block.

    Args:
        wake: Called by whoever cancels, once or more, at any time of the block; at once where
            it was cancelled before. Must be quick.
    """

    __slots__ = ("_lifetimes", "_wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        # Without a name, it cannot be cancelled.
        self._lifetimes = [each for each in _lifetimes(CURRENT.get(NO_FRAME)) if each.name]

    def __enter__(self) -> bool:
        """Return whether there is anybody who could cancel it."""
        for lifetime in self._lifetimes:
            lifetime.add_waker(self._wake)
        if any(lifetime.cancelled for lifetime in self._lifetimes):
            self._wake()
        return bool(self._lifetimes)

    def __exit__(self, *_: object) -> None:
        for lifetime in self._lifetimes:
            lifetime.remove_waker(self._wake)


def pause(seconds: float) -> None:
    """Sleep, but no longer than until the work at hand is cancelled or its time is over.

    Raises:
        DeadlineExceeded: Its time is over.
        Cancelled: Its caller does not wait for it any more.
    """
    left = remaining()
    seconds = seconds if left is None else min(seconds, left)
    bell = allocate_lock()
    bell.acquire()

    def ring() -> None:
        with suppress(RuntimeError):  # rung before
            bell.release()

    with Wakeup(ring) as cancellable:
        if cancellable:
            bell.acquire(timeout=seconds)
        else:
            sleep(seconds)
    checkpoint()
