"""How long a flush may take: pure functions over seconds."""

from __future__ import annotations

import os
from math import isfinite
from typing import TYPE_CHECKING, Final

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds that a flush may take where nobody said otherwise.
DEFAULT_TIMEOUT: Final = 2.0
TIMEOUT_VARIABLE: Final = "CTXKIT_FLUSH_TIMEOUT"

# Where adapters put Lambda's context object: Mangum (ASGI), apig-wsgi and awsgi, serverless-wsgi.
#: Where Mangum leaves Lambda's context object: the one adapter for ASGI.
ASGI_CONTEXT_KEY: Final = "aws.context"

_CONTEXT_KEYS = (ASGI_CONTEXT_KEY, "awsgi.context", "apig_wsgi.context", "serverless.context")


def default_timeout(environ: Mapping[str, str] = os.environ) -> float:
    """Return the seconds that ``CTXKIT_FLUSH_TIMEOUT`` allows, or 2.0 where it is not set.

    Raises:
        ConfigurationError: The variable holds something else than a number of seconds.
    """
    text = environ.get(TIMEOUT_VARIABLE)
    return DEFAULT_TIMEOUT if not text else checked_timeout(TIMEOUT_VARIABLE, text)


def checked_timeout(setting: str, value: object) -> float:
    """Return ``value`` as seconds, or say why it cannot be.

    Args:
        setting: What the user calls it, for the error.
        value: A number, or text that spells one.

    Raises:
        ConfigurationError: ``value`` is no finite number, or below zero.
    """
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except (ValueError, OverflowError):
            seconds = -1.0
        if isfinite(seconds) and seconds >= 0:
            return seconds
    raise ConfigurationError(
        setting,
        f"must be a number of seconds, zero or more, not {value!r}",
        "Write it like 2.0.",
    )


def margin(remaining: float) -> float:
    """Return the seconds to leave the host of the ``remaining`` ones.

    A tenth of what remains, at least 100 ms, at most 500 ms.
    """
    return min(0.5, max(0.1, 0.1 * remaining))


def affordable(timeout: float, remaining: float | None) -> float:
    """Return the seconds that a flush may take.

    Args:
        timeout: What the user allows.
        remaining: What the host leaves, in seconds; None where it sets no limit.

    Returns:
        The lesser of the two, less the :func:`margin`. 0.0 means: begin, but do not wait;
        below zero, that it is the host who leaves no time.
    """
    if remaining is None:
        return timeout
    return min(timeout, remaining - margin(remaining))


def remaining_of(context: object) -> float | None:
    """Return the seconds that a Lambda context object says remain, or None if it is none.

    Managed Instances let the time run below zero; that counts as none left.
    """
    try:
        ask = getattr(context, "get_remaining_time_in_millis", None)
        millis = ask() if callable(ask) else None
    except Exception:  # noqa: BLE001 - a foreign object that cannot tell sets no limit
        return None
    return max(0.0, millis / 1000) if isinstance(millis, (int, float)) else None


def lambda_context_in(carrier: Mapping[str, object]) -> object | None:
    """Return Lambda's context object, if an adapter has left it in an environ or a scope."""
    # Spelled out: most carriers hold none, and each request asks.
    if not (
        ASGI_CONTEXT_KEY in carrier
        or "awsgi.context" in carrier
        or "apig_wsgi.context" in carrier
        or "serverless.context" in carrier
    ):
        return None
    for key in _CONTEXT_KEYS:
        context = carrier.get(key)
        if context is not None:
            return context
    return None


def remaining_on_cloud_run(elapsed: float, environ: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds left of Cloud Run's request timeout, or None where none is set.

    Args:
        elapsed: Seconds since the request began.
        environ: Where to look for ``CLOUD_RUN_TIMEOUT_SECONDS``.
    """
    try:
        allowed = float(environ["CLOUD_RUN_TIMEOUT_SECONDS"])
    except (KeyError, ValueError):
        return None
    return max(0.0, allowed - elapsed) if isfinite(allowed) and allowed > 0 else None
