"""Pools as executors: threads, futures, contexts."""

from __future__ import annotations

import asyncio
import gc
import queue
import subprocess
import sys
import threading
import time
import weakref
from concurrent import futures
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from helpers.children import in_child

import ctxkit
from ctxkit.exceptions import ConfigurationError, PoolClosed, PoolFull
from ctxkit.functions import Pool
from ctxkit.functions.pools._strand import Strand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VAR: ContextVar[str] = ContextVar("var", default="unset")
KINDS = pytest.mark.parametrize("kind", ["static", "lazy", "adaptive"])


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def _threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("ctxkit.pool.")]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    end = time.monotonic() + 0.1
    while _threads() and time.monotonic() < end:
        time.sleep(0.001)
    if _threads():
        gc.collect()  # takes its time where much is loaded
    _until(lambda: not _threads())


def _swap(value: str) -> str:
    before = VAR.get()
    VAR.set(value)
    return before


@KINDS
def test_pool_is_an_executor_with_real_futures(kind: str) -> None:
    with Pool.auto(kind) as pool:
        assert isinstance(pool, futures.Executor)
        done = pool.submit(divmod, 7, 2)
        failed = pool.submit(divmod, 1, 0)
        assert isinstance(done, futures.Future)
        assert set(futures.as_completed([done, failed], 10)) == {done, failed}
        assert done.result() == (3, 1)
        with pytest.raises(ZeroDivisionError):
            failed.result()
        assert list(pool.map(pow, [2, 3], [2, 2], timeout=10)) == [4, 9]
        assert pool.stats()[1:4] == (0, 0, 4)
    assert _threads() == []
    with pytest.raises(PoolClosed):
        pool.submit(int)


def test_inline_pool_is_an_executor_too() -> None:
    pool = Pool.inline()
    assert pool.submit(_swap, "job").result() == "unset"
    assert VAR.get() == "unset"
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result()
    assert list(pool.map(abs, [-1, 2])) == [1, 2]
    pool.shutdown()


@KINDS
def test_job_runs_in_the_context_of_its_submission(kind: str) -> None:
    with Pool.auto(kind) as pool:
        for tenant in ("alice", "bob"):
            with ctxkit.bind(tenant=tenant):
                future = pool.submit(ctxkit.get, "tenant", "default")
                mapped = pool.map(lambda _: ctxkit.get("tenant"), range(2))
            assert future.result(10) == tenant
            assert list(mapped) == [tenant] * 2
        assert pool.submit(ctxkit.get, "tenant", "default").result(10) == "default"
        assert [pool.submit(_swap, "job").result(10) for _ in range(3)] == ["unset"] * 3
        assert pool.submit(ctxkit.propagate(_swap), "job").result(10) == "unset"


def test_idle_thread_and_kept_future_hold_nothing_of_a_request() -> None:
    with Pool.static(1) as pool:
        with ctxkit.bind(tenant="alice") as frame:
            kept = [pool.submit(ctxkit.get, "tenant")]
            with pytest.raises(ZeroDivisionError):
                pool.submit(lambda _: 1 // 0, frame).result(10)
        kept[0].result(10)
        held = weakref.ref(frame)
        del frame
        assert held() is None
        with pool.acquire(), ctxkit.bind(tenant="bob") as frame:
            kept.append(pool.submit(ctxkit.get, "tenant"))
            held = weakref.ref(frame)
            kept[1].cancel()
            assert pool.stats()[1:3] == (1, 0)
        del frame
        assert held() is None


def test_failed_job_is_no_reference_cycle() -> None:
    class OwnError(Exception):
        pass

    def fail() -> None:
        raise OwnError

    with Pool.static(1) as pool:
        gc.disable()
        try:
            future = pool.submit(fail)
            held = weakref.ref(future.exception(10) or OwnError())
            _until(lambda: not pool._crew.futures)  # type: ignore[union-attr]
            del future
            _until(lambda: held() is None)
        finally:
            gc.enable()


def test_cancelled_job_leaves_the_queue_at_once() -> None:
    with Pool.static(1, buffer=1) as pool:
        slot = pool.acquire()
        waiting = pool.submit(int)
        with pytest.raises(PoolFull):
            pool.submit(int)
        assert waiting.cancel()
        assert pool.stats()[1:3] == (1, 0)
        again = pool.submit(int)
        slot.release()
        assert again.result(10) == 0
        assert not again.cancel()
    assert pool.stats()[1:4] == (0, 0, 2)


def test_who_waits_for_a_job_is_told_that_it_was_cancelled() -> None:
    with Pool.static(1) as pool, pool.acquire():
        waiting = pool.submit(int)
        assert waiting.cancel()
        assert waiting.cancel()
        assert futures.wait([waiting], 5).done == {waiting}


@pytest.mark.rule("F-42")
def test_place_of_a_job_that_is_cancelled_as_it_gets_a_thread_is_not_lost() -> None:
    begun = threading.Event()
    with Pool.static(1) as pool:
        running = pool.submit(begun.wait, 10)
        waiting = pool.submit(int)

        def meanwhile(_: object) -> None:
            """Have a thread take the job, and let go of it, between two lines of cancel()."""
            begun.set()
            running.result(10)
            _until(lambda: pool._crew.idle)  # type: ignore[union-attr]

        waiting.add_done_callback(meanwhile)
        assert waiting.cancel()
        assert pool.stats()[1:4] == (0, 0, 1)
        assert pool.submit(int).result(10) == 0


def test_map_waits_for_room_among_its_own_items() -> None:
    with Pool.static(2, buffer=1) as pool:
        assert list(pool.map(lambda n: time.sleep(0.001) or n, range(40))) == [*range(40)]
        assert pool.stats()[3:] == (40, 0)
        slots = [pool.acquire() for _ in range(2)]
        waiting = pool.submit(int)
        with pytest.raises(PoolFull):
            pool.map(abs, [1])
        for slot in slots:
            slot.release()
        assert waiting.result(10) == 0


@pytest.mark.skipif(sys.version_info < (3, 14), reason="buffersize= came with Python 3.14")
def test_map_with_a_buffersize_runs_late_items_in_the_context_of_the_call() -> None:
    with Pool.static(1) as pool:
        with ctxkit.bind(tenant="alice"):
            results = pool.map(lambda _: ctxkit.get("tenant"), range(6), buffersize=2)
        assert list(results) == ["alice"] * 6


@KINDS
@pytest.mark.rule("F-43")
def test_threads_and_calls_together_never_exceed_the_limit(kind: str) -> None:
    lock = threading.Lock()
    inside = peak = threads = 0

    def work() -> None:
        nonlocal inside, peak, threads
        with lock:
            inside += 1
            peak = max(peak, inside)
            threads = max(threads, len(_threads()))
        time.sleep(0.001)
        with lock:
            inside -= 1

    def call() -> None:
        with pool.acquire():
            work()

    with Pool.auto(kind, workers=3, max_size=3) as pool:
        callers = [threading.Thread(target=call) for _ in range(10)]
        for caller in callers:
            caller.start()
        list(pool.map(lambda _: work(), range(30)))
        for caller in callers:
            caller.join(10)
        assert pool.stats()[1:4] == (0, 0, 40)
    assert peak <= 3
    assert threads <= 3


@pytest.mark.rule("F-43")
def test_thread_that_was_idle_for_too_long_is_gone_at_the_next_use() -> None:
    with Pool.lazy(4, idle_timeout=0.02) as pool:
        together = threading.Barrier(4)
        list(pool.map(lambda _: together.wait(10), range(4)))
        _until(lambda: len(pool._crew.idle) == 4)  # type: ignore[union-attr]
        time.sleep(0.03)
        assert len(_threads()) == 4  # no timer has ended them
        pool.submit(int).result(10)
        _until(lambda: len(_threads()) == 1)
        list(pool.map(lambda _: together.wait(10), range(4)))
        _until(lambda: len(pool._crew.idle) == 4)  # type: ignore[union-attr]
        time.sleep(0.03)
        pool.acquire().release()  # a call is a use, too
        _until(lambda: not _threads())
    with Pool.static(1) as pool:
        pool.submit(int).result(10)
        [thread] = _threads()
        assert pool.submit(threading.current_thread).result(10) is thread


@pytest.mark.rule("F-43")
def test_fewer_threads_stay_when_the_limit_has_fallen() -> None:
    with Pool.static(4) as pool:
        together = threading.Barrier(4)
        list(pool.map(lambda _: together.wait(10), range(4)))
        pool._gate.resize(1)  # type: ignore[union-attr]
        pool.submit(int).result(10)
        _until(lambda: len(_threads()) == 1)


def test_thread_that_a_callback_has_killed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    with Pool.static(1) as pool:
        go = threading.Event()
        future = pool.submit(go.wait, 10)

        def die(_: object) -> None:
            raise SystemExit

        future.add_done_callback(die)
        late = pool.submit(int)
        go.set()
        assert late.result(10) == 0
        assert pool.submit(int).result(10) == 0


def test_job_is_refused_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with Pool.static(1) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(int)
        slot = pool.acquire()
        late = pool.submit(int)
        slot.release()
        with pytest.raises(RuntimeError, match="can't start new thread"):
            late.result(10)
        assert pool.stats()[1:3] == (0, 0)
        patch.undo()
        assert pool.submit(int).result(10) == 0


@pytest.mark.rule("F-49")
def test_shutdown_waits_for_all_jobs_or_cancels_those_that_have_not_begun() -> None:
    pool = Pool.static(1)
    done: list[int] = []
    for number in range(3):
        pool.submit(lambda number=number: time.sleep(0.002) or done.append(number))
    pool.shutdown()
    assert done == [0, 1, 2]
    pool = Pool.static(1)
    go = threading.Event()
    first, second = pool.submit(go.wait, 10), pool.submit(int)
    pool.shutdown(wait=False, cancel_futures=True)
    assert second.cancelled()
    go.set()
    assert first.result(10)
    pool.shutdown()
    other = Pool.static(2)
    other.submit(other.shutdown).result(10)  # it does not wait for itself
    other.shutdown()


def test_threads_of_a_pool_that_nobody_has_any_more_end() -> None:
    pool = Pool.lazy()
    pool.submit(int).result(10)
    future = pool.submit(time.sleep, 0.01)
    del pool
    gc.collect()
    future.result(10)
    _until(lambda: not _threads())


def test_interpreter_waits_for_jobs_and_not_for_idle_threads() -> None:
    code = (
        "import time\nfrom ctxkit.functions import Pool\npool = Pool.static(1)\n"
        "pool.submit(int).result()\n"
        "for n in range(3): pool.submit(lambda n=n: (time.sleep(0.01), print(n, flush=True)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("0\n1\n2\n", "")


def test_child_of_a_fork_has_threads_of_its_own() -> None:
    with Pool.static(1) as pool:
        pool.submit(int).result(10)

        def child() -> object:
            result = pool.submit(int, 7).result(10)
            pool.shutdown()
            return result, len(_threads())

        assert in_child(child) == [7, 0]
        assert pool.submit(int, 8).result(10) == 8


def test_jobs_count_as_leftovers_of_their_request(monkeypatch: pytest.MonkeyPatch) -> None:
    from ctxkit.lifecycle import on_leftovers  # noqa: PLC0415 - its cleanup is this test's

    found: list[Any] = []
    remove = on_leftovers(found.extend)
    go = threading.Event()
    with Pool.static(1) as pool:
        with ctxkit.invocation("orders", mode="always", leftovers="warn"):
            pool.submit(go.wait, 10)
        go.set()
    remove()
    assert [each.kind for each in found] == ["job"]


@KINDS
def test_loop_runs_on_the_pool_what_it_runs_on_threads(kind: str) -> None:
    pool = Pool.auto(kind)

    async def main() -> list[str]:
        pool.as_default_executor()
        loop = asyncio.get_running_loop()
        with ctxkit.bind(tenant="alice"):
            seen = [
                await asyncio.to_thread(lambda: ctxkit.get("tenant")),
                await ctxkit.to_thread(lambda: ctxkit.get("tenant")),
                await loop.run_in_executor(None, ctxkit.get, "tenant"),
                (await asyncio.to_thread(threading.current_thread)).name[:12],
            ]
        late.append(loop.run_in_executor(None, time.sleep, 0.01))
        return seen

    late: list[Any] = []
    for _ in range(2):  # the end of a loop does not close it
        assert asyncio.run(main()) == ["alice", "alice", "alice", "ctxkit.pool."]
        assert pool.stats()[1:3] == (0, 0)  # but waits
    assert pool.stats().completed == 10
    pool.shutdown()


def test_loop_that_ends_cancels_and_refuses_as_its_own_executor_would() -> None:
    loop = asyncio.new_event_loop()
    with Pool.static(1) as pool:
        pool.as_default_executor(loop)
        executor: Any = loop._default_executor  # type: ignore[attr-defined]
        go = threading.Event()
        first, second = executor.submit(go.wait, 10), executor.submit(int)
        executor.shutdown(wait=False, cancel_futures=True)
        assert second.cancelled()
        go.set()
        assert first.result(10)
        loop.close()
        with pytest.raises(PoolClosed):
            executor.submit(int)
        with pytest.raises(ConfigurationError, match="inline"):
            Pool.inline().as_default_executor(loop)


def test_strand_runs_everything_on_one_thread_in_its_order() -> None:
    with Pool.static(2) as pool:
        strand = Strand(pool)
        assert pool.stats().busy == 0
        order: list[int] = []
        done = [strand.submit(order.append, n) for n in range(5)]
        threads = {strand.submit(threading.get_ident).result(10) for _ in range(3)}
        assert order == [*range(5)]
        assert len(threads) == 1
        assert len(done) == 5
        with pytest.raises(ZeroDivisionError):
            strand.submit(divmod, 1, 0).result(10)
        assert pool.stats().busy == 1
        strand.shutdown()
        _until(lambda: pool.stats().busy == 0)
        with pytest.raises(PoolClosed):
            strand.submit(int)


def test_strand_that_gets_no_thread_tells_whoever_waits() -> None:
    with Pool.static(1) as pool:
        with pool.acquire():
            strand, late = Strand(pool), Strand(pool)
            waiting = strand.submit(int)
            waiting.cancel()
            strand.shutdown(wait=False)  # nobody waits any more
            assert pool.stats()[1:3] == (1, 0)
            abandoned = late.submit(int)
            assert pool.stats().waiting == 1
            pool.shutdown(wait=False, cancel_futures=True)
            assert abandoned.cancelled()
        with pytest.raises(PoolClosed):
            late.submit(int)
        with pytest.raises(PoolClosed):
            Strand(pool).submit(int)
    with pytest.raises(ConfigurationError, match="inline"):
        Strand(Pool.inline())


def test_strand_for_which_no_thread_can_be_started_tells_whoever_waits() -> None:
    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with Pool.static(1) as pool, pytest.MonkeyPatch.context() as patch:
        slot = pool.acquire()
        strand = Strand(pool)
        waiting = strand.submit(int)
        patch.setattr(threading.Thread, "start", start)
        slot.release()
        with pytest.raises(RuntimeError, match="can't start new thread"):
            waiting.result(10)
        with pytest.raises(PoolClosed):
            strand.submit(int)


def test_strand_whose_pool_is_shut_down_as_it_begins_is_closed() -> None:
    with Pool.static(1) as pool, pool.acquire(), pytest.MonkeyPatch.context() as patch:
        submit = Pool.submit

        def submit_and_shut_down(pool: Pool, *args: Any) -> Any:
            future = submit(pool, *args)
            pool.shutdown(wait=False, cancel_futures=True)
            return future

        patch.setattr(Pool, "submit", submit_and_shut_down)
        with pytest.raises(PoolClosed):
            Strand(pool).submit(int)


def test_strand_that_ends_cancels_what_its_thread_has_not_taken() -> None:
    class Taken(queue.SimpleQueue[Any]):
        """Have the thread take the last item between two lines of shutdown()."""

        def empty(self) -> bool:
            empty = super().empty()
            begun.set()
            _until(super().empty)
            return empty

    begun = threading.Event()
    with Pool.static(1) as pool:
        strand = Strand(pool)
        strand._inbox = Taken()
        assert strand.submit(int).result(10) == 0
        running = strand.submit(begun.wait, 0.01)
        strand.submit(int)
        strand.shutdown(cancel_futures=True)
        assert running.done()
