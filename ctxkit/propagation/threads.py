"""Threads that start with the context of whoever starts them."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any
from weakref import ref

from ctxkit.context._children import NOTING, note, note_in
from ctxkit.context.errand import Errand

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context


#: Thread(context=) keeps it in a private attribute, and nowhere else.
TAKES_CONTEXT = sys.version_info >= (3, 14)


class Thread(threading.Thread):
    """Run in a copy of the context in which :meth:`start` was called.

    Takes the place of :class:`threading.Thread`, also as the base of classes that
    override ``run``.

    Context:
        Captured at :meth:`start`. What the thread sets is its own. Django's language and
        time zone follow; Sentry's scopes are forked. If ``run`` raises,
        :func:`threading.excepthook` is called in the thread's context too. A ``context=``
        of the caller's choice (Python 3.14) goes before all that.

    Safety:
        The context is released when ``run`` returns, however long the object lives.
    """

    _context: Context | None

    def start(self) -> None:
        """Capture the current context and start the thread in it."""
        given = self._context if TAKES_CONTEXT else None
        if given is None:
            equip(self)
        try:
            super().start()
        except RuntimeError:
            if given is None and self.ident is None:  # it did not start, and may yet
                _strip(self)
            raise
        if NOTING.on:
            if given is None:
                note(self)
            else:
                note_in(given, self)


class Timer(Thread, threading.Timer):
    """Call a function after an interval, in a copy of the context of :meth:`start`.

    Takes the place of :class:`threading.Timer`.
    """


def equip(thread: threading.Thread) -> None:
    """Make ``thread``, which was not started yet, run in a copy of the current context."""
    if thread.ident is None and type(vars(thread).get("run")) is not _Run:
        vars(thread)["run"] = _Run(thread)


def _strip(thread: Thread) -> None:
    """Take off what :func:`equip` and a start that failed have put on."""
    if type(vars(thread).get("run")) is _Run:
        del vars(thread)["run"]
    if TAKES_CONTEXT:
        thread._context = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above


class _Run(Errand[None]):
    """Stand for the ``run`` of one thread."""

    __slots__ = ("_thread_object",)

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__(thread.run)
        self._thread_object = ref(thread)  # which holds us

    def __call__(self, /, *_: Any) -> None:
        # Sentry calls a run() that sits on the instance with the thread as an argument.
        run = self._enter()
        try:
            run(self._take())
        except BaseException:
            thread = self._thread_object()
            if thread is threading.current_thread():
                _report_in(run, thread)
            raise
        finally:
            del run  # a traceback would keep it


def _report_in(run: Callable[..., Any], thread: Any) -> None:
    """Have ``threading.excepthook`` called in the context in which the thread ran."""
    hook = getattr(thread, "_invoke_excepthook", None)
    if hook is None:
        return  # a Python that calls it by another name: then outside, as without us

    def invoke(thread: Any) -> None:
        thread._invoke_excepthook = hook  # noqa: SLF001 - set by Thread.__init__, read once
        run(hook, thread)

    thread._invoke_excepthook = invoke  # noqa: SLF001 - as above
