"""Retries: another attempt, after a pause, where an error may pass."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ctxkit.functions.interceptors._making import NO_REQUESTS, made
from ctxkit.functions.retrying import Retry

if TYPE_CHECKING:
    from collections.abc import Collection

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan


def retry(policy: Retry | int = 3, /, *, at: Collection[str] = ("call",)) -> Interceptor:
    """Try a call again after errors that may pass.

    stamina drives the attempts: ``stamina.set_testing()`` takes the pauses away,
    ``stamina.set_active(False)`` the retries, and its hooks are told of each, under the name of
    the function. The pauses are ctxkit's: they end when the call is cancelled, in a thread too,
    and none is begun that would pass the deadline. So what stamina says of their length is 0.

    Args:
        policy: How often, after which pauses and on which errors; a number is how often in all.
        at: What it is put around: ``"call"``, ``"task"``.

    Raises:
        ConfigurationError: The policy is none.
        MissingDependencyError: It has more than one attempt, and stamina is not installed:
            ``django-ctxkit[retry]``.

    Context:
        Each attempt has a frame of its own, and waits for its pool anew; no slot is held in a
        pause. The last error is raised, the same object.
    """
    policy = Retry.of(policy, "retry()")
    if policy.max_attempts == 1:
        return made("retry", 60, at, _once, possible=NO_REQUESTS)
    from ctxkit.functions.interceptors._stamina import repeated  # noqa: PLC0415 - imports it

    return made("retry", 60, at, partial(repeated, policy), possible=NO_REQUESTS)


def _once(call: Call) -> Plan:
    result: Any = yield call
    return result
