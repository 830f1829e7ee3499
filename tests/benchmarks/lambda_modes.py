"""How long a client of AWS Lambda waits in each mode, under the real awslambdaric, frozen.

One function in all modes, which records a span and an event, with a sink that takes 50 ms, and
the same without a flush; in turns, compared by pairs. Only what has landed counts.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from measuring import Row

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.lambda_hosts import all_landed, running

NONE = "no flush at all, never frozen"
MODES = ("return", "exact", "extension")


def measure(rounds: int) -> list[Row]:
    """Invoke each in rounds: fewer than there are, as they wait."""
    if find_spec("awslambdaric") is None:
        return []
    waits: dict[str, list[float]] = {}
    with ExitStack() as stack:
        none = {"CTXKIT_LAMBDA_MODE": None}
        hosts = {NONE: stack.enter_context(running("plain", env=none, freeze=False))}
        hosts |= {mode: stack.enter_context(running("handler", mode)) for mode in MODES}
        for n in range(max(30, rounds * 2 // 3)):
            for subject, (function, sink) in hosts.items():
                result = function.invoke({"n": n})
                if subject != NONE and not all_landed(sink, n, result):
                    raise AssertionError(f"{subject}: invocation {n} was frozen too early")
                waits.setdefault(subject, []).append(result.times.latency)
    return [
        Row("AWS Lambda, a client's wait", each, median(waits[each]), _added(waits, each))
        for each in waits
    ]


def _added(waits: dict[str, list[float]], subject: str) -> float | None:
    """Return the median of what it adds to the invocation beside it."""
    if subject == NONE:
        return None
    return median(a - b for a, b in zip(waits[subject], waits[NONE], strict=True))
