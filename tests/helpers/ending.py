"""Real servers that are told to end, and whether what was recorded before has landed."""

from __future__ import annotations

import signal
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from helpers.servers import KINDS, Kind, Server
from helpers.uncovered import UNCOVERED

from ctxkit.testing import TelemetrySink

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

GRACE = 8.0  # seconds that a supervisor leaves; Cloud Run 10, Kubernetes 30
LATENCY = 0.05
_GUNICORN = "gunicorn --no-control-socket -b 127.0.0.1:{port} -w 1"
_UVICORN = "uvicorn --loop asyncio --http h11 --port {port}"
# SIGTERM would reload it, and with die-on-term kill a worker that is still busy with a
# response which its client has: without atexit.
_FORKING = (
    "uwsgi --http-socket 127.0.0.1:{port} --wsgi {app} --enable-threads --master --processes 1"
    " '--hook-master-start=unix_signal:15 gracefully_kill_them_all'"
)
_HOOKED = f"{_FORKING} --py-call-uwsgi-fork-hooks"


def _uwsgi(name: str, command: str) -> Kind:
    return Kind(name, "wsgi", command, (), program=True)


_PLAIN = {kind.name: kind for kind in KINDS}
_MORE = (
    Kind("uvicorn-workers", "asgi", f"{_UVICORN} --workers 2 {{app}}", ("uvicorn", "h11")),
    Kind("uvicorn-wsgi", "wsgi", f"{_UVICORN} --interface wsgi {{app}}", ("uvicorn", "h11")),
    Kind("gunicorn-preload", "wsgi", f"{_GUNICORN} -k sync --preload {{app}}", ("gunicorn",)),
    # Killed or replaced after its second request.
    Kind("gunicorn-recycled", "wsgi", f"{_GUNICORN} --max-requests 2 {{app}}", ("gunicorn",)),
    _uwsgi("uwsgi-lazy", f"{_FORKING} --lazy-apps"),
    _uwsgi("uwsgi-prefork", _FORKING),
    _uwsgi("uwsgi-hooked", _HOOKED),
    _uwsgi("uwsgi-recycled", f"{_HOOKED} --max-requests 2 --min-worker-lifetime 0"),
)
SERVERS = {**_PLAIN, **{kind.name: kind for kind in _MORE}}

# What a process sends on its own while it lives must not be taken for what it sends at its end.
# And many end at once here, on few cores.
_NO_TIMERS = {
    "CTXKIT_FLUSH_TIMEOUT": str(GRACE - 2),
    "OTEL_BSP_SCHEDULE_DELAY": "600000",
    "OTEL_BLRP_SCHEDULE_DELAY": "600000",
    "OTEL_METRIC_EXPORT_INTERVAL": "600000",
}


def terminate(server: Server, process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)


def reload(server: Server, process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGHUP)


def let_be(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Have the server replace its worker by itself."""


def crash(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Have the worker die, and the next one end in order."""
    with suppress(OSError), server.connect() as connection:
        connection.send("/crash").receive()
    ask(server, 2)
    terminate(server, process)


def ask(server: Server, number: int) -> None:
    deadline = time.monotonic() + GRACE
    while True:
        try:
            with server.connect() as connection:
                connection.send("/list", headers={"X-Request-ID": f"id-{number}"})
                assert connection.receive().status == 200, server.output()
        except OSError:  # between two workers
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def lost(
    name: str,
    folder: Path,
    end: Callable[[Server, Any], None],
    environ: dict[str, str],
) -> Counter[str]:
    """Ask a server twice, end it, and return what has not landed within the grace."""
    kind = SERVERS[name]
    with TelemetrySink(LATENCY) as sink:
        environ = {
            "CTXKIT_FLUSH_MODE": "never",
            "SENTRY_DSN": sink.dsn,
            "OTLP_ENDPOINT": sink.otlp_endpoint,
            **_NO_TIMERS,
            **environ,
        }
        app = f"helpers.served_bodies:{kind.protocol}"
        with Server(kind, app, folder, {**environ, **UNCOVERED}) as server:
            for number in range(2):
                ask(server, number)
            end(server, server.process)
            ended = end is let_be or end is reload
            wanted = {0, 1} if end is not crash else {2}
            deadline = time.monotonic() + GRACE
            while missing := _missing(sink.items, wanted):
                if time.monotonic() > deadline or (ended and server.process.poll() is not None):
                    break
                if not ended and server.process.poll() is not None:
                    ended = True
                    deadline = time.monotonic() + 4 * LATENCY
                time.sleep(0.02)
            return missing


def _missing(items: Any, wanted: set[int]) -> Counter[str]:
    expected: Counter[str] = Counter()
    for number in wanted:
        for kind in ("sentry.event", "otel.span", "otel.metric"):
            expected[f"{kind} begin id-{number}"] = 1
        expected[f"otel.log log begin id-{number}"] = 1
    expected["sentry.transaction"] = expected["server span"] = len(wanted)
    found: Counter[str] = Counter()
    for item in items:
        name = item.data.get("attributes", {}).get("request", item.name)
        found[f"{item.kind} {name}"] += 1
        found["sentry.transaction"] += item.kind == "sentry.transaction"
        found["server span"] += item.kind == "otel.span" and item.name.startswith("GET")
    return expected - found
