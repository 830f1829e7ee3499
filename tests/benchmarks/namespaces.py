"""What reading and writing an attribute costs, next to ``threading.local``."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from time import perf_counter
from typing import Any

import asgiref.local
import werkzeug.local
from measuring import Row, Turn, race, ratio_rows

import ctxkit


def measure(rounds: int) -> list[Row]:
    """Race the namespaces, and the context variable that all of them rest on."""
    spaces: dict[str, Any] = {
        "threading.local": threading.local(),
        "ctxkit.Local": ctxkit.Local(),
        "asgiref Local": asgiref.local.Local(),
        "werkzeug Local": werkzeug.local.Local(),
    }
    for space in spaces.values():
        space.name = "value"
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("value")

    getting = {name: _getting(space) for name, space in spaces.items()}
    getting["ContextVar.get"] = _calling(variable.get)
    setting = {name: _setting(space) for name, space in spaces.items()}
    setting["ContextVar.set"] = _calling(variable.set, "value")
    return [
        *ratio_rows("Attribute, get", race(getting, rounds=rounds, calls=2000)),
        *ratio_rows("Attribute, set", race(setting, rounds=rounds, calls=2000)),
    ]


def _getting(space: Any) -> Turn:
    def turn(calls: int) -> float:
        numbers = range(calls)
        start = perf_counter()
        for _ in numbers:
            space.name  # noqa: B018 - that is what is measured
        return perf_counter() - start

    return turn


def _setting(space: Any) -> Turn:
    def turn(calls: int) -> float:
        numbers = range(calls)
        start = perf_counter()
        for _ in numbers:
            space.name = "value"
        return perf_counter() - start

    return turn


def _calling(function: Any, *arguments: object) -> Turn:
    def turn(calls: int) -> float:
        numbers = range(calls)
        start = perf_counter()
        for _ in numbers:
            function(*arguments)
        return perf_counter() - start

    return turn
