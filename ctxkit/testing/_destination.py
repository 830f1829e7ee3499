"""One destination of telemetry: a port, how it treats requests, and what it acknowledged."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, Literal, get_args

from ctxkit.exceptions import ConfigurationError
from ctxkit.testing._items import Item
from ctxkit.testing._listener import RESET, Listener, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.testing._items import Reading

#: How a :class:`ctxkit.testing.TelemetrySink` treats requests.
Behaviour = Literal[
    "ok",
    "hang",
    "drip",
    "fail",
    "rate-limit",
    "refuse",
    "reset",
    "reset-after-first",
    "black-hole",
]

BEHAVIOURS: Final[tuple[str, ...]] = get_args(Behaviour)
DRIP_PAUSE: Final = 0.1  # seconds between two bytes of an answer


class Destination:
    """Serve one port, and treat requests as the behaviour of that moment demands.

    Args:
        read: Returns the items of a request, or raises ValueError.
        ok: What acknowledges them.
        counted: Called when a request was read.
        unreadable: Called with what could not be read, in words.
        acknowledged: Called with the items when they are.

    Attributes:
        latency: Seconds between reading a request and answering it.
        retry_after: The ``Retry-After`` of ``rate-limit``; None leaves it out.
    """

    def __init__(
        self,
        read: Callable[[Request], list[Reading]],
        ok: Reply,
        *,
        counted: Callable[[], None],
        unreadable: Callable[[str], None],
        acknowledged: Callable[[list[Item]], None],
    ) -> None:
        self.latency = 0.0
        self.retry_after: str | None = "30"
        self.listener = Listener(self._answer)
        self._read = read
        self._ok = ok
        self._counted = counted
        self._unreadable = unreadable
        self._acknowledged = acknowledged
        self._behaviour: Behaviour = "ok"

    @property
    def behaviour(self) -> Behaviour:
        """How requests are treated from now on."""
        return self._behaviour

    @behaviour.setter
    def behaviour(self, value: Behaviour) -> None:
        if value not in BEHAVIOURS:
            raise ConfigurationError(
                "behaviour", f"is {value!r}", f"Use one of {', '.join(BEHAVIOURS)}."
            )
        if value == "black-hole" and sys.platform != "linux":
            raise ConfigurationError(
                "behaviour", f"is {value!r}, which only Linux can do", "Use hang."
            )
        before, self._behaviour = self._behaviour, value
        if value == before:
            return
        if value == "refuse":
            self.listener.refuse()
        elif value == "black-hole":
            self.listener.ignore()
        else:
            self.listener.accept()

    def start(self) -> None:
        """Bind a free port and serve it as the behaviour demands."""
        self.listener.start()
        if self._behaviour == "refuse":
            self.listener.refuse()
        elif self._behaviour == "black-hole":
            self.listener.ignore()

    def _answer(self, request: Request) -> Reply | None:
        arrived = time.time()
        self._counted()
        behaviour = self._behaviour
        if behaviour in ("hang", "refuse", "black-hole"):
            return None
        refusal = self._refusal(behaviour, request)
        readings: list[Reading] = []
        try:
            readings = self._read(request)
        except ValueError as error:
            self._unreadable(f"{request.path}: {error}")
            refusal = refusal or Reply(400, str(error).encode(), {})
        self.listener.pause(self.latency)
        if refusal is not None:
            return refusal

        def finished() -> None:
            # Before the answer leaves: whoever waited for it may look at once.
            now = time.time()
            self._acknowledged(
                [Item(it.kind, it.name, it.trace_id, it.data, arrived, now) for it in readings]
            )

        pause = DRIP_PAUSE if behaviour == "drip" else 0.0
        return Reply(self._ok.status, self._ok.content, self._ok.headers, pause, finished)

    def _refusal(self, behaviour: Behaviour, request: Request) -> Reply | None:
        if behaviour == "reset" or (behaviour == "reset-after-first" and request.number > 1):
            return RESET
        if behaviour == "fail":
            return Reply(500, b"", {})
        if behaviour == "rate-limit":
            after = {} if self.retry_after is None else {"Retry-After": self.retry_after}
            return Reply(429, b"", after)
        return None
