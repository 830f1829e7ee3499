"""The breaker by itself, on a clock that a test moves."""

from __future__ import annotations

import pytest

from ctxkit.flushing.breaker import PROBE_WAIT, REST, Breaker, BreakerState

BUDGET = 2.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def test_breaker_without_failures_allows_the_whole_budget(breaker: Breaker) -> None:
    assert breaker.state is BreakerState.CLOSED
    assert breaker.allowance(BUDGET) == BUDGET
    assert breaker.allowance(0.0) == 0.0
    assert breaker.remaining() == 0.0


def test_breaker_after_a_quick_failure_allows_the_whole_budget_again(breaker: Breaker) -> None:
    assert not breaker.fail()
    assert breaker.allowance(BUDGET) == BUDGET


def test_breaker_after_a_slow_failure_allows_a_short_wait(breaker: Breaker) -> None:
    assert not breaker.fail(BUDGET)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.allowance(BUDGET) == PROBE_WAIT
    assert breaker.allowance(0.01) == 0.01


def test_breaker_takes_off_the_next_budget_what_failures_have_cost(breaker: Breaker) -> None:
    breaker.fail(0.5)
    assert breaker.allowance(BUDGET) == BUDGET - 0.5
    assert breaker.allowance(0.05) == 0.05
    breaker.lose(1.0)
    assert breaker.allowance(BUDGET) == BUDGET - 1.5
    breaker.lose(BUDGET)
    assert breaker.allowance(BUDGET) == PROBE_WAIT


@pytest.mark.parametrize("lost", [BUDGET, 0.0])
def test_breaker_after_two_failures_rests(breaker: Breaker, clock: Clock, lost: float) -> None:
    breaker.fail(lost)
    assert breaker.fail(lost)
    assert not breaker.fail(lost), "told once that it opened"

    assert breaker.state is BreakerState.OPEN
    assert breaker.remaining() == REST
    clock.now += REST - 0.001
    assert breaker.allowance(BUDGET) is None
    assert breaker.allowance(0.0) is None


def test_breaker_after_its_rest_lets_one_caller_probe(breaker: Breaker, clock: Clock) -> None:
    breaker.fail()
    breaker.fail()
    clock.now += REST

    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.allowance(0.0) == 0.0, "who cannot wait is no probe"
    assert breaker.allowance(BUDGET) == PROBE_WAIT
    assert breaker.allowance(BUDGET) is None


def test_breaker_whose_probe_fails_rests_again(breaker: Breaker, clock: Clock) -> None:
    breaker.fail()
    breaker.fail()
    clock.now += REST
    breaker.allowance(BUDGET)
    clock.now += 1

    assert not breaker.fail(BUDGET)

    assert breaker.remaining() == REST


def test_breaker_whose_probe_is_never_heard_of_allows_another(
    breaker: Breaker, clock: Clock
) -> None:
    breaker.fail()
    breaker.fail()
    clock.now += REST
    breaker.allowance(BUDGET)
    clock.now += REST

    assert breaker.allowance(BUDGET) == PROBE_WAIT


def test_breaker_closes_at_any_success(breaker: Breaker) -> None:
    assert not breaker.succeed()
    breaker.fail(BUDGET)
    assert not breaker.succeed()
    assert breaker.allowance(BUDGET) == BUDGET
    breaker.fail(BUDGET)
    breaker.fail()

    assert breaker.succeed()

    assert breaker.state is BreakerState.CLOSED
    assert breaker.allowance(BUDGET) == BUDGET


def test_breaker_at_the_last_occasion_lets_a_caller_probe(breaker: Breaker) -> None:
    breaker.fail()
    breaker.fail()

    assert breaker.allowance(BUDGET, last=True) == PROBE_WAIT
