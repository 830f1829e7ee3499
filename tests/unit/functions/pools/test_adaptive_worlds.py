"""The adaptive controller in simulated worlds: a taste; tests/properties has the whole table."""

from __future__ import annotations

from random import Random

import pytest
from helpers.adaptive_worlds import (
    MOST,
    World,
    bottleneck,
    closed,
    opened,
    refusing,
    scalable,
    times,
)

from ctxkit.functions.pools._controller import Controller


@pytest.mark.parametrize(
    ("world", "most"),
    [
        pytest.param(World("bottleneck 4", bottleneck(4)), 6, marks=pytest.mark.rule("F-50")),
        pytest.param(World("USL", scalable(0.05, 0.005)), MOST, marks=pytest.mark.rule("F-50")),
        pytest.param(World("GIL-like", scalable(1, 0.02)), 1.5, marks=pytest.mark.rule("F-51")),
    ],
    ids=lambda value: value.name if isinstance(value, World) else "",
)
def test_limit_finds_what_a_world_is_good_for(world: World, most: float) -> None:
    course = closed(world, Controller(MOST, random=Random(1)), times(0.2, Random(2)), end=60)
    assert course.share >= 0.95
    assert course.mean <= most


@pytest.mark.rule("F-51")
def test_limit_without_contention_reaches_the_highest_within_seconds() -> None:
    world = World("no contention", float)
    course = closed(world, Controller(MOST, random=Random(1)), times(1.0, Random(2)), end=10)
    assert max(limit for _, limit in course.limits) == MOST
    assert course.share >= 0.9


def test_limit_follows_a_load_that_comes_by_itself() -> None:
    chance = Random(3)
    course = opened(
        float,
        Controller(MOST, random=Random(1)),
        times(1.0, Random(2)),
        lambda now: chance.expovariate(300 if now < 20 else 30),
        end=120,
    )
    assert 6 <= course.at(20) <= 12
    assert course.at(120) <= 3


@pytest.mark.rule("F-57")
def test_limit_meets_the_width_of_a_world_that_refuses_more() -> None:
    controller = Controller(MOST, random=Random(1))
    course, refused = refusing(8, controller, times(1.0, Random(2)), end=20)
    assert 7 <= course.at(20) <= 9
    assert refused < 0.02


def test_limit_whose_neighbours_noise_hides_is_compared_with_limits_further_away() -> None:
    """So near, nobody could tell what one more or less brings: luck alone has led there."""
    controller = Controller(MOST, initial=8, random=Random(4))
    controller._step_by(0.1)
    world = World("GIL-like", scalable(1, 0.02))
    course = closed(world, controller, times(1.0, Random(5)), end=200, counts_from=150)
    assert course.mean <= 4
