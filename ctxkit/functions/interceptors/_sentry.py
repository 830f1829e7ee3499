"""Spans of Sentry, where it is in use. Nothing is imported: who uses it has it loaded."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ctxkit.functions.interceptors._account import open_account
from ctxkit.functions.interceptors._making import title_of
from ctxkit.functions.interceptors._shown import shown

if TYPE_CHECKING:
    from ctxkit.boundary.intercepting import Call, Plan


def sdk_in_use() -> Any:
    """Return the SDK, if it was set up; else None."""
    sdk: Any = sys.modules.get("sentry_sdk")
    # While it is being imported, it does not have all of its names.
    get_client = getattr(sdk, "get_client", None)
    return sdk if get_client is not None and get_client().is_active() else None


def spanned(sdk: Any, call: Call) -> Plan:
    """Go on with the call within a span of its own."""
    call, account = open_account(call)
    begun = perf_counter()
    with sdk.start_span(op="function", name=call.name, origin="auto.function.ctxkit") as span:
        for name, value in shown(call).items():
            span.set_data(name, value)

        def failed(number: int, error: BaseException, pause: float | None) -> None:
            # Its spans have no events.
            span.set_data(f"ctxkit.attempt.{number}.error.type", title_of(error))
            if pause is not None:
                span.set_data(f"ctxkit.attempt.{number}.pause", pause)

        account.listen(failed)
        try:
            return (yield call)
        except BaseException as error:
            span.set_data("error.type", title_of(error))
            raise
        finally:
            span.set_data("ctxkit.service.duration", account.served(perf_counter() - begun))
            if account.waited is not None:
                span.set_data("ctxkit.wait.duration", account.waited)
