from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from helpers.children import in_child

from ctxkit.exceptions import ConfigurationError, PoolClosed, PoolFull
from ctxkit.functions import configure, configured, override
from ctxkit.functions._configured import Configured, NamedPool
from ctxkit.functions.configuring import checked
from ctxkit.functions.pools import Pool
from ctxkit.functions.pools._names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with override({}):
        yield


def _pools(**pools: dict[str, object]) -> dict[str, Any]:
    return {"pools": pools}


@pytest.mark.rule("F-44")
@pytest.mark.parametrize(
    ("fields", "kind", "limit"),
    [
        ({}, "inline", None),
        ({"workers": 2, "buffer": 1}, "static", 2),
        ({"max_size": 3, "idle_timeout": "5s"}, "lazy", 3),
        ({"type": "adaptive", "max_size": 9, "min_size": 2, "initial": 3}, "adaptive", 3),
        ({"type": "adaptive"}, "adaptive", 4),
        ({"type": "lazy", "workers": 2, "max_size": 5}, "lazy", 5),
    ],
)
def test_pool_is_of_the_kind_and_size_that_is_configured(
    fields: dict[str, object], kind: str, limit: int | None
) -> None:
    configure(_pools(base=fields))
    pool = configured.pool("base")
    assert (pool.name, pool.kind, pool.stats().limit) == ("base", kind, limit)
    assert configured.pool("base") is pool is Pool.named("base")


def test_buffer_of_a_pool_is_as_configured() -> None:
    configure(_pools(base={"workers": 1, "buffer": 0}))
    pool = NamedPool("base")
    slot = pool.acquire()
    with pytest.raises(PoolFull, match="'base'"):
        pool.acquire()
    slot.release()


def test_pool_stays_while_the_same_is_said_about_it() -> None:
    configure(_pools(base={"workers": 2}, other={}))
    pool, other = configured.pool("base"), configured.pool("other")
    configure(_pools(base={"workers": 2}, other={"workers": 1}))
    assert configured.pool("base") is pool
    assert configured.pool("other") is not other


def test_pool_about_which_something_else_is_said_lets_those_end_that_are_in() -> None:
    configure(_pools(base={"workers": 1}))
    named = NamedPool("base")
    before = configured.pool("base")
    slot = named.acquire()
    configure(_pools(base={"workers": 2}))
    slots = [named.acquire(), named.acquire()]
    assert configured.pool("base").stats().busy == 2
    assert before.stats().busy == 1
    for each in (slot, *slots):
        each.release()
    with pytest.raises(PoolClosed):
        before.acquire()


def test_call_that_looked_a_pool_up_before_a_change_goes_to_the_next_one() -> None:
    configure(_pools(base={"workers": 1}))
    named = NamedPool("base")
    named.acquire().release()
    pool = configured.pool("base")

    class ClosedMeanwhile:
        def acquire(self, deadline: object) -> Any:
            configure(_pools(base={"workers": 2}))
            configured.now()
            return pool.acquire(deadline)

        async def aacquire(self, deadline: object) -> Any:
            return self.acquire(deadline)

    named._known = (configured.version, ClosedMeanwhile())
    named.acquire().release()
    assert configured.pool("base").stats().completed == 1

    pool = configured.pool("base")
    pool.close()
    with pytest.raises(PoolClosed):
        named.acquire()


def test_coroutine_that_looked_a_pool_up_before_a_change_goes_to_the_next_one() -> None:
    configure(_pools(base={"workers": 1}))
    named = NamedPool("base")
    before = configured.pool("base")

    class ClosedMeanwhile:
        async def aacquire(self, deadline: object) -> Any:
            configure(_pools(base={"workers": 2}))
            configured.now()
            return await before.aacquire(deadline)

    async def use() -> None:
        named._known = (configured.version, ClosedMeanwhile())
        (await named.aacquire()).release()
        assert configured.pool("base").stats().completed == 1
        configured.pool("base").close()
        with pytest.raises(PoolClosed):
            await named.aacquire()

    asyncio.run(use())


def test_pools_of_an_override_are_its_own_and_are_closed() -> None:
    settings = _pools(base={"workers": 1})
    configure(settings)
    outer = configured.pool("base")
    with override(settings):
        inner = configured.pool("base")
        assert inner is not outer
        assert inner.submit(len, "abc").result(10) == 3
    with pytest.raises(PoolClosed):
        inner.acquire()
    assert configured.pool("base") is outer is Pool.named("base")
    outer.acquire().release()


def test_pool_that_a_test_has_left_open_keeps_its_name() -> None:
    configure(_pools(base={"workers": 1}))
    outer = configured.pool("base")
    with override({}):
        left = Pool.static(1, name="base")
        assert configured.pool("base") is left
    assert Pool.named("base") is left
    assert configured.pool("base") is outer
    left.close()


def test_pool_that_was_made_in_code_is_found_by_its_name() -> None:
    pool = Pool.static(1, name="made")
    assert configured.pool("made") is pool
    pool.close()


def test_pool_that_was_closed_gives_way_to_the_next_one_of_its_name() -> None:
    named = NamedPool("made")
    with Pool.static(1, name="made"):
        named.acquire().release()
    with pytest.raises(PoolClosed):
        named.acquire()
    with pytest.raises(PoolClosed):
        asyncio.run(named.aacquire())
    with Pool.static(1, name="made") as pool:
        named.acquire().release()
        asyncio.run(named.aacquire()).release()
        assert pool.stats().completed == 2


def test_pool_of_a_name_is_looked_up_at_its_use() -> None:
    pool = NamedPool("nowhere")
    assert repr(pool) == "NamedPool('nowhere')"
    with pytest.raises(ConfigurationError, match="nowhere"):
        pool.acquire()
    with pytest.raises(ConfigurationError, match="nowhere"):
        asyncio.run(pool.aacquire())
    configure(_pools(nowhere={}))
    pool.acquire().release()


def test_pool_is_of_the_configuration_that_holds_when_it_is_made() -> None:
    settings = [checked(_pools(base={"workers": workers})) for workers in (1, 2)]
    fresh = Configured(lambda: settings[0])

    class ChangesAsItIsTaken:
        def __enter__(self) -> None:
            if fresh._configuration is settings[0]:
                fresh._configuration = settings[1]

        def __exit__(self, *_: object) -> None:
            pass

    assert fresh.now() is settings[0]
    fresh._lock = ChangesAsItIsTaken()  # type: ignore[assignment]
    pool = fresh.pool("base")
    assert pool.stats().limit == 2
    pool.close()


def test_threads_that_ask_at_once_are_given_one_pool() -> None:
    configure(_pools(base={"workers": 1}))
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(configured.pool, "base") for _ in range(40)]
        assert len({each.result(10) for each in asked}) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_of_a_fork_has_pools_whatever_its_parent_was_at() -> None:
    at_it, go = threading.Event(), threading.Event()

    def hold() -> None:
        with configured._lock, NAMES._lock:
            at_it.set()
            go.wait(30)

    configure(_pools(base={"workers": 2}))
    holder = threading.Thread(target=hold)
    holder.start()
    at_it.wait(10)

    def child() -> tuple[object, ...]:
        return (NamedPool("base").acquire().waited,)

    assert in_child(child, timeout=10) == [0.0]
    go.set()
    holder.join(10)


def test_finalizer_may_close_a_pool_while_its_thread_looks_at_names() -> None:
    pool = Pool.inline(name="closed")
    closer = threading.Thread(target=_closing, args=(pool,), daemon=True)
    closer.start()
    closer.join(10)
    assert not closer.is_alive()


def _closing(pool: Pool) -> None:
    with NAMES._lock:
        pool.close()
