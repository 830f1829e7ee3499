"""OpenTelemetry: the global providers of its SDK, one sink for each signal.

``force_flush`` obeys no timeout and answers True whatever becomes of the data, so it is
called in the engine's thread only, and the exporters' own answers are watched.
https://github.com/open-telemetry/opentelemetry-python/issues/4568

Nothing here imports the SDK; its objects are taken as they are found.
"""

from __future__ import annotations

import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.flushing.budget import DEFAULT_TIMEOUT
from ctxkit.flushing.report import SinkOutcome, SinkStatus
from ctxkit.flushing.sinks import _otel_processors as reading
from ctxkit.flushing.sinks._watching import STIR, Connected, Ledger, tap
from ctxkit.flushing.spooling import switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ctxkit.flushing.protocol import Sink
    from ctxkit.flushing.sinks._otel_processors import Batch
    from ctxkit.flushing.spooling._files import Spool
    from ctxkit.flushing.spooling._keeper import Keeper

TRACES: Final = "otel.traces"
METRICS: Final = "otel.metrics"
LOGS: Final = "otel.logs"

# A provider stops at this time between two processors, never within one, so a short one
# would only keep the second exporter from its turn.
_LEAST_TIMEOUT: Final = 30.0  # seconds

_PULL_READERS = {"InMemoryMetricReader", "PrometheusMetricReader"}


def suppress_instrumentation() -> None:
    """Keep OpenTelemetry's instrumentations from tracing what the current context does."""
    module = sys.modules.get("opentelemetry.context")
    key = getattr(module, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    if module is not None and key is not None and not module.get_value(key):
        module.attach(module.set_value(key, True))  # noqa: FBT003 - a value, not a flag


def _new_traces(provider: Any) -> Sink:
    return RecordsSink(TRACES, provider, "_active_span_processor", "_span_processors")


def _new_logs(provider: Any) -> Sink:
    return RecordsSink(LOGS, provider, "_multi_log_record_processor", "_log_record_processors")


def _new_metrics(provider: Any) -> Sink:
    return MetricsSink(provider)


@final
class _Place:
    """A variable in which the API keeps a global provider; its getters would create one."""

    __slots__ = ("module", "new", "provider", "sink", "variable")

    def __init__(self, module: str, variable: str, new: Callable[[Any], Sink]) -> None:
        self.module = module
        self.variable = variable
        self.new = new
        self.provider: Any = None
        self.sink: Sink | None = None


_PLACES: Final = (
    _Place("opentelemetry.trace", "_TRACER_PROVIDER", _new_traces),
    _Place("opentelemetry.metrics._internal", "_METER_PROVIDER", _new_metrics),
    _Place("opentelemetry._logs._internal", "_LOGGER_PROVIDER", _new_logs),
)

#: Where the providers are to be found.
PATHS: Final = tuple((place.module, place.variable) for place in _PLACES)


def find() -> list[Sink]:
    """Return a sink for each global provider that is set and can be flushed."""
    modules = sys.modules
    found: list[Sink] = []
    for place in _PLACES:
        module = modules.get(place.module)
        if module is None:
            continue
        provider = getattr(module, place.variable, None)
        if provider is not place.provider:
            place.sink = place.new(provider) if hasattr(provider, "force_flush") else None
            place.provider = provider
        if place.sink is not None:
            found.append(place.sink)
    return found


@final
class RecordsSink(Connected):
    """Flush the processors of a tracer or logger provider.

    Args:
        name: The name of the sink.
        provider: A provider of the SDK.
        root: The provider's attribute that holds its multi-processor.
        children: The attribute of that one that holds the tuple of processors.
    """

    #: The seconds that a flush is given at least, however soon its callers leave: one that gives
    #: up early never learns that a slow sink is well.
    least_timeout: float = DEFAULT_TIMEOUT

    def __init__(self, name: str, provider: Any, root: str, children: str) -> None:
        self.name = name
        self._looking = threading.RLock()
        self._provider = provider
        self._root: Any = getattr(provider, root, None)
        self._children = children
        self._seen: object = None
        self._ledger = Ledger()
        self._batches: list[Batch] = []
        self._unknown = ""
        self.keeper: Keeper | None = None
        switch.attach(self)

    def pending(self) -> int | None:
        """Count records in the queues, and one for an export under way."""
        processors = getattr(self._root, self._children, None)
        if processors is not self._seen or processors is None:
            self._inspect(processors)
        if self._unknown:
            return None
        count = 1 if self._ledger.losses else 0
        for batch in self._batches:
            count += batch.pending()
        if self.keeper is not None and self.keeper.due():
            count += 1
        return count

    @property
    def tells(self) -> bool:
        """Whether nothing becomes pending without ``STIR`` being told."""
        return (
            self.keeper is None
            and not self._unknown
            and all(batch.tells for batch in self._batches)
        )

    @property
    def concurrency(self) -> int:
        """How many flushes may run at once: as many as every processor takes."""
        return min((batch.concurrency for batch in self._batches), default=1)

    def flush(self, timeout: float) -> SinkOutcome:
        """Export what is queued, and judge by the exporters' own answers.

        Safety:
            As many calls as :attr:`concurrency` says may run at once. What is lost while one of
            them runs, that one tells of.
        """
        begun, started = self._ledger.begin(), monotonic()
        answer = self._provider.force_flush(int(max(timeout, _LEAST_TIMEOUT) * 1000))
        through = reading.wait_for_all(self._batches, timeout - (monotonic() - started))
        losses = self._ledger.settle(begun)
        if losses:
            return SinkOutcome(SinkStatus.ERROR, losses)
        if not through:
            return SinkOutcome(SinkStatus.TIMEOUT, "the exporters are still at work")
        # SDK 1.33 answers False whenever it flushed logs.
        if answer is False and (self._unknown or any(map(reading.Batch.pending, self._batches))):
            return SinkOutcome(SinkStatus.ERROR, "the provider's force_flush() answered False")
        if self._unknown:
            return SinkOutcome(SinkStatus.UNVERIFIED, f"{self._unknown} does not tell")
        return SinkOutcome(SinkStatus.OK)

    def keep_with(self, spool: Spool | None) -> None:
        """Keep there what could not be sent; None: no longer."""
        self.keeper = self._ledger.keeper = _keeper(spool, self._ledger, self.name, self._waiting)
        STIR.mark = object()

    def _waiting(self) -> list[tuple[Any, list[Any]]]:
        return [(batch.exports.exporter, batch.waiting()) for batch in self._batches]

    def drop_connections(self) -> None:
        """Close what is kept open to the backend."""
        for batch in self._batches:
            reading.drop_connections(batch.exports.exporter)

    def after_fork(self) -> None:
        """Leave to the parent what is the parent's."""
        self._looking = threading.RLock()
        self._ledger.forget()
        for batch in self._batches:
            batch.exports.running = 0

    def _inspect(self, processors: Any) -> None:
        # One thread at a time, since the processors can be watched by one; and nobody sees half.
        with self._looking:
            if processors is self._seen and processors is not None:
                return
            batches: list[Batch] = []
            unknown = "" if hasattr(processors, "__iter__") else type(self._provider).__name__
            if not unknown:
                unknown = self._look_at(processors or (), batches)
            self._batches, self._unknown, self._seen = batches, unknown, processors

    def _look_at(self, processors: Iterable[Any], batches: list[Batch]) -> str:
        """Add what is known of the processors; return what kind is not known, if any."""
        unknown = ""
        for processor in processors:
            batch = reading.batch_of(processor, self._ledger)
            if batch is not None:
                batches.append(batch)
            elif hasattr(processor, self._children):
                unknown = self._look_at(getattr(processor, self._children), batches) or unknown
            elif not reading.is_unbuffered(processor):
                unknown = type(processor).__name__
        return unknown


@final
class MetricsSink(Connected):
    """Flush the readers of a meter provider that push.

    A push of cumulative metrics sends everything whether it changed or not, so it is done
    only when an instrument recorded since the last one. What observable instruments would
    report is not asked for: their next periodic export has it.
    """

    name: str = METRICS

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._looking = threading.RLock()
        self._ledger = Ledger()
        self._consumer: Any = getattr(provider, "_measurement_consumer", None)
        # What was recorded before we watched is unknown; nothing, if there is no meter yet.
        self._recorded = getattr(provider, "_meters", None) != {}
        self._tapped = tap(self._consumer, "consume_measurement", self._around_measurement)
        self._seen: object = None
        self._readers: list[Any] = []
        self._unknown = ""
        self.keeper: Keeper | None = None
        switch.attach(self)

    def pending(self) -> int | None:
        """Return 1 if something was recorded since the last export, else 0."""
        self._inspect()
        if self._unknown or not self._tapped:
            return None
        if self._ledger.losses or (self._recorded and self._readers):
            return 1
        return 1 if self.keeper is not None and self.keeper.due() else 0

    @property
    def tells(self) -> bool:
        """Whether nothing becomes pending without ``STIR`` being told."""
        return self.keeper is None and self._tapped and not self._unknown

    def flush(self, timeout: float) -> SinkOutcome:
        """Collect and export once, and judge by the exporters' own answers."""
        self._inspect()
        if self.keeper is not None and not (self._recorded or self._ledger.losses or self._unknown):
            return SinkOutcome(SinkStatus.OK)  # called for what is kept alone
        self._recorded = False
        millis = int(max(timeout, _LEAST_TIMEOUT) * 1000)
        for owner in self._readers or [self._provider]:
            try:
                owner.force_flush(millis)
            except Exception as error:  # noqa: BLE001 - the next reader shall have its turn
                self._ledger.lose(f"{type(error).__name__}: {error}")
        lossy = self._ledger.lossy
        losses = self._ledger.settle()
        if losses:
            self._recorded = self._recorded or lossy
            return SinkOutcome(SinkStatus.ERROR, losses)
        if self._unknown or not self._readers:
            unknown = self._unknown or type(self._provider).__name__
            return SinkOutcome(SinkStatus.UNVERIFIED, f"{unknown} does not tell")
        return SinkOutcome(SinkStatus.OK)

    def keep_with(self, spool: Spool | None) -> None:
        """Keep there what could not be sent; None: no longer."""
        self.keeper = self._ledger.keeper = _keeper(spool, self._ledger, self.name, self._waiting)
        STIR.mark = object()

    def _waiting(self) -> list[tuple[Any, list[Any]]]:
        exporters = [getattr(reader, "_exporter", None) for reader in self._readers]
        return [(exporter, []) for exporter in exporters if exporter is not None]

    def after_fork(self) -> None:
        """Free the child of locks that an export in the parent held.

        The SDK renews its other locks, but not these, and waits for them without end.
        """
        self._looking = threading.RLock()
        self._ledger.forget()
        self._inspect()
        for owner, name in [(self._consumer, "_lock")] + [
            (reader, "_export_lock") for reader in self._readers
        ]:
            locked = getattr(getattr(owner, name, None), "locked", None)
            if locked is not None and locked():
                setattr(owner, name, threading.Lock())

    def drop_connections(self) -> None:
        """Close what is kept open to the backend."""
        self._inspect()
        for reader in self._readers:
            reading.drop_connections(getattr(reader, "_exporter", None))

    def _around_measurement(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def consume_measurement(*args: Any, **named: Any) -> None:
            method(*args, **named)
            self._recorded = True  # afterwards: a collection just before has not seen it
            STIR.mark = object()

        return consume_measurement

    def _inspect(self) -> None:
        storages = getattr(self._consumer, "_reader_storages", None)
        if storages is self._seen and storages is not None:
            return
        with self._looking:  # nobody sees half
            readers = [each for each in _keys(storages) if not _names(each) & _PULL_READERS]
            unknown = "" if hasattr(storages, "keys") else type(self._provider).__name__
            for reader in readers:
                exporter = getattr(reader, "_exporter", None)
                if not reading.Exports(exporter, self._ledger).watched:
                    unknown = type(reader if exporter is None else exporter).__name__
            self._readers, self._unknown, self._seen = readers, unknown, storages


def _keeper(
    spool: Spool | None,
    ledger: Ledger,
    name: str,
    waiting: Callable[[], list[tuple[Any, list[Any]]]],
) -> Keeper | None:
    if spool is None:
        return None
    from ctxkit.flushing.spooling._otlp import OTLPKeeper  # noqa: PLC0415 - few ask for it

    return OTLPKeeper(spool, ledger, switch.nudging(name), name, waiting)


def _keys(mapping: Any) -> tuple[Any, ...]:
    return tuple(mapping) if hasattr(mapping, "keys") else ()


def _names(thing: object) -> set[str]:
    return {kind.__name__ for kind in type(thing).__mro__}
