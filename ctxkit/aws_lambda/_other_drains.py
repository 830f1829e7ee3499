"""What Sentry's and OpenTelemetry's own integrations flush, left to the flush that comes.

Each waits by itself before the answer is posted: Sentry for up to 2 s, OpenTelemetry for as
long as its exporters take, one after the other. Where ctxkit flushes what they would, within
one budget and with a breaker, that only costs time. Both ask for what they call by a name of
their module, at each call; it is replaced where it is found, and defers to the original
outside of an invocation that ctxkit attends to.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# The module, the name in it, and what takes its place meanwhile.
_SENTRY: Final = ("sentry_sdk.integrations.aws_lambda", "_drain_queue")
_OPENTELEMETRY: Final = (
    ("opentelemetry.instrumentation.aws_lambda", "get_tracer_provider"),
    ("opentelemetry.instrumentation.aws_lambda", "get_meter_provider"),
)


class _Flushed:
    """Be a provider that has nothing to flush: all that the instrumentation asks of it."""

    def force_flush(self, *_: object) -> bool:
        return True


def leave_to(attended: Callable[[], bool]) -> None:
    """Have them wait for nothing while ``attended`` says so. Cheap to repeat."""
    _replace(*_SENTRY, attended, None)
    for module, name in _OPENTELEMETRY:
        _replace(module, name, attended, _Flushed())


def _replace(module: str, name: str, attended: Callable[[], bool], instead: Any) -> None:
    names = getattr(sys.modules.get(module), "__dict__", None)
    original = None if names is None else names.get(name)
    if names is None or not callable(original) or getattr(original, "_ctxkit", False):
        return

    def deferring(*args: Any, **kwargs: Any) -> Any:
        return instead if attended() else original(*args, **kwargs)

    deferring._ctxkit = True  # type: ignore[attr-defined]  # noqa: SLF001 - a mark of ours
    names[name] = deferring
