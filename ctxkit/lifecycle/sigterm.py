"""Ending by SIGTERM where nobody else lets the process say goodbye. Only for who asks for it."""

from __future__ import annotations

import os
import signal
import threading
from contextvars import Context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

#: The longest that the end of a process waits, where nobody says otherwise, in seconds.
PATIENCE: Final = 3.0


def drain_on_sigterm(timeout: float = PATIENCE) -> Callable[[], None]:
    """Call everything registered for the shutdown when SIGTERM comes, then end as before.

    For programs and servers that end by SIGTERM without running ``atexit`` or a lifespan: a
    plain program, waitress, a script that serves by itself. Never installed by default, and
    not needed where the server ends in order: gunicorn, uvicorn, hypercorn, granian, daphne
    and uWSGI with ``die-on-term`` do. Call it at the top of the program, or of the module
    that the server loads::

        from ctxkit.lifecycle import drain_on_sigterm

        drain_on_sigterm()

    The handler that was there before keeps its say. If it is a function it is called first,
    and the process goes on or ends as that decides. If there was none the process ends by
    the signal, as it would have.

    Args:
        timeout: The longest that the end waits for it, in seconds.

    Returns:
        A callable that puts the former handler back, unless somebody has come after this one.

    Raises:
        ConfigurationError: This is not the main thread, the handler is not Python's, or
            ``timeout`` is no number above zero.

    Safety:
        The work is done by a thread that waits for it: the main thread may have been
        interrupted while it held a lock of an SDK or of :mod:`logging`, and a signal handler
        that wants that lock would wait for ever. A server that sets a handler of its own
        later displaces this one, as it should. A forked child keeps the handler.
    """
    given: Any = timeout  # what the annotation does not keep away
    if not (isinstance(given, (int, float)) and 0 < given <= threading.TIMEOUT_MAX):
        raise ConfigurationError(
            "drain_on_sigterm(timeout=)", f"is {timeout!r}", "Give it seconds, above zero."
        )
    if threading.current_thread() is not threading.main_thread():
        raise ConfigurationError(
            "drain_on_sigterm()",
            "was called outside of the main thread, where Python allows no signal handlers",
            "Call it at the top of your program.",
        )
    former: Any = signal.getsignal(signal.SIGTERM)
    if former is None:
        raise ConfigurationError(
            "drain_on_sigterm()",
            "found a handler of SIGTERM that is not Python's, and cannot hand on to it",
            "Let the server that set it end in order; uWSGI does with die-on-term.",
        )
    if isinstance(former, _Draining):
        former.timeout = timeout
        return former.remove
    draining = _Draining(former, timeout)
    signal.signal(signal.SIGTERM, draining)
    return draining.remove


@final
class Standby:
    """Have a thread wait to do something in the midst of a signal handler.

    It is there before: amid the locks of the main thread none can be started.

    Args:
        work: What to do.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._dismissed = False
        self._start()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start)

    def call(self, timeout: float) -> None:
        """Have it done, and wait for that, but no longer than ``timeout`` seconds."""
        if os.getpid() != self._pid:  # forked by C code, which runs no hooks: no thread either
            self._work()
            return
        done = threading.Event()
        self._asked.put(done)  # reentrant, made for signal handlers
        done.wait(timeout)

    def dismiss(self) -> None:
        """Let the thread end."""
        self._dismissed = True
        self._asked.put(None)

    def _start(self) -> None:
        if self._dismissed:  # in a child that was forked since
            return
        self._pid = os.getpid()
        self._asked: SimpleQueue[threading.Event | None] = SimpleQueue()
        # Explicitly empty: it must not keep the values of whoever called this.
        threading.Thread(
            target=Context().run, args=(self._wait,), name="ctxkit.sigterm", daemon=True
        ).start()

    def _wait(self) -> None:
        while (done := self._asked.get()) is not None:
            try:
                self._work()
            finally:
                done.set()


@final
class _Draining:
    """Be the handler of SIGTERM.

    Attributes:
        former: The one before.
        timeout: The longest that it waits.
    """

    def __init__(self, former: Any, timeout: float) -> None:
        self.former = former
        self.timeout = timeout
        self._standby = Standby(_shut_down)

    def __call__(self, number: int, frame: Any) -> None:
        try:
            if callable(self.former):
                self.former(number, frame)
        finally:
            self._standby.call(self.timeout)
        if self.former == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def remove(self) -> None:
        """Put the former handler back, if this one is still there."""
        current: object = signal.getsignal(signal.SIGTERM)
        if current is self:
            signal.signal(signal.SIGTERM, self.former)
            self._standby.dismiss()


def _shut_down() -> None:
    from ctxkit.lifecycle import run_shutdown  # noqa: PLC0415 - the room opens this module

    run_shutdown()
