"""How long a flush holds a response, under real servers and before a sink that takes 50 ms.

Pairs of a response that waits and one that does not, in one process of the server. The ratio is
in round trips of the sink: 1.0 is the least, as the last span and the transaction end with the
response. An event just before them costs one more with Sentry's own transport, which sends one
envelope after the other.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from measuring import Row

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import frozen

SERVERS = ("gunicorn-gthread", "uvicorn-h11")
SUBJECTS = {
    "plain": "a transaction and a server span",
    "list": "an event, a log, a metric, a span besides",
}


def measure(rounds: int) -> list[Row]:
    """Ask each server in rounds: fewer than there are, as they wait."""
    rounds = max(10, rounds // 5)
    rows: list[Row] = []
    for server in filter(frozen.is_available, SERVERS):
        with tempfile.TemporaryDirectory() as folder:
            run = frozen.run(server, Path(folder), 0, rounds)
        table = f"Held by {server}"
        rows.append(Row(table, "one round trip of the sink", run.round_trip, ratio=1.0))
        rows += [
            Row(table, subject, None, median(run.waits[path]), run.added(path))
            for path, subject in SUBJECTS.items()
        ]
    return rows
