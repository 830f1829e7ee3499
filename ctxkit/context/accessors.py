"""Accessors: foreign holders of state that follow the context.

What a library keeps in a ``ContextVar`` is copied with the context. What it keeps elsewhere (a
``threading.local``, a module, a C library) follows only if somebody tells how to read it here
and to write it there.
"""

from __future__ import annotations

from _thread import RLock
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, final, runtime_checkable

from ctxkit.context.key import MISSING
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextvars import Context

P = ParamSpec("P")
R = TypeVar("R")


@runtime_checkable
class Accessor(Protocol):
    """Read and write a holder of state that is no ``ContextVar``.

    All three are called on the thread whose state they are about. One that raises is logged,
    and left out of that hop; the others and the work itself go on.
    """

    def capture(self) -> object:
        """Return what the holder holds on this thread, or :data:`~ctxkit.context.MISSING`."""
        ...

    def restore(self, value: Any) -> object:
        """Make the holder hold ``value``, which :meth:`capture` returned, on this thread."""
        ...

    def clear(self) -> object:
        """Make the holder hold nothing on this thread."""
        ...


@final
class ThreadLocalAccessor:
    """Carry attributes of somebody's ``threading.local``.

    For one that cannot be adopted (:func:`ctxkit.adopt` is better under asyncio: it keeps
    tasks apart that share a thread). ::

        ctxkit.register_accessor(ctxkit.ThreadLocalAccessor(legacy.state, "user", "tenant"))

    Args:
        local: The ``threading.local``, or anything that has attributes for each thread.
        names: The attributes to carry; at least one. Those that are not set are carried as
            not set.

    Raises:
        ConfigurationError: No name was given, or one is not an identifier.
    """

    __slots__ = ("_local", "_names")

    def __init__(self, local: object, *names: str) -> None:
        given = cast("tuple[object, ...]", names)
        if not given or not all(isinstance(n, str) and n.isidentifier() for n in given):
            raise ConfigurationError(
                "ThreadLocalAccessor(names)",
                f"must be one or more names of attributes, not {names!r}",
                'Write it like ThreadLocalAccessor(state, "user").',
            )
        self._local = local
        self._names = names

    def capture(self) -> object:
        """Return the attributes that are set on this thread."""
        found = {n: getattr(self._local, n) for n in self._names if hasattr(self._local, n)}
        return found or MISSING

    def restore(self, value: dict[str, object]) -> None:
        """Set the attributes in ``value`` on this thread, and no others."""
        for name in self._names:
            if name in value:
                setattr(self._local, name, value[name])
            elif hasattr(self._local, name):
                with suppress(AttributeError):  # it is not set, its class has a default
                    delattr(self._local, name)

    def clear(self) -> None:
        """Delete the attributes on this thread."""
        self.restore({})


Held = tuple[tuple[Accessor, object], ...]

#: Replaced, never changed: reading it needs no lock.
_registered: tuple[Accessor, ...] = ()
_lock = RLock()


def register_accessor(accessor: Accessor) -> None:
    """Have what ``accessor`` reads carried along with every context that ctxkit carries.

    Args:
        accessor: What reads and writes it; registering it again changes nothing. Accessors
            are applied in the order of their registration, and undone in reverse.

    Raises:
        ConfigurationError: ``accessor`` has not all three methods.

    Context:
        Captured where the context is: at ``submit``, ``start``, :func:`ctxkit.capture`. On
        arrival the thread's own state is put aside, and it is put back when the work is
        done, whatever that did. A coroutine or generator in a snapshot has its state put in
        place around each step, and finds there what the step before left.

    Safety:
        Call it at start-up. Work captured before carries nothing of this accessor.
    """
    given = cast("object", accessor)
    if isinstance(given, type) or not isinstance(given, Accessor):
        raise ConfigurationError(
            "register_accessor",
            f"needs an object with capture(), restore(value) and clear(), not {accessor!r}",
            "Write a class with these three, or use ThreadLocalAccessor.",
        )
    global _registered  # noqa: PLW0603 - see there
    with _lock:
        if not any(each is accessor for each in _registered):
            _registered = (*_registered, accessor)


def unregister_accessor(accessor: Accessor) -> None:
    """Carry along no longer what ``accessor`` reads; of one that is unknown, nothing happens."""
    global _registered  # noqa: PLW0603 - see above
    with _lock:
        _registered = tuple(each for each in _registered if each is not accessor)


def any_registered() -> bool:
    """Return whether there is anything to carry."""
    return bool(_registered)


def held() -> Held:
    """Return what all holders hold on this thread."""
    found: list[tuple[Accessor, object]] = []
    for accessor in _registered:
        try:
            found.append((accessor, accessor.capture()))
        except Exception as error:  # noqa: BLE001 - it is reported
            _report(accessor, "capture", error)
    return tuple(found)


def nothing() -> Held:
    """Return what all holders hold where nothing is known."""
    return tuple((accessor, MISSING) for accessor in _registered)


@contextmanager
def restored(values: Held) -> Generator[None]:
    """Make the holders hold ``values`` for the length of a with-block."""
    with ExitStack() as stack:
        for accessor, value in values:
            try:
                before = accessor.capture()
            except Exception as error:  # noqa: BLE001 - it is reported
                _report(accessor, "capture", error)
                continue
            stack.callback(_put, accessor, before)
            _put(accessor, value)
        yield


@final
class Furnished:
    """A context together with what the holders hold in it; entered like a ``Context``."""

    __slots__ = ("_context", "_held")

    def __init__(self, context: Context, values: Held) -> None:
        self._context = context
        self._held = values

    def run(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``f`` there, and keep what it leaves in the holders for the next time."""
        try:
            return self._context.run(self._furnished, f, args, kwargs)
        finally:
            del self  # a traceback would keep the context

    def _furnished(self, f: Callable[..., R], args: Any, kwargs: Any) -> R:
        with restored(self._held):
            try:
                return f(*args, **kwargs)
            finally:
                self._held = tuple(_again(*each) for each in self._held)
                del self  # as above


def _again(accessor: Accessor, value: object) -> tuple[Accessor, object]:
    try:
        return accessor, accessor.capture()
    except Exception as error:  # noqa: BLE001 - it is reported
        _report(accessor, "capture", error)
        return accessor, value


def _put(accessor: Accessor, value: object) -> None:
    method = "clear" if value is MISSING else "restore"
    try:
        accessor.clear() if value is MISSING else accessor.restore(value)
    except Exception as error:  # noqa: BLE001 - it is reported
        _report(accessor, method, error)


def _report(accessor: Accessor, method: str, error: Exception) -> None:
    import logging  # noqa: PLC0415 - only on an unhappy path

    logging.getLogger("ctxkit").error(
        "ctxkit.accessor.failed: %s() of %r; what it holds does not follow",
        method,
        accessor,
        exc_info=error,
    )
