"""Circuit breakers: a function that keeps failing is given a rest."""

from __future__ import annotations

import os
from _thread import allocate_lock
from functools import partial
from math import inf
from typing import TYPE_CHECKING, cast, final

from ctxkit.exceptions import Cancelled, CircuitOpen, ConfigurationError, PoolFull
from ctxkit.flushing.breaker import Breaker
from ctxkit.flushing.budget import checked_timeout
from ctxkit.functions._retry_arguments import chooses_errors
from ctxkit.functions.interceptors._making import NO_REQUESTS, made

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan

    Failure = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]

_SERVER_ERROR = 500


def circuit_breaker(
    *,
    threshold: int = 5,
    rest: float = 30.0,
    on: Failure | None = None,
    at: Collection[str] = ("call",),
) -> Interceptor:
    """Refuse calls of a function that has failed so often in a row, until it was given a rest.

    After the rest one call tries for all. If that ends well, the function is called again as
    before; if it fails, the next rest begins. Every attempt of a retried call counts.

    Args:
        threshold: How many failures in a row are too many.
        rest: The seconds in which nobody calls then.
        on: Which errors are failures: a class, a tuple of such, or a function of the error.
            None: all, but those that blame the caller, whose ``http_status`` is below 500, and
            :class:`~ctxkit.PoolFull`: it was not called.
        at: What it is put around: ``"call"``, ``"task"``.

    Raises:
        ConfigurationError: One of them cannot be used.

    Context:
        The error, :class:`~ctxkit.CircuitOpen`, says when to try again.

    Safety:
        Thread-safe. What it knows is this process's, of this interceptor, and of each function
        by its name; a forked child goes on from what was known.
    """
    rest = checked_timeout("circuit_breaker(rest=)", rest)
    guard = _Guard(_checked_threshold(threshold), rest, _judge(on))
    return made("circuit_breaker", 65, at, partial(_guarded, guard), possible=NO_REQUESTS)


def _guarded(guard: _Guard, call: Call) -> Plan:
    breaker = guard.of(call.name)
    probes = guard.admit(breaker, call.name)
    try:
        result = yield call
    except BaseException as error:
        if guard.counts(error):
            guard.fail(breaker, call.name)
        elif probes:
            guard.forgo(breaker)
        raise
    if breaker.failures:
        guard.succeed(breaker, call.name)
    return result


class _Turns:
    """Let one thread at a time change a breaker.

    Attributes:
        lock: Another one in a forked child: that of the parent may have been held.
    """

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget who was at it."""
        self.lock = allocate_lock()


_TURNS = _Turns()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_TURNS.restart)


@final
class _Guard:
    """Have a breaker for each function, by its name."""

    __slots__ = ("_breakers", "_judge", "_make", "_threshold")

    def __init__(self, threshold: int, rest: float, judge: Callable[[Exception], bool]) -> None:
        self._threshold = threshold
        self._judge = judge
        self._make = partial(Breaker, threshold=threshold, rest=rest)
        self._breakers: dict[str, Breaker] = {}

    def of(self, name: str) -> Breaker:
        """Return the breaker of a function."""
        breaker = self._breakers.get(name)
        return self._breakers.setdefault(name, self._make()) if breaker is None else breaker

    def admit(self, breaker: Breaker, name: str) -> bool:
        """Let a call in; return whether it tries for all.

        Raises:
            CircuitOpen: The function has its rest.
        """
        if breaker.failures < self._threshold:
            return False
        with _TURNS.lock:
            refused = breaker.allowance(inf) is None
        if refused:
            raise CircuitOpen(name, breaker.remaining())
        return True

    def counts(self, error: BaseException) -> bool:
        """Return whether an error is a failure of the function; of its end it tells nothing."""
        if isinstance(error, Cancelled) or not isinstance(error, Exception):
            return False
        return self._judge(error)

    def forgo(self, breaker: Breaker) -> None:
        """Note that the call that tried for all has told nothing about the function."""
        with _TURNS.lock:
            breaker.forgo()

    def fail(self, breaker: Breaker, name: str) -> None:
        """Note a failure."""
        with _TURNS.lock:
            opens = breaker.fail()
        if opens:
            _tell("ctxkit.breaker.open: %s, nobody calls it for %.1f s", name, breaker.remaining())

    def succeed(self, breaker: Breaker, name: str) -> None:
        """Note that a call ended well."""
        with _TURNS.lock:
            closes = breaker.succeed()
        if closes:
            _tell("ctxkit.breaker.closed: %s", name)


def _tell(message: str, *details: object) -> None:
    from ctxkit.functions.interceptors.telling import LOGGER  # noqa: PLC0415 - brings logging

    LOGGER.warning(message, *details)


def _checked_threshold(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ConfigurationError(
        "circuit_breaker(threshold=)", f"is {value!r}", "Use a whole number from 1 up."
    )


def _judge(on: object) -> Callable[[Exception], bool]:
    """Return what tells failures from other errors.

    Raises:
        ConfigurationError: Nothing can be made of ``on``.
    """
    if on is None:
        return _blames_function
    if not chooses_errors(on):
        raise ConfigurationError(
            "circuit_breaker(on=)",
            f"is {on!r}",
            "Use a class of errors, a tuple of such, or a function of an error.",
        )
    if isinstance(on, (type, tuple)):
        classes = cast("tuple[type[Exception], ...]", on)
        return lambda error: isinstance(error, classes)
    return cast("Callable[[Exception], bool]", on)


def _blames_function(error: Exception) -> bool:
    if isinstance(error, PoolFull):
        return False
    status: object = getattr(error, "http_status", None)
    return not isinstance(status, int) or status >= _SERVER_ERROR
