"""What the sink reads of the Sentry SDK's client, and what it lays over its methods. Private."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctxkit.flushing._nudging import nudge
from ctxkit.flushing.sinks._watching import stirring, tap

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing.sinks._watching import Ledger

_BATCHERS = ("log_batcher", "metrics_batcher", "span_batcher")
COMPONENTS = ("session_flusher", *_BATCHERS)
# What the components above keep their items in, under the names of all supported versions.
_BUFFERS = ("_span_buffer", "_buffer", "_log_buffer", "_metric_buffer")
_SESSION_BUFFERS = ("pending_sessions", "pending_aggregates")

# Losses that the transport only counts. What it was asked to drop (before_send, sampling) is
# none, and failed requests are told to on_dropped_event.
COUNTED_LOSSES = frozenset({"ratelimit_backoff", "queue_overflow", "internal_sdk_error"})
_COUNTED_DROPS = frozenset({"self_rate_limits", "full_queue", "internal_sdk_error"})


def around_loss(
    ledger: Ledger, counted: frozenset[str] | None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have the reasons in ``counted`` told; None for those that are not counted elsewhere."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def lose(reason: str, *args: Any, **named: Any) -> Any:
            if reason not in _COUNTED_DROPS if counted is None else reason in counted:
                ledger.lose(reason)
            return method(reason, *args, **named)

        return lose

    return around


def around_send(ledger: Ledger) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have told what is swallowed otherwise where it is not the network's fault."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def send_envelope(*args: Any, **named: Any) -> Any:
            try:
                return method(*args, **named)
            except Exception as error:
                ledger.lose(type(error).__name__)
                raise

        return send_envelope

    return around


def is_queue_worker(worker: Any) -> bool:
    """Whether this is the worker whose queue a marker can pass through in order."""
    queue = getattr(worker, "_queue", None)
    return isinstance(getattr(queue, "unfinished_tasks", None), int) and all(
        hasattr(worker, name) for name in ("submit", "is_alive")
    )


def tells_marks(worker: Any) -> bool:
    """Whether this is a worker that knows what it has sent: ``ctxkit.contrib``'s."""
    return all(hasattr(worker, name) for name in ("concurrency", "mark", "wait", "unfinished"))


def buffers_of(client: Any) -> tuple[tuple[Any, str], ...] | None:
    """Return where the client keeps what is in no envelope yet; None if that is unclear."""
    components = [getattr(client, name, None) for name in COMPONENTS]
    # Batchers that we do not know by name, of a later version.
    components += [other for other in getattr(client, "_batchers", ()) if other not in components]
    buffers: list[tuple[Any, str]] = []
    for component in components:
        if component is None:
            continue
        names = [name for name in _SESSION_BUFFERS if hasattr(component, name)]
        names = names or [name for name in _BUFFERS if hasattr(component, name)][:1]
        if not names:
            return None
        buffers += [(component, name) for name in names]
    return tuple(buffers)


def watch_entrances(client: Any, worker: Any) -> bool:
    """Have told when anything comes in; return whether nothing can come in unnoticed."""
    batchers = [getattr(client, name, None) for name in _BATCHERS]
    sessions = getattr(client, "session_flusher", None)
    entrances = [(worker, "submit"), *((batcher, "add") for batcher in batchers)]
    entrances += [(sessions, "add_session"), (sessions, "add_aggregate_session")]
    told = [owner is None or tap(owner, name, stirring) for owner, name in entrances]
    return all(told) and all(other in batchers for other in getattr(client, "_batchers", ()))


def flush_components(client: Any) -> None:
    """Turn buffered logs, metrics, spans and sessions into envelopes."""
    together = getattr(client, "_flush_components", None)
    if together is not None:
        together()
        return
    for name in COMPONENTS:
        component = getattr(client, name, None)
        if component is not None:
            component.flush()


def nudge_on_records(client: Any) -> None:
    """Have what a batcher gets pushed out while its request still runs."""
    for name in _BATCHERS:
        tap(getattr(client, name, None), "add", _around_add)


def _around_add(method: Callable[..., Any]) -> Callable[..., Any]:
    def add(*args: Any, **named: Any) -> None:
        method(*args, **named)
        nudge()

    return add


def heal(worker: Any) -> None:
    """Correct a count of unfinished tasks that was inherited across a fork.

    Called in the worker's thread by the marker, which is then the only task being worked
    on: uWSGI forks without running at-fork hooks, so the sink's ``after_fork`` did not.
    """
    queue = worker._queue  # noqa: SLF001
    if type(worker).__name__ == "BackgroundWorker" and hasattr(queue, "mutex"):
        with queue.mutex:
            queue.unfinished_tasks = min(queue.unfinished_tasks, queue.qsize() + 1)


def drop_connections(transport: Any) -> None:
    """Have the next request open a connection: those at hand may be dead, or somebody else's."""
    make = getattr(transport, "_make_pool", None)
    if make is not None and not hasattr(transport, "loop"):
        transport._pool = make()  # noqa: SLF001 - requests under way keep the old one
