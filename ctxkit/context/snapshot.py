"""Snapshots: what is known now, to be used later or elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, final

from ctxkit.context._arrival import arrive, part_arithmetic
from ctxkit.context._carriers import Carrier, carrier_class
from ctxkit.context._current import CURRENT
from ctxkit.context._here import here
from ctxkit.context._sifting import copied, known, laid, only, sent_to_thread
from ctxkit.context.accessors import Furnished, any_registered, held, nothing, restored
from ctxkit.context.errand import forked, forked_context
from ctxkit.context.frame import NO_FRAME
from ctxkit.context.key import MISSING, name_of
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from ctxkit.context.accessors import Held
    from ctxkit.context.frame import Frame
    from ctxkit.context.key import Key
    from ctxkit.context.stepping import Runner

P = ParamSpec("P")
R = TypeVar("R")


@final
class Snapshot:
    """Hold the context of the moment it was captured, and run code in copies of it.

    Made by :func:`capture`.

    Context:
        Everything is captured: frames, every ``ContextVar``, Django's language and time
        zone, what registered accessors hold. Each run gets a copy of its own, with Sentry's
        scopes forked and decimal's context copied, so nothing that it sets is seen by the
        capturer, by another run, or by the next one. On another thread keys that do not go
        to threads are left out, and asgiref's values are moved to that thread.

    Safety:
        May be used by several threads at once, as often as you like. It keeps every value
        of the captured context alive as long as it lives itself, also when the request
        that it was captured in is over.
    """

    __slots__ = ("_context", "_held", "_home")

    def __init__(self, context: Context, held: Held | None) -> None:
        self._context = context
        self._held = held
        self._home = here()

    def run(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``f`` in a copy of the captured context and return what it returns.

        A coroutine or generator function returns at once, as ever; what it returns then
        runs in that copy, step by step.
        """
        if carrier_class(f) is Carrier:
            return self.enter().run(f, *args, **kwargs)
        return self.wrap(f)(*args, **kwargs)

    def wrap(self, f: Callable[P, R]) -> Callable[P, R]:
        """Return ``f`` as a callable that runs in the captured context.

        Args:
            f: A ``def`` or ``async def`` function, a generator function of either kind, a
                bound method, a partial, a callable object.

        Returns:
            A callable of the same kind (``inspect`` says the same of it), equal to ``f``
            and with its name and attributes. If ``f`` was wrapped before, ``f``.

        Raises:
            ConfigurationError: ``f`` cannot be called.
        """
        if isinstance(f, Carrier):
            return f
        if not callable(f):
            raise ConfigurationError(
                "wrap", f"needs a callable, not {f!r}", "Give it a function, not its result."
            )
        return carrier_class(f)(f, self)

    @contextmanager
    def apply(self, *, clear_missing: bool = False) -> Generator[Frame]:
        """Lay what was captured over the current context for the length of a with-block.

        For code that cannot be handed over as a callable. Of the current context it changes
        the frame and what registered accessors hold; other variables stay as they are, as a
        context cannot be left in the middle: to change those too, use :meth:`run`.

        Args:
            clear_missing: Whether values that were not bound at the capture are gone inside
                of the block. By default they stay visible.

        Yields:
            The frame of the block. Leaving it restores what was before, and never raises on
            its own account.
        """
        frame, values = copied(self.frame()), self._held or ()
        if not clear_missing:
            frame = CURRENT.get(NO_FRAME).extended(known(frame))
            values = tuple(each for each in values if each[1] is not MISSING)
        with restored(values), laid(frame):
            yield frame

    def frame(self) -> Frame:
        """Return the captured frame, as it is known on this thread."""
        frame = self._context.get(CURRENT, NO_FRAME)
        return frame if here() is self._home else sent_to_thread(frame)

    def enter(self) -> Runner:
        """Return a copy of the captured context that is fit for this thread."""
        context = forked(self._context.copy())
        context.run(part_arithmetic if here() is self._home else arrive)
        if self._held is None:
            return context
        return Furnished(context, self._held)


def capture(*, keys: Iterable[str | Key[Any]] | None = None) -> Snapshot:
    """Capture the current context: everything that is visible here and now.

    Args:
        keys: Capture the values of these keys only, and nothing else whatsoever: no other
            variable, no deadline, no state of other libraries. Those that are not bound are
            left out. None captures everything.

    Returns:
        A :class:`Snapshot` that does not change when the current context does.

    Raises:
        ConfigurationError: ``keys`` is no collection, or one of them is no name.
    """
    if keys is not None:
        return _capture_only(keys)
    return Snapshot(forked_context(), held() if any_registered() else None)


def _capture_only(keys: Iterable[str | Key[Any]]) -> Snapshot:
    if isinstance(keys, str) or not hasattr(keys, "__iter__"):
        raise ConfigurationError(
            "keys=", f"must be a collection of keys, not {keys!r}", f"Write [{keys!r}]."
        )
    frame = CURRENT.get(NO_FRAME)
    context = Context()
    context.run(CURRENT.set, copied(only(frame, {name_of(key) for key in keys})))
    return Snapshot(context, nothing() if any_registered() else None)
