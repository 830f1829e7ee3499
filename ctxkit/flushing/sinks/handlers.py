"""Handlers of the standard library's logging that keep records back.

``logging`` is not imported: whoever has a handler has loaded it.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing.budget import DEFAULT_TIMEOUT
from ctxkit.flushing.report import SinkOutcome, SinkStatus
from ctxkit.flushing.sinks._watching import tap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from logging import Handler
    from logging.handlers import QueueListener

_POLL: Final = 0.1  # seconds between two looks at whether a listener still lives
_QUEUE_POLL: Final = 0.005  # seconds between two looks at a queue that tells nothing
_MOST_LOSSES: Final = 100
_OK: Final = SinkOutcome(SinkStatus.OK)


@final
class LoggingSink:
    """Flush a ``QueueHandler`` or a ``MemoryHandler``, and those behind it.

    What the documentation of logging recommends, and nobody waits for::

        import logging.handlers
        import queue

        from ctxkit.flushing import LoggingSink, add_sink

        handler = logging.handlers.QueueHandler(queue.Queue())
        listener = logging.handlers.QueueListener(handler.queue, logging.StreamHandler())
        add_sink(LoggingSink(handler, listener=listener))

    Of a queue, flushing is to wait until its listener has handled all that is in it now; of
    a buffer, to hand it over to its target. A record counts as delivered when the handler
    at the end has returned without calling its ``handleError()``.

    Args:
        handler: The handler that loggers have.
        name: What reports and logs call the sink. None: ``logging.`` and the name of the
            handler, or else of its class.
        listener: The ``QueueListener`` at the other end. None: the handler's own, which it
            has since Python 3.12 if ``dictConfig`` made it.

    Raises:
        ConfigurationError: The handler keeps nothing back, or is OpenTelemetry's, whose
            records are found by themselves.

    Safety:
        One sink for each queue. Queues other than ``queue.Queue`` do not tell when a record
        has been handled: they are waited for until they are empty, and the flush is
        unverified. Whoever empties a ``queue.Queue`` must call its ``task_done()``, as
        ``QueueListener`` does.
    """

    def __init__(
        self, handler: Handler, *, name: str | None = None, listener: QueueListener | None = None
    ) -> None:
        if not _keeps_back(handler):
            raise ConfigurationError("LoggingSink()", *_why_not(handler))
        self.name: str = name or _name_of(handler)
        #: The seconds that a flush is given at least, however soon its callers leave.
        self.least_timeout: float = DEFAULT_TIMEOUT
        self.handler = handler
        self._buffered: Any = handler  # the same: only some handlers have a buffer
        self._listener = listener
        self._losses: deque[str] = deque(maxlen=_MOST_LOSSES)  # nobody may ask for days
        self._backlog = _Backlog(_queue_of(handler)) if _queue_of(handler) is not None else None
        self._taken: list[Any] = []  # out of a buffer, and not with its target yet
        self._behind: dict[int, LoggingSink] = {}
        self._watched: dict[int, Any] = {}
        self._watch()

    def __repr__(self) -> str:
        return f"LoggingSink({self.handler!r}, name={self.name!r})"

    @classmethod
    def discover(cls) -> list[LoggingSink]:
        """Return a sink for each handler of any logger that keeps records back.

        Handlers that share a queue have one sink together. Two handlers of one name have
        their sinks numbered.
        """
        sinks: list[LoggingSink] = []
        seen: set[int] = set()
        names: dict[str, int] = {}
        for handler in _handlers_in_use():
            key = id(handler if _queue_of(handler) is None else _queue_of(handler))
            if key in seen or not _keeps_back(handler):
                continue
            seen.add(key)
            name = _name_of(handler)
            names[name] = number = names.get(name, 0) + 1
            sinks.append(cls(handler, name=name if number == 1 else f"{name}-{number}"))
        return sinks

    def pending(self) -> int | None:
        """Count the records that no handler at the end has had yet; None if unclear."""
        self._watch()
        if self._backlog is None:
            count: int | None = len(self._buffered.buffer) + len(self._taken)
        else:
            count = self._backlog.pending()
        for sink in self._behind.values():
            further = sink.pending()
            count = None if count is None or further is None else count + further
        return count if count is None or not self._losses else count + 1

    def flush(self, timeout: float) -> SinkOutcome:
        """Have every record that was logged so far handled."""
        deadline = monotonic() + timeout
        self._watch()
        outcomes = [self._flush_buffer() if self._backlog is None else self._wait(timeout)]
        outcomes += [sink.flush(deadline - monotonic()) for sink in self._behind.values()]
        losses = dict.fromkeys(self._losses.popleft() for _ in range(len(self._losses)))
        if losses:
            return SinkOutcome(SinkStatus.ERROR, f"lost: {', '.join(losses)}")
        return next((outcome for outcome in outcomes if outcome.status is not SinkStatus.OK), _OK)

    def after_fork(self) -> None:
        """Leave to the parent what is the parent's."""
        self._losses.clear()
        if self._backlog is not None:
            self._backlog.reset()
        else:
            self._taken = []
            self._buffered.buffer.clear()
        for sink in self._behind.values():
            sink.after_fork()

    def _flush_buffer(self) -> SinkOutcome:
        handler = self.handler
        if getattr(handler, "target", self) is None and self.pending():
            return SinkOutcome(SinkStatus.ERROR, "the handler has no target")
        if getattr(type(handler).flush, "__qualname__", "") == "MemoryHandler.flush":
            self._hand_over(handler)
        else:
            handler.flush()
        return _OK

    def _hand_over(self, handler: Any) -> None:
        """Do what ``MemoryHandler.flush`` does without its lock, which logging waits for."""
        fresh: list[Any] = []
        with handler.lock:
            self._taken, handler.buffer = handler.buffer, fresh
        try:
            while self._taken and handler.target is not None:
                handler.target.handle(self._taken[0])
                del self._taken[0]
        finally:
            with handler.lock:  # empty, unless something was raised
                handler.buffer[:0] = self._taken
                self._taken = []

    def _wait(self, timeout: float) -> SinkOutcome:
        backlog = self._backlog
        assert backlog is not None  # noqa: S101 - for type checkers
        deadline = monotonic() + timeout
        due = backlog.due()
        while not backlog.handled(due, min(_POLL, deadline - monotonic())):
            dead = self._why_nobody_listens()
            if dead:
                return SinkOutcome(SinkStatus.ERROR, dead)
            if monotonic() >= deadline:
                return SinkOutcome(SinkStatus.TIMEOUT, "the listener is still at it")
        if not backlog.exact:
            kind = type(backlog.queue).__name__
            return SinkOutcome(SinkStatus.UNVERIFIED, f"{kind} does not tell what was handled")
        return _OK

    def _why_nobody_listens(self) -> str:
        listener = self._known_listener()
        if listener is None or not hasattr(listener, "_thread"):
            return ""
        thread = listener._thread  # noqa: SLF001 - nothing public tells whether it runs
        if thread is None:
            return "the listener has not been started"
        return "" if thread.is_alive() else "the listener's thread has ended"

    def _known_listener(self) -> QueueListener | None:
        return self._listener or getattr(self.handler, "listener", None)

    def _watch(self) -> None:
        """Have errors of the handlers in this chain told, whichever they are by now."""
        if self._backlog is None:
            following: tuple[Any, ...] = (getattr(self.handler, "target", None),)
        else:
            following = tuple(getattr(self._known_listener(), "handlers", ()))
        for handler in (self.handler, *following):
            if handler is None or self._watched.get(id(handler)) is handler:
                continue
            self._watched[id(handler)] = handler
            if handler is not self.handler and _keeps_back(handler):
                self._behind[id(handler)] = LoggingSink(handler)
            else:
                tap(handler, "handleError", _around_error(self._losses))


@final
class _Backlog:
    """What is in a queue, and when that has been handled."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self._done = 0
        self.reset()
        #: Whether the queue tells; else it is waited for until it is empty.
        self.exact = isinstance(getattr(queue, "unfinished_tasks", None), int) and tap(
            queue, "task_done", self._around_done
        )

    def reset(self) -> None:
        # Whoever holds it while the process forks holds it for ever in the child.
        self._changed = threading.Condition()

    def pending(self) -> int | None:
        return max(0, self.queue.unfinished_tasks) if self.exact else None

    def due(self) -> int:
        """Return how many have to be done until all is that is in the queue now."""
        with self._changed:
            return self._done + self.queue.unfinished_tasks if self.exact else 0

    def handled(self, due: int, timeout: float) -> bool:
        """Wait until so many are done, or for so long; say whether they are."""
        if self.exact:
            with self._changed:
                return self._changed.wait_for(lambda: self._done >= due, max(0.0, timeout))
        deadline = monotonic() + timeout
        while not (empty := bool(self.queue.empty())) and monotonic() < deadline:
            sleep(_QUEUE_POLL)
        return empty

    def _around_done(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def task_done() -> None:
            # Together: who looks in between would miss one.
            with self._changed:
                method()
                self._done += 1
                self._changed.notify_all()

        return task_done


def _around_error(losses: deque[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def handle_error(record: Any) -> Any:
            kind = sys.exc_info()[0]
            losses.append(kind.__name__ if kind else "unknown error")
            return method(record)

        return handle_error

    return around


def _handlers_in_use() -> Iterator[Handler]:
    logging: Any = sys.modules.get("logging")
    if logging is None:
        return
    for logger in (logging.root, *list(logging.root.manager.loggerDict.values())):
        yield from getattr(logger, "handlers", ())  # the places between loggers have none


def _queue_of(handler: object) -> Any:
    """Return the queue that a handler puts records into; None if it has none."""
    return getattr(handler, "queue", None) if hasattr(handler, "enqueue") else None


def _keeps_back(handler: object) -> bool:
    if _is_opentelemetry(handler) or not callable(getattr(handler, "handle", None)):
        return False
    return _queue_of(handler) is not None or hasattr(getattr(handler, "buffer", None), "clear")


def _is_opentelemetry(handler: object) -> bool:
    # Its flush() starts a thread that nothing bounds and nobody waits for.
    return any(kind.__module__.startswith("opentelemetry.") for kind in type(handler).__mro__)


def _why_not(handler: object) -> tuple[str, str]:
    if _is_opentelemetry(handler):
        return (
            f"got {handler!r}, whose records belong to OpenTelemetry",
            "Leave it out: the sink otel.logs is found by itself.",
        )
    return (
        f"got {handler!r}, which keeps no records back",
        "Give it a QueueHandler or a MemoryHandler, or use CallableSink(name, handler.flush).",
    )


def _name_of(handler: Handler) -> str:
    return f"logging.{handler.get_name() or type(handler).__name__}"
