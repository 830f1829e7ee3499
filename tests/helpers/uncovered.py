"""Processes that coverage does not measure.

Its handler of SIGTERM comes first and ends them, and its tracer before Python 3.12 keeps a thread
that is ended from outside from ever being so.
"""

from __future__ import annotations

from typing import Final

#: Variables that a process must not have; their values are None.
UNCOVERED: Final[dict[str, None]] = dict.fromkeys(
    ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
)
