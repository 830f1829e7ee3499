"""Sentry: a transport that sends many envelopes at once.

The SDK's own sends one envelope after the other, so what 16 requests record that end together
takes 16 round trips. Needs sentry-sdk.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from threading import local
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

from sentry_sdk.transport import HttpTransport
from sentry_sdk.utils import logger

from ctxkit.contrib._senders import Senders
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sentry_sdk.envelope import Envelope, Item

# Each updates what an earlier one of the same id said.
# https://develop.sentry.dev/sdk/telemetry/sessions/, https://develop.sentry.dev/sdk/telemetry/check-ins/
_ORDERED: Final = frozenset({"session", "check_in"})

_SLOW: Final = 0.1  # seconds after which the SDK tells the user that it still waits
_NODELAY: Final = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class ConcurrentTransport(HttpTransport):
    """Send envelopes to Sentry over several connections at once.

    Give it to the SDK, which takes everything else from its own options::

        import sentry_sdk
        from ctxkit.contrib.sentry import ConcurrentTransport

        sentry_sdk.init(transport=ConcurrentTransport)

    It is the SDK's own transport with another worker: rate limits, client reports, proxies,
    compression, ``transport_queue_size``, ``flush`` and ``close`` are what they were. With
    ``keep_alive`` it sets TCP_NODELAY too, which the SDK forgets: 40 ms for each envelope.

    Events, transactions, logs may arrive in another order than they were captured in, which
    Sentry expects of any two requests. Sessions and check-ins, each of which updates an earlier
    one, are sent one at a time and in order.

    Attributes:
        senders: How many envelopes are sent at once, at most. Threads start at need. To change
            it, derive a class.

    Raises:
        ConfigurationError: ``senders`` is no number from 1 up.

    Safety:
        Overrides of ``on_dropped_event`` are called by several threads at once. A forked child
        sends nothing of its parent's, waits for nothing of it, and opens its own connections.
    """

    senders: ClassVar[int] = 16

    def __init__(self, options: dict[str, Any]) -> None:
        senders: Any = self.senders
        if not isinstance(senders, int) or senders < 1:
            raise ConfigurationError(
                f"{type(self).__name__}.senders", f"is {senders!r}", "Use a number from 1 up."
            )
        super().__init__(options)
        self._worker: Any = _Worker(senders, options["transport_queue_size"], self._renew)

    def capture_envelope(self, envelope: Envelope) -> None:
        """Put an envelope into the queue; drop and count it if that is full."""
        ordered = any(item.headers.get("type") in _ORDERED for item in envelope.items)
        if not ordered:
            super().capture_envelope(envelope)
            return
        with self._worker.in_order():
            super().capture_envelope(envelope)

    def flush(self, timeout: float, callback: Callable[[int, float], None] | None = None) -> None:
        """Wait until what was captured before is sent, and what is lost is reported.

        Args:
            timeout: The most seconds to wait.
            callback: Told how many envelopes are left, and ``timeout``, if it takes a while.

        Safety:
            Callers do not wait for each other, nor for what is captured later.
        """
        end = monotonic() + timeout
        worker = self._worker
        if timeout <= 0:
            return
        mark = worker.mark()
        if not worker.wait(mark, min(_SLOW, timeout)):
            if callback is not None and worker.is_alive:
                callback(worker.unfinished, timeout)
            if not worker.wait(mark, end - monotonic()):
                logger.error("flush timed out, %d envelopes are not sent", worker.unfinished)
                return
        # Only now is it known what was lost.
        self._flush_client_reports(force=True)
        if worker.mark() != mark:
            worker.wait(worker.mark(), end - monotonic())

    def record_lost_event(
        self,
        reason: str,
        data_category: Any = None,
        item: Item | None = None,
        *,
        quantity: int = 1,
    ) -> None:
        """Count a loss for the next client report."""
        with self._worker.lock:
            super().record_lost_event(reason, data_category, item, quantity=quantity)

    def _fetch_pending_client_report(self, *args: Any, **named: Any) -> Any:
        with self._worker.lock:
            return super()._fetch_pending_client_report(*args, **named)

    def _update_rate_limits(self, response: Any) -> None:
        """Keep the later end of each limit: answers come in any order."""
        with self._worker.lock:
            before = dict(self._disabled_until)
            super()._update_rate_limits(response)  # pyright: ignore[reportUnknownMemberType]
            limits = self._disabled_until
            for category, end in before.items():
                limits[category] = max(end, limits.get(category, end))

    def _is_rate_limited(self) -> bool:
        with self._worker.lock:  # an answer may add a category meanwhile
            return super()._is_rate_limited()

    def _make_pool(self) -> Any:
        """Make a pool that keeps a connection for each sender."""
        pool: Any = super()._make_pool()
        settings: dict[str, Any] | None = getattr(pool, "connection_pool_kw", None)
        if settings is None:
            return pool
        settings["maxsize"] = self.senders
        options = settings.get("socket_options")
        # Replacing urllib3's options, the SDK loses this one.
        if self.options["keep_alive"] and options is not None:
            given = {option[:2] for option in options}
            settings["socket_options"] = [
                *options,
                *([] if _NODELAY[:2] in given else [_NODELAY]),
            ]
        return pool

    def _renew(self) -> None:
        """Leave to the parent process what is its own."""
        self._pool = self._make_pool()
        self._discarded_events = type(self._discarded_events)(int)


@final
class _Worker(Senders["Callable[[], object]"]):
    """What the SDK calls a worker, on several threads.

    Attributes:
        concurrency: How many flushes may wait at once; ctxkit's sink looks for it.
    """

    def __init__(self, senders: int, room: int | None, renew: Callable[[], object]) -> None:
        super().__init__(
            "sentry", _send, fail=_log_failure, senders=senders, room=room or 0, renew=renew
        )
        self.concurrency = senders
        self._here = local()

    def submit(self, callback: Callable[[], object]) -> bool:
        """Have ``callback`` called by a sender; return whether there was room for it."""
        return self.put(callback, ordered=getattr(self._here, "ordered", False))

    @contextmanager
    def in_order(self) -> Generator[None]:
        """Have what this thread submits meanwhile keep its order."""
        self._here.ordered = True
        try:
            yield
        finally:
            self._here.ordered = False


def _send(loads: list[Callable[[], object]]) -> None:
    for load in loads:
        load()


def _log_failure(error: Exception) -> None:
    logger.error("Failed processing job", exc_info=error)
