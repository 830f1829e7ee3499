from __future__ import annotations

import pytest

from ctxkit.exceptions import ConfigurationError
from ctxkit.functions import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100ms", 0.1),
        ("150ms", 0.15),
        ("2s", 2.0),
        ("0.25s", 0.25),
        ("1.5m", 90.0),
        ("1h", 3600.0),
        ("0s", 0.0),
    ],
)
def test_duration_is_its_seconds(text: str, seconds: float) -> None:
    assert duration("timeout", text) == seconds


@pytest.mark.rule("F-37")
@pytest.mark.parametrize("value", [100, 0.1, 0, "100", "1.5", ".5", "2."])
def test_number_without_a_unit_is_refused_with_both_that_may_be_meant(value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        duration("pools.x.idle_timeout", value)
    assert str(caught.value) == (
        f"pools.x.idle_timeout must have a unit, but is {value!r}. "
        f'Write "{value}s" for seconds, "{value}ms" for milliseconds.'
    )


@pytest.mark.parametrize("value", [-1, "-1", -0.5])
def test_number_below_zero_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="timeout must not be below zero, but is "):
        duration("timeout", value)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "s",
            "2 s",
            "2S",
            "2min",
            "2d",
            "1m30s",
            "1e3s",
            "-2s",
            "nans",
            "٣s",
            f"{'9' * 400}s",
        ),
        *(None, True, float("inf"), float("nan"), ["2s"]),
    ],
)
def test_text_that_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        duration("timeout", value)
    assert caught.value.problem == (
        f"must be a number and its unit, one of ms, s, m, h, not {value!r}"
    )
    assert caught.value.fix == 'Write it like "100ms", "2s", "1.5m" or "1h".'
