"""Sentry: envelopes as the SDK writes them, sent again through its transport.

Kept is what the transport failed to send: no connection, no answer in time, an error of the
server, 429, no room in the queue. Not kept is what was refused: by sampling and
``before_send``, which come before the transport; by a rate limit that the SDK obeys without
asking; by the server, as too large or as unusable.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.flushing.sinks._watching import tap
from ctxkit.flushing.spooling._keeper import Delivery, Keeper
from ctxkit.lifecycle._store import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing.sinks._watching import Ledger
    from ctxkit.flushing.spooling._files import Spool

_COPY: Final = "_ctxkit_copy"
_RETURN: Final = "_ctxkit_return"

_COME_AGAIN: Final = frozenset(
    {
        "full_queue",
        "interrupted",
        "network",
        "queue_overflow",
        "status_408",
        "status_429",
        "status_502",
        "status_503",
        "status_504",
    }
)
_HELD_BACK: Final = frozenset({"ratelimit_backoff", "self_rate_limits"})


@final
class SentryKeeper(Keeper):
    """Keep what one transport of Sentry's could not send.

    Args:
        spool: Where it is kept.
        ledger: The sink's.
        nudge: As for any keeper.
        transport: One with a queue and a worker.
        components: Turns what is in no envelope yet into envelopes.
    """

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        nudge: Callable[[], None],
        transport: Any,
        components: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._components = components
        super().__init__(spool, ledger, nudge)
        dsn = getattr(transport, "parsed_dsn", None)
        self.key = digest("sentry", str(dsn))[:16]
        tap(transport, "capture_envelope", self._around_capture)

    def reset(self) -> None:
        """Begin anew, in a forked child: what is under way is the parent's."""
        super().reset()
        self._pending: dict[int, Any] = {}

    def _copy(self) -> None:
        """Keep a copy of the envelopes on their way, and of what is in none yet."""
        with suppress(Exception):
            self._components()
        for envelope in list(self._pending.copy().values()):
            # Not all under one lock: the worker would wait for it with what it has sent.
            with self._lock, suppress(Exception):
                if id(envelope) in self._pending and not hasattr(envelope, _COPY):
                    name = self.spool.keep(self.key, envelope.serialize(), held=True)
                    if name is not None:
                        setattr(envelope, _COPY, name)

    def deliver(self, name: str, data: bytes, seconds: float) -> Delivery:
        """Send an envelope through the transport's queue, which bounds and orders all sending."""
        healthy = getattr(self._transport, "is_healthy", None)
        if healthy is not None and not healthy():
            return Delivery.HELD_BACK
        envelope = sys.modules["sentry_sdk.envelope"].Envelope.deserialize(data)
        if "sent_at" in envelope.headers:
            # The server takes the difference to its own clock for an error of ours.
            # https://develop.sentry.dev/sdk/data-model/envelopes/#envelope-headers
            envelope.headers["sent_at"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        returning = _Return(name)
        setattr(envelope, _RETURN, returning)
        self._transport.capture_envelope(envelope)
        returning.over.wait(seconds)
        with self._lock:
            # From here on its end is filed by who sees it.
            returning.awaited = False
            return returning.verdict

    def _destinations(self) -> tuple[SentryKeeper]:
        return (self,)

    def _around_capture(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def capture_envelope(*args: Any, **named: Any) -> Any:
            if self.ledger.keeper is not self:  # no longer spooled
                return method(*args, **named)
            return self._collect(self._captured, self._queued, None, method, args, named)

        return capture_envelope

    def _captured(self, _: Any, envelope: Any) -> None:
        if _is_worth_it(envelope):
            self._pending[id(envelope)] = envelope

    def _queued(self, owner: Any, envelope: Any, reasons: list[str]) -> None:
        if reasons:
            self._end(owner, envelope, reasons)

    def _begin(self, owner: Any, item: Any) -> None:
        pass

    def _end(self, owner: Any, item: Any, reasons: list[str]) -> None:  # noqa: ARG002 - as declared
        verdict = _verdict(reasons)
        with self._lock:
            self._pending.pop(id(item), None)
            returning: _Return | None = getattr(item, _RETURN, None)
            copy: str | None = getattr(item, _COPY, None)
            if returning is not None:
                returning.end(verdict)
                if not returning.awaited:
                    self._file(returning.name, verdict)
                return
        if verdict is Delivery.SENT:
            if copy is not None:
                self.spool.forget(copy)
            self._succeed()
        elif verdict in (Delivery.LATER, Delivery.FAILED) and _is_worth_it(item):
            self._keep_envelope(item, copy, reasons)
        else:
            if copy is not None:
                self.spool.forget(copy)
            self._lost(reasons)

    def _keep_envelope(self, envelope: Any, copy: str | None, reasons: list[str]) -> None:
        if copy is not None and self.spool.let_go(copy, new=True):
            self._kept(reasons)
        else:  # or it had to make room
            self._keep(self.key, envelope.serialize(), reasons)


@final
class _Return:
    """An envelope that comes out of a file, on its way.

    Attributes:
        name: The file.
        awaited: Whether somebody still waits for its end, and files it.
        over: Set when it has ended.
        verdict: How.
    """

    __slots__ = ("awaited", "name", "over", "verdict")

    def __init__(self, name: str) -> None:
        self.name = name
        self.awaited = True
        self.over = threading.Event()
        self.verdict = Delivery.UNDECIDED

    def end(self, verdict: Delivery) -> None:
        """Tell how it ended."""
        # What the SDK holds back for a while is no worse for it.
        self.verdict = verdict
        self.over.set()


def _is_worth_it(envelope: Any) -> bool:
    # A report about losses is of no use when they turn out to be none.
    return any(item.type != "client_report" for item in envelope.items)


def _verdict(reasons: list[str]) -> Delivery:
    """Return what the reasons of a loss, in the SDK's own words, say of the envelope."""
    if not reasons:
        return Delivery.SENT
    if not _COME_AGAIN.isdisjoint(reasons):
        return Delivery.LATER
    if any(reason.startswith("status_5") for reason in reasons):
        return Delivery.FAILED
    return Delivery.REFUSED if _HELD_BACK.isdisjoint(reasons) else Delivery.HELD_BACK
