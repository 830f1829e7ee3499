"""The internal extension, which flushes when the client has its answer.

Lambda freezes the environment when the runtime and every extension wait for their next event.
This one asks for it only when what the invocation recorded has landed. While it does not ask,
each further invocation waits, at last for the whole timeout of the function. So its thread
must neither die nor be held up:

- whatever a flush raises is logged, and the thread goes on;
- ended from outside, it has a successor started on its way out; and the runtime looks for it
  before each wait of its own;
- where no thread can be started, whoever tried asks for the next event without waiting for
  it, which is all that Lambda wants, and boundaries flush before the answer from then on;
- one that is still busy shortly before the invocation's deadline is replaced.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Final, final

from ctxkit.aws_lambda._extensions_api import ExtensionsApi, RefusedError
from ctxkit.context import Deadline
from ctxkit.flushing import flush
from ctxkit.flushing.budget import affordable, default_timeout, margin
from ctxkit.flushing.sinks.opentelemetry import suppress_instrumentation

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.aws_lambda._extensions_api import Event

_LONGEST_PAUSE: Final = 1.0  # seconds, between two tries to ask for an event


@final
class Extension:
    """Flush after each answer, in a thread of its own.

    Args:
        address: Where the Extensions API is, host and port.
        rested: Called when the flush is over and the next event is about to be asked for.

    Attributes:
        healthy: Whether the next invocation can rely on it.
    """

    def __init__(self, address: str, rested: Callable[[], object]) -> None:
        self.healthy = False
        self._api = ExtensionsApi(address)
        self._rested = rested
        self._lock = threading.Lock()
        self._answered: tuple[str, float | None] = ("", None)
        # Not a Condition: a thread that is ended from outside may keep the lock of one.
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._refused = False
        # The invocation whose flush the thread sees to; None when it has given one up.
        self._taken: str | None = ""

    def join(self) -> None:
        """Register, and begin to wait for events.

        Raises:
            RefusedError: Lambda does not want the extension.
            OSError: It could not be asked.
        """
        self._api.register()
        self.attend()

    def covers(self, request_id: str) -> bool:
        """Return whether the thread is sure to flush what this invocation recorded."""
        return self._taken == request_id

    def rests(self) -> bool:
        """Return whether the thread has given up an invocation that was not answered in time."""
        return self._taken is None

    def answered(self, request_id: str, timeout: float | None) -> None:
        """Learn that the client has its answer: now is the time to flush.

        Args:
            request_id: Of the invocation.
            timeout: The longest that its flush may take, in seconds; None for the default.
        """
        self._answered = (request_id, timeout)
        self._wakes.put(None)

    def attend(self) -> None:
        """See to it that somebody asks for events."""
        if self._refused or (self._thread is not None and self._thread.is_alive()):
            return
        with self._lock:
            self._start()

    def replace(self) -> None:
        """Put another thread in the place of one that is held up."""
        if self._refused:  # Lambda does not wait for it
            return
        with self._lock:
            self._taken = ""
            self._start()

    def _start(self) -> None:
        thread = threading.Thread(
            target=Context().run, args=(self._live,), name="ctxkit.lambda.extension", daemon=True
        )
        former, self._thread = self._thread, thread
        try:
            thread.start()
        except RuntimeError:  # too many threads, or the interpreter ends
            self._thread = None
            self.healthy = False
            with suppress(OSError):  # nothing is left to be done
                self._api.poll()
            return
        self.healthy = True
        if former is not None:
            _log("ctxkit.lambda.extension_replaced")

    def _current(self) -> bool:
        return self._thread is threading.current_thread()

    def _live(self) -> None:
        suppress_instrumentation()
        pause = 0.0
        try:
            while self._current():
                try:
                    event = self._api.next()
                    if not self._take(event.request_id):
                        return
                    pause = 0.0
                    self._serve(event)
                except RefusedError as error:
                    self._give_up(error)
                    return
                except Exception as error:  # noqa: BLE001 - nothing may keep it from asking again
                    if not isinstance(error, OSError):
                        _log("ctxkit.lambda.extension_failed", exc_info=True)
                    pause = min(_LONGEST_PAUSE, 2 * pause + 0.05)
                    time.sleep(pause)
        finally:
            if self._current():
                self._taken = ""
                if not self._refused:
                    self._succeed()

    def _take(self, request_id: str) -> bool:
        """Note that this thread sees to an invocation, unless another is in its place."""
        with self._lock:
            if self._current():
                self._taken = request_id
            return self._current()

    def _succeed(self) -> None:
        """Start the thread that goes on in the place of this one, which ends."""
        # What this one was about to flush is not to be lost.
        with suppress(BaseException):
            flush(affordable(default_timeout(), None), reason="extension")
        with self._lock:
            if self._current():
                self._start()

    def _give_up(self, error: RefusedError) -> None:
        self._refused = True
        self.healthy = False
        _log("ctxkit.lambda.extension_refused: %s", error)

    def _serve(self, event: Event) -> None:
        if event.kind != "INVOKE":
            return
        deadline = Deadline(monotonic() + event.deadline - time.time())
        remaining = deadline.remaining()
        if not self._wait_for_answer(event.request_id, remaining - margin(remaining)):
            return
        if self._current():
            timeout = self._answered[1]
            timeout = default_timeout() if timeout is None else timeout
            allowed = affordable(timeout, deadline.remaining())
            flush(allowed, reason="extension", request_id=event.request_id)
        if self._current():
            self._rested()

    def _wait_for_answer(self, request_id: str, seconds: float) -> bool:
        """Wait until the client has its answer; return False if it takes too long."""
        deadline = Deadline.after(seconds)
        while self._answered[0] != request_id:
            try:
                self._wakes.get(timeout=max(0.0, deadline.remaining()))
            except Empty:
                # It may come yet: then the runtime flushes. Meanwhile the watchdog watches on.
                # In this order: who answers now looks for the first after it did the second.
                if self._current():
                    self._taken = None
                return self._answered[0] == request_id
        return True


def _log(event: str, *args: object, exc_info: bool = False) -> None:
    import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

    logging.getLogger("ctxkit").warning(event, *args, exc_info=exc_info)
