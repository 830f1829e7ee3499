"""OTLP: batches as the SDK's own encoder writes them, sent again by the exporter's own means.

Nothing here imports the SDK: an exporter that failed has imported all there is to it.
"""

from __future__ import annotations

import sys
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from ctxkit.flushing.spooling._keeper import Delivery, Keeper
from ctxkit.lifecycle._store import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ctxkit.flushing.sinks._watching import Ledger
    from ctxkit.flushing.spooling._files import Spool

_EXPORTERS: Final = "opentelemetry.exporter.otlp.proto."
_COMMON: Final = f"{_EXPORTERS}common."
_PROTO: Final = "opentelemetry.proto.collector."

# https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
_COME_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
_NEVER: Final = frozenset({400, 413, 422})
# https://opentelemetry.io/docs/specs/otlp/#failures
_COME_AGAIN_RPC: Final = frozenset(
    {
        "ABORTED",
        "CANCELLED",
        "DATA_LOSS",
        "DEADLINE_EXCEEDED",
        "OUT_OF_RANGE",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
    }
)
_ANSWERED_WELL: Final = range(200, 400)  # as the exporters see it


class _Signal(NamedTuple):
    """Where the SDK keeps what belongs to a signal."""

    encoder: str
    encode: str
    messages: str
    request: str


_SIGNALS: Final = {
    "otel.traces": _Signal(
        f"{_COMMON}trace_encoder",
        "encode_spans",
        f"{_PROTO}trace.v1.trace_service_pb2",
        "ExportTraceServiceRequest",
    ),
    "otel.metrics": _Signal(
        f"{_COMMON}metrics_encoder",
        "encode_metrics",
        f"{_PROTO}metrics.v1.metrics_service_pb2",
        "ExportMetricsServiceRequest",
    ),
    "otel.logs": _Signal(
        f"{_COMMON}_log_encoder",
        "encode_logs",
        f"{_PROTO}logs.v1.logs_service_pb2",
        "ExportLogsServiceRequest",
    ),
}


@final
class OTLPKeeper(Keeper):
    """Keep what the OTLP exporters of one signal could not send.

    Args:
        spool: Where it is kept.
        ledger: The sink's.
        nudge: As for any keeper.
        signal: The sink's name.
        queues: Returns the exporters of the sink, and what waits in front of each.
    """

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        nudge: Callable[[], None],
        signal: str,
        queues: Callable[[], Iterable[tuple[Any, list[Any]]]],
    ) -> None:
        self._signal = signal
        self._queues = queues
        super().__init__(spool, ledger, nudge)

    def reset(self) -> None:
        """Begin anew, in a forked child: what is under way is the parent's."""
        super().reset()
        self._known: dict[Any, _Exporter] = {}
        self._flying: dict[int, tuple[Any, Any]] = {}
        self._handed: dict[int, tuple[Any, Any]] = {}
        self._ahead: dict[str, dict[int, Any]] = {}
        self._gone: set[str] = set()

    def _copy(self) -> None:
        with self._lock:
            self._release()
            for exporter, batch in self._here():
                known = self._exporter(exporter)
                written = {number for items in self._ahead.values() for number in items}
                items = _items(batch)
                new = [item for item in items if id(item) not in written]
                if known is None or not new:
                    continue
                data = known.encode(batch if len(new) == len(items) else new)
                name = None if data is None else self.spool.keep(known.key, data, held=True)
                if name is not None:
                    # The items too: an id says nothing once its object is gone.
                    self._ahead[name] = {id(item): item for item in new}

    def _here(self) -> list[tuple[Any, Any]]:
        """Return all batches on their way, and what waits in front of them."""
        return [*self._flying.values(), *self._handed.values(), *self._queues()]

    def _release(self) -> None:
        """Let go of copies of what the SDK has dropped from its queue, without a word."""
        here = {id(item) for _, batch in self._here() for item in _items(batch)}
        gone = {name for name, items in self._ahead.items() if here.isdisjoint(items)}
        # Twice: in between, an item may be in no queue any more and in no export yet.
        for name in gone & self._gone:
            del self._ahead[name]
            self.spool.let_go(name, new=True)
            self._waiting = True
        self._gone = gone

    def _begin(self, owner: Any, item: Any) -> None:
        with self._lock:
            on_its_way = self._handed if _hands_on(owner) else self._flying
            on_its_way[id(item)] = (owner, item)

    def _end(self, owner: Any, item: Any, reasons: list[str]) -> None:
        with self._lock:
            self._flying.pop(id(item), None)
            if not reasons and _hands_on(owner):
                return  # whoever has it by now tells
            try:
                if reasons:
                    self._fail(owner, item, reasons)
            finally:
                self._settle(item)
        if not reasons:
            self._succeed()

    def _fail(self, owner: Any, item: Any, reasons: list[str]) -> None:
        known = self._exporter(owner)
        if known is None:
            self.unspooled.add(type(owner).__name__)
        data = None if known is None else known.encode(item)
        if known is None or data is None:
            self._lost(reasons)
        else:
            self._keep(known.key, data, reasons)

    def _settle(self, batch: Any) -> None:
        """Do away with copies of which every item has had its end by now."""
        ended = set(map(id, _items(batch)))
        # What was handed on may have been put together, but not taken apart.
        for number, (_, handed) in list(self._handed.items()):
            if ended.issuperset(map(id, handed)):
                del self._handed[number]
        for name, items in list(self._ahead.items()):
            for number in ended.intersection(items):
                del items[number]
            if not items:
                del self._ahead[name]
                self.spool.forget(name)

    def _exporter(self, exporter: Any) -> _Exporter | None:
        known = self._known.get(exporter)
        if known is None:
            known = _Exporter.of(exporter, self._signal)
            if known is not None:
                self._known[exporter] = known
        return known

    def _destinations(self) -> list[_Exporter]:
        with self._lock:
            self._release()
        known = [self._exporter(exporter) for exporter, _ in self._queues()]
        return [each for each in known if each is not None and each.is_open()]


@final
class _Exporter:
    """An exporter of the SDK, as the way to its collector."""

    __slots__ = ("_exporter", "_owner", "_rpc", "_signal", "key")

    def __init__(self, exporter: Any, owner: Any, signal: str, *, rpc: bool) -> None:
        self._exporter = exporter
        self._owner = owner
        self._signal = _SIGNALS[signal]
        self._rpc = rpc
        client: Any = getattr(exporter, "_client", None)
        headers: Any = getattr(exporter, "_headers", None) or getattr(client, "_headers", ())
        # The headers too: they may say whose data it is.
        self.key = digest(
            signal,
            "grpc" if rpc else "http",
            str(getattr(exporter, "_endpoint", "")),
            repr(sorted(headers.items() if hasattr(headers, "items") else headers)),
        )[:16]

    @classmethod
    def of(cls, exporter: Any, signal: str) -> _Exporter | None:
        """Return the way that an exporter is; None if it is of a kind that we do not know."""
        owner = exporter
        if _hands_on(owner):
            exporter = next(iter(owner.exporters), None)
        for kind in type(exporter).__mro__:
            if kind.__module__.startswith(f"{_EXPORTERS}http."):
                return cls(exporter, owner, signal, rpc=False)
            if kind.__module__.startswith(f"{_EXPORTERS}grpc."):
                return cls(exporter, owner, signal, rpc=True)
        return None

    def is_open(self) -> bool:
        """Whether the exporter was not shut down."""
        return not any(
            getattr(each, name, False)
            for each in (self._exporter, self._owner)
            for name in ("_shutdown", "_shut_down")
        )

    def encode(self, batch: Any) -> bytes | None:
        """Return what the exporter would send; None if it would not."""
        encode = getattr(sys.modules.get(self._signal.encoder), self._signal.encode, None)
        if encode is None:
            return None
        data: bytes = encode(batch).SerializeToString()
        most = getattr(self._exporter, "_max_request_size", 0)
        return None if 0 < most < len(data) else data

    def deliver(self, name: str, data: bytes, seconds: float) -> Delivery:  # noqa: ARG002 - as declared
        """Send once, without the exporter's own retries, which would take up the time of others."""
        send = self._call if self._rpc else self._post
        if not _hands_on(self._owner):
            return send(self._exporter, data, seconds)
        exporter = self._owner._borrow()  # noqa: SLF001 - each is used by one thread at a time
        try:
            return send(exporter, data, seconds)
        finally:
            self._owner._free.append(exporter)  # noqa: SLF001

    def _post(self, exporter: Any, data: bytes, seconds: float) -> Delivery:
        client: Any = getattr(exporter, "_client", None)
        if hasattr(client, "_submit") and hasattr(client, "_compress"):
            status = client._submit(client._compress(data), seconds).status_code  # noqa: SLF001
            return Delivery.LATER if status is None else _by_status(status)
        post = exporter._export  # noqa: SLF001 - of SDKs before the client
        timed = {"timeout_sec": seconds} if "timeout_sec" in signature(post).parameters else {}
        try:
            status = post(data, **timed).status_code
        except OSError:  # all errors of requests are
            return Delivery.LATER
        return _by_status(status)

    def _call(self, exporter: Any, data: bytes, seconds: float) -> Delivery:
        request = getattr(sys.modules[self._signal.messages], self._signal.request)
        try:
            exporter._client.Export(  # noqa: SLF001
                request=request.FromString(data),
                metadata=exporter._headers,  # noqa: SLF001
                timeout=seconds,
            )
        except Exception as error:
            code = getattr(error, "code", None)
            if not callable(code):
                raise
            name = getattr(code(), "name", "")
            if name in _COME_AGAIN_RPC:
                return Delivery.LATER
            return Delivery.REFUSED if name == "INVALID_ARGUMENT" else Delivery.FAILED
        return Delivery.SENT


def _hands_on(exporter: Any) -> bool:
    """Whether it is the concurrent exporter of ``ctxkit.contrib``, which has others send."""
    return all(hasattr(exporter, name) for name in ("exporters", "on_exported", "_borrow", "_free"))


def _by_status(status: int) -> Delivery:
    if status in _ANSWERED_WELL:
        return Delivery.SENT
    if status in _COME_AGAIN:
        return Delivery.LATER
    return Delivery.REFUSED if status in _NEVER else Delivery.FAILED


def _items(batch: Any) -> list[Any]:
    """Return the items of a batch; metrics are one."""
    return list(batch) if hasattr(batch, "__iter__") else [batch]
