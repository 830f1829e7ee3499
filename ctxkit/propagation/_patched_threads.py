"""Every thread starts with the context of whoever starts it, or with none. Private."""

from __future__ import annotations

import operator
import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any

from ctxkit.context._children import NOTING, note, note_in
from ctxkit.context.errand import Errand
from ctxkit.propagation._infrastructure import Judge
from ctxkit.propagation._isolation import isolated_context
from ctxkit.propagation._patching import Patch, innermost, layers
from ctxkit.propagation.threads import TAKES_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable

#: On a thread from its start until it runs: the errand to run in, or None for nothing.
_LUGGAGE = "_ctxkit_luggage"


class _Here:
    """Stand for a context that was entered already, as ``Thread(context=)``."""

    def run(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)


_HERE: Any = _Here()


class ThreadPatches:
    """Replace :meth:`threading.Thread.start` and the first step of the thread it starts."""

    def __init__(self) -> None:
        self.judge = Judge()
        self._start = Patch(threading.Thread, "start", self._make_start)
        # Around run() and excepthook both, and under whatever others made of run().
        self._first_step = Patch(threading.Thread, "_bootstrap_inner", _make_first_step)
        self._start_of_timer = Patch(threading.Timer, "start", self._make_start)

    def put_on(self) -> None:
        """Put them on."""
        self._first_step.put_on()
        self._start.put_on()
        own: Any = vars(threading.Timer).get("start")
        if own is not None and self._start.placed not in layers(own):
            # OpenTelemetry gave timers a start of their own, which leads past our other one.
            self._start_of_timer.put_on()

    def take_off(self) -> None:
        """Take them off. Threads that were started are not affected."""
        self._start_of_timer.take_off()
        self._start.take_off()
        self._first_step.take_off()

    def _make_start(self, original: Callable[..., None], patch: Patch) -> Callable[..., None]:
        patches = self

        def start(self: threading.Thread, *args: Any, **kwargs: Any) -> None:
            own = vars(self)
            if not patch.active or _LUGGAGE in own:
                return original(self, *args, **kwargs)
            given = own.get("_context")
            try:
                if patches.judge(self):
                    _start_empty(self, original, patch)
                elif given is not None:  # by the caller, who has decided
                    original(self, *args, **kwargs)
                    if NOTING.on:
                        note_in(given, self)
                else:
                    own[_LUGGAGE] = isolated_context().run(Errand, operator.call)
                    if TAKES_CONTEXT:
                        own["_context"] = _HERE
                    original(self, *args, **kwargs)
                    if NOTING.on:
                        note(self)
            except Exception:
                # Not started. An interruption says nothing of that: the thread may need them.
                own.pop(_LUGGAGE, None)
                if TAKES_CONTEXT and "_context" in own:
                    own["_context"] = given
                raise
            # It has begun; without it, if the patches were taken off in between.
            own.pop(_LUGGAGE, None)
            return None

        return start


def _start_empty(thread: threading.Thread, original: Callable[..., None], patch: Patch) -> None:
    own = vars(thread)
    own[_LUGGAGE] = None
    if TAKES_CONTEXT and own.get("_context") is None:
        own["_context"] = Context()
    if patch.on_top:
        return Context().run(original, thread)
    # Who patched later has already taken what is here: start over, for it to find nothing.
    if "run" in own and innermost(own["run"]) is innermost(type(thread).run):
        del own["run"]
    return Context().run(threading.Thread.start, thread)


def _make_first_step(original: Callable[..., None], _: Patch) -> Callable[..., None]:
    def _bootstrap_inner(self: threading.Thread) -> None:
        errand = vars(self).pop(_LUGGAGE, None)
        if errand is None:
            return original(self)
        try:
            errand(original, self)
        except BaseException as error:
            if self.ident is not None:
                raise
            # What travels could not be unpacked. The starter waits for the thread to begin.
            vars(self)["run"] = _Raising(error)
            original(self)
        return None

    return _bootstrap_inner


class _Raising:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self, *_: Any) -> None:
        raise self._error
