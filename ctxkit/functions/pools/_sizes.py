"""What the numbers of a pool may be, and what they are where nobody says. Private."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from ctxkit.functions.pools.pool import Kind

WORKERS: Final = 8
SIZE: Final = 16
#: How many may wait for each one that is let in.
ROOM: Final = 64

KINDS: Final = ("inline", "static", "lazy", "adaptive")
# What may be 0.
_OR_NONE_AT_ALL: Final = frozenset(("buffer", "idle_timeout"))


def check(place: str, **numbers: object) -> None:
    """Check numbers of a pool; None, where that is a default, is fine.

    Raises:
        ConfigurationError: One makes no sense.
    """
    for name, number in numbers.items():
        if number is None and name in {"buffer", "initial"}:
            continue
        least = 0 if name in _OR_NONE_AT_ALL else 1
        kinds = (int, float) if name == "idle_timeout" else int
        if (
            not isinstance(number, kinds)
            or isinstance(number, bool)
            or not isfinite(number)
            or number < least
        ):
            what = "number of seconds" if name == "idle_timeout" else "whole number"
            raise ConfigurationError(
                f"{place[:-1]}{name}=)",
                f"must be a {what} from {least} on, not {number!r}",
                "Set it so.",
            )


def check_range(place: str, least: int, value: int | None, most: int) -> None:
    """Check that the sizes of an adaptive pool are in order.

    Raises:
        ConfigurationError: They are not.
    """
    if least <= (least if value is None else value) <= most:
        return
    raise ConfigurationError(
        place,
        f"got min_size={least}, initial={value}, max_size={most}",
        "Give them in this order, the least one first.",
    )


def choose(kind: object, workers: int | None, max_size: int | None, buffer: int | None) -> Kind:
    """Return the kind of pool that a configuration means.

    Raises:
        ConfigurationError: It means none.
    """
    place = "Pool.auto()"
    if kind is None:
        if workers is not None and max_size is not None:
            raise ConfigurationError(
                place, "got workers and max_size", "Give one of them, or the type as well."
            )
        kind = "inline" if max_size is None else "lazy"
        kind = kind if workers is None else "static"
    if kind not in KINDS:
        raise ConfigurationError(
            "Pool.auto(type=)", f"must be one of {', '.join(KINDS)}, not {kind!r}", "Choose one."
        )
    fitting, other = (workers, max_size) if kind == "static" else (max_size, workers)
    if kind != "inline" and fitting is None and other is not None:
        right, wrong = ("workers", "max_size") if kind == "static" else ("max_size", "workers")
        raise ConfigurationError(
            place, f"got {wrong}, which a pool that is {kind} has not", f"Give it {right}."
        )
    if buffer is not None and kind != "static":
        raise ConfigurationError(
            place, f"got buffer, which a pool that is {kind} has not", "Make it static."
        )
    return kind
