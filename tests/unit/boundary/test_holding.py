from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from ctxkit.boundary.holding import InFlight


def test_only_the_last_one_out_is_told_so() -> None:
    flights = InFlight()
    flights.enter(None)
    flights.enter(None)
    assert [flights.leave(), flights.leave()] == [False, True]
    flights.enter(None)
    assert flights.leave()


def test_leaving_at_once_tells_one_at_least() -> None:
    flights = InFlight()
    count = 8
    barrier = Barrier(count)

    def fly() -> bool:
        flights.enter(None)
        barrier.wait(10)
        return flights.leave()

    with ThreadPoolExecutor(count) as pool:
        told = [flight.result(10) for flight in [pool.submit(fly) for _ in range(count)]]
    assert told.count(True) >= 1


FORKING = """
import os
from ctxkit.boundary.holding import IN_FLIGHT

IN_FLIGHT.enter(None)
IN_FLIGHT.prepared = True
child = os.fork()
if not child:
    IN_FLIGHT.enter(None)
    os._exit(7 if IN_FLIGHT.leave() and not IN_FLIGHT.prepared else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert IN_FLIGHT.leave()
assert IN_FLIGHT.prepared
"""


def test_forked_child_starts_from_zero() -> None:
    # Not here: from Python 3.12 on a process with threads must not fork.
    subprocess.run([sys.executable, "-W", "error", "-c", FORKING], check=True, timeout=30)
