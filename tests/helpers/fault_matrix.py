"""The fault matrix: each host meets each fault of each destination, once."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import repeat
from typing import TYPE_CHECKING, Any

from helpers.project import ROOT
from helpers.servers import python_path

from ctxkit.testing import FreezingServer, LambdaHost, TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ctxkit.testing import Exchange

BUDGET = 0.4  # seconds that a response may be held
MATRIX: dict[str, Any] = tomllib.loads((ROOT / "docs/faults.toml").read_text())
#: What each destination has to get of an order when nothing is wrong with it.
KINDS = {
    "sentry": {"sentry.event"},
    "otlp": {"otel.span", "otel.log", "otel.metric"},
}
SINKS = {"sentry": {"sentry"}, "otlp": {"otel.traces", "otel.metrics", "otel.logs"}}
#: Seconds that the slow destination takes.
SLOW = 0.05
ALL = KINDS["sentry"] | KINDS["otlp"]
# What the SDKs still try themselves they give up, or get through with, within seconds.
_PATIENCE = 30.0  # seconds in which further requests come until all has arrived
_BETWEEN = 0.2  # seconds


@dataclass(frozen=True)
class Cell:
    """A host, and a destination that has a fault."""

    host: str
    fault: str
    destination: str

    def __str__(self) -> str:
        return f"{self.host}-{self.fault}-{self.destination}"

    @property
    def expected(self) -> str:
        """The status that the report gives to the sinks of the destination."""
        [fault] = [fault for fault in MATRIX["faults"] if fault["name"] == self.fault]
        return str(fault[self.destination])

    @property
    def healthy(self) -> str:
        return "otlp" if self.destination == "sentry" else "sentry"


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        answer: What the client had.
        arrived: The kinds of the items of its order that each destination had acknowledged
            when the host was frozen.
        later: The same, when the destination was well again and further requests had come.
        report: When the host had flushed, and the status and detail of each sink.
    """

    answer: Exchange
    arrived: set[str]
    later: set[str]
    report: dict[str, Any]


def available(host: str) -> bool:
    """Whether what the host needs is installed."""
    needs = {host["name"]: host["needs"] for host in MATRIX["hosts"]}[host]
    return all(_found(module) for module in needs)


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def cells() -> list[Cell]:
    return [
        Cell(host["name"], fault["name"], destination)
        for host in MATRIX["hosts"]
        for fault in MATRIX["faults"]
        for destination in KINDS
    ]


def run(hosts: Iterable[str], folder: Path, spool: Path | None = None) -> dict[Cell, Outcome]:
    """Run the cells of these hosts, the hosts at the same time.

    Args:
        hosts: Their names.
        folder: Where they may write.
        spool: Where ctxkit keeps what it could not send; None switches that off.
    """
    chosen = list(hosts)
    places = [None if spool is None else _made(spool / host.replace(" ", "-")) for host in chosen]
    with ThreadPoolExecutor(len(chosen)) as pool:
        parts = pool.map(run_host, chosen, repeat(folder), places)
    return {cell: outcome for part in parts for cell, outcome in part.items()}


def run_host(host: str, above: Path, spool: Path | None) -> dict[Cell, Outcome]:
    """Run the cells of one host, one after the other in the same process."""
    folder = _made(above / host.replace(" ", "-"))
    reports = folder / "reports"
    reports.touch()
    chosen = [cell for cell in cells() if cell.host == host]
    observed = []
    with TelemetrySink() as sink, _open(host, sink, folder, spool) as server:
        for number, cell in enumerate(chosen):
            server.request("GET", "/setup")
            _disturb(sink, cell)
            seen = reports.stat().st_size
            answer = server.request("GET", f"/order-{number}")
            # It is frozen by now: what has not arrived, does so when it is thawed, or never.
            arrived = _arrived(sink, f"order-{number}")
            observed.append((answer, arrived, _merged(_lines(reports, seen))))
            _heal(sink)
        if spool is not None:
            _catch_up(server, sink, [f"order-{number}" for number in range(len(chosen))])
        later = [_arrived(sink, f"order-{number}") for number in range(len(chosen))]
    return {
        cell: Outcome(answer, arrived, late, report)
        for cell, (answer, arrived, report), late in zip(chosen, observed, later, strict=True)
    }


def _catch_up(server: FreezingServer | LambdaHost, sink: TelemetrySink, orders: list[str]) -> None:
    """Send further requests until all of the orders have arrived, or are not going to."""
    server.request("GET", "/setup")
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and any(_arrived(sink, each) != ALL for each in orders):
        server.request("GET", "/after")
        time.sleep(_BETWEEN)


def _arrived(sink: TelemetrySink, order: str) -> set[str]:
    return {item.kind for item in sink.items if _order(item) == order}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _open(
    host: str, sink: TelemetrySink, folder: Path, spool: Path | None
) -> FreezingServer | LambdaHost:
    environ: dict[str, str | None] = {
        **sink.environ,
        "PYTHONPATH": python_path(),
        "CTXKIT_FLUSH_TIMEOUT": str(BUDGET),
        "CTXKIT_LAMBDA_MODE": "extension" if host == "Lambda extension" else "return",
        "CTXKIT_SPOOL": None if spool is None else str(spool),
        "FAULT_REPORTS": str(folder / "reports"),
    }
    if host.startswith("Lambda"):
        return LambdaHost("helpers.fault_host.handler", env=environ, cwd=folder)
    command = {
        "WSGI": "gunicorn --no-control-socket -b 127.0.0.1:{port} helpers.fault_host:wsgi",
        "ASGI": "uvicorn --lifespan off --port {port} helpers.fault_host:asgi",
    }[host]
    environ["CTXKIT_FLUSH_MODE"] = "always"
    return FreezingServer([sys.executable, "-m", *command.split()], env=environ, cwd=folder)


def _disturb(sink: TelemetrySink, cell: Cell) -> None:
    if cell.fault == "slow":
        setattr(sink, f"{cell.destination}_latency", SLOW)
    else:
        setattr(sink, f"{cell.destination}_behaviour", cell.fault)


def _heal(sink: TelemetrySink) -> None:
    sink.behaviour = "ok"
    sink.latency = 0
    sink.hang_up()


def _order(item: Any) -> object:
    if item.kind == "otel.metric":
        return item.data["attributes"].get("order")
    return item.name


def _merged(reports: list[Any]) -> dict[str, Any]:
    """Return the first report, with what later ones know better of a sink.

    Two of Lambda's threads may flush for one invocation, each in case the other does not.
    """
    merged: dict[str, Any] = {"time": min(report["time"] for report in reports), "results": {}}
    for report in reports:
        for sink, result in report["results"].items():
            if merged["results"].get(sink, ("empty", ""))[0] == "empty":
                merged["results"][sink] = tuple(result)
    return merged


def _lines(reports: Path, start: int) -> list[Any]:
    with reports.open() as file:
        file.seek(start)
        return [json.loads(line) for line in file]
