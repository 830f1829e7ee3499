"""The adaptive controller over all simulated worlds, with seeds that nothing was tuned on."""

from __future__ import annotations

import os
from functools import cache
from random import Random
from statistics import mean

import pytest
from helpers.adaptive_worlds import (
    END,
    MOST,
    SERVICE,
    WORLDS,
    Course,
    World,
    bottleneck,
    closed,
    opened,
    queued,
    scalable,
    times,
)

from ctxkit.functions.pools._controller import Controller

if "CTXKIT_PROPERTY_EXAMPLES" not in os.environ:
    pytest.skip("takes half a minute of computing", allow_module_level=True)

SEEDS = range(6000, 6003)
BY_NAME = {world.name: world for world in WORLDS}
#: Worlds that the numbers were not chosen for, though one that collapses has shown what a step
#: has to be able to be.
OTHERS = (
    World("bottleneck 7", bottleneck(7)),
    World("bottleneck 24", bottleneck(24)),
    World("USL 0.08, 0.003", scalable(0.08, 0.003)),
    World("thrashing beyond 10", lambda calls: calls if calls <= 10 else 10 * 0.85 ** (calls - 10)),
    World("bottleneck 24, then 6", bottleneck(24), bottleneck(6)),
    World("bottleneck 3, then 12", bottleneck(3), bottleneck(12)),
)


@cache
def courses(world: World, cv: float, **options: float) -> list[Course]:
    return [
        closed(
            world, Controller(MOST, random=Random(seed)), times(cv, Random(seed + 500)), **options
        )
        for seed in SEEDS
    ]


@pytest.mark.rule("F-50")
@pytest.mark.parametrize(("cv", "share"), [(0.2, 0.95), (1.0, 0.9)])
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_limit_gets_most_of_what_a_world_is_good_for(world: World, cv: float, share: float) -> None:
    assert min(course.share for course in courses(world, cv)) >= share


@pytest.mark.rule("F-50")
@pytest.mark.parametrize("name", ["USL 0.05, 0.005", "USL 0.02, 0.002"])
def test_limit_gets_most_of_a_world_that_is_noisy(name: str) -> None:
    assert min(course.share for course in courses(BY_NAME[name], 0.5)) >= 0.9


@pytest.mark.parametrize(("cv", "share"), [(0.2, 0.95), (1.0, 0.9)])
@pytest.mark.parametrize("world", OTHERS, ids=lambda world: world.name)
def test_limit_gets_most_of_other_worlds(world: World, cv: float, share: float) -> None:
    assert min(course.share for course in courses(world, cv)) >= share


@pytest.mark.rule("F-50")
@pytest.mark.parametrize("width", [1, 4, 12])
def test_limit_is_at_the_knee_of_a_bottleneck(width: int) -> None:
    world = World("", bottleneck(width))
    for course in courses(world, 0.2, end=120, counts_from=60):
        assert course.share >= 0.95
        assert course.mean <= width + 2


@pytest.mark.parametrize("cv", [0.0, 0.2, 1.0])
@pytest.mark.parametrize(("width", "after"), [(1, 1), (4, 4), (12, 12), (16, 4), (4, 16)])
def test_limit_gets_most_of_a_bottleneck_at_which_calls_queue(
    width: int, after: int, cv: float
) -> None:
    """Other than in the table's worlds, a call's seconds are its wait and its work."""
    for seed in SEEDS:
        draw = times(cv, Random(seed)) if cv else lambda: SERVICE
        course = queued(width, after, Controller(MOST, random=Random(seed)), draw)
        assert course.share >= 0.9


@pytest.mark.rule("F-51")
def test_limit_without_contention_is_the_highest() -> None:
    for cv in (0.2, 1.0):
        assert min(course.mean for course in courses(BY_NAME["no contention"], cv)) >= 31


@pytest.mark.rule("F-51")
def test_limit_of_what_holds_the_gil_is_one() -> None:
    for cv in (0.2, 1.0):
        assert max(course.mean for course in courses(BY_NAME["GIL-like"], cv)) <= 1.5


@pytest.mark.rule("F-52")
@pytest.mark.parametrize(
    ("name", "low", "high"), [("bottleneck 16, then 4", 4, 6), ("bottleneck 4, then 16", 14, 20)]
)
def test_limit_follows_a_shift(name: str, low: int, high: int) -> None:
    for course in courses(BY_NAME[name], 0.2, counts_from=END - 20):
        assert low <= course.mean <= high


@pytest.mark.parametrize("cv", [0.2, 1.0])
def test_limit_does_not_creep_up_where_demand_just_fits(cv: float) -> None:
    """A queue comes and goes; letting it in would get nothing done sooner."""
    means = []
    for seed in SEEDS:
        chance = Random(seed)
        course = opened(
            bottleneck(4),
            Controller(MOST, random=Random(seed)),
            times(cv, Random(seed + 500)),
            lambda now, chance=chance: chance.expovariate(190),
            end=END,
        )
        means.append(mean(course.at(moment) for moment in range(120, 240)))
    assert mean(means) <= 8
