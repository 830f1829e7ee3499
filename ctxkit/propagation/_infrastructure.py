"""Which threads serve everybody, and belong to no request. Private.

A thread that outlives the request it happens to be started in must not carry it along: a
pool's worker would run the next request's jobs as the first one's user, and an exporter
would keep the first request alive for the life of the process.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

#: By the code that the thread runs: a module, or a name in one. Narrow where people give other
#: functions of the same module to a thread: ``asyncio.run``, ``pool.map``.
_KNOWN = (
    # The standard library.
    "asyncio.base_events.BaseEventLoop._do_shutdown",
    "asyncio.base_events.BaseEventLoop.run_forever",
    "asyncio.unix_events",
    "concurrent.futures.process._ExecutorManagerThread",
    "concurrent.futures.thread._worker",
    "logging.handlers.QueueListener",
    "multiprocessing.managers.Server",
    "multiprocessing.pool.Pool._handle_results",
    "multiprocessing.pool.Pool._handle_tasks",
    "multiprocessing.pool.Pool._handle_workers",
    "multiprocessing.pool.worker",
    "multiprocessing.queues.Queue._feed",
    "multiprocessing.resource_sharer",
    "socketserver",
    # Event loops and bridges to them.
    "aiosqlite",
    "anyio._backends",
    "anyio._core._asyncio_selector_thread",
    "anyio.from_thread",
    "asgiref",
    "trio._core._thread_cache",
    "twisted",
    # Telemetry.
    "datadog",
    "ddtrace",
    "elasticapm",
    "google.api_core",
    "google.cloud.logging",
    "google.cloud.logging_v2",
    "loguru",
    "newrelic",
    "opentelemetry.exporter",
    "opentelemetry.sdk",
    "posthog",
    "prometheus_client",
    "sentry_sdk._batcher",
    "sentry_sdk._log_batcher",
    "sentry_sdk._metrics_batcher",
    "sentry_sdk._span_batcher",
    "sentry_sdk.metrics",
    "sentry_sdk.monitor",
    "sentry_sdk.profiler",
    "sentry_sdk.sessions",
    "sentry_sdk.transport",
    "sentry_sdk.utils.TimeoutThread",
    "sentry_sdk.worker",
    # Servers, schedulers, clients.
    "apscheduler",
    "cheroot",
    "grpc._channel",
    "grpc._server",
    "gunicorn",
    "hypercorn",
    "kafka.coordinator",
    "kafka.producer.sender",
    "psycopg_pool",
    "pymongo.monitor",
    "pymongo.periodic_executor",
    "redis.client.PubSubWorkerThread",
    "uvicorn",
    "waitress",
    "watchdog",
    # Our own flushing is nobody's request either.
    "ctxkit.flushing",
    "ctxkit.lifecycle",
)


class Judge:
    """Tell the threads that serve everybody from the ones that do a request's work.

    Args:
        exclude: Further ones: modules or names in them, and functions that are given a
            thread and say whether it is one.
    """

    def __init__(self, exclude: Iterable[str | Callable[[threading.Thread], bool]] = ()) -> None:
        named = [*_KNOWN, *(each for each in exclude if isinstance(each, str))]
        self._prefixes = tuple(f"{name}." for name in named)
        self._told = [each for each in exclude if not isinstance(each, str)]

    def __call__(self, thread: threading.Thread) -> bool:
        """Tell whether ``thread`` serves everybody."""
        code = _code_of(thread)
        name = f"{getattr(code, '__module__', '')}.{getattr(code, '__qualname__', '')}."
        # A callable object has the module of its class, which says nothing of its work.
        known = hasattr(code, "__qualname__") and name.startswith(self._prefixes)
        return known or any(tell(thread) for tell in self._told)


def _code_of(thread: threading.Thread) -> Any:
    """Return the function in which the work of ``thread`` is written."""
    own: dict[str, Any] = vars(thread)
    run: Any = type(thread).run
    if run.__module__ != "threading":  # a subclass has its own; wrappers say whose they are
        return run
    code: Any = own.get("_target") or own.get("function")  # the latter of a Timer
    while isinstance(code, partial):
        code = code.func  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return code  # pyright: ignore[reportUnknownVariableType]
