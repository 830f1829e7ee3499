"""Celery: context goes along with every message, and each task is an invocation of its own.

One call, in the module that makes the application, so that both those who send tasks and the
workers come past it. Needs Celery.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, cast, final

from billiard.process import current_process  # type: ignore[import-untyped]
from celery import current_app, shared_task, signals  # type: ignore[import-untyped]
from celery._state import get_current_task  # type: ignore[import-untyped]
from celery.app.task import Task  # type: ignore[import-untyped]
from celery.backends.base import Backend  # type: ignore[import-untyped]
from celery.exceptions import (  # type: ignore[import-untyped]
    SoftTimeLimitExceeded,
)
from celery.utils import uuid as new_id  # type: ignore[import-untyped]

from ctxkit.boundary.options import BoundaryOptions
from ctxkit.context import NO_FRAME, bind, current
from ctxkit.context._current import CURRENT
from ctxkit.contrib._task_crossing import Limits, TaskCrossing, bare_context
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions.calling import call_sent
from ctxkit.functions.spawning import add_engine
from ctxkit.lifecycle import run_shutdown
from ctxkit.propagation import extract, inject
from ctxkit.propagation._own_header import HEADER
from ctxkit.propagation._patching import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from ctxkit.functions.spawning import Work

#: The task that calls what was spawned.
RUN: Final = "ctxkit.run"

# Celery tells one receiver from another by it, however often they are connected.
_UID: Final = "ctxkit"

_share: Any = shared_task  # pyright: ignore[reportUnknownVariableType]
_task: Any = Task
_published: Any = signals.before_task_publish
_ended: Any = signals.worker_process_shutdown
_running: Any = get_current_task
_process: Any = current_process

_lock = RLock()


def install(
    app: Any = None,
    *,
    mode: str | None = None,
    timeout: float | None = None,
    leftovers: str | None = None,
    trust: bool = True,
) -> None:
    """Let every Celery task have the context of whoever sent it, and cross a boundary.

    Call it once where the application is made, for those who send and for the workers::

        from celery import Celery
        from ctxkit.contrib.celery import install

        app = Celery("shop")
        install(app, mode="always")

    Args:
        app: The application that functions are spawned through, for
            ``ctxkit.functions.set_engine("celery")``; None for Celery's current one. Context
            goes along with the tasks of every application, whichever it is.
        mode: Which tasks wait at their end until their telemetry has landed: ``"auto"``,
            ``"always"``, ``"idle"`` or ``"never"``; None reads ``CTXKIT_FLUSH_MODE``. Of a
            task with ``acks_late`` that is before its message is acknowledged; any other
            was acknowledged before it began.
        timeout: The longest that the end of a task may take, in seconds; None reads
            ``CTXKIT_FLUSH_TIMEOUT``, else 2.0. Less where a time limit of Celery's pool of
            processes leaves less.
        leftovers: What becomes of tasks, threads, timers and jobs that a task has started and
            that are alive at its end: ``"warn"``, ``"await"``, ``"cancel"`` or ``"ignore"``;
            None reads ``CTXKIT_LEFTOVERS``, else warns where the mode is not ``never``.
        trust: Whether workers take in what messages bring. Switch it off where others than
            your own services can write to the broker.

    Raises:
        ConfigurationError: A value cannot be used.

    Context:
        When a task is sent, what keys declare for the wire is written into its message, as by
        :func:`ctxkit.inject`; retries, chains, groups, chords, their callbacks and errbacks
        are sent by workers, with what the task before them had. The task runs in a copy of
        the worker's context, in a frame that holds what came, ``request_id`` (that of the
        message, else the id of the task) and ``invocation`` (the name of the task). A hard
        time limit of the pool of processes is the frame's deadline. What the task sets is
        gone with it, variables of third parties too. Tasks that are applied eagerly, or by
        ``apply()``, are treated alike: of what the caller has they see what is for the wire.

        Interceptors at ``"task"`` are put around the body of each task.

    Safety:
        Any number of times, the arguments of the last call hold; from any thread. Before or
        after Sentry's and OpenTelemetry's instrumentation: their spans end before the flush.
        A sink never fails a task.
    """
    if not isinstance(cast("object", trust), bool):
        raise ConfigurationError("trust", f"must be a bool, not {trust!r}", "Write True or False.")
    options = BoundaryOptions.resolve(mode, timeout, trust_context=trust, leftovers=leftovers)
    with _lock:
        _adapter.put_on(options)
        _engine.app = app
        add_engine(_engine)


def uninstall() -> None:
    """Send tasks without context, and run them as Celery does.

    Safety:
        Any number of times, from any thread; tasks that run end as they have begun.
    """
    with _lock:
        _adapter.take_off()


def is_installed() -> bool:
    """Tell whether :func:`install` was called, and :func:`uninstall` not since."""
    return _adapter.options is not None


@final
class CeleryEngine:
    """Have workers of Celery call what is spawned; an engine of functions.

    :func:`install` adds one called ``"celery"``. Others, with a queue of their own, are for
    ``@ctxkit.function(engine=...)``::

        from ctxkit.contrib.celery import CeleryEngine

        slow = CeleryEngine(queue="slow", expires=3600)

    The workers need nothing but :func:`install`, in the module that they load anyway.

    Args:
        app: The application to send through; None for Celery's current one.
        name: What it is called.
        options: What ``Task.apply_async`` is given.

    Context:
        The function runs as a task ``ctxkit.run``, shown under its own name. What Celery is to
        do with that (``acks_late``, say) are its ``task_annotations``.

    Safety:
        Blocks while the broker is reached; ``aspawn()`` does so in a thread.
    """

    def __init__(self, app: Any = None, *, name: str = "celery", **options: Any) -> None:
        self.name: str = name
        self.app: Any = app
        self.options: Mapping[str, Any] = options

    def send(self, work: Work) -> Any:
        """Send the work to a broker.

        Returns:
            Celery's ``AsyncResult``.
        """
        app: Any = self.app or current_app
        context = copy_context()
        context.run(CURRENT.set, NO_FRAME)  # what goes along is in the carrier
        return context.run(
            app.tasks[RUN].apply_async,
            (work.name, work.args, work.kwargs),
            shadow=work.name,
            headers={**work.carrier},
            **self.options,
        )

    async def asend(self, work: Work) -> Any:
        """Do the same in a thread."""
        from asyncio import to_thread  # noqa: PLC0415 - not every sender has a loop

        return await to_thread(self.send, work)


def _run(name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call a function of ctxkit: the body of the task that engines send."""
    return call_sent(name, *args, **kwargs)


_share(name=RUN)(_run)
_engine: Final = CeleryEngine()


@final
class _Adapter:
    """Keep what is put on Celery, and what was chosen.

    Attributes:
        options: What was chosen; None while it is off.
    """

    def __init__(self) -> None:
        self.options: BoundaryOptions | None = None
        self._patches = (
            Patch(Task, "apply", _make_apply),
            Patch(Backend, "mark_as_failure", _make_mark_as_failure),
        )

    def put_on(self, options: BoundaryOptions) -> None:
        self.options = options
        _published.connect(_send_context, weak=False, dispatch_uid=_UID)
        _ended.connect(_drain, weak=False, dispatch_uid=_UID)
        _task.__trace__ = _TRACE
        for patch in self._patches:
            patch.put_on()

    def take_off(self) -> None:
        self.options = None
        _published.disconnect(dispatch_uid=_UID)
        _ended.disconnect(dispatch_uid=_UID)
        _task.__trace__ = None
        for patch in self._patches:
            patch.take_off()


def _send_context(headers: MutableMapping[str, Any] | None = None, **_: object) -> None:
    """Write the context of this moment into the headers of a task that is being sent."""
    if headers is None:
        return
    running = _running()
    if running is not None and headers.get("traceparent") == running.request.get("traceparent"):
        # A retry, which is sent with the headers that came: it is a child of its first try.
        headers.pop("traceparent", None)
        headers.pop("tracestate", None)
    _write_context(headers)


def _write_context(headers: MutableMapping[str, Any]) -> None:
    carried = headers.get(HEADER)
    inject(headers)
    if carried is not None and current() is NO_FRAME:
        # Of a spawned function, or a worker's main process sends again what came.
        headers[HEADER] = carried


def _drain(**_: object) -> None:
    """Have a child of the pool of processes say goodbye: it ends without ``atexit``."""
    run_shutdown()


@final
class _Trace:
    """Stand for ``Task.__trace__``: what a worker calls to run a task is a :class:`_Crossed`.

    Being set there it is outermost, however often, and whenever, others have wrapped what
    Celery builds.
    """

    def __get__(self, task: Any, owner: type) -> Callable[..., Any] | None:
        own: dict[str, Any] = {} if task is None else task.__dict__
        if own.get("__trace__") is not None and type(own["__trace__"]) is not _Crossed:
            self.__set__(task, own["__trace__"])  # from before it was installed
        return own.get("__trace__")

    def __set__(self, task: Any, tracer: Callable[..., Any] | None) -> None:
        task.__dict__["__trace__"] = None if tracer is None else _Crossed(task, tracer)


_TRACE: Final = _Trace()


@final
class _Crossed:
    """Run a task in a worker, as an invocation of its own.

    Args:
        task: The task.
        tracer: What Celery, and who else has wrapped that, calls to run it.
    """

    def __init__(self, task: Any, tracer: Callable[..., Any]) -> None:
        self._task = task
        self._tracer = tracer

    def __call__(self, uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        run = partial(self._tracer, uuid, args, kwargs, request)
        options = _adapter.options
        if options is None:
            return run()
        message: Mapping[str, Any] = request or {}
        crossing = TaskCrossing(
            options,
            _name(self._task, args),
            uuid,
            message,
            limits=_limits(self._task, message),
            interruption=SoftTimeLimitExceeded,
        )
        return crossing.run(self._task, run, _reason)


def _make_apply(original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
    def apply(  # noqa: PLR0913, PLR0917 - Celery's own
        self: Any,
        args: Any = None,
        kwargs: Any = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,  # noqa: FBT001
        logfile: Any = None,
        loglevel: Any = None,
        headers: Any = None,
        **options: Any,
    ) -> Any:
        options |= {
            "link": link,
            "link_error": link_error,
            "retries": retries,
            "throw": throw,
            "logfile": logfile,
            "loglevel": loglevel,
        }
        chosen = _adapter.options if patch.active else None
        if chosen is None:
            return original(self, args, kwargs, task_id=task_id, headers=headers, **options)
        message: dict[str, Any] = {**(headers or {})}
        _write_context(message)
        task_id = task_id or new_id()
        options |= {"task_id": task_id, "headers": message or headers}
        run = partial(original, self, args, kwargs, **options)
        context = bare_context()
        crossing = TaskCrossing(chosen, _name(self, args), task_id, message, context=context)
        return crossing.run(self, run, _reason)

    return apply


def _make_mark_as_failure(original: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
    def mark_as_failure(
        self: Any,
        task_id: Any,
        exc: Any,
        traceback: Any = None,
        request: Any = None,
        **options: Any,
    ) -> Any:
        """Record a failure: a worker's main process does where it has lost a child.

        Errbacks are sent from here, so with the context of the message.
        """
        chosen = _adapter.options if patch.active else None
        fail = partial(original, self, task_id, exc, traceback, request, **options)
        if chosen is None or request is None or current() is not NO_FRAME:
            return fail()
        message: Mapping[str, Any] = request.__dict__
        with bind(extract(message, trusted=chosen.trust_context)):
            return fail()

    return mark_as_failure


def _limits(task: Any, message: Mapping[str, Any]) -> Limits:
    """Return the limits of a task, none where nobody enforces them."""
    if type(_process()).__name__ == "_MainProcess":
        return Limits()
    hard, soft = message.get("timelimit") or (None, None)
    return Limits(hard or task.time_limit, soft or task.soft_time_limit, task.name)


def _name(task: Any, args: Any) -> str:
    """Return what is run: a task, or the function that it calls."""
    return str(args[0] if task.name == RUN and args else task.name)


def _reason(result: Any) -> str:
    """Return how a task has ended, by what a tracer returns, or ``apply()``."""
    info: Any = result.info
    states: tuple[Any, ...] = (getattr(result, "state", None), getattr(info, "state", None))
    return "exception" if "FAILURE" in states else "return"


_adapter: Final = _Adapter()
