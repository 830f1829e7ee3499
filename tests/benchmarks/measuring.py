"""Compare costs so that a noisy machine does not decide: interleaved rounds, medians.

Absolute times of two runs cannot be compared; those of one run can, since every contestant has a
turn in every round, in an order that changes. What a middleware adds is measured in CPU time of
the process, which other processes disturb less; what a carrier takes, in time.
"""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Turn: TypeAlias = "Callable[[int], float]"


@dataclass(frozen=True)
class Row:
    """One line of a table: what ``subject`` costs in ``table``.

    Attributes:
        table: What was compared.
        subject: Who.
        seconds: The median cost of one operation; None where it was not measured.
        added: The median of what it costs on top of the first contestant, in seconds.
        ratio: ``added`` as a multiple of the reference's, or where nothing is added to
            anything, ``seconds`` as a multiple of the first contestant's.
        modules: The modules that an import adds.
        kept: The bytes that are held at the end and were not after a tenth.
    """

    table: str
    subject: str
    seconds: float | None
    added: float | None = None
    ratio: float | None = None
    modules: int | None = None
    kept: int | None = None


def race(contestants: Mapping[str, Turn], *, rounds: int, calls: int) -> dict[str, list[float]]:
    """Return the seconds per call of each contestant in each round.

    Args:
        contestants: Who, and how to do a number of calls and tell the seconds they took.
        rounds: How many turns each has.
        calls: How many calls are in a turn.
    """
    names = list(contestants)
    shuffle = random.Random(7).shuffle
    for name in names:  # caches warm, specialised bytecode in place
        contestants[name](max(calls // 3, 20))
    times: dict[str, list[float]] = {name: [] for name in names}
    order = names[:]
    gc.collect()
    gc.disable()
    # Some objects that hold their arenas of the allocator: one that comes and goes with what
    # an operation allocates costs more than the operation.
    _held = [object() for _ in range(1_000_000)][::1000]
    try:
        for number in range(rounds):
            shuffle(order)
            for name in order:
                # A server stays with one application, so its code is in the caches of the CPU.
                contestants[name](calls // 3)
                times[name].append(contestants[name](calls) / calls)
            if not number % 10:
                gc.collect()
    finally:
        gc.enable()
    return times


def loop_turn(operation: Callable[[], object]) -> Turn:
    """Return the turn that calls ``operation`` again and again."""

    def turn(calls: int) -> float:
        numbers = range(calls)
        start = perf_counter()
        for _ in numbers:
            operation()
        return perf_counter() - start

    return turn


def added_rows(table: str, times: Mapping[str, list[float]], reference: str) -> list[Row]:
    """Say what each adds to the first, and compare that with what ``reference`` adds."""
    base = next(iter(times))

    def added(name: str) -> float:
        return median(mine - bare for mine, bare in zip(times[name], times[base], strict=True))

    whole = added(reference)
    return [
        Row(table, base, median(times[base])),
        *(
            Row(table, name, median(each), added(name), added(name) / whole)
            for name, each in times.items()
            if name != base
        ),
    ]


def beyond_rows(table: str, times: Mapping[str, list[float]]) -> list[Row]:
    """Say what each adds to the first."""
    base = next(iter(times))
    return [
        Row(
            table,
            name,
            median(each),
            None
            if name == base
            else median(mine - bare for mine, bare in zip(each, times[base], strict=True)),
        )
        for name, each in times.items()
    ]


def ratio_rows(table: str, times: Mapping[str, list[float]]) -> list[Row]:
    """Compare each with the first."""
    base = times[next(iter(times))]
    return [
        Row(
            table,
            name,
            median(each),
            ratio=median(mine / bare for mine, bare in zip(each, base, strict=True)),
        )
        for name, each in times.items()
    ]
