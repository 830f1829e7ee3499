"""What a frame costs: one for a with-block, and one for a request."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from time import perf_counter
from typing import TYPE_CHECKING

from measuring import Row, Turn, loop_turn, race, ratio_rows

from ctxkit import Key, bind
from ctxkit.context import Frame
from ctxkit.context._current import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable

TENANT = Key[str]("tenant")
KNOWN = dict.fromkeys(("protocol", "method", "path", "query", "host", "client", "request_id"), "x")


def measure(rounds: int) -> list[Row]:
    """Race the ways into a frame, outside of a request and inside."""
    outside = race(_turns(), rounds=rounds, calls=1000)
    with bind(KNOWN):
        inside = race(_turns(), rounds=rounds, calls=1000)
    request = race({"a frame in a copied context": loop_turn(_request)}, rounds=rounds, calls=1000)
    return [
        *ratio_rows("with-block", outside),
        *ratio_rows("with-block, in a frame of seven values", inside),
        *ratio_rows("Frame of a request", request),
    ]


def _turns() -> dict[str, Turn]:
    variable: ContextVar[str] = ContextVar("variable")
    put, reset = variable.set, variable.reset

    def bare(calls: int) -> float:
        numbers = range(calls)
        start = perf_counter()
        for _ in numbers:
            token = put("acme")
            reset(token)
        return perf_counter() - start

    return {
        "ContextVar.set, reset": bare,
        "with bind()": _blocks(bind),
        "with bind(tenant=...)": _named,
        "with bind({TENANT: ...})": _blocks(lambda: bind({TENANT: "acme"})),
    }


def _blocks(make: Callable[[], bind]) -> Turn:
    def turn(calls: int) -> float:
        numbers = range(calls)
        start = perf_counter()
        for _ in numbers:
            with make():
                pass
        return perf_counter() - start

    return turn


def _named(calls: int) -> float:
    numbers = range(calls)
    start = perf_counter()
    for _ in numbers:
        with bind(tenant="acme"):
            pass
    return perf_counter() - start


def _request() -> None:
    # What a crossing does, and nothing of what it knows.
    copy_context().run(CURRENT.set, Frame({**KNOWN}))
