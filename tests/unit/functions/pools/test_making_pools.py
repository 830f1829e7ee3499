"""Making pools: their kinds, numbers and names."""

from __future__ import annotations

from typing import Any

import pytest

import ctxkit
from ctxkit.exceptions import ConfigurationError, DuplicateName
from ctxkit.functions import Pool


@pytest.mark.rule("F-44")
@pytest.mark.parametrize(
    ("given", "kind", "limit"),
    [
        ({}, "inline", None),
        ({"workers": 3}, "static", 3),
        ({"max_size": 5}, "lazy", 5),
        ({"type": "inline"}, "inline", None),
        ({"type": "static"}, "static", 8),
        ({"type": "lazy"}, "lazy", 16),
        ({"type": "adaptive"}, "adaptive", 4),
        ({"type": "adaptive", "max_size": 2}, "adaptive", 2),
        ({"type": "static", "workers": 3, "max_size": 5}, "static", 3),
        ({"type": "lazy", "workers": 3, "max_size": 5}, "lazy", 5),
        ({"type": "inline", "workers": 3, "max_size": 5}, "inline", None),
    ],
)
def test_auto_chooses_by_what_is_given(given: Any, kind: str, limit: int | None) -> None:
    pool = Pool.auto(**given)
    assert (pool.kind, pool.stats().limit) == (kind, limit)


@pytest.mark.rule("F-44")
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"workers": 3, "max_size": 5}, "workers and max_size"),
        ({"type": "elastic"}, "must be one of inline, static, lazy, adaptive, not 'elastic'"),
        ({"type": "static", "max_size": 5}, "got max_size, which a pool that is static has not"),
        ({"type": "lazy", "workers": 5}, "got workers, which a pool that is lazy has not"),
        ({"buffer": 5}, "got buffer, which a pool that is inline has not"),
        ({"max_size": 5, "buffer": 5}, "got buffer"),
    ],
)
def test_auto_refuses_what_does_not_go_together(given: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Pool.auto(**given)


@pytest.mark.parametrize(
    ("kind", "given", "setting"),
    [
        ("static", {"workers": 0}, r"Pool.static\(workers=\) must be a whole number from 1"),
        ("static", {"workers": True}, "not True"),
        ("static", {"workers": "8"}, "not '8'"),
        ("static", {"buffer": -1}, r"Pool.static\(buffer=\) must be a whole number from 0"),
        ("lazy", {"max_size": 1.5}, r"Pool.lazy\(max_size=\)"),
        ("lazy", {"idle_timeout": float("nan")}, r"idle_timeout=\) must be a number of seconds"),
        ("lazy", {"idle_timeout": None}, "idle_timeout"),
        ("adaptive", {"max_size": 4, "min_size": 5}, "min_size=5, initial=None, max_size=4"),
        ("adaptive", {"max_size": 4, "initial": 5}, "min_size=1, initial=5, max_size=4"),
        ("adaptive", {"min_size": None}, "min_size"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(kind: str, given: Any, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        getattr(Pool, kind)(**given)


@pytest.mark.rule("F-41")
def test_full_pool_refuses_even_without_a_buffer() -> None:
    pool = Pool.static(1, buffer=0)
    with pool.acquire(), pytest.raises(ctxkit.PoolFull, match="0 wait already"):
        pool.acquire() if pool.submit(int) else None
    assert pool.stats().rejected == 1


def test_waiting_room_is_as_large_as_said() -> None:
    from ctxkit.functions.pools.gate import Gate  # noqa: PLC0415 - to look inside

    def room(pool: Pool) -> int | None:
        gate = pool._gate
        assert isinstance(gate, Gate)
        return gate._buffer

    assert room(Pool.static(2)) == 128
    assert room(Pool.static(2, buffer=3)) == 3
    assert room(Pool.lazy(2)) is None
    assert room(Pool.adaptive(2)) == 128


def test_pool_is_found_by_its_name_until_it_is_closed() -> None:
    pool = Pool.static(workers=1, name="images")
    assert Pool.named("images") is pool
    assert repr(pool) == "<Pool images (static)>"
    with pytest.raises(DuplicateName, match="a pool 'images' already"):
        Pool.lazy(name="images")
    with pytest.raises(ConfigurationError, match="Did you mean 'images'"):
        Pool.named("image")
    pool.close()
    pool.close()
    with pytest.raises(ConfigurationError, match="'images', and no open pool is called so"):
        Pool.named("images")
    other = Pool.inline(name="images")
    pool.close()
    assert Pool.named("images") is other
    other.close()


@pytest.mark.parametrize("name", ["", "  ", 7])
def test_name_is_text(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        Pool.lazy(name=name)


def test_pools_without_a_name_are_told_apart_by_a_number() -> None:
    first, second = Pool.lazy(), Pool.lazy()
    assert first.name is None
    assert repr(first) != repr(second)


def test_pool_is_made_by_its_kind() -> None:
    with pytest.raises(TypeError, match=r"Pool\.static\(\)"):
        Pool()
