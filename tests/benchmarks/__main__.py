"""Measure what ctxkit costs beside its peers: ``python tests/benchmarks``.

Each table is one interleaved run in a process of its own; compare within a table only. With
``--check`` the exit code says whether ctxkit keeps its promises, with ``--json`` machines can
read it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from measuring import Row

GROUPS = (
    "asgi",
    "boundaries",
    "django_middleware",
    "imports",
    "frames",
    "namespaces",
    "memory",
    "carriers",
    "carriers_django",
    "carriers_sdks",
    "flushing",
    "together",
    "many",
    "holding",
    "lambda_modes",
    "functions",
    "adaptive",
)
CTXKIT_ASGI, CTXKIT_DJANGO = "ctxkit.ASGIMiddleware", "ctxkit.django.ContextMiddleware"
BOUNDARY = "boundary, both SDKs in use, nothing pending"
TOGETHER = "16 requests end together, a round trip takes 50 ms"
MANY = "16 requests end together, in round trips"
HEADS = {
    "seconds": "µs",
    "added": "added µs",
    "ratio": "ratio",
    "modules": "modules",
    "kept": "bytes kept",
}
KINDS_OF_WORK = (
    "Work that holds the GIL",
    "Work that waits",
    "Work behind a bottleneck of 4",
)
# (table, subject, the most that is promised of `field`)
PROMISES = (
    ("ASGI, id taken over", CTXKIT_ASGI, "ratio", 1.0),
    ("ASGI, id made", CTXKIT_ASGI, "ratio", 1.0),
    *((f"{protocol} {BOUNDARY}", "never", "added", 5e-6) for protocol in ("WSGI", "ASGI")),
    *(
        (f"{protocol} {BOUNDARY}", mode, "added", most)
        # 5 with CPython built by its own profile, as distributions have it; not every one is.
        for protocol, most in (("WSGI", 5e-6), ("ASGI", 6.5e-6))
        for mode in ("idle", "always")
    ),
    ("Django, WSGI", CTXKIT_DJANGO, "ratio", 0.5),
    ("Django, ASGI", CTXKIT_DJANGO, "ratio", 0.5),
    (TOGETHER, "a sink that takes 8 at once", "ratio", 1.7),
    (TOGETHER, "a sink that takes 1 at once", "ratio", 2.3),
    ("Import, bare interpreter", "import ctxkit", "modules", 15),
    ("with-block", "with bind()", "ratio", 5.0),
    ("submit(noop).result()", "ctxkit", "ratio", 1.3),
    ("submit(noop).result(), 1,000 variables", "ctxkit", "ratio", 1.3),
    ("Frame of a request", "a frame in a copied context", "seconds", 5e-6),
    ("Attribute, get", "ctxkit.Local", "ratio", 2.2),
    ("Attribute, set", "ctxkit.Local", "ratio", 8.0),
    ("Attribute, set to what it is", "ctxkit.Local", "ratio", 3.5),
    ("Empty function", "@ctxkit.function", "ratio", 3.0),
    ("Empty coroutine function", "@ctxkit.function", "ratio", 4.0),
    # One round trip and a half of a sink of 50 ms, and 10 ms.
    (MANY, "Sentry, ConcurrentTransport", "ratio", 1.7),
    (MANY, "OpenTelemetry, ConcurrentExporter", "ratio", 1.7),
    ("Held by gunicorn-gthread", "a transaction and a server span", "ratio", 1.3),
    ("Held by uvicorn-h11", "a transaction and a server span", "ratio", 1.3),
    ("AWS Lambda, a client's wait", "extension", "added", 5e-3),
    # Nine tenths of what the best static size gets done.
    *((work, "adaptive", "ratio", 1 / 0.9) for work in KINDS_OF_WORK),
    ("Memory", "1000000 frames", "kept", 100_000),
    ("Memory", "1000000 submits", "kept", 100_000),
    ("Memory", "1000 dropped Locals", "kept", 100_000),
    ("Memory", "1000 dropped Locals of a thread", "kept", 100_000),
)


def main() -> int:
    """Measure, print, and judge if asked to."""
    arguments = _arguments()
    if arguments.group:
        rows = import_module(arguments.group).measure(arguments.rounds)
        _say(json.dumps([dataclasses.asdict(row) for row in rows]))
        return 0
    rows: list[Row] = []
    broken: list[str] = []
    for group in arguments.only or GROUPS:
        measured = _measured(group, arguments.rounds)
        if arguments.check and _broken(measured):
            # Somebody else may have used the machine: longer, and then it is believed.
            measured = _measured(group, 3 * arguments.rounds)
            broken += _broken(measured)
        rows += measured
    if arguments.json:
        _say(json.dumps({"rows": [dataclasses.asdict(row) for row in rows], "broken": broken}))
    else:
        _say(f"Python {platform.python_version()}, {arguments.rounds} rounds, medians\n")
        _say(markdown(rows), *broken)
    return bool(broken)


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=150, help="turns of each contestant")
    parser.add_argument("--only", action="append", choices=GROUPS, help="measure only this")
    parser.add_argument("--check", action="store_true", help="fail if a promise is broken")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.add_argument("--group", choices=GROUPS, help=argparse.SUPPRESS)  # the child's part
    return parser.parse_args()


def _measured(group: str, rounds: int) -> list[Row]:
    """Run one group in a process of its own: no SDK or settings of another in the way."""
    result = subprocess.run(
        [sys.executable, str(Path(__file__).parent), "--group", group, "--rounds", str(rounds)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    return [Row(**row) for row in json.loads(result.stdout)]


def _broken(rows: list[Row]) -> list[str]:
    found = {(row.table, row.subject): row for row in rows}
    return [
        f"BROKEN: {table}: {subject}: {field} is {value:.2f}, promised is less than {limit}"
        if field == "ratio"
        else f"BROKEN: {table}: {subject}: {value} {field}, promised are at most {limit}"
        for table, subject, field, limit in PROMISES
        if (row := found.get((table, subject))) is not None
        and ((value := getattr(row, field)) > limit or (field == "ratio" and value == limit))
    ]


def markdown(rows: list[Row]) -> str:
    """Return the rows as Markdown tables."""
    lines: list[str] = []
    for table in dict.fromkeys(row.table for row in rows):
        mine = [row for row in rows if row.table == table]
        columns = [column for column in HEADS if _has(mine, column)]
        lines += [
            f"| {table} | {' | '.join(HEADS[column] for column in columns)} |",
            f"|---|{'---:|' * len(columns)}",
            *(f"| {r.subject} | {' | '.join(_cell(r, c) for c in columns)} |" for r in mine),
            "",
        ]
    return "\n".join(lines)


def _has(rows: list[Row], column: str) -> bool:
    return any(getattr(row, column) is not None for row in rows)


def _cell(row: Row, column: str) -> str:
    value = getattr(row, column)
    if value is None:
        return ""
    if column in {"seconds", "added"}:
        return f"{value * 1e6:.3g}" if value < 1e-3 else f"{value * 1e6:.0f}"
    return f"{value:.2f}" if column == "ratio" else str(value)


if __name__ == "__main__":
    sys.exit(main())
