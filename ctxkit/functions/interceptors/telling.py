"""Logs: what is called, and how long it took."""

from __future__ import annotations

import logging
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from ctxkit.functions.interceptors._making import made, title_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan

LOGGER: Final = logging.getLogger("ctxkit.functions")


def log(
    level: int = logging.INFO, /, *, arguments: bool = False, at: Collection[str] = ("call",)
) -> Interceptor:
    """Log when a call begins and when it ends, with the seconds that it took.

    The logger is ``ctxkit.functions``, the messages are ``ctxkit.call.begin``,
    ``ctxkit.call.end`` and, a warning, ``ctxkit.call.failed``. Their records have the attributes
    ``function`` and, at the end, ``seconds``.

    Args:
        level: Of the first two.
        arguments: Whether the arguments are shown. They may be secrets, as may results and the
            texts of errors, which are never shown.
        at: What it is put around: ``"call"``, ``"http"``, ``"task"``.

    Context:
        The records are the caller's: of its request, and with its span, if :func:`span` is put
        around too, with that of the call. All attempts are one call.
    """
    return made("log", 14, at, partial(_logged, level, arguments))


def _logged(level: int, arguments: bool, call: Call) -> Plan:  # noqa: FBT001 - of a partial
    name = call.name
    if arguments and LOGGER.isEnabledFor(level):
        named = (f"{key}={_told(each)}" for key, each in call.kwargs.items())
        given = [*map(_told, call.args), *named]
        LOGGER.log(level, "ctxkit.call.begin: %s(%s)", name, ", ".join(given), extra=_known(name))
    else:
        LOGGER.log(level, "ctxkit.call.begin: %s", name, extra=_known(name))
    begun = perf_counter()
    try:
        result = yield call
    except BaseException as error:
        seconds = perf_counter() - begun
        message = "ctxkit.call.failed: %s with %s after %.3f s"
        LOGGER.warning(message, name, title_of(error), seconds, extra=_known(name, seconds))
        raise
    seconds = perf_counter() - begun
    LOGGER.log(
        level, "ctxkit.call.end: %s after %.3f s", name, seconds, extra=_known(name, seconds)
    )
    return result


def _told(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - calls must not fail for it
        return f"<{type(value).__qualname__}>"


def _known(name: str, seconds: float | None = None) -> dict[str, Any]:
    return {"function": name} if seconds is None else {"function": name, "seconds": seconds}
