"""What a configuration says about a function: the options that operators may set."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ctxkit.exceptions import ConfigurationError
from ctxkit.functions._reading import Place, entries
from ctxkit.functions.durations import duration
from ctxkit.functions.retrying import read_retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reader = Callable[[Place, object, list[ConfigurationError]], object]

_is_name = re.compile(r"[^\s:*]+:(?:[^\s:*]+|\*)").fullmatch


class Option(NamedTuple):
    """Describe one option of a function; the settings reference is made from these.

    Attributes:
        name: Its name, the same as in the decorator.
        example: How it is written.
        summary: What it does.
        read: Returns its value, or notes what is wrong with it.
    """

    name: str
    example: str
    summary: str
    read: Reader


def _read_timeout(place: Place, value: object, found: list[ConfigurationError]) -> float | None:
    try:
        seconds = duration(place.text, value)
    except ConfigurationError as error:
        found.append(error)
        return None
    if not seconds:
        problem = "leaves no time at all"
        found.append(place.refuse(problem, "Write a longer one, or false for no timeout."))
    return seconds


def _read_name(place: Place, value: object, found: list[ConfigurationError]) -> object:
    if not isinstance(value, str) or not value:
        found.append(place.refuse(f"must be a name, not {value!r}", "Write it in quotes."))
    return value


OPTIONS: Final = (
    Option("timeout", '"2s"', "How long a call may take, its retries included.", _read_timeout),
    Option(
        "retry",
        '{max_attempts = 5, on = ["ConnectionError"]}',
        "How often it is tried: a number of attempts, or the arguments of {class}`ctxkit.Retry`.",
        read_retry,
    ),
    Option("pool", '"db"', "The pool that it runs on: the name of one of `pools`.", _read_name),
    Option("engine", '"celery"', "What takes what it spawns: the name of an engine.", _read_name),
)
_OPTIONS: Final = {option.name: option for option in OPTIONS}


def read_options(
    place: Place, value: object, found: list[ConfigurationError]
) -> dict[str, Mapping[str, object]]:
    """Return the options of each function by its name, and note everything that is wrong.

    ``False`` and None take an option away, and become None.
    """
    read: dict[str, Mapping[str, object]] = {}
    for name, where, table in entries(place, value, found):
        if _is_name(name) is None:
            fix = 'Write it like "package.module:name", or "package.module:*" for all of a module.'
            found.append(where.refuse("is not the name of a function", fix))
        read[name] = {
            key: None if each is None or each is False else _OPTIONS[key].read(at, each, found)
            for key, at, each in entries(where, table, found, _OPTIONS)
        }
    return read
