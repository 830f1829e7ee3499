"""What carrying costs where Django's state has to be moved to the thread."""

from __future__ import annotations

import decimal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from asgiref.local import Local
from carriers import STDLIB, in_context, pin, round_trip, with_variables
from measuring import loop_turn, race, ratio_rows

import ctxkit

if TYPE_CHECKING:
    from measuring import Row


def measure(rounds: int) -> list[Row]:
    """Race the pools with what a Django request sets: language, time zone, urlconf, prefix."""
    pin()
    decimal.getcontext()
    state = [Local() for _ in range(4)]
    for each in state:
        each.value = "set"
    rows: list[Row] = []
    with (
        ctxkit.bind(request_id="benchmark"),
        ThreadPoolExecutor(1) as plain,
        ctxkit.ThreadPoolExecutor(1) as carrying,
    ):
        for count in (10, 1_000):
            context = with_variables(count)
            turns = {
                name: in_context(context, loop_turn(partial(round_trip, pool)))
                for name, pool in ((STDLIB, plain), ("ctxkit", carrying))
            }
            rows += ratio_rows(
                f"submit(noop).result() in Django, {count:,} variables",
                race(turns, rounds=rounds, calls=50),
            )
    return rows
