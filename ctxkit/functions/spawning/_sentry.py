"""Sentry's trace, from those who send to what the embedded engine runs. Private.

Task queues have an integration of Sentry's own that does it. Nothing is imported: who uses
Sentry has it loaded.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ctxkit.functions.interceptors._sentry import sdk_in_use

if TYPE_CHECKING:
    from collections.abc import Generator


def trace_here() -> dict[str, str]:
    """Return the headers that say where in a trace this is; none where Sentry is not in use."""
    sdk = sdk_in_use()
    if sdk is None:
        return {}
    told = {"sentry-trace": sdk.get_traceparent(), "baggage": sdk.get_baggage()}
    return {name: value for name, value in told.items() if value}


@contextmanager
def goes_on(trace: dict[str, str], name: str) -> Generator[None]:
    """Be a transaction in that trace, which sees nothing of its sender's scope."""
    sdk = sdk_in_use()
    if sdk is None:
        yield
        return
    with sdk.isolation_scope():
        transaction = sdk.continue_trace(
            trace, op="function", name=name, source="task", origin="auto.function.ctxkit"
        )
        with sdk.start_transaction(transaction):
            yield
