"""Real hosts that are stopped at the byte that completes a response, and what had landed."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any

from helpers.servers import KINDS, python_path

from ctxkit.testing import FreezingServer, LambdaHost, TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from helpers.servers import Kind

    from ctxkit.testing import Item

LATENCY = 0.05  # seconds that a sink takes for one request
#: What is asked for in turn: method and path.
REQUESTS = (
    ("GET", "list"),
    ("GET", "framed"),
    ("GET", "chunked"),
    ("GET", "file"),
    ("GET", "empty"),
    ("HEAD", "framed"),
    ("GET", "broken"),
)
#: What is asked for held and not: with a transaction and a server span at its end, and nothing
#: else; with one of each kind before them.
PAIRED = ("plain", "list")
LAMBDAS = ("awslambdaric", "mangum")
_COUNTED = ("sentry.event", "sentry.transaction", "otel.span", "otel.log", "otel.metric")


@dataclass
class Asked:
    """One request, and when it was complete for the client."""

    method: str
    path: str
    number: int
    status: int
    latency: float
    complete: float
    trace_id: str


@dataclass
class Run:
    """What was asked of one host.

    Attributes:
        paired: The requests whose response was held, while the host was not frozen, by path.
        waits: Seconds that such a response took more than one that was not held.
        round_trip: Seconds that the sinks took for one request, the median.
    """

    host: str
    asked: list[Asked] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    paired: dict[str, list[Asked]] = field(default_factory=lambda: defaultdict(list))
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    output: str = ""

    @property
    def round_trip(self) -> float:
        return median(item.acknowledged - item.arrived for item in self.items)

    def added(self, path: str) -> float:
        """Return how long the flush held a response, the median in round trips of a sink."""
        return median(self.waits[path]) / self.round_trip

    def in_turn(self, path: str) -> int:
        """Return how many requests to sinks the responses waited for, one after the other.

        Of the best quarter: on a busy machine, what begins together may not overlap.
        """
        counts = sorted(in_turn(self.items_of(request)) for request in self.paired[path])
        return counts[len(counts) // 4]

    def items_of(self, request: Asked) -> list[Any]:
        """Return what came of a request, a data point of a metric by its first arrival."""
        mark = f" id-{request.number}"
        points = set()
        found = []
        for item in self.items:
            if item.kind == "otel.metric":
                label = item.data.get("attributes", {}).get("request", "")
                if label.endswith(mark) and label not in points:
                    points.add(label)
                    found.append(item)
            elif item.kind in _COUNTED and (
                item.trace_id == request.trace_id or item.name.endswith(mark)
            ):
                found.append(item)
        return found


def in_turn(items: Iterable[Item]) -> int:
    """Return the most items of which each came when the one before it was acknowledged."""
    count, over = 0, 0.0
    for item in sorted(items, key=lambda item: item.acknowledged):
        if item.arrived >= over:
            count, over = count + 1, item.acknowledged
    return count


def kind_of(host: str) -> Kind | None:
    return next((kind for kind in KINDS if kind.name == host), None)


def is_available(host: str) -> bool:
    kind = kind_of(host)
    return kind.available if kind is not None else find_spec(host) is not None


def has_concurrent_transport() -> bool:
    """Return whether envelopes can be sent at once; Sentry's own sends one after the other."""
    return bool(find_spec("ctxkit.contrib") and find_spec("ctxkit.contrib.sentry"))


def run(host: str, folder: Path, requests: int, pairs: int) -> Run:
    """Ask a host that is frozen after each response, then the same process that is not.

    Args:
        host: The name of a server in KINDS, or of LAMBDAS.
        folder: Where it starts.
        requests: How many requests while it is frozen after each.
        pairs: How many pairs of a response that is held and one that is not.
    """
    done = Run(host)
    with TelemetrySink(LATENCY) as sink:
        env = {
            "PYTHONPATH": python_path(),
            "CTXKIT_FLUSH_MODE": "always",
            # Longer than a busy machine stands still.
            "CTXKIT_FLUSH_TIMEOUT": "15",
            "SENTRY_DSN": sink.dsn,
            "OTLP_ENDPOINT": sink.otlp_endpoint,
            **({"CONCURRENT": "1"} if has_concurrent_transport() else {}),
        }
        with _opened(host, env, folder) as opened:
            client = _Client(host, opened, done)
            try:
                # uWSGI answers nothing where the application raises.
                plan = REQUESTS[:-1] if host == "uwsgi" else REQUESTS
                for number in range(requests):
                    client.ask(*plan[number % len(plan)])
                opened.freeze = False
                for path in PAIRED * (pairs if host not in LAMBDAS else 0):
                    passed = client.ask("GET", path, prefix="/never").latency
                    client.ask("GET", path)  # lands what that has left
                    held = client.ask("GET", path)
                    done.paired[path].append(held)
                    done.waits[path].append(held.latency - passed)
            finally:
                done.output = opened.output()
                done.items = sink.items
    return done


def _opened(host: str, env: dict[str, str], folder: Path) -> FreezingServer | LambdaHost:
    kind = kind_of(host)
    if kind is None:
        # Lambda's own default holds there.
        lambda_env: dict[str, str | None] = {**env, "CTXKIT_FLUSH_MODE": None}
        name = "handler" if host == "awslambdaric" else host
        return LambdaHost(f"helpers.served_bodies.{name}", env=lambda_env, cwd=folder)
    argv = kind.argv(f"helpers.served_bodies:{kind.protocol}", 0)
    argv = [word.replace(":0", ":{port}") if word.endswith(":0") else word for word in argv]
    argv = ["{port}" if word == "0" else word for word in argv]
    # On a busy machine, what daphne imports alone takes long.
    return FreezingServer(argv, env=env, cwd=folder, start_timeout=60)


class _Client:
    def __init__(self, host: str, opened: FreezingServer | LambdaHost, done: Run) -> None:
        self._host = host
        self._opened = opened
        self._done = done

    def ask(self, method: str, path: str, prefix: str = "") -> Asked:
        trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
        number = len(self._done.asked)
        if self._host == "awslambdaric":
            assert isinstance(self._opened, LambdaHost)
            event = {"path": path, "trace_id": trace_id, "request_id": f"id-{number}"}
            result = self._opened.invoke(event)
            status, times = 500 if result.failed else 200, result.times
        else:
            headers = {
                "traceparent": f"00-{trace_id}-{span_id}-01",
                "sentry-trace": f"{trace_id}-{span_id}-1",
                "X-Request-ID": f"id-{number}",
            }
            exchange = self._opened.request(method, f"{prefix}/{path}", headers=headers)
            status, times = exchange.status, exchange.times
        asked = Asked(method, path, number, status, times.latency, times.complete, trace_id)
        if not prefix:
            self._done.asked.append(asked)
        return asked


def expected(host: str, request: Asked) -> Counter[str]:
    """Return how many items of each kind a request produces, those of instrumentations too."""
    plain = host == "awslambdaric"
    twice = not plain and request.path in ("framed", "chunked", "empty")
    records = 0 if request.path == "plain" else 2 if twice else 1
    # An instrumentation of a web framework captures what the application raises.
    captured = request.path == "broken" and not plain
    return Counter(
        {
            "sentry.event": records + captured,
            # Sentry's middlewares trace what a person may have asked for.
            "sentry.transaction": int(request.method != "HEAD"),
            "otel.span": records + 1,
            "otel.log": records,
            "otel.metric": records,
        }
    )


def fates(done: Run) -> Counter[str]:
    """Count what landed, came late and was lost, over all requests."""
    count: Counter[str] = Counter()
    for request in done.asked:
        came = done.items_of(request)
        for item in came:
            fate = "landed" if item.acknowledged <= request.complete else "late"
            count[fate] += 1
            if fate == "late":
                count[f"late {item.kind} of {request.method} {request.path}"] += 1
        lost = expected(done.host, request) - Counter(item.kind for item in came)
        for kind, number in lost.items():
            count["lost"] += number
            count[f"lost {kind} of {request.method} {request.path}"] += number
    return count
