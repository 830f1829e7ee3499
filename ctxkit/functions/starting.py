"""Starting functions: work that is not waited for, and ends with whoever started it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from ctxkit.context import NO_FRAME, Deadline
from ctxkit.context._children import NOTING, note
from ctxkit.context._current import CURRENT
from ctxkit.context._sifting import known
from ctxkit.context.closing import cancel, tell_failed
from ctxkit.context.deadline import earlier
from ctxkit.context.errand import Errand
from ctxkit.context.frame import CallFrame
from ctxkit.context.lifetime import Lifetime, open_lifetime
from ctxkit.exceptions import Cancelled, FrameClosed
from ctxkit.functions.bridging import cancellable
from ctxkit.functions.pools._slots import Alone
from ctxkit.lifecycle._survivors import running_loop
from ctxkit.propagation.tasks import create_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ctxkit.functions.units import Unit

R = TypeVar("R")

#: How many threads run what synchronous code starts: as many as asyncio's own pool has.
_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)
_executors: list[ThreadPoolExecutor] = []


def start(
    unit: Unit, call: Callable[..., Any], options: Mapping[str, Any], args: Any, kwargs: Any
) -> Any:
    """Start a call; see :meth:`ctxkit.functions.Bound.start`.

    Args:
        unit: The function.
        call: What to call: it, or it with further values or other options.
        options: What holds for its calls. The time that it has to wait for a thread is a part
            of its timeout.
        args: The arguments.
        kwargs: The keyword arguments.
    """
    timeout: float | None = options.get("timeout") or None
    owner = open_lifetime("start")
    started: Any
    with Alone():  # it does not share the places of its caller
        if running_loop() is None:
            started = _started(unit, call, timeout, args, kwargs)
            # In an empty context: the pool may start a worker, which keeps what it finds.
            Context().run(_executor().submit, _run, [started])
            if NOTING.on:
                note(started)
        elif unit.asynchronous:
            started = create_task(call(*args, **kwargs), name=unit.name)
        else:
            waiting = in_thread(unit, call, args, kwargs, timeout)
            started = create_task(waiting, name=unit.name)
    if owner is not None:
        owner.started.add(started)
        started.add_done_callback(partial(_ended, owner))
        if owner.over:  # meanwhile: whoever closed it may have seen it, or not
            cancel(started)
            raise FrameClosed("start")
    return started


async def in_thread(
    unit: Unit, call: Callable[..., R], args: Any, kwargs: Any, seconds: float | None
) -> R:
    """Run a synchronous function in a thread of the loop; cancelled, cancel it and wait."""
    started: Started[R] = _started(unit, call, seconds, args, kwargs)
    loop = asyncio.get_running_loop()
    result = asyncio.wrap_future(started)
    Context().run(loop.run_in_executor, None, _run, [started])  # see start()
    interruption: asyncio.CancelledError | None = None
    try:
        while not result.done():
            try:
                await asyncio.wait((result,))
            except asyncio.CancelledError as error:
                interruption = error
                started.cancel()
            except GeneratorExit:  # closed from outside: nothing can be awaited any more
                started.cancel()
                raise
        if interruption is not None:
            if not result.cancelled():
                result.exception()  # looked at: what it has raised gives way
            raise interruption
        return result.result()
    finally:
        del started, result, interruption  # the traceback of what they hold holds this frame


def _started(
    unit: Unit, call: Callable[..., R], timeout: float | None, args: Any, kwargs: Any
) -> Started[R]:
    if unit.asynchronous:
        call = partial(_in_loop, call)
    return Started(unit.name, partial(call, *args, **kwargs), timeout)


def _run(box: list[Started[Any]]) -> None:
    """Run what is in there, and hold it no more: its error holds this frame, and those above."""
    box.pop().run()


def _in_loop(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Run a coroutine function in a loop of this thread's own, for as long as it takes."""
    lifetime: Any = CURRENT.get(NO_FRAME).root.lifetime
    try:
        return asyncio.run(cancellable(call, args, kwargs))
    except asyncio.CancelledError:
        raise Cancelled(lifetime.name) from None


def _ended(owner: Lifetime, started: Any) -> None:
    owner.started.discard(started)
    # Of a task that has failed, asyncio tells.
    if isinstance(started, Started) and not started.looked_at and started.failed():
        owner.failed.append(started)
        if owner.over:  # it went on after all that was waited for
            tell_failed(owner)


def _executor() -> ThreadPoolExecutor:
    if not _executors:
        _executors.append(ThreadPoolExecutor(_THREADS, thread_name_prefix="ctxkit-function"))
    return _executors[0]


# The threads of a parent process are not there.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executors.clear)


@final
class Started(Future[R]):
    """Be the future of a call in a thread, which can be cancelled while it runs.

    Args:
        name: The name of the function.
        job: What to call.
        timeout: The seconds that it has from now on; None for those of its caller.

    Context:
        Captured now.

    Safety:
        :meth:`result` and :meth:`exception` of one that has not begun run it here and now, unless
        a timeout is given or an event loop runs here: a function that waits for those it has
        started does not wait for a thread.

    Attributes:
        name: The name of the function.
        looked_at: Whether somebody has asked for its result, or its error.
    """

    def __init__(self, name: str, job: Callable[[], R], timeout: float | None = None) -> None:
        super().__init__()
        self.name: str = name
        self.looked_at: bool = False
        outer = CURRENT.get(NO_FRAME)
        own = None if timeout is None else Deadline.after(timeout, name)
        frame = CallFrame.over(outer, known(outer), earlier(outer.deadline, own))
        self._lifetime = frame.lifetime = Lifetime(name)
        context = copy_context()
        context.run(CURRENT.set, frame)
        self._job: list[Errand[R]] = [context.run(Errand, job)]  # only one can take it out

    def run(self) -> None:
        """Run it, unless it was cancelled, or run, before."""
        job = self._taken()
        if job is None or not self.set_running_or_notify_cancel():
            return
        try:
            result = job()
        except BaseException as error:  # noqa: BLE001 - it is for whoever asks for the result
            self.set_exception(error)
            # The traceback holds this frame. Python's own pool does the same.
            self = None  # type: ignore[assignment]  # noqa: PLW0642 # pyright: ignore[reportAssignmentType]
        else:
            self.set_result(result)

    def cancel(self) -> bool:
        """Keep it from beginning; or have it end, at its next checkpoint.

        Returns:
            Whether it was asked to end: false where it has ended before.
        """
        unbegun = self._taken() is not None
        if super().cancel():
            if unbegun:
                self.set_running_or_notify_cancel()  # nobody else tells those who wait
            return True
        if self.done():
            return False
        self._lifetime.cancel()
        return True

    def _taken(self) -> Errand[R] | None:
        """Return the job, to whoever comes first: to run it, or never to."""
        try:
            return self._job.pop()
        except IndexError:
            return None

    def result(self, timeout: float | None = None) -> R:
        """Return its result, or raise its error."""
        try:
            self._ask(timeout)
            return super().result(timeout)
        finally:
            # As in Python's own: the traceback of the error holds this frame.
            self = None  # type: ignore[assignment]  # noqa: PLW0642 # pyright: ignore[reportAssignmentType]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return its error, or None."""
        try:
            self._ask(timeout)
            return super().exception(timeout)
        finally:
            self = None  # type: ignore[assignment]  # noqa: PLW0642 # pyright: ignore[reportAssignmentType]

    def _ask(self, timeout: float | None) -> None:
        self.looked_at = True
        # Where a loop runs, a coroutine function could not have its own.
        if timeout is None and running_loop() is None:
            self.run()
            self = None  # type: ignore[assignment]  # noqa: PLW0642 # pyright: ignore[reportAssignmentType]

    def failed(self) -> bool:
        """Return whether it has failed, and not been cancelled, without looking at it."""
        error = None if self.cancelled() else super().exception(0)
        return error is not None and not isinstance(error, Cancelled)
