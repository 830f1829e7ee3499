"""Crossing a boundary with a task that its framework runs, and ends, in its own way."""

from __future__ import annotations

import logging
import sys
from contextvars import Context, ContextVar, copy_context
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.boundary.intercepting import CHAIN, Call, run
from ctxkit.boundary.invocations import CLOSED, Invocation
from ctxkit.boundary.keys import INVOCATION, PROTOCOL, REQUEST_ID
from ctxkit.boundary.receiving import TASK_PROTOCOL, bridges
from ctxkit.boundary.request_id import chosen_id
from ctxkit.context import NO_FRAME, Deadline, current
from ctxkit.context._current import CURRENT
from ctxkit.context.frame import outermost
from ctxkit.lifecycle import begun
from ctxkit.propagation import extract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ctxkit.boundary.intercepting import Interceptor
    from ctxkit.boundary.options import BoundaryOptions

#: What is to be put around the body of the task that a context is of, until that begins.
_due: ContextVar[tuple[Interceptor, ...]] = ContextVar("ctxkit.contrib.due", default=())

_log = logging.getLogger("ctxkit")


@final
class Limits:
    """Hold when a task is ended from outside.

    Args:
        hard: Seconds until its process is killed; None for never.
        soft: Seconds until it is told so, by an exception.
        owner: What they are the limits of.
    """

    __slots__ = ("hard", "soft")

    def __init__(
        self, hard: float | None = None, soft: float | None = None, owner: str = ""
    ) -> None:
        self.hard: Deadline | None = None if hard is None else Deadline.after(hard, owner)
        self.soft: Deadline | None = None if soft is None else Deadline.after(soft)

    def next(self) -> Deadline | None:
        """Return which comes next: a soft one that has passed was dealt with."""
        soft = self.soft
        return soft if soft is not None and soft.remaining() else self.hard


NO_LIMITS: Final = Limits()


@final
class TaskCrossing:
    """Be one passage of a task: open its frame, run it, settle, flush, close.

    Args:
        options: What was chosen at this boundary.
        name: What the task is called.
        task_id: Its id, for one whose message brings no id of a request.
        message: The headers of its message.
        context: Where to run it; None for a copy of the current context.
        limits: When it is ended from outside.
        interruption: What a soft limit raises, anywhere.
    """

    def __init__(  # noqa: PLR0913 - all of one task
        self,
        options: BoundaryOptions,
        name: str,
        task_id: str,
        message: Mapping[str, Any],
        *,
        context: Context | None = None,
        limits: Limits = NO_LIMITS,
        interruption: type[Exception] | tuple[()] = (),
    ) -> None:
        self._name = name
        self._limits = limits
        self._interruption = interruption
        received = extract(message, trusted=options.trust_context)
        known: dict[str, object] = {str(key): value for key, value in received.items()}
        request_id = str(known.get(REQUEST_ID.name) or chosen_id(task_id, trusted=True)[0])
        known |= {
            REQUEST_ID.name: request_id,
            INVOCATION.name: name,
            PROTOCOL.name: TASK_PROTOCOL,
        }
        counts = outermost(current()) in (NO_FRAME, CLOSED)  # else it is a part of what has begun
        if counts:
            begun(known, options.mode)
        frame = NO_FRAME.extended(known)
        frame.root = frame
        frame.deadline = limits.hard
        self._context = copy_context() if context is None else context
        self._context.run(CURRENT.set, frame)
        self._invocation = Invocation(
            options, frame, self._context, None, request_id, counts=counts
        )

    def run(self, task: Any, function: Callable[[], Any], reason_of: Callable[[Any], str]) -> Any:
        """Run the task to its end, and what belongs to that.

        Args:
            task: Has as ``run`` the body of the task.
            function: What runs it.
            reason_of: Says of a result whether it was a "return" or an "exception".

        Returns:
            What ``function`` returns.
        """
        chain = CHAIN.of("task") if CHAIN.all else ()
        if chain:
            if type(task.run) is not Body:
                task.run = Body(task.run)
            self._context.run(_due.set, chain)
        reason = "exception"
        try:
            result = self._context.run(function)
            reason = reason_of(result)
        finally:
            self._finish(reason)
        return result

    def _finish(self, reason: str) -> None:
        self._invocation.deadline = self._limits.next()
        try:
            self._invocation.finish(reason)
        except self._interruption:
            # It would end the task a second time: the result is on its way.
            _log.warning(
                "ctxkit.task.interrupted: the soft time limit of %s came while it was ending",
                self._name,
            )


def bare_context() -> Context:
    """Return a context to apply a task in here and now, which a worker would run.

    It is empty, but for what belongs to the place and not to the request: asgiref's bridges
    between threads and loops, without which they wait for each other, and the current span of
    OpenTelemetry, which a message would bring.
    """
    bare = Context()
    for put_in_place in bridges():
        bare.run(put_in_place)
    telemetry: Any = sys.modules.get("opentelemetry.context")
    if telemetry is not None:
        bare.run(telemetry.attach, telemetry.get_current())
    return bare


@final
class Body:
    """Run the body of a task through the interceptors of tasks, if it came by the queue.

    The framework catches what a task raises, so nothing further out could show it to them.

    Args:
        function: The body.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function)
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        chain = _due.get()
        if not chain:
            return self._function(*args, **kwargs)
        _due.set(())  # tasks that this one calls as functions are its own affair
        frame = current()
        name = str(frame[INVOCATION.name])
        call = Call(name, "task", args, kwargs, frame=frame, deadline=frame.deadline)
        return run(chain, call, lambda call: self._function(*call.args, **call.kwargs))
