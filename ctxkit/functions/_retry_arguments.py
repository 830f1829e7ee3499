"""The arguments of a retry: what each means, and what it may be."""

from __future__ import annotations

from sys import float_info
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ctxkit.exceptions import ConfigurationError
    from ctxkit.functions._reading import Place


class Argument(NamedTuple):
    """Describe one argument of a retry; the settings reference is made from these.

    Attributes:
        name: Its name, in code and in a configuration.
        default: Its default, as one writes it in a configuration.
        summary: What it does.
    """

    name: str
    default: str
    summary: str


ARGUMENTS: Final = (
    Argument("max_attempts", "3", "How often it is tried in all; 1 is once."),
    Argument("initial_delay", '"100ms"', "The pause after the first attempt."),
    Argument("backoff_factor", "2.0", "How many times as long each further pause is."),
    Argument("max_delay", '"10s"', "The longest pause."),
    Argument("jitter", "0.1", "By which share of it a pause is longer or shorter, at random."),
    Argument(
        "on",
        "",
        'The errors to try again after, by name: `"ConnectionError"`, `"package.module:Error"`, '
        "or a list of such.",
    ),
)
NAMES: Final = tuple(argument.name for argument in ARGUMENTS)

_MOST = float_info.max  # neither infinity nor what is no number
# The types of each argument, its bounds, and both in words.
_WANTED: dict[str, tuple[tuple[type[int | float], ...], float, float, str, str]] = {
    "max_attempts": ((int,), 1, _MOST, "a whole number, 1 or more", "3"),
    "initial_delay": ((int, float), 0, _MOST, "a number of seconds, zero or more", "0.1"),
    "backoff_factor": ((int, float), 1, _MOST, "a number, 1 or more", "2.0"),
    "max_delay": ((int, float), 0, _MOST, "a number of seconds, zero or more", "10.0"),
    "jitter": ((int, float), 0, 1, "a number from 0 to 1", "0.1"),
}
_ON = (
    "a class of errors, a tuple of such, or a function of an error",
    "Write it like ConnectionError; what is no Exception is never retried.",
)


def problems(place: Place, given: Mapping[str, object]) -> list[ConfigurationError]:
    """Return everything that is wrong with what is given, which need not be everything."""
    each = (_refusal(place, name, value) for name, value in given.items())
    found = [problem for problem in each if problem is not None]
    first, longest = given.get("initial_delay", 0.1), given.get("max_delay", 10.0)
    if not found and cast("float", first) > cast("float", longest):
        found.append(
            place.under("max_delay").refuse(
                f"is {longest!r} seconds, and the first pause, initial_delay, {first!r}",
                "Write a max_delay that is no shorter.",
            )
        )
    return found


def _refusal(place: Place, name: str, value: object) -> ConfigurationError | None:
    """Return what is wrong with one argument, if anything is."""
    place = place.under(name)
    if name == "on":
        if value is None or chooses_errors(value):
            return None
        return place.refuse(f"must be {_ON[0]}, not {value!r}", _ON[1])
    kinds, least, most, wanted, example = _WANTED[name]
    if isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= most:
        return None
    return place.refuse(f"must be {wanted}, not {value!r}", f"Write it like {example}.")


def chooses_errors(value: object) -> bool:
    """Return whether ``value`` is a class of errors, a tuple of such, or a function of one."""
    one = not isinstance(value, tuple)
    classes = cast("tuple[object, ...]", (value,) if one else value)
    if all(isinstance(each, type) and issubclass(each, Exception) for each in classes):
        return bool(classes)
    return one and callable(value) and not isinstance(value, type)
