"""OpenTelemetry: an exporter that exports several batches at once.

The SDK's batch processors export under one lock, and no exporter may be called twice at a time,
so what is recorded while an export is under way waits for it, and then for its own. Nothing here
imports the SDK; its objects are taken as they are found.
"""

from __future__ import annotations

import logging
import sys
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ctxkit.contrib._senders import Senders
from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing.sinks.opentelemetry import suppress_instrumentation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.trace.export import SpanExporter

    # It passes for either; what it answers is the business of the exporters that it has made.
    class _Exporter(SpanExporter, LogRecordExporter):  # type: ignore[misc]
        """What processors ask for."""
else:
    _Exporter = object

_DEFAULT_TIMEOUT: Final = 10.0  # seconds, as OTLP's
_MOST: Final = 512  # records in one request: the SDK's own max_export_batch_size
_LINGER: Final = 0.002  # seconds for each export under way

_RESULTS: Final = ("SpanExportResult", "LogRecordExportResult", "LogExportResult")


class Handed(Enum):
    """Say of an exporter that is none of the SDK's whether it took a batch."""

    SUCCESS = 0
    FAILURE = 1


class ConcurrentExporter(_Exporter):
    """Export batches of spans or log records several at a time.

    Give it a way to make exporters instead of one, and give itself to the processor::

        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
        from ctxkit.contrib.opentelemetry import ConcurrentExporter

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(ConcurrentExporter(ConsoleSpanExporter)))
        provider.shutdown()

    Every exporter is used by one thread at a time. A batch is handed to a free one, and
    ``export()`` returns; when all are at work, batches wait, and leave together. So what ends at
    the same time arrives after little more than one round trip, and a lone span at once.

    Args:
        factory: Makes an exporter: its class, or a function. Called once here and, at need,
            later and in other threads, up to ``senders`` times in all.
        senders: The most exports at once.
        timeout: The seconds that ``export()`` waits for room when all are at work and twice as
            many batches wait. None: what the exporter's own timeout is, else 10.

    Raises:
        ConfigurationError: ``factory`` cannot be called or makes no exporter, or ``senders`` is
            no number from 1 up.

    Context:
        Exports run in no context, with instrumentation suppressed.

    Safety:
        Thread-safe. A forked child exports nothing of its parent's and makes its own exporters.
    """

    def __init__(
        self, factory: Callable[[], Any], *, senders: int = 8, timeout: float | None = None
    ) -> None:
        _check(factory, senders)
        first = factory()
        if not callable(getattr(first, "export", None)):
            raise ConfigurationError(
                "ConcurrentExporter()",
                f"got a factory that makes {first!r}, which has no method export()",
                "Give the class of an exporter, or a function that returns one.",
            )
        #: How many flushes may wait at once. Waiting costs nothing, and callers may share exports.
        self.concurrency: int = 2 * senders
        self._factory = factory
        self._free = [first]
        self._made: list[Any] = [first]
        self._shut_down = False
        self._failed = self._told = 0
        self._results: Any = _results_of(first)
        self._timeout = _timeout_of(first) if timeout is None else timeout
        self._senders: Senders[Sequence[Any]] = Senders(
            type(first).__name__,
            self._send,
            fail=_log_failure,
            senders=senders,
            room=2 * senders,
            weight=len,
            most=_MOST,
            linger=_LINGER,
            renew=self._renew,
        )

    def export(  # pyright: ignore[reportIncompatibleMethodOverride] - the signals name it apart
        self, batch: Sequence[Any]
    ) -> Any:
        """Hand a batch to the senders.

        Returns:
            SUCCESS if they have it, which says nothing about the export yet: see
            :meth:`on_exported` and :meth:`force_flush`. FAILURE if there was no room in time, or
            after :meth:`shutdown`; then the batch is lost.
        """
        if not self._shut_down and self._senders.put(batch, timeout=self._timeout):
            if not self._senders.is_alive:  # at exit, CPython 3.12 lets nobody start a thread
                self._senders.work_off()
            return self._results.SUCCESS
        self._fail()
        return self._results.FAILURE

    def on_exported(self, exporter: Any, result: object) -> None:
        """Hear what became of an export; does nothing, and is there to be overridden.

        Args:
            exporter: The one that was used; this one where another could not be made.
            result: What it returned, or the exception that it raised.

        Safety:
            Called by several threads at once.
        """

    def force_flush(self, timeout_millis: float = 30_000) -> bool:
        """Wait until everything handed in before is exported.

        Returns:
            Whether it is, in time and with success, as is what was handed in since the last
            call that ended.
        """
        told = min(self._told, self._failed)
        if not self.wait(self.mark(), timeout_millis / 1000):
            return False
        failed, self._told = self._failed, self._failed
        return failed == told

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Export what waits, in the time given, and shut the exporters down. Once and for all."""
        if self._shut_down:
            return
        self._shut_down = True
        self.wait(self.mark(), timeout_millis / 1000)
        for exporter in self._made:
            exporter.shutdown()
        self._senders.kill()

    @property
    def exporters(self) -> tuple[Any, ...]:
        """The exporters that were made so far."""
        return tuple(self._made)

    @property
    def unfinished(self) -> int:
        """How many batches wait or are being exported."""
        return self._senders.unfinished

    def mark(self) -> int:
        """Return the number of the batch that was handed in last."""
        return self._senders.mark()

    def wait(self, mark: int, timeout: float) -> bool:
        """Wait until all batches up to ``mark`` are through, at most ``timeout`` seconds."""
        return self._senders.wait(mark, timeout)

    def _send(self, batches: list[Sequence[Any]]) -> None:
        suppress_instrumentation()
        try:
            exporter = self._borrow()
        except Exception as error:
            self._fail()
            self.on_exported(self, error)
            raise
        batch = batches[0] if len(batches) == 1 else list(chain.from_iterable(batches))
        result: object
        try:
            result = exporter.export(batch)
        except Exception as error:
            self._fail()
            self.on_exported(exporter, error)
            raise
        finally:
            self._free.append(exporter)
        if getattr(result, "name", None) != "SUCCESS":
            self._fail()
        self.on_exported(exporter, result)

    def _fail(self) -> None:
        with self._senders.lock:
            self._failed += 1

    def _borrow(self) -> Any:
        """Return an exporter that nobody uses: the one that was used last, which is connected."""
        try:
            return self._free.pop()
        except IndexError:
            exporter = self._factory()
            self._made.append(exporter)
            return exporter

    def _renew(self) -> None:
        """Make new exporters in a forked child: the old ones share connections with the parent."""
        # Not forgotten: closing them might disturb those.
        self._inherited = self._free, self._made
        self._free, self._made = [], []
        self._failed = self._told = 0


def _check(factory: object, senders: object) -> None:
    if not callable(factory):
        raise ConfigurationError(
            "ConcurrentExporter()",
            f"got {factory!r}, which cannot be called",
            "Give the class of an exporter, or a function that returns one: each needs its own.",
        )
    if not isinstance(senders, int) or senders < 1:
        raise ConfigurationError(
            "ConcurrentExporter(senders=)", f"is {senders!r}", "Use a number from 1 up."
        )


def _results_of(exporter: object) -> Any:
    """Return the enumeration of results that belongs to the base class of ``exporter``."""
    for kind in type(exporter).__mro__:
        module = sys.modules.get(kind.__module__)
        if kind.__module__.startswith("opentelemetry.sdk."):
            for name in _RESULTS:
                if hasattr(module, name):
                    return getattr(module, name)
    return Handed


def _timeout_of(exporter: object) -> float:
    """Return the seconds after which ``exporter`` gives up."""
    for holder in (exporter, getattr(exporter, "_client", None)):
        timeout = getattr(holder, "_timeout", None)
        if isinstance(timeout, int | float):
            return float(timeout)
    return _DEFAULT_TIMEOUT


def _log_failure(error: Exception) -> None:
    logging.getLogger("ctxkit.contrib").error("ctxkit.export.failed", exc_info=error)
