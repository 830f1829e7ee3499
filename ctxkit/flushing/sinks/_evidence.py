"""What tells that the SDKs are set up as they were, and that nothing has come in since. Private."""
# ruff: noqa: SLF001 - the SDKs have no public names for these

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from ctxkit.flushing.sinks import opentelemetry, sentry
from ctxkit.flushing.sinks._watching import STIR

if TYPE_CHECKING:
    from collections.abc import Callable


class _Nowhere:
    """Stand for what is not there: all that would be looked up is None."""

    _TRACER_PROVIDER = _METER_PROVIDER = _LOGGER_PROVIDER = _global_scope = None
    _span_processors = _log_record_processors = client = transport = mark = None


_NOWHERE: Final = _Nowhere()


@final
class Evidence:
    """Tell what ``discover()`` goes by at this moment; as long as it holds, that finds the same.

    To be made before that is called, not after.

    Attributes:
        holds: Whether nothing has changed.
        calmed: For the engine to note when it found nothing pending: what :meth:`calm_since`
            returned, and what is to be asked all the same.
    """

    __slots__ = ("_seen", "calmed", "holds")

    def __init__(self) -> None:
        modules = sys.modules
        names = (*(module for module, _ in opentelemetry.PATHS), sentry.PATH[0])
        traces, metrics, logs, sentry_ = (modules.get(name, _NOWHERE) for name in names)
        tracer, logger = _look(traces, "_TRACER_PROVIDER"), _look(logs, "_LOGGER_PROVIDER")
        spans = _root(tracer, "_active_span_processor", "_span_processors")
        records = _root(logger, "_multi_log_record_processor", "_log_record_processors")
        scope = _look(sentry_, "_global_scope")
        client = _look(scope, "client")
        self._seen = _Seen(
            traces,
            tracer,
            metrics,
            _look(metrics, "_METER_PROVIDER"),
            logs,
            logger,
            spans,
            spans._span_processors,
            records,
            records._log_record_processors,
            sentry_,
            scope,
            _NOWHERE if scope is None else scope,
            client,
            _NOWHERE if client is None else client,
            _look(client, "transport"),
            tuple(name for name in names if name not in modules),
        )
        self.holds: Callable[[], bool] = _unchanged(_NOWHERE, None, *self._seen)
        self.calmed: tuple[Callable[[], bool], tuple[Any, ...]] = (_never, ())

    def calm_since(self, mark: object) -> Callable[[], bool]:
        """Return what tells whether this holds, and nothing has stirred since ``mark``."""
        return _unchanged(STIR, mark, *self._seen)


class _Seen(NamedTuple):
    """Hold who was looked at, and after each what it had."""

    traces: Any
    tracer: Any
    metrics: Any
    meter: Any
    logs: Any
    logger: Any
    spans: Any
    span_processors: Any
    records: Any
    log_processors: Any
    sentry_: Any
    scope: Any
    scope_: Any
    client: Any
    client_: Any
    transport: Any
    absent: tuple[str, ...]


def _unchanged(  # noqa: PLR0913, PLR0917 - those of _Seen
    stir: Any,
    mark: object,
    traces: Any,
    tracer: Any,
    metrics: Any,
    meter: Any,
    logs: Any,
    logger: Any,
    spans: Any,
    span_processors: Any,
    records: Any,
    log_processors: Any,
    sentry_: Any,
    scope: Any,
    scope_: Any,
    client: Any,
    client_: Any,
    transport: Any,
    absent: tuple[str, ...],
) -> Callable[[], bool]:
    """Return what tells whether all is as it was seen.

    Spelled out, and each in its own variable: a loop would take several times as long, at
    the end of every request.
    """
    modules = sys.modules

    def unchanged() -> bool:
        try:
            return (
                stir.mark is mark
                and traces._TRACER_PROVIDER is tracer
                and metrics._METER_PROVIDER is meter
                and logs._LOGGER_PROVIDER is logger
                and spans._span_processors is span_processors
                and records._log_record_processors is log_processors
                and sentry_._global_scope is scope
                and scope_.client is client
                and client_.transport is transport
                and (not absent or modules.keys().isdisjoint(absent))
            )
        except Exception:  # noqa: BLE001 - a module that is being imported, or of another version
            return False

    return unchanged


def _never() -> bool:
    return False


def _look(owner: Any, name: str) -> Any:
    return getattr(owner, name, None)


def _root(provider: Any, name: str, children: str) -> Any:
    """Return what has the processors of a provider."""
    root = getattr(provider, name, None)
    return root if hasattr(root, children) else _NOWHERE
