"""Worlds in which a limit of calls at a time has a best value that is known; virtual time.

A world says for each number of calls at a time how many of them end in a second. In a closed
one somebody always waits; in an open one calls come at random. Nothing here sleeps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import exp, inf, log, sqrt
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

#: How long a call takes that is alone, in seconds.
SERVICE = 0.02
#: The highest limit.
MOST = 32
#: When the world changes, in those where it does, and when all ends, in seconds.
SHIFT, END = 110.0, 240.0

#: How many times the throughput of one call at a time so many at a time have.
Curve: TypeAlias = "Callable[[int], float]"


class Limiting(Protocol):
    """Is told of each call that ends, and says how many may run at a time."""

    limit: int

    def completed(
        self, now: float, seconds: float, *, waiting: bool, dropped: bool = False
    ) -> int: ...


def bottleneck(width: int) -> Curve:
    """Return the curve of calls of which only ``width`` get on at a time."""
    return lambda calls: float(min(calls, width))


def scalable(contention: float, crosstalk: float) -> Curve:
    """Return the curve of the universal scalability law."""
    return lambda n: n / (1 + contention * (n - 1) + crosstalk * n * (n - 1))


@dataclass(frozen=True)
class World:
    """What a number of calls at a time yields, before a shift and after it."""

    name: str
    curve: Curve
    after: Curve | None = None

    def best(self) -> float:
        """Return the highest throughput at the end."""
        curve = self.after or self.curve
        return max(curve(limit) for limit in range(1, MOST + 1))

    def knee(self) -> int:
        """Return the smallest limit with 95 % of it."""
        curve, best = self.after or self.curve, self.best()
        return next(limit for limit in range(1, MOST + 1) if curve(limit) >= 0.95 * best)


WORLDS = (
    World("no contention", float),
    World("bottleneck 4", bottleneck(4)),
    World("bottleneck 12", bottleneck(12)),
    World("GIL-like", scalable(1, 0.02)),
    World("USL 0.05, 0.005", scalable(0.05, 0.005)),
    World("USL 0.02, 0.002", scalable(0.02, 0.002)),
    World("bottleneck 16, then 4", bottleneck(16), bottleneck(4)),
    World("bottleneck 4, then 16", bottleneck(4), bottleneck(16)),
)


@dataclass
class Course:
    """How a limit went in a world.

    Attributes:
        limits: The time and the limit at each change.
        share: The throughput of the time that counts, over the best there is.
        mean: The mean limit in that time.
    """

    limits: list[tuple[float, int]] = field(default_factory=list)
    share: float = 0.0
    mean: float = 0.0

    def at(self, moment: float) -> int:
        """Return the limit at a moment."""
        return [limit for time, limit in self.limits if time <= moment][-1]


def times(cv: float, random: Random) -> Callable[[], float]:
    """Return what draws the work of a call, log-normal with a coefficient of variation."""
    spread = sqrt(log(1 + cv * cv))
    middle = log(SERVICE) - spread * spread / 2
    gauss = random.gauss
    return lambda: exp(middle + spread * gauss(0.0, 1.0))


def closed(
    world: World,
    controller: Limiting,
    draw: Callable[[], float],
    *,
    end: float = END,
    counts_from: float | None = None,
) -> Course:
    """Run a world in which somebody always waits; all calls in it share what there is."""
    from_ = end / 2 if counts_from is None else counts_from
    now = done = yielded = area = 0.0
    running: list[tuple[float, float]] = []
    rates = _rates(world.curve)
    later = world.after
    limit = controller.limit
    course = Course([(0.0, limit)])
    completed = controller.completed
    while now < end:
        while len(running) < limit:
            heappush(running, (done + draw(), now))
        calls = len(running)
        work, begun = heappop(running)
        took = (work - done) / rates[calls]
        now += took
        done = work
        if now >= from_:
            yielded += took * rates[calls] * calls
            area += took * limit
        if later is not None and now >= SHIFT:
            rates, later = _rates(later), None
        new = completed(now, now - begun, waiting=True)
        if new != limit:
            limit = new
            course.limits.append((now, limit))
    course.share = yielded / (end - from_) / world.best()
    course.mean = area / (end - from_)
    return course


def queued(width: int, after: int, controller: Limiting, draw: Callable[[], float]) -> Course:
    """Run a world in which ``width`` calls work and the others wait in it, ``after`` a shift."""
    now = yielded = area = 0.0
    begins: deque[float] = deque()
    working: list[tuple[float, float]] = []
    limit = controller.limit
    course = Course([(0.0, limit)])
    while now < END:
        while len(working) + len(begins) < limit:
            begins.append(now)
        while begins and len(working) < width:
            heappush(working, (now + draw(), begins.popleft()))
        calls = len(working)
        ended, begun = heappop(working)
        if now >= END / 2:
            yielded += calls * (ended - now)
            area += limit * (ended - now)
        now = ended
        if now >= SHIFT:
            width = after
        new = controller.completed(now, now - begun, waiting=True)
        if new != limit:
            limit = new
            course.limits.append((now, limit))
    course.share = yielded / (END / 2) / after
    course.mean = area / (END / 2)
    return course


def opened(
    curve: Curve,
    controller: Limiting,
    draw: Callable[[], float],
    pause: Callable[[float], float],
    *,
    end: float,
) -> Course:
    """Run a world in which calls come by themselves, the next one after ``pause(now)`` seconds."""
    now = done = 0.0
    waiting = 0
    running: list[tuple[float, float]] = []
    rates = _rates(curve)
    limit = controller.limit
    course = Course([(0.0, limit)])
    arrival = pause(now)
    while now < end:
        rate = rates[len(running)]
        ends = now + (running[0][0] - done) / rate if running else inf
        if arrival < ends:
            done += (arrival - now) * rate
            now = arrival
            waiting += 1
            arrival += pause(now)
        else:
            done, begun = heappop(running)
            now = ends
            new = controller.completed(now, now - begun, waiting=waiting > 0)
            if new != limit:
                limit = new
                course.limits.append((now, limit))
        while waiting and len(running) < limit:
            waiting -= 1
            heappush(running, (done + draw(), now))
    return course


def refusing(
    width: int, controller: Limiting, draw: Callable[[], float], *, end: float
) -> tuple[Course, float]:
    """Run a world that refuses at once whoever comes beside ``width`` others.

    Returns:
        How the limit went, and the share of refused calls.
    """
    now = 0.0
    calls = refused = inside = 0
    running: list[tuple[float, float, bool]] = []
    limit = controller.limit
    course = Course([(0.0, limit)])
    while now < end:
        while len(running) < limit:
            enters = inside < width
            inside += enters
            heappush(running, (now + (draw() if enters else SERVICE / 10), now, enters))
        now, begun, entered = heappop(running)
        inside -= entered
        calls += 1
        refused += not entered
        new = controller.completed(now, now - begun, waiting=True, dropped=not entered)
        if new != limit:
            limit = new
            course.limits.append((now, limit))
    return course, refused / calls


def _rates(curve: Curve) -> list[float]:
    return [0.0] + [curve(calls) / calls for calls in range(1, 4 * MOST)]
