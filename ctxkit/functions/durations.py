"""Durations in a configuration: a number and its unit, ``"100ms"``, ``"2s"``, ``"1.5m"``, ``"1h"``.

A bare number is refused. Some systems mean milliseconds by it, Python means seconds, and whoever
reads a configuration file cannot see which.
"""

from __future__ import annotations

import re
from math import isfinite

from ctxkit.exceptions import ConfigurationError

# To the second: what is divided is exact where what is multiplied is not. 150ms are 0.15.
_UNITS = {"ms": (1, 1000), "s": (1, 1), "m": (60, 1), "h": (3600, 1)}
_is_duration = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII).fullmatch
_is_number = re.compile(r"(-?)(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII).fullmatch


def duration(setting: str, value: object) -> float:
    """Return the seconds that a configured duration spells.

    Args:
        setting: What the user calls it, for the error.
        value: Text of a number and its unit: ``ms``, ``s``, ``m`` for minutes, ``h``.

    Raises:
        ConfigurationError: ``value`` is a number without a unit, or no duration at all.
    """
    match = _is_duration(value) if isinstance(value, str) else None
    if match is not None:
        times, by = _UNITS[match[2]]
        seconds = float(match[1]) * times / by
        if isfinite(seconds):
            return seconds
    raise _refusal(setting, value)


def _refusal(setting: str, value: object) -> ConfigurationError:
    text = str(value).strip()
    bare = _is_number(text)
    if bare is None:
        units = ", ".join(_UNITS)
        return ConfigurationError(
            setting,
            f"must be a number and its unit, one of {units}, not {value!r}",
            'Write it like "100ms", "2s", "1.5m" or "1h".',
        )
    if bare[1]:
        return ConfigurationError(
            setting, f"must not be below zero, but is {value!r}", 'Write it like "2s".'
        )
    return ConfigurationError(
        setting,
        f"must have a unit, but is {value!r}",
        f'Write "{text}s" for seconds, "{text}ms" for milliseconds.',
    )
