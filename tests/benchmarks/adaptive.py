"""An adaptive pool beside static ones of every size, by what gets done; real threads.

More threads than any pool lets in call again and again. Each pool has a turn in every round;
the adaptive one has found its limit before the first.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from statistics import median
from threading import Event, Lock, Semaphore, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from measuring import Row

from ctxkit.functions.pools._controller import Controller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES = (1, 2, 4, 8, 16, 32)
CALLERS = 48
CONVERGING, TURN = 8.0, 1.0  # seconds
WAIT = 0.005  # seconds


class _Gate:
    """Lets in as many as its limit says, in their order."""

    def __init__(self, limit: int, controller: Controller | None = None) -> None:
        self.limit = limit
        self._controller = controller
        self._lock = Lock()
        self._busy = 0
        self._waiting: deque[Event] = deque()

    @contextmanager
    def acquire(self) -> Iterator[None]:
        turn = None
        with self._lock:
            if self._busy < self.limit:
                self._busy += 1
            else:
                turn = Event()
                self._waiting.append(turn)
        if turn is not None:
            turn.wait()
        begun = monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                if self._controller is not None:
                    now = monotonic()
                    self.limit = self._controller.completed(
                        now, now - begun, waiting=bool(self._waiting)
                    )
                while self._waiting and self._busy < self.limit:
                    self._busy += 1
                    self._waiting.popleft().set()


def _compute() -> None:
    total = 0
    for number in range(30_000):
        total += number


def _behind(width: int) -> Callable[[], None]:
    narrow = Semaphore(width)

    def work() -> None:
        with narrow:
            sleep(WAIT)

    return work


def _mixed() -> None:
    total = 0
    for number in range(10_000):
        total += number
    sleep(WAIT)


WORK: dict[str, Callable[[], object]] = {
    "that holds the GIL": _compute,
    "that waits": lambda: sleep(WAIT),
    "behind a bottleneck of 4": _behind(4),
    "that computes and waits": _mixed,
}


def measure(rounds: int) -> list[Row]:
    """Let each pool do each kind of work."""
    return [row for name in WORK for row in _rows(name, max(3, rounds // 50))]


def _rows(name: str, turns: int) -> list[Row]:
    adaptive = _Gate(4, Controller(SIZES[-1]))
    pools: dict[str, Any] = {f"{size} at a time": _Gate(size) for size in SIZES}
    pools["adaptive"] = adaptive
    work = WORK[name]
    _turn(adaptive, work, CONVERGING)
    times: dict[str, list[float]] = {subject: [] for subject in pools}
    for _ in range(turns):
        for subject, pool in pools.items():
            times[subject].append(_turn(pool, work, TURN))
    seconds = {subject: median(each) for subject, each in times.items()}
    best = min(seconds[subject] for subject in seconds if subject != "adaptive")
    return [
        Row(f"Work {name}, by how many are let in", subject, each, ratio=each / best)
        for subject, each in seconds.items()
    ]


def _turn(pool: Any, work: Callable[[], object], seconds: float) -> float:
    """Return the seconds per call, while all of them want to be let in."""
    ended = [0] * CALLERS
    over = monotonic() + seconds

    def call_again(number: int) -> None:
        while monotonic() < over:
            with pool.acquire():
                work()
            ended[number] += 1

    threads = [Thread(target=call_again, args=(number,)) for number in range(CALLERS)]
    begun = monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (monotonic() - begun) / sum(ended)
