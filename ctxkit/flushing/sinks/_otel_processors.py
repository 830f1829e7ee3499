"""What the sinks read of OpenTelemetry's processors and exporters. Private."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, final

from ctxkit.flushing._nudging import nudge
from ctxkit.flushing.sinks._watching import STIR, keeping, tap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ctxkit.flushing.sinks._watching import Ledger

_SDK = "opentelemetry.sdk."
# Classes of the SDK whose force_flush() has nothing to do.
_UNBUFFERED = {
    "SpanProcessor",
    "LogRecordProcessor",
    "SimpleSpanProcessor",
    "SimpleLogRecordProcessor",
}
# What a processor is given its records by, in all supported versions.
_ENTRANCES = ("emit", "on_end", "on_emit")


@final
class Exports:
    """Follow the exports of one exporter.

    Attributes:
        running: How many are under way.
        watched: Whether the exporter gives the chance to follow them.
        concurrent: The exporter, if it is one that hands its batches to others and keeps count
            of them: ``ctxkit.contrib``'s.
    """

    __slots__ = ("concurrent", "exporter", "running", "watched")

    def __init__(self, exporter: Any, ledger: Ledger) -> None:
        self.running = 0
        self.exporter = exporter

        def around(method: Callable[..., Any]) -> Callable[..., Any]:
            told = _around_export(exporter, ledger)(method)

            def export(*args: Any, **named: Any) -> Any:
                self.running += 1
                try:
                    return told(*args, **named)
                finally:
                    self.running -= 1

            return export

        self.watched = tap(exporter, "export", keeping(ledger, exporter, around))
        self.concurrent: Any = None
        if _keeps_count(exporter) and tap(exporter, "on_exported", _around_exported(ledger)):
            self.concurrent = exporter
            tap(exporter, "_borrow", _around_borrow(ledger))


def _around_export(
    exporter: Any, ledger: Ledger
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have told what became of a batch, by the exporter's own answer."""
    kind = type(exporter).__name__

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def export(*args: Any, **named: Any) -> Any:
            try:
                result = method(*args, **named)
            except Exception as error:
                ledger.lose(f"{kind} raised {type(error).__name__}: {error}")
                raise
            if getattr(result, "name", None) != "SUCCESS":
                ledger.lose(f"{kind} answered {getattr(result, 'name', result)}")
            return result

        return export

    return around


def _around_borrow(ledger: Ledger) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have the spool follow the exporters that a concurrent one hands its batches to."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def borrow() -> Any:
            exporter = method()
            if ledger.keeper is not None:
                told = _around_export(exporter, ledger)
                tap(exporter, "export", keeping(ledger, exporter, told))
            return exporter

        return borrow

    return around


def _around_exported(ledger: Ledger) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have told what became of a batch that was only handed on."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def on_exported(exporter: Any, result: Any) -> None:
            kind = type(exporter).__name__
            if ledger.keeper is not None:
                pass  # it was told of the batch itself
            elif isinstance(result, Exception):
                ledger.lose(f"{kind} raised {type(result).__name__}: {result}")
            elif getattr(result, "name", None) != "SUCCESS":
                ledger.lose(f"{kind} answered {getattr(result, 'name', result)}")
            method(exporter, result)

        return on_exported

    return around


def _keeps_count(exporter: Any) -> bool:
    return all(hasattr(exporter, name) for name in ("concurrency", "mark", "wait", "unfinished"))


@final
class Batch:
    """A batching processor of the SDK: its queue, and whether it exports right now.

    Everything is looked up each time, since the SDK replaces it in a forked child.

    Attributes:
        exports: Those of its exporter.
        tells: Whether nothing comes in without :data:`STIR` being told.
    """

    __slots__ = ("_holder", "_queue", "exports", "tells")

    def __init__(self, holder: Any, queue: str, exports: Exports) -> None:
        self._holder = holder
        self._queue = queue
        self.exports = exports
        self.tells = False

    @property
    def concurrency(self) -> int:
        """How many flushes may run at once."""
        concurrent = self.exports.concurrent
        return 1 if concurrent is None else concurrent.concurrency

    def waiting(self) -> list[Any]:
        """Return what is in the queue, the oldest first; the queue stays as it is."""
        queue = getattr(self._holder, self._queue)
        for _ in range(10):
            try:
                return list(queue)[::-1]
            except RuntimeError:  # it changed meanwhile
                continue
        return []

    def pending(self) -> int:
        """Count records in the queue, and one for each export under way."""
        holder = self._holder
        # The lock is held from before the queue is emptied. Before SDK 1.34 there was none.
        lock = getattr(holder, "_export_lock", None)
        exports = self.exports
        exporting: int = exports.running > 0 if lock is None else lock.locked()
        if exports.concurrent is not None:
            exporting += exports.concurrent.unfinished
        return len(getattr(holder, self._queue)) + exporting

    def wait(self, timeout: float) -> bool:
        """Wait for what was handed on before; return whether that is through."""
        concurrent = self.exports.concurrent
        return concurrent is None or concurrent.wait(concurrent.mark(), timeout)

    def watch_queue(self, ledger: Ledger) -> None:
        """Have told when a record drops out of the full queue, which the SDK only logs."""
        nudging = self.concurrency > 1

        def around(method: Callable[..., Any]) -> Callable[..., Any]:
            def emit(record: Any, *args: Any, **named: Any) -> None:
                queue = getattr(self._holder, self._queue)
                full = len(queue) == queue.maxlen
                method(record, *args, **named)
                # Not so if the processor did not want it: not sampled, shut down.
                if full and queue and queue[0] is record:
                    ledger.lose("queue overflow")
                STIR.mark = object()  # afterwards: who looked just before has not seen it
                if nudging:
                    nudge()

            return emit

        if hasattr(getattr(self._holder, self._queue), "maxlen"):
            entrance = next((name for name in _ENTRANCES if tap(self._holder, name, around)), "")
            self.tells = entrance == "emit" and hasattr(self._holder, "_export_lock")


def batch_of(processor: Any, ledger: Ledger) -> Batch | None:
    """Return what there is to know of a batching processor; None if it is none, or opaque."""
    if not any(
        kind.__name__.startswith("Batch") and kind.__module__.startswith(_SDK)
        for kind in type(processor).__mro__
    ):
        return None
    holder = getattr(processor, "_batch_processor", processor)
    queue = "_queue" if hasattr(holder, "_queue") else "queue"
    exporter = getattr(holder, "_exporter", None) or getattr(holder, "span_exporter", None)
    exports = Exports(exporter, ledger)
    if not exports.watched or not hasattr(holder, queue):
        return None
    batch = Batch(holder, queue, exports)
    batch.watch_queue(ledger)
    return batch


def is_unbuffered(processor: Any) -> bool:
    """Whether its force_flush() is one of those in the SDK that have nothing to do."""
    for kind in type(processor).__mro__:
        if "force_flush" in vars(kind):
            return kind.__name__ in _UNBUFFERED and kind.__module__.startswith(_SDK)
    return False


def wait_for_all(batches: Iterable[Batch], timeout: float) -> bool:
    """Wait for what was handed on before, with one end for all of them."""
    end = monotonic() + timeout
    return all(batch.wait(max(0.0, end - monotonic())) for batch in batches)


def drop_connections(exporter: Any) -> None:
    """Have the next export open a connection, if this is an exporter over HTTP."""
    for each in getattr(exporter, "exporters", (exporter,)):
        # Either is closed when the exporter is shut down, and opens again by itself.
        client = getattr(each, "_client", None)
        holder: Any = getattr(each, "_session", None) or getattr(client, "_transport", None)
        if hasattr(holder, "close"):
            holder.close()
