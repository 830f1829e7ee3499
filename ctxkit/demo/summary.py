"""The result of the demo in words and numbers: for a terminal, and for machines."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import ctxkit
from ctxkit.demo.verdict import Outcome, proves_the_claim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctxkit.demo.journey import Journey
    from ctxkit.demo.verdict import LaneReport, RequestReport

_HEAD = ("server", "ctxkit", "landed", "late", "lost", "median response", "added")
_PACKAGES = (
    "django",
    "gunicorn",
    "uvicorn",
    "hypercorn",
    "granian",
    "daphne",
    "waitress",
    "pyuwsgi",
    "awslambdaric",
    "sentry-sdk",
    "opentelemetry-sdk",
)


def pairs(lanes: Sequence[LaneReport]) -> list[tuple[LaneReport, LaneReport]]:
    """Return each server's two lanes, without and with ctxkit."""
    without = {lane.lane.server: lane for lane in lanes if not lane.lane.with_ctxkit}
    return [(without[lane.lane.server], lane) for lane in lanes if lane.lane.with_ctxkit]


def percent(share: float) -> str:
    """Return a share as a whole percentage, which is 100 only if nothing is missing."""
    return f"{int(share * 100 + 1e-9)} %"


def versions() -> dict[str, str]:
    """Return what took part, and its version."""
    found = {"Python": platform.python_version(), "ctxkit": ctxkit.__version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def as_table(lanes: Sequence[LaneReport]) -> str:
    """Return the result as a table for a terminal."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for without, with_ctxkit in pairs(lanes):
        added = f"{(with_ctxkit.latency - without.latency) * 1000:+.0f} ms"
        rows.append((without.lane.server, "without", *_cells(without), ""))
        rows.append(("", "with", *_cells(with_ctxkit), added))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _cells(lane: LaneReport) -> tuple[str, ...]:
    landed = f"{lane.count(Outcome.LANDED)} of {lane.expected} ({percent(lane.landed_share)})"
    late, lost = str(lane.count(Outcome.LATE)), str(lane.count(Outcome.LOST))
    return landed, late, lost, f"{lane.latency * 1000:.0f} ms"


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if column < 2 else cell.rjust(width)  # noqa: PLR2004 - words, then numbers
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def as_json(
    lanes: Sequence[LaneReport], backend_latency: float, journey: Journey | None = None
) -> dict[str, Any]:
    """Return the result as plain data: seconds, and ``time.time()`` for points in time.

    Those of the request that was followed count from when it was sent.
    """
    return {
        "proven": proves_the_claim(lanes),
        "backend_latency": backend_latency,
        "versions": versions(),
        "added_latency": {
            without.lane.server: with_ctxkit.latency - without.latency
            for without, with_ctxkit in pairs(lanes)
        },
        "lanes": [_lane(lane) for lane in lanes],
        "journey": None if journey is None else asdict(journey),
    }


def _lane(lane: LaneReport) -> dict[str, Any]:
    return {
        "server": lane.lane.server,
        "with_ctxkit": lane.lane.with_ctxkit,
        "expected": lane.expected,
        **{str(outcome): lane.count(outcome) for outcome in Outcome},
        "landed_share": lane.landed_share,
        "latency": lane.latency,
        "requests": [_request(request) for request in lane.requests],
    }


def _request(request: RequestReport) -> dict[str, Any]:
    return {
        **asdict(request.sent),
        "items": [asdict(fate) for fate in request.fates],
        "marks": [asdict(mark) for mark in request.marks],
    }
