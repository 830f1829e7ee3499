from __future__ import annotations

import asyncio
import decimal
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from helpers.follow import in_plain_thread

from ctxkit import (
    ConfigurationError,
    Key,
    Thread,
    ThreadLocalAccessor,
    ThreadPoolExecutor,
    bind,
    capture,
    detached,
    register_accessor,
    to_thread,
    unregister_accessor,
)
from ctxkit.context import MISSING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator
    from concurrent.futures import Future


class Value:
    pass


class Holder:
    """State of a library that keeps one value for each thread."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.state = threading.local()
        self.name = name
        self.log = log

    def capture(self) -> object:
        return getattr(self.state, "value", MISSING)

    def restore(self, value: object) -> None:
        self.log.append(f"{self.name}={value}")
        self.state.value = value

    def clear(self) -> None:
        self.log.append(f"{self.name} cleared")
        vars(self.state).clear()


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def holder(log: list[str]) -> Iterator[Holder]:
    made = Holder("holder", log)
    register_accessor(made)
    yield made
    unregister_accessor(made)


def test_held_value_follows_into_threads_and_pools(holder: Holder) -> None:
    with ThreadPoolExecutor(1) as pool:
        holder.restore("alice")
        assert pool.submit(holder.capture).result(10) == "alice"
        holder.restore("bob")
        assert list(pool.map(lambda _: holder.capture(), [1, 2])) == ["bob", "bob"]
        seen: list[object] = []
        thread = Thread(target=lambda: seen.append(holder.capture()))
        thread.start()
        thread.join(10)
        assert seen == ["bob"]
        assert asyncio.run(_in_thread(holder)) == "bob"
        holder.clear()
        assert pool.submit(holder.capture).result(10) is MISSING


async def _in_thread(holder: Holder) -> object:
    return await to_thread(holder.capture)


def test_what_a_job_leaves_in_a_holder_is_gone_for_the_next_and_for_the_worker(
    holder: Holder,
) -> None:
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            assert pool.submit(lambda: (holder.capture(), holder.restore("job"))[0]).result(10) is (
                MISSING
            )
    assert holder.capture() is MISSING


def test_state_of_the_thread_is_put_back_in_reverse_order_also_after_an_error(
    log: list[str],
) -> None:
    holders = [Holder(name, log) for name in "ab"]
    for each in holders:
        register_accessor(each)
    try:
        for each in holders:
            each.restore("captured")
        snapshot = capture()
        for each in holders:
            each.restore("own")
        log.clear()
        with pytest.raises(LookupError):
            snapshot.run(_fail)
        assert log == ["a=captured", "b=captured", "b=own", "a=own"]
    finally:
        for each in holders:
            unregister_accessor(each)


def _fail() -> None:
    raise LookupError


@pytest.mark.parametrize("method", ["capture", "restore", "clear"])
def test_accessor_that_fails_is_logged_and_hinders_nobody(
    holder: Holder, method: str, log: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    broken = Holder("broken", log)
    register_accessor(broken)
    try:
        holder.restore("captured")
        if method == "restore":
            broken.restore("captured")
        setattr(broken, method, _fail_always)
        snapshot = capture()
        assert in_plain_thread(snapshot.run, holder.capture) == "captured"
    finally:
        unregister_accessor(broken)
    assert {record.message.partition(":")[0] for record in caplog.records} == {
        "ctxkit.accessor.failed"
    }
    assert all(record.exc_info for record in caplog.records)


def _fail_always(*_: object) -> None:
    raise LookupError("broken")


def test_coroutine_in_a_snapshot_finds_what_it_left_and_other_tasks_do_not(holder: Holder) -> None:
    async def work() -> list[object]:
        seen = [holder.capture()]
        holder.restore("step")
        await asyncio.sleep(0)
        return [*seen, holder.capture()]

    async def main() -> None:
        holder.restore("captured")
        carried = capture().wrap(work)
        holder.restore("loop")
        task = asyncio.create_task(carried())
        await asyncio.sleep(0)
        assert holder.capture() == "loop"
        assert await task == ["captured", "step"]
        assert holder.capture() == "loop"

    asyncio.run(main())


def test_generators_in_a_snapshot_find_what_they_left(holder: Holder) -> None:
    def steps() -> Generator[object]:
        yield holder.capture()
        holder.restore("step")
        yield "between"
        yield holder.capture()

    async def asteps() -> AsyncGenerator[object]:
        for each in steps():
            yield each

    async def collect() -> list[object]:
        return [each async for each in snapshot.run(asteps)]

    holder.restore("captured")
    snapshot = capture()
    holder.restore("own")
    assert list(snapshot.run(steps)) == ["captured", "between", "step"]
    assert asyncio.run(collect()) == ["captured", "between", "step"]
    assert holder.capture() == "own"


def test_detached_work_finds_holders_empty(holder: Holder) -> None:
    holder.restore("request")
    assert detached(holder.capture)() is MISSING
    assert holder.capture() == "request"


def test_apply_restores_holders_for_the_block(holder: Holder) -> None:
    empty = capture()
    holder.restore("captured")
    snapshot = capture()
    holder.restore("own")
    with snapshot.apply():
        assert holder.capture() == "captured"
    with empty.apply():
        assert holder.capture() == "own"
    with empty.apply(clear_missing=True):
        assert holder.capture() is MISSING
    assert holder.capture() == "own"


def test_thread_local_accessor_carries_the_named_attributes_alone() -> None:
    state = threading.local()
    accessor = ThreadLocalAccessor(state, "user", "tenant")
    register_accessor(accessor)
    register_accessor(accessor)
    try:
        state.user, state.connection = "alice", object()
        seen = in_plain_thread(capture().run, lambda: dict(vars(state)))
    finally:
        unregister_accessor(accessor)
    assert seen == {"user": "alice"}
    assert in_plain_thread(capture().run, lambda: dict(vars(state))) == {}


@pytest.mark.parametrize("names", [(), ("not a name",), (7,)])
def test_thread_local_accessor_without_proper_names_is_refused(names: Any) -> None:
    with pytest.raises(ConfigurationError, match="names of attributes"):
        ThreadLocalAccessor(threading.local(), *names)


@pytest.mark.parametrize("accessor", [object(), Holder, None])
def test_what_is_no_accessor_is_refused(accessor: Any) -> None:
    with pytest.raises(ConfigurationError, match="ThreadLocalAccessor"):
        register_accessor(accessor)


def test_thread_local_accessor_clears_what_is_set_beside_a_default_of_the_class() -> None:
    class State(threading.local):
        user: str | None = None
        tenant: str | None = None

    state = State()
    state.tenant = "acme"
    accessor = ThreadLocalAccessor(state, "user", "tenant")
    accessor.clear()
    assert vars(state) == {}
    accessor.restore({"user": "alice"})
    assert vars(state) == {"user": "alice"}


@pytest.mark.usefixtures("holder")
def test_error_of_a_job_does_not_keep_its_context_where_holders_follow() -> None:
    def fail() -> None:
        raise LookupError

    def start(how: Callable[..., Any]) -> tuple[Any, Callable[[], object]]:
        value = Value()
        with bind(value=value):
            return how(fail), weakref.ref(value)

    async def in_thread() -> tuple[BaseException, Callable[[], object]]:
        job, value = start(to_thread)
        with pytest.raises(LookupError) as caught:
            await job
        return caught.value, value

    with ThreadPoolExecutor(1) as pool:
        future, value = start(pool.submit)
    kept = [(future.exception(), value), asyncio.run(in_thread())]
    gc.collect()
    assert [value() for _, value in kept] == [None, None]


@pytest.mark.usefixtures("holder")
def test_job_submitted_by_a_job_arrives_wherever_it_runs_where_holders_follow() -> None:
    key = Key[str]("stays_with_its_job", hops=())

    def look() -> tuple[str | None, int]:
        seen = key.get(None), decimal.getcontext().prec
        decimal.getcontext().prec = 3
        return seen

    def submit_two() -> list[Future[tuple[str | None, int]]]:
        decimal.getcontext().prec = 9
        with bind({key: "here"}):
            return [pool.submit(look), pool.submit(look)]

    with ThreadPoolExecutor(1) as pool:
        jobs = pool.submit(submit_two).result(30)
        assert [job.result(30) for job in jobs] == [(None, 9), (None, 9)]
