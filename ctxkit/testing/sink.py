"""A telemetry backend on loopback that real SDKs send to, for tests."""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from ctxkit.exceptions import MissingDependencyError
from ctxkit.flushing.budget import checked_timeout
from ctxkit.testing._destination import Destination
from ctxkit.testing._envelopes import read_envelope
from ctxkit.testing._listener import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from ctxkit.testing._destination import Behaviour
    from ctxkit.testing._exchange import Times
    from ctxkit.testing._items import Item, Reading

_OK_JSON = Reply(200, b"{}", {"Content-Type": "application/json"})
_OK_PROTOBUF = Reply(200, b"", {"Content-Type": "application/x-protobuf"})


class TelemetrySink:
    """Receive what the Sentry SDK and OTLP/HTTP exporters send, and say when.

    Two servers on 127.0.0.1, one for Sentry envelopes and one for OTLP protobuf, each
    answering in threads, so that it sees each SDK as its real backend would. Usable
    once entered, and only within the with-block::

        with TelemetrySink(latency=0.05) as sink:
            sentry_sdk.init(dsn=sink.dsn)
            sentry_sdk.capture_message("hello")
            [event] = sink.wait_for(lambda item: item.kind == "sentry.event")

    Args:
        latency: Seconds between reading a request and answering it.

    Attributes:
        problems: What could not be read and was answered with 400, in words.

    Safety: every method may be called from any thread. No process is started.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self.problems: list[str] = []
        self._items: list[Item] = []
        self._changed = threading.Condition()
        self._requests = 0
        self._sentry = self._destination(_read_sentry, _OK_JSON)
        self._otlp = self._destination(_read_otlp, _OK_PROTOBUF)
        self.latency = latency

    def __enter__(self) -> Self:
        self._sentry.start()
        self._otlp.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop both servers and drop every connection; what was received stays readable."""
        self._sentry.listener.close()
        self._otlp.listener.close()

    @property
    def dsn(self) -> str:
        """The Sentry DSN of this sink."""
        return f"http://public@127.0.0.1:{self._sentry.listener.port}/1"

    @property
    def otlp_endpoint(self) -> str:
        """The base URL for ``OTEL_EXPORTER_OTLP_ENDPOINT`` (protocol ``http/protobuf``).

        Raises:
            MissingDependencyError: opentelemetry-proto is not installed.
        """
        # Asked for by whoever is about to send OTLP: fail here, not in a server thread.
        import_module("ctxkit.testing._otlp")

        return f"http://127.0.0.1:{self._otlp.listener.port}"

    @property
    def environ(self) -> dict[str, str]:
        """What makes the SDKs of another process send to this sink: environment variables.

        ``SENTRY_DSN``; and where opentelemetry-proto is installed,
        ``OTEL_EXPORTER_OTLP_ENDPOINT`` and ``OTEL_EXPORTER_OTLP_PROTOCOL``.
        """
        environ = {"SENTRY_DSN": self.dsn}
        with suppress(MissingDependencyError):
            environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = self.otlp_endpoint
            environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
        return environ

    @property
    def items(self) -> list[Item]:
        """What was acknowledged so far, in that order; a copy."""
        with self._changed:
            return list(self._items)

    @property
    def requests(self) -> int:
        """How many requests were read, whatever was answered."""
        with self._changed:
            return self._requests

    @property
    def behaviour(self) -> Behaviour:
        """How both servers treat requests from now on.

        ``ok`` acknowledges; ``hang`` reads and never answers; ``drip`` sends a byte of its
        answer every 0.1 s, and acknowledges with the last; ``fail`` answers 500;
        ``rate-limit`` answers 429 with :attr:`retry_after`; ``refuse`` refuses connections
        and drops those that there are; ``reset`` reads, then resets the connection;
        ``reset-after-first`` does that from the second request of each connection on;
        ``black-hole`` lets attempts to connect go unanswered, and hangs on connections that
        there are (Linux). Set ``sentry_behaviour`` or ``otlp_behaviour`` for one of them
        alone; reading this when they differ gives Sentry's.

        Requests that came before are treated as they were going to be: what hangs goes on
        hanging. :meth:`hang_up` ends that.

        Raises:
            ConfigurationError: There is no such behaviour, or not on this platform.
        """
        return self._sentry.behaviour

    @behaviour.setter
    def behaviour(self, value: Behaviour) -> None:
        self._sentry.behaviour = value
        self._otlp.behaviour = value

    @property
    def sentry_behaviour(self) -> Behaviour:
        """As :attr:`behaviour`, for Sentry envelopes alone."""
        return self._sentry.behaviour

    @sentry_behaviour.setter
    def sentry_behaviour(self, value: Behaviour) -> None:
        self._sentry.behaviour = value

    @property
    def otlp_behaviour(self) -> Behaviour:
        """As :attr:`behaviour`, for OTLP alone."""
        return self._otlp.behaviour

    @otlp_behaviour.setter
    def otlp_behaviour(self, value: Behaviour) -> None:
        self._otlp.behaviour = value

    @property
    def latency(self) -> float:
        """Seconds between reading a request and answering it; may be set while it runs.

        Set ``sentry_latency`` or ``otlp_latency`` for one of them alone; reading this when
        they differ gives Sentry's.
        """
        return self._sentry.latency

    @latency.setter
    def latency(self, value: float) -> None:
        self.sentry_latency = self.otlp_latency = value

    @property
    def sentry_latency(self) -> float:
        """As :attr:`latency`, for Sentry envelopes alone."""
        return self._sentry.latency

    @sentry_latency.setter
    def sentry_latency(self, value: float) -> None:
        self._sentry.latency = checked_timeout("latency", value)

    @property
    def otlp_latency(self) -> float:
        """As :attr:`latency`, for OTLP alone."""
        return self._otlp.latency

    @otlp_latency.setter
    def otlp_latency(self, value: float) -> None:
        self._otlp.latency = checked_timeout("latency", value)

    @property
    def retry_after(self) -> str | None:
        """The ``Retry-After`` header of ``rate-limit``: seconds or a date; None sends none."""
        return self._sentry.retry_after

    @retry_after.setter
    def retry_after(self, value: float | str | None) -> None:
        # A text is sent as it is: a date, or something that no client should stumble over.
        text = value if value is None or isinstance(value, str) else f"{_seconds(value):g}"
        self._sentry.retry_after = self._otlp.retry_after = text

    def hang_up(self) -> None:
        """Drop every connection that there is, also those on which a request hangs."""
        self._sentry.listener.drop_connections()
        self._otlp.listener.drop_connections()

    def landed(self, answer: _Timed) -> list[Item]:
        """Return what was acknowledged before an answer was complete for its client.

        Args:
            answer: Of :class:`ctxkit.testing.FreezingServer` or
                :class:`ctxkit.testing.LambdaHost`.
        """
        return [item for item in self.items if item.acknowledged <= answer.times.complete]

    def clear(self) -> None:
        """Forget the items, problems and the number of requests received so far."""
        with self._changed:
            self._items.clear()
            self.problems.clear()
            self._requests = 0

    def wait_for(
        self,
        wanted: int | Callable[[Item], object],
        *,
        count: int = 1,
        timeout: float = 5.0,
    ) -> list[Item]:
        """Block until enough items were acknowledged, and return those that count.

        Args:
            wanted: A number of items of any kind, or a function that says whether an
                item counts.
            count: How many items must count, if ``wanted`` is a function.
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: Too few came in time; it lists what came.
        """
        chosen = wanted if callable(wanted) else _any_item
        needed = wanted if isinstance(wanted, int) else count
        with self._changed:
            enough = self._changed.wait_for(
                lambda: sum(1 for item in self._items if chosen(item)) >= needed, timeout
            )
            if not enough:
                raise TimeoutError(self._shortage(needed, chosen, timeout))
            return [item for item in self._items if chosen(item)]

    def _shortage(self, needed: int, chosen: Callable[[Item], object], timeout: float) -> str:
        came = [f"\n  {item.kind} {item.name!r} trace {item.trace_id}" for item in self._items]
        unread = [f"\n  unreadable: {problem}" for problem in self.problems]
        counting = sum(1 for item in self._items if chosen(item))
        return (
            f"{counting} of {needed} items within {timeout} s; {self._requests} requests, "
            f"{len(came)} items in all:{''.join(came + unread) or ' none'}"
        )

    def _destination(self, read: Callable[[Request], list[Reading]], ok: Reply) -> Destination:
        return Destination(
            read,
            ok,
            counted=self._count,
            unreadable=self.problems.append,
            acknowledged=self._acknowledge,
        )

    def _count(self) -> None:
        with self._changed:
            self._requests += 1

    def _acknowledge(self, items: list[Item]) -> None:
        with self._changed:
            self._items += items
            self._changed.notify_all()


class _Timed(Protocol):
    @property
    def times(self) -> Times: ...


def _read_sentry(request: Request) -> list[Reading]:
    return read_envelope(request.body())


def _read_otlp(request: Request) -> list[Reading]:
    from ctxkit.testing._otlp import read_otlp  # noqa: PLC0415 - foreign, only when asked for

    return read_otlp(request.path, request.body())


def _seconds(value: float) -> float:
    return checked_timeout("retry_after", value)


def _any_item(_: Item) -> bool:
    return True
