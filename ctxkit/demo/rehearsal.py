"""Run the lanes: real servers, real SDKs, really frozen processes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ctxkit.demo.journey import journey_of
from ctxkit.demo.lanes import Lane, open_host
from ctxkit.demo.verdict import LaneReport, Mark, RequestReport, Sent, items_of, judge
from ctxkit.demo.witness import FILE
from ctxkit.exceptions import HostError
from ctxkit.testing import TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from ctxkit.demo.journey import Journey
    from ctxkit.testing import FreezingServer, Item, LambdaHost

LATENCY = 0.05  # seconds that the backend takes to acknowledge
PAUSE = 0.15  # seconds frozen between two requests, at least
# Of the example, in turn: a plain view, an async one, one that fails, one that fans out into
# threads and tasks, one that streams.
PATHS = (
    "/",
    "/products/sencha/",
    "/reports/2020/1/",
    "/products/sencha/stock/",
    "/orders.csv",
)

# The request that is followed: quotes of suppliers, a payment, and a letter after the response.
BUYING = "/products/sencha/buy/"
_FORM = b"email=ada%40example.org&quantity=1&card=4111"
_TOKEN = "x" * 32  # Django compares a cookie and a header, and both are the client's
_FORM_HEADERS = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Cookie": f"csrftoken={_TOKEN}",
    "X-CSRFToken": _TOKEN,
}
_LETTER = "shop.confirmations:confirm"
_PATIENCE = 15.0  # seconds, for what comes after the response

# The reference has timers shorter than the lanes, so as not to be waited for: all that
# they decide is when something is sent by a process that is never frozen.
_SHORT_TIMERS = {
    "OTEL_BSP_SCHEDULE_DELAY": "500",
    "OTEL_BLRP_SCHEDULE_DELAY": "500",
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
}
_QUIET = 6.5  # seconds; Sentry's batchers send what they have every 5 to 6
_MAX_SETTLING = 30.0  # seconds
_AT_ONCE = 3  # servers that start at the same time
# Whatever of these the user has exported would bend the experiment.
_FOREIGN_PREFIXES = ("OTEL_", "SENTRY_", "CTXKIT_", "AWS_", "DJANGO_", "K_", "FUNCTION", "SHOP_")
_FOREIGN = (
    "PYTHONASYNCIODEBUG",  # its reports of slow steps would be records of requests
    "PYTHONDEVMODE",
    "DATABASE_URL",
    "PYTHONSAFEPATH",  # keeps the example's own folder off the path
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "ALL_PROXY",
)


@dataclass(slots=True)
class _Run:
    """Hold one lane, or a reference, while it runs and after."""

    sink: TelemetrySink
    witness: Path
    sent: list[Sent]
    output: str = ""


def rehearse(
    servers: Sequence[str], requests: int, say: Callable[[str], None]
) -> tuple[tuple[LaneReport, ...], Journey]:
    """Run every lane, follow one request, and report.

    What each request produces is known from a reference: the same server with the same
    application gets the same requests, holds none of them, is never frozen, and is left
    alone until it has nothing more to send.

    Args:
        servers: Names from :data:`ctxkit.demo.lanes.HOSTS`.
        requests: How many requests each lane gets.
        say: Called with a line of text after each step.

    Returns:
        What became of the lanes, and the request that was followed.

    Raises:
        HostError: A server did not start, or did not live; or the request that was followed
            lacks a part.
    """
    plan = [PATHS[index % len(PATHS)] for index in range(requests)]
    lanes = [Lane(server, with_ctxkit=use) for server in servers for use in (False, True)]
    # Those of Lambda differ by what ctxkit does, and are one without it.
    seen: dict[object, Lane] = {}
    for lane in lanes:
        seen.setdefault(lane.experiment, lane)
    distinct = list(seen.values())
    with _example() as example, ExitStack() as stack:
        say("the example is ready")
        references: dict[object, _Run] = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            hosts = list(pool.map(partial(_open, stack, example, freeze=False), distinct))
        for lane, (run, host) in zip(distinct, hosts, strict=True):
            _send(host, plan, run.sent, pause=0)
            references[lane.experiment] = run
        say(f"{len(distinct)} references: {requests} requests to each server, never frozen")
        runs: dict[object, _Run] = {}
        for lane in distinct:
            runs[lane.experiment] = _run(lane, example, plan)
            say(f"{lane.title}: {requests} requests, frozen after each, killed at the end")
        journey = _follow(example)
        say(f"one request followed: {len(journey.steps)} spans of view, pool and worker")
        say("waiting until the references have nothing more to send")
        reports = tuple(
            _report(lane, runs[lane.experiment], references[lane.experiment]) for lane in lanes
        )
        return reports, journey


@contextmanager
def _example() -> Generator[Path]:
    """Copy the example to a folder of its own, with a database in it."""
    with tempfile.TemporaryDirectory(prefix="ctxkit-demo-") as folder:
        example = Path(folder) / "example"
        shutil.copytree(_find_example(), example, ignore=shutil.ignore_patterns("*.sqlite3*"))
        environment = {**os.environ, **_clean()}
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        done = subprocess.run(  # noqa: S603 - our own command
            command,
            cwd=example,
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise HostError(" ".join(command), "failed", done.stdout + done.stderr)
        yield example


def _find_example() -> Path:
    here = Path(__file__).resolve().parent
    for folder in (here / "_example", here.parents[1] / "django_app_example"):
        if (folder / "manage.py").is_file():
            return folder
    raise HostError("ctxkit demo", f"the example project is neither in {here} nor beside it", "")


def _clean() -> dict[str, str | None]:
    return {
        name: None for name in os.environ if name.startswith(_FOREIGN_PREFIXES) or name in _FOREIGN
    }


def _open(
    stack: ExitStack, example: Path, lane: Lane, *, freeze: bool
) -> tuple[_Run, FreezingServer | LambdaHost]:
    sink = stack.enter_context(TelemetrySink(LATENCY))
    witness = example / f"{lane.title.replace(' ', '-')}{'' if freeze else '-reference'}.jsonl"
    env: dict[str, str | None] = {
        **_clean(),
        **({} if freeze else _SHORT_TIMERS),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SENTRY_DSN": sink.dsn,
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.otlp_endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "NO_PROXY": "127.0.0.1",
        "SHOP_WITHOUT_CTXKIT": None if lane.with_ctxkit else "1",
        **(lane.host.env if freeze else {"CTXKIT_FLUSH_MODE": "never"}),
        "PYTHONUNBUFFERED": "1",
        FILE: str(witness),
    }
    host = open_host(lane, env=env, cwd=example, freeze=freeze)
    stack.enter_context(host)
    return _Run(sink, witness, sent=[]), host


def _run(lane: Lane, example: Path, plan: Sequence[str]) -> _Run:
    with ExitStack() as stack:
        run, host = _open(stack, example, lane, freeze=True)
        _send(host, plan, run.sent, pause=PAUSE)
        host.close()
        run.output = host.output()
        # What the kernel had taken over before the server was killed is still on its way.
        time.sleep(2 * LATENCY + 0.1)
    return run


def _send(
    host: FreezingServer | LambdaHost, plan: Sequence[str], sent: list[Sent], *, pause: float
) -> None:
    for path in plan:
        time.sleep(pause)
        trace_id, span_id, request_id = (secrets.token_hex(size) for size in (16, 8, 16))
        headers = _traced(trace_id, span_id, request_id)
        exchange = host.request("GET", path, headers=headers)
        sent.append(Sent(path, trace_id, request_id, exchange.status, exchange.times))


def _traced(trace_id: str, span_id: str, request_id: str) -> dict[str, str]:
    return {
        "traceparent": f"00-{trace_id}-{span_id}-01",
        "sentry-trace": f"{trace_id}-{span_id}-1",
        "X-Request-ID": request_id,
    }


def _follow(example: Path) -> Journey:
    """Send one request to a server that lives on, and read its trace from the backend."""
    lane = Lane("gunicorn", with_ctxkit=True)
    trace_id, span_id, request_id = (secrets.token_hex(size) for size in (16, 8, 16))
    with ExitStack() as stack:
        run, host = _open(stack, example, lane, freeze=False)
        host.request("GET", "/")  # its first request loads the shop, which is another story
        headers = _traced(trace_id, span_id, request_id) | _FORM_HEADERS
        exchange = host.request("POST", BUYING, headers=headers, body=_FORM)
        sent = Sent(BUYING, trace_id, request_id, exchange.status, exchange.times)
        _await_letter(run.sink, sent)
        journey = journey_of(sent, span_id, run.sink.items)
        missing = journey.missing()
        if missing:
            problem = f"POST {BUYING} gave {sent.status}, and its trace lacks {'; '.join(missing)}"
            raise HostError(f"{lane.title}, not frozen", problem, host.output())
        return journey


def _await_letter(sink: TelemetrySink, sent: Sent) -> None:
    """Wait for all that comes of what runs after the response, but not for ever."""

    def letter(item: Item) -> bool:
        return item.trace_id == sent.trace_id and item.name == _LETTER

    def record(item: Item) -> bool:
        return item.kind == "otel.log" and item.data["span_id"] in ids

    with suppress(TimeoutError):  # then something will be missing
        both = sink.wait_for(letter, count=2, timeout=_PATIENCE)
        ids = {item.data.get("span_id") for item in both}
        sink.wait_for(record, timeout=_PATIENCE)


def _expected(run: _Run) -> list[list[tuple[str, str]]]:
    """Wait until nothing new comes, and return what each request has produced."""
    deadline = time.monotonic() + _MAX_SETTLING
    while True:
        came = [items_of(sent, run.sink.items) for sent in run.sent]
        newest = max((item.acknowledged for items in came for item in items), default=0.0)
        if time.time() - newest > _QUIET or time.monotonic() > deadline:
            return [[(item.kind, item.name) for item in items] for items in came]
        time.sleep(0.1)


def _report(lane: Lane, run: _Run, reference: _Run) -> LaneReport:
    for sent, model in zip(run.sent, reference.sent, strict=True):
        if sent.status != model.status:
            problem = f"GET {sent.path} gave {sent.status}, and {model.status} when not frozen"
            raise HostError(lane.title, problem, run.output)
    expected = _expected(reference)
    if not any(expected):
        statuses = ", ".join(str(status) for status in sorted({s.status for s in run.sent}))
        problem = f"its answers ({statuses}) recorded nothing at all"
        raise HostError(lane.title, problem, run.output)
    items = run.sink.items
    marks = _marks(run.witness)
    return LaneReport(
        lane,
        tuple(
            _request(sent, items, marks, wanted, in_time(lane, sent))
            for sent, wanted in zip(run.sent, expected, strict=True)
        ),
    )


def in_time(lane: Lane, sent: Sent) -> float:
    """Return until when something has landed: the complete response, or what freezes after it."""
    times = sent.times
    if lane.with_ctxkit and lane.host.until_frozen and times.stopped is not None:
        return times.stopped
    return times.complete


def _request(
    sent: Sent,
    items: list[Item],
    marks: list[Mark],
    expected: list[tuple[str, str]],
    limit: float,
) -> RequestReport:
    times = sent.times
    came = items_of(sent, items)
    mine = [
        mark
        for mark in marks
        if mark.trace_id == sent.trace_id
        or (mark.what == "flush" and times.sent <= mark.start <= limit)
    ]
    return RequestReport(sent, judge(expected, came, limit), tuple(mine))


def _marks(file: Path) -> list[Mark]:
    if not file.exists():
        return []
    marks = [Mark(**json.loads(line)) for line in file.read_text().splitlines()]
    return sorted(marks, key=lambda mark: mark.start)
