"""A server for the freezing hosts to freeze, and reports for the demo to show."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ctxkit.demo.lanes import Lane
from ctxkit.demo.verdict import Fate, LaneReport, Outcome, RequestReport, Sent
from ctxkit.testing import Times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ctxkit.demo.verdict import Mark

# It counts for ever in a thread, so that one can see it standing still, and forks once,
# so that one can see that the whole group does. "?work" answers only after its length.
COUNTING_SERVER = """
import http.server, os, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/exit":
            print("going away", flush=True)
            os._exit(3)
        if self.path == "/half":
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nhal")
            self.close_connection = True
            return
        if self.path == "/slow":
            time.sleep(60)
        body = f"{count} {child}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

count = 0
def tick():
    global count
    while True:
        count += 1
        time.sleep(0.001)

child = os.fork()
if not child:
    while True:
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def counting_server() -> list[str]:
    """Return the command of the server above; it answers ``<count> <pid of its child>``."""
    return [sys.executable, "-c", COUNTING_SERVER, "{port}"]


def eventually(condition: Callable[[], object]) -> bool:
    """Return whether the condition became true within five seconds."""
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def lane_report(
    server: str,
    fates: Sequence[tuple[str, str, float | None]],
    *,
    with_ctxkit: bool,
    latencies: Sequence[float] = (0.5, 0.1, 0.1),
    marks: Sequence[Mark] = (),
) -> LaneReport:
    """Return a report whose every request, sent at time 0, had these items.

    Args:
        server: The server.
        fates: Kind, name and when it was acknowledged (None: lost) of each item.
        with_ctxkit: Which of the two lanes.
        latencies: Seconds of each request's response.
        marks: What the witness saw in each request.
    """
    requests: list[RequestReport] = []
    for latency in latencies:
        times = Times(None, 0.0, latency, latency, latency)
        sent = Sent("/shop/?a=1&b=<2>", "f" * 32, "r1", 200, times)
        judged = tuple(
            Fate(kind, name, outcome_of(when, latency), when) for kind, name, when in fates
        )
        requests.append(RequestReport(sent, judged, tuple(marks)))
    return LaneReport(Lane(server, with_ctxkit=with_ctxkit), tuple(requests))


def outcome_of(when: float | None, complete: float) -> Outcome:
    """Return what the demo calls it."""
    if when is None:
        return Outcome.LOST
    return Outcome.LANDED if when <= complete else Outcome.LATE
