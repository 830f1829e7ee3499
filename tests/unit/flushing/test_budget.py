from __future__ import annotations

import pytest

from ctxkit import ConfigurationError
from ctxkit.flushing.budget import (
    affordable,
    checked_timeout,
    default_timeout,
    lambda_context_in,
    margin,
    remaining_of,
    remaining_on_cloud_run,
)


class LambdaContext:
    def __init__(self, millis: object) -> None:
        self.millis = millis

    def get_remaining_time_in_millis(self) -> object:
        if isinstance(self.millis, Exception):
            raise self.millis
        return self.millis


class Unbound:
    """A proxy like Flask's, which refuses everything outside of a request."""

    @property
    def get_remaining_time_in_millis(self) -> object:
        raise RuntimeError


def test_default_timeout_is_two_seconds_unless_set() -> None:
    assert default_timeout({}) == 2.0
    assert default_timeout({"CTXKIT_FLUSH_TIMEOUT": ""}) == 2.0
    assert default_timeout({"CTXKIT_FLUSH_TIMEOUT": "0"}) == 0.0
    assert default_timeout({"CTXKIT_FLUSH_TIMEOUT": " 1.5 "}) == 1.5


@pytest.mark.parametrize(
    "value", ["soon", "-1", "nan", "inf", -0.1, pytest.param(10**400, id="huge"), True, None, [1]]
)
def test_checked_timeout_refuses_what_is_no_number_of_seconds(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r'CTXKIT\["FLUSH_TIMEOUT"\] must be a number'):
        checked_timeout('CTXKIT["FLUSH_TIMEOUT"]', value)


@pytest.mark.parametrize(
    ("remaining", "left_over"), [(0.0, 0.1), (0.5, 0.1), (3.0, 0.3), (30.0, 0.5), (900.0, 0.5)]
)
def test_margin_is_a_tenth_within_bounds(remaining: float, left_over: float) -> None:
    assert margin(remaining) == pytest.approx(left_over)


@pytest.mark.parametrize(
    ("remaining", "budget"),
    [(None, 2.0), (30.0, 2.0), (2.0, 1.8), (0.3, 0.2), (0.1, 0.0), (0, -0.1)],
)
def test_affordable_leaves_the_host_its_margin(remaining: float | None, budget: float) -> None:
    assert affordable(2.0, remaining) == pytest.approx(budget)


@pytest.mark.parametrize(
    ("context", "seconds"),
    [
        (LambdaContext(2500), 2.5),
        (LambdaContext(-40), 0.0),
        (LambdaContext("soon"), None),
        (LambdaContext(RuntimeError()), None),
        (Unbound(), None),
        (object(), None),
        (None, None),
    ],
)
def test_remaining_of_asks_a_lambda_context(context: object, seconds: float | None) -> None:
    assert remaining_of(context) == seconds


@pytest.mark.parametrize("key", ["aws.context", "awsgi.context", "serverless.context"])
def test_remaining_in_finds_the_context_of_adapters(key: str) -> None:
    assert remaining_of(lambda_context_in({key: LambdaContext(1000)})) == 1.0
    assert remaining_of(lambda_context_in({"other": LambdaContext(1000)})) is None


@pytest.mark.parametrize(
    ("value", "left"), [("300", 290.0), ("5", 0.0), ("", None), ("x", None), ("0", None)]
)
def test_remaining_on_cloud_run_counts_from_the_start_of_the_request(
    value: str, left: float | None
) -> None:
    assert remaining_on_cloud_run(10.0, {"CLOUD_RUN_TIMEOUT_SECONDS": value}) == left
    assert remaining_on_cloud_run(10.0, {}) is None
