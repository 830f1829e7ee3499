"""What an import costs at a cold start, each in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from measuring import Row

STATEMENTS = (
    "import ctxkit",
    "from ctxkit import bind, get",
    "from ctxkit import flush_before_return",
    "from ctxkit import ASGIMiddleware",
    "import asgiref.local",
    "import werkzeug.local",
    "import asgi_correlation_id",
    "import starlette_context",
)
_PROGRAM = """
import sys, time
before = set(sys.modules)
start = time.perf_counter()
{}
seconds = time.perf_counter() - start
print(seconds, len(set(sys.modules) - before))
"""


def measure(rounds: int) -> list[Row]:
    """Import each in turn, a few times over."""
    results: dict[str, list[tuple[float, int]]] = {statement: [] for statement in STATEMENTS}
    for _ in range(max(1, min(rounds, 15))):
        for statement in STATEMENTS:
            results[statement].append(_cost(statement))
    return [
        Row(
            "Import, bare interpreter",
            statement,
            median(seconds for seconds, _ in costs),
            modules=max(modules for _, modules in costs),
        )
        for statement, costs in results.items()
    ]


def _cost(statement: str) -> tuple[float, int]:
    # -S: site may import modules itself, on behalf of editable installations, and hide ours.
    program = f"import sys; sys.path[:] = {sys.path!r}\n{_PROGRAM.format(statement)}"
    result = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    seconds, modules = result.stdout.split()
    return float(seconds), int(modules)
