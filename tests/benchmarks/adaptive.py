"""An adaptive pool beside static ones of many sizes, by what gets done; real threads.

More threads than any pool lets in call again and again. Each pool has a turn in every round; the
adaptive one has had time before the first, and in each: a pause between two turns is to it as if
the process had been frozen.
"""

from __future__ import annotations

from statistics import median
from threading import Semaphore, Thread
from time import monotonic, process_time, sleep
from typing import TYPE_CHECKING

from measuring import Row

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (1, 2, 4, 8, 16, 32)
CALLERS = 48
CONVERGING, TURN, LONG_TURN = 12.0, 0.5, 1.5  # seconds
WAIT = 0.005  # seconds
ADAPTIVE = "adaptive"


def _compute(steps: int = 30_000) -> None:
    total = 0
    for number in range(steps):
        total += number


def _wait() -> None:
    sleep(WAIT)


def _both() -> None:
    _compute(10_000)
    sleep(WAIT)


def _behind(width: int) -> Callable[[], None]:
    narrow = Semaphore(width)

    def work() -> None:
        with narrow:
            sleep(WAIT)

    return work


#: Measured by the time of the CPU, of which other processes leave now more, now less.
COMPUTES = "Work that holds the GIL"
WORK: dict[str, Callable[[], None]] = {
    COMPUTES: _compute,
    "Work that waits": _wait,
    "Work behind a bottleneck of 4": _behind(4),
    "Work that computes and waits": _both,
}


def measure(rounds: int) -> list[Row]:
    """Let each pool do each kind of work."""
    return [row for name in WORK for row in _rows(name, max(3, rounds // 25))]


def _rows(name: str, rounds: int) -> list[Row]:
    pools = {f"{size} at a time": ctxkit.Pool.static(size) for size in SIZES}
    pools[ADAPTIVE] = ctxkit.Pool.adaptive(SIZES[-1])
    work = WORK[name]
    clock = process_time if name == COMPUTES else monotonic
    _turn(pools[ADAPTIVE], work, CONVERGING, clock)
    times: dict[str, list[float]] = {subject: [] for subject in pools}
    for _ in range(rounds):
        for subject, pool in pools.items():
            seconds = LONG_TURN if subject == ADAPTIVE else TURN
            times[subject].append(_turn(pool, work, seconds, clock))
    best = min((median(times[subject]), subject) for subject in times if subject != ADAPTIVE)[1]
    return [
        Row(
            name,
            subject,
            median(each),
            # Of each round by itself: the machine may be slower in one than in another.
            ratio=median(mine / its for mine, its in zip(each, times[best], strict=True)),
        )
        for subject, each in times.items()
    ]


def _turn(
    pool: ctxkit.Pool, work: Callable[[], None], seconds: float, clock: Callable[[], float]
) -> float:
    """Return the seconds per call, while there is always somebody who wants to be let in."""
    ended = [0] * CALLERS
    over = monotonic() + seconds

    def call_again(number: int) -> None:
        while monotonic() < over:
            with pool.acquire():
                work()
            ended[number] += 1

    threads = [Thread(target=call_again, args=(number,)) for number in range(CALLERS)]
    begun = clock()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (clock() - begun) / sum(ended)
