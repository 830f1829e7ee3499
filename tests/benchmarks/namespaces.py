"""What reading and writing an attribute costs, next to what each rests on.

Writes alternate between two values: a ``ContextVar`` that is set to what it holds already
does next to nothing, which is measured apart.
"""

from __future__ import annotations

import threading
from contextvars import Context, ContextVar
from functools import partial
from time import perf_counter
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

import asgiref.local
import werkzeug.local
from measuring import Row, Turn, race, ratio_rows

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

PEERS: dict[str, Callable[[], Any]] = {
    "threading.local": threading.local,
    "ctxkit.Local": ctxkit.Local,
    'ctxkit.Local(scope="thread")': partial(ctxkit.Local, scope="thread"),
    "asgiref Local": asgiref.local.Local,
    "werkzeug Local": werkzeug.local.Local,
}


def measure(rounds: int) -> list[Row]:
    """Race the namespaces, and the context variable that all of them rest on."""
    crowd = [ContextVar[int](f"other{number}") for number in range(1000)]

    def crowded() -> list[Row]:
        for variable in crowd:
            variable.set(0)
        return _rows(rounds, ", 1000 other variables")

    return [*Context().run(_rows, rounds, ""), *Context().run(crowded)]


def _rows(rounds: int, where: str) -> list[Row]:
    spaces = {name: make() for name, make in PEERS.items()}
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("value")
    for space in spaces.values():
        space.name = "value"
    getting = {
        **{name: _getting(space) for name, space in spaces.items()},
        "ContextVar.get": _calling(variable.get),
    }
    changing = {
        "ContextVar.set": _putting(variable, "other"),
        **{name: _setting(space, "other") for name, space in spaces.items()},
    }
    repeating = {
        "ContextVar.set": _putting(variable, "value"),
        **{name: _setting(space, "value") for name, space in spaces.items()},
    }
    tables = {"get": getting, "set": changing, "set to what it is": repeating}
    return [
        row
        for what, turns in tables.items()
        for row in ratio_rows(f"Attribute, {what}{where}", race(turns, rounds=rounds, calls=2000))
    ]


def _own_code(turn: Turn) -> Turn:
    """Return the same with a code object of its own.

    The interpreter specialises an attribute access for the class that it sees there; places
    that all namespaces shared would be specialised for none.
    """
    function = cast("FunctionType", turn)
    return FunctionType(
        function.__code__.replace(), function.__globals__, closure=function.__closure__
    )


def _getting(space: Any) -> Turn:
    def turn(calls: int) -> float:
        numbers = range(calls)
        start = perf_counter()
        for _ in numbers:
            space.name  # noqa: B018 - that is what is measured
        return perf_counter() - start

    return _own_code(turn)


def _setting(space: Any, other: str) -> Turn:
    def turn(calls: int) -> float:
        numbers = range(calls // 2)
        start = perf_counter()
        for _ in numbers:
            space.name = other
            space.name = "value"
        return perf_counter() - start

    return _own_code(turn)


def _putting(variable: ContextVar[str], other: str) -> Turn:
    put = variable.set

    def turn(calls: int) -> float:
        numbers = range(calls // 2)
        start = perf_counter()
        for _ in numbers:
            put(other)
            put("value")
        return perf_counter() - start

    return turn


def _calling(function: Callable[[], object]) -> Turn:
    def turn(calls: int) -> float:
        numbers = range(calls)
        start = perf_counter()
        for _ in numbers:
            function()
        return perf_counter() - start

    return turn
