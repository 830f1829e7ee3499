"""Requirements: values that have to be bound where a function is called."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ctxkit.context import current
from ctxkit.context._hops import declared
from ctxkit.context.key import name_of
from ctxkit.exceptions import MissingContext
from ctxkit.functions.interceptors._making import made

if TYPE_CHECKING:
    from collections.abc import Collection

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan
    from ctxkit.context import Frame, Key


def requires(*keys: str | Key[Any], at: Collection[str] = ("call",)) -> Interceptor:
    """Refuse a call whose frame would not hold certain values.

    Args:
        keys: Their keys, or their names. The default of a key does not count.
        at: What it is put around: ``"call"``, ``"http"``, ``"task"``.

    Raises:
        ConfigurationError: A name is no identifier.

    Context:
        What the call itself gives counts, and what its caller's frame holds and hands on. The
        error, :class:`~ctxkit.MissingContext`, names all that is missing.
    """
    return made("requires", 25, at, partial(_checked, tuple(name_of(key) for key in keys)))


def _checked(names: tuple[str, ...], call: Call) -> Plan:
    # Not call.frame: what interceptors further out have bound since is inherited, too.
    frame = current()
    missing = tuple(name for name in names if not _arrives(name, call, frame))
    if missing:
        raise MissingContext(call.name, missing)
    return (yield call)


def _arrives(name: str, call: Call, frame: Frame) -> bool:
    if name in call.values:
        return True
    key = declared(name)
    return name in frame and (key is None or "thread" in key.hops)
