"""A telemetry backend on loopback that real SDKs send to, for tests."""

from __future__ import annotations

import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args

from ctxkit.exceptions import ConfigurationError
from ctxkit.testing._envelopes import read_envelope
from ctxkit.testing._items import Item, Reading
from ctxkit.testing._listener import Listener, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

Behaviour = Literal["ok", "hang", "fail", "refuse", "rate-limit"]

_BEHAVIOURS: tuple[str, ...] = get_args(Behaviour)
_OK_JSON = Reply(200, b"{}", {"Content-Type": "application/json"})
_OK_PROTOBUF = Reply(200, b"", {"Content-Type": "application/x-protobuf"})
_RATE_LIMIT = Reply(429, b"", {"Retry-After": "30"})


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
        latency: As above; may be changed while it runs.
        problems: What could not be read and was answered with 400, in words.

    Safety: every method may be called from any thread. No process is started.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.problems: list[str] = []
        self._items: list[Item] = []
        self._changed = threading.Condition()
        self._sentry = Listener(self._on_sentry)
        self._otlp = Listener(self._on_otlp)
        self._behaviours: dict[Listener, Behaviour] = {self._sentry: "ok", self._otlp: "ok"}
        self._requests = 0

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
        self._sentry.close()
        self._otlp.close()

    @property
    def dsn(self) -> str:
        """The Sentry DSN of this sink."""
        return f"http://public@127.0.0.1:{self._sentry.port}/1"

    @property
    def otlp_endpoint(self) -> str:
        """The base URL for ``OTEL_EXPORTER_OTLP_ENDPOINT`` (protocol ``http/protobuf``).

        Raises:
            MissingDependencyError: opentelemetry-proto is not installed.
        """
        # Asked for by whoever is about to send OTLP: fail here, not in a server thread.
        import_module("ctxkit.testing._otlp")

        return f"http://127.0.0.1:{self._otlp.port}"

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

        ``ok`` acknowledges, ``hang`` reads and never answers, ``fail`` answers 500,
        ``rate-limit`` answers 429 with ``Retry-After``, ``refuse`` refuses connections.
        Set ``sentry_behaviour`` or ``otlp_behaviour`` for one of them alone; reading
        this when they differ gives Sentry's.
        """
        return self.sentry_behaviour

    @behaviour.setter
    def behaviour(self, value: Behaviour) -> None:
        self.sentry_behaviour = value
        self.otlp_behaviour = value

    @property
    def sentry_behaviour(self) -> Behaviour:
        """As :attr:`behaviour`, for Sentry envelopes alone."""
        return self._behaviours[self._sentry]

    @sentry_behaviour.setter
    def sentry_behaviour(self, value: Behaviour) -> None:
        self._behave(self._sentry, value)

    @property
    def otlp_behaviour(self) -> Behaviour:
        """As :attr:`behaviour`, for OTLP alone."""
        return self._behaviours[self._otlp]

    @otlp_behaviour.setter
    def otlp_behaviour(self, value: Behaviour) -> None:
        self._behave(self._otlp, value)

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

    def _behave(self, listener: Listener, value: Behaviour) -> None:
        if value not in _BEHAVIOURS:
            raise ConfigurationError(
                "behaviour", f"is {value!r}", f"Use one of {', '.join(_BEHAVIOURS)}."
            )
        self._behaviours[listener] = value
        listener.refusing = value == "refuse"

    def _on_sentry(self, request: Request) -> Reply | None:
        return self._answer(self._sentry, request, read_envelope, _OK_JSON)

    def _on_otlp(self, request: Request) -> Reply | None:
        from ctxkit.testing._otlp import read_otlp  # noqa: PLC0415 - foreign, only when asked for

        return self._answer(
            self._otlp, request, lambda body: read_otlp(request.path, body), _OK_PROTOBUF
        )

    def _answer(
        self,
        listener: Listener,
        request: Request,
        read: Callable[[bytes], list[Reading]],
        ok: Reply,
    ) -> Reply | None:
        """Treat one request as the behaviour of this moment demands; None is no answer."""
        arrived = time.time()
        with self._changed:
            self._requests += 1
        behaviour = self._behaviours[listener]
        if behaviour in ("hang", "refuse"):
            return None
        readings: list[Reading] = []
        try:
            readings = read(request.body())
        except ValueError as error:
            self.problems.append(f"{request.path}: {error}")
            ok = Reply(400, str(error).encode(), {})
        listener.pause(self.latency)
        if behaviour == "fail":
            return Reply(500, b"", {})
        if behaviour == "rate-limit":
            return _RATE_LIMIT
        # Before the answer leaves: whoever waited for it may look at once.
        acknowledged = time.time()
        with self._changed:
            self._items += [
                Item(each.kind, each.name, each.trace_id, each.data, arrived, acknowledged)
                for each in readings
            ]
            self._changed.notify_all()
        return ok


def _any_item(_: Item) -> bool:
    return True
