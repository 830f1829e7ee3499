"""Threads that start with the context of whoever starts them."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from ctxkit.context.errand import Errand

if TYPE_CHECKING:
    from contextvars import Context


#: Thread(context=) keeps it in a private attribute, and nowhere else.
_TAKES_CONTEXT = sys.version_info >= (3, 14)


class Thread(threading.Thread):
    """Run in a copy of the context in which :meth:`start` was called.

    Takes the place of :class:`threading.Thread`, also as the base of classes that
    override ``run``.

    Context:
        Captured at :meth:`start`. What the thread sets is its own. Django's language and
        time zone follow; Sentry's scopes are forked. A ``context=`` of the caller's
        choice (Python 3.14) goes before all that.

    Safety:
        The context is released when ``run`` returns, however long the object lives.
    """

    _context: Context | None

    def start(self) -> None:
        """Capture the current context and start the thread in it."""
        if self.ident is None and not (_TAKES_CONTEXT and self._context is not None):
            vars(self)["run"] = _Run(self.run)
        super().start()


class Timer(Thread, threading.Timer):
    """Call a function after an interval, in a copy of the context of :meth:`start`.

    Takes the place of :class:`threading.Timer`.
    """


class _Run(Errand[None]):
    __slots__ = ()

    def __call__(self, /, *_: Any) -> None:
        # Sentry calls a run() that sits on the instance with the thread as an argument.
        super().__call__()
