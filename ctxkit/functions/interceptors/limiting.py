"""Limits: a call waits for a place in a pool, and gives it back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ctxkit.boundary.intercepting import either
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions.interceptors._account import account_of
from ctxkit.functions.interceptors._making import deadline_of, made

if TYPE_CHECKING:
    from collections.abc import Collection

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan
    from ctxkit.functions.pools import Pool


def limit(pool: Pool, /, *, at: Collection[str] = ("call",)) -> Interceptor:
    """Let no more run at once than a pool has places.

    Args:
        pool: A :class:`ctxkit.Pool`. It may be shared by any number of functions.
        at: What it is put around: ``"call"``, ``"http"``, ``"task"``.

    Raises:
        ConfigurationError: It is no pool.

    Context:
        Each attempt waits for a place, no longer than its deadline allows, and gives it back
        when it ends: the pause between two attempts takes none. Calls that the body makes and
        that go to the same pool share the place.
    """
    # By what is asked of it: one that is known by its name is looked up at its use.
    if not (hasattr(pool, "acquire") and hasattr(pool, "aacquire")):
        raise ConfigurationError("limit()", f"got {pool!r}, no pool", "Give it a ctxkit.Pool.")
    return made("limit", 70, at, partial(_limited, pool))


def _limited(pool: Pool, call: Call) -> Plan:
    deadline = deadline_of(call)
    slot = yield either(partial(pool.acquire, deadline), partial(pool.aacquire, deadline))
    with slot:  # calls of the body are to find it
        account = account_of(call)
        if account is not None:
            account.wait(slot.waited)
        return (yield call)
