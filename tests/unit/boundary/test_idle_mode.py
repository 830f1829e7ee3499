"""Many requests in flight in the mode ``idle``: only who leaves none behind waits."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from helpers.wsgi import Exchange

import ctxkit
from ctxkit.flushing import FlushReport, add_sink, on_report, remove_sink

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

AT_ONCE = 32
REQUESTS = 640


class Ledger:
    """A sink that lands what was recorded up to its flush."""

    name = "ledger"

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.landed = 0

    def pending(self) -> int:
        return len(self.recorded) - self.landed

    def flush(self, timeout: float) -> bool:
        self.landed = len(self.recorded)
        return True


def test_idle_mode_lets_few_of_many_requests_wait_and_lands_everything() -> None:
    ledger = Ledger()
    reports: list[FlushReport] = []
    landed_at_end: list[bool] = []
    relay = _Relay()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        ledger.recorded.append(1)
        relay.pass_on()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    wrapped = ctxkit.WSGIMiddleware(app, mode="idle")
    add_sink(ledger)
    remove = on_report(reports.append)
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(lambda _: Exchange(strict=False)(wrapped), range(REQUESTS)):
                pass
        landed_at_end.append(ledger.landed == REQUESTS)
    finally:
        remove()
        remove_sink(ledger)

    occasions = Counter(report.reason for report in reports)
    assert occasions["response"] <= REQUESTS * 0.02
    assert landed_at_end == [True]


class _Relay:
    """Let a request end only when another has begun, but for the last ones.

    So there is always one in flight, as on a busy server, however the threads are scheduled.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._changed = threading.Condition()

    def pass_on(self) -> None:
        with self._changed:
            self._begun += 1
            mine = self._begun
            self._changed.notify_all()
            assert self._changed.wait_for(
                lambda: self._begun > mine or self._begun >= REQUESTS, timeout=20
            )
