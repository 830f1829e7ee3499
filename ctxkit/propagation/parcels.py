"""Parcels: work that goes to another process or interpreter, with the values that may go along."""

from __future__ import annotations

import pickle
import sys
from contextvars import Context
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ctxkit.context import Frame, current
from ctxkit.context._current import CURRENT
from ctxkit.context._hops import declared, making
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.context import Key

R = TypeVar("R")

#: The name of a value, the module that declares its key, and the value as text or pickled.
Packed = tuple[str, str, str | bytes]


class Parcel(Generic[R]):
    """Call ``f`` elsewhere, in an empty context that holds what the declared keys hold here.

    It is pickled on the way; so is ``f``, which has to be importable there.

    Args:
        f: What to call.

    Raises:
        ConfigurationError: The value of a key can be neither dumped nor pickled.
    """

    __slots__ = ("_f", "_packed")

    def __init__(self, f: Callable[..., R]) -> None:
        self._f = f
        frame = current()
        self._packed: tuple[Packed, ...] = tuple(
            _packed(key, frame[key]) for key in making("process") if key.name in frame
        )

    def __call__(self, /, *args: Any, **kwargs: Any) -> R:
        """Call what was packed; each call has a context of its own."""
        return Context().run(self._unpacked, args, kwargs)

    def _unpacked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if self._packed:
            CURRENT.set(Frame({each[0]: _loaded(*each) for each in self._packed}))
        return self._f(*args, **kwargs)

    def __getstate__(self) -> tuple[object, ...]:
        return self._f, self._packed

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self._f, self._packed = state


def parcelled(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``f`` as a parcel, or as it is where that would keep it from going.

    Interpreters also take functions that cannot be pickled: those go alone.
    """
    if type(f) is Parcel:
        return f
    try:
        pickle.dumps(f)
    except Exception:  # noqa: BLE001 - pickling may raise anything; who needs it will say so
        return f
    return Parcel(f)


def is_elsewhere(executor: object) -> bool:
    """Return whether ``executor`` runs its jobs in other processes or interpreters."""
    # Only modules that are loaded can have made the executor.
    for module, name in (
        ("concurrent.futures.process", "ProcessPoolExecutor"),
        ("concurrent.futures.interpreter", "InterpreterPoolExecutor"),
    ):
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(executor, kind):
            return True
    return False


def _packed(key: Key[Any], value: object) -> Packed:
    try:
        packed = pickle.dumps(value) if key.dump is None else key.dump(value)
    except Exception as error:
        raise ConfigurationError(
            f"Key({key.name!r})",
            f"goes to processes, but its value cannot be written down: {error}",
            'Declare dump= and load=, or take "process" out of its hops.',
        ) from error
    return key.name, key.module, packed


def _loaded(name: str, module: str, packed: str | bytes) -> object:
    if isinstance(packed, bytes):
        return pickle.loads(packed)  # noqa: S301 - our own parent process wrote it
    if declared(name) is None and module not in sys.modules:
        import_module(module)
    key = declared(name)
    if key is None or key.load is None:
        raise ConfigurationError(
            f"Key({name!r})",
            f"was sent here by another process, but {module} does not declare it here",
            "Declare the key at the top of a module, outside of any condition.",
        )
    return key.load(packed)
