"""Work that is alive when its request or invocation ends: named, awaited, cancelled, ignored."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
import weakref
from concurrent import futures
from contextlib import suppress
from logging.handlers import QueueListener
from multiprocessing.pool import ThreadPool
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from helpers.asgi import Exchange, body, start, until
from helpers.leftovers import ASYNC, SHORT, SYNC, Work, cross
from helpers.wsgi import Exchange as WSGIExchange

import ctxkit
from ctxkit.lifecycle import Leftover, LeftoverPolicy, leftovers, on_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ["thread", "timer", "job", "queued"]
TASKS = ["task", "carried"]
CASES = [(way, kind) for way in (*SYNC, *ASYNC) for kind in KINDS]
CASES += [(way, kind) for way in ASYNC for kind in TASKS]
EACH = pytest.mark.parametrize(("way", "kind"), CASES, ids=map("-".join, CASES))


def of_ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the records that are not asyncio's, of steps that were slow on a busy machine."""
    return [record for record in caplog.records if record.name != "asyncio"]


@pytest.fixture
def told() -> Iterator[list[Leftover]]:
    found: list[Leftover] = []
    remove = on_leftovers(found.extend)
    yield found
    remove()


@pytest.fixture
def endless() -> Iterator[Work]:
    work = Work()
    yield work
    work.end()


@pytest.fixture
def short() -> Iterator[Work]:
    work = Work(SHORT)
    yield work
    work.end()


@EACH
def test_leftover_is_named_with_where_it_was_started(
    way: str, kind: str, endless: Work, told: list[Leftover], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(ctxkit.RequestIdFilter())
    cross(way, lambda: endless.start(kind), mode="always", leftovers="warn")
    [record] = of_ours(caplog)
    assert record.levelno == logging.WARNING
    assert marks(record) == (own(way), False)
    message = record.getMessage()
    assert message.startswith("ctxkit.leftovers: ")
    leftover = told[-1]
    assert leftover.outcome == "alive"
    assert str(leftover) in message
    assert leftover.name in message
    if kind == "task":
        # asyncio tells where a task was created in debug mode, which -X dev switches on.
        where = "started by task" if sys.flags.dev_mode else "now at Work._wait"
        assert leftover.place.startswith(f"{where} (tests/helpers/leftovers.py:")
        assert leftover.age is None
    else:
        place = f"started by Work.{kind} (tests/helpers/leftovers.py:"
        assert leftover.place.startswith(place)
        assert leftover.age is not None
        assert 0 <= leftover.age < 10


@EACH
def test_leftover_is_awaited_before_the_end(
    way: str, kind: str, short: Work, told: list[Leftover], caplog: pytest.LogCaptureFixture
) -> None:
    cross(way, lambda: short.start(kind), mode="always", leftovers="await", timeout=20)
    # On a busy machine it may have ended before it could be left over.
    assert {leftover.outcome for leftover in told} <= {"finished"}
    assert short.over == [own(way)] * (2 if kind == "queued" else 1)
    assert [r for r in of_ours(caplog) if r.levelno >= logging.WARNING] == []


@EACH
def test_leftover_that_takes_longer_than_its_share_is_named(
    way: str, kind: str, endless: Work, told: list[Leftover], sink: Any
) -> None:
    took = cross(way, lambda: endless.start(kind), mode="always", leftovers="await", timeout=0.04)
    assert {leftover.outcome for leftover in told} == {"alive"}
    assert 0.02 <= took < 5


@EACH
def test_leftover_that_can_be_cancelled_is_cancelled(
    way: str, kind: str, endless: Work, told: list[Leftover]
) -> None:
    took = cross(way, lambda: endless.start(kind), mode="always", leftovers="cancel", timeout=20)
    outcomes = {leftover.kind: leftover.outcome for leftover in told}
    alive = kind in ("thread", "job")
    assert outcomes == {told[0].kind: "alive" if alive else "cancelled"}
    assert took < 5
    assert endless.over == []


@EACH
def test_leftover_is_not_looked_for_where_it_is_ignored(
    way: str, kind: str, endless: Work, told: list[Leftover]
) -> None:
    cross(way, lambda: endless.start(kind), mode="always", leftovers="ignore")
    assert told == []


@EACH
def test_detached_work_is_no_leftover(
    way: str, kind: str, endless: Work, told: list[Leftover]
) -> None:
    cross(way, lambda: ctxkit.detached(endless.start)(kind), mode="always", leftovers="warn")
    assert told == []


@pytest.mark.parametrize("way", [*SYNC, *ASYNC])
def test_work_that_ends_in_time_is_no_leftover(
    way: str, told: list[Leftover], caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> None:
        thread = ctxkit.Thread(target=int)
        thread.start()
        thread.join()
        with ctxkit.ThreadPoolExecutor(1) as pool:
            list(pool.map(abs, range(1000)))

    cross(way, work, mode="always", leftovers="warn")
    assert told == []
    assert of_ours(caplog) == []


@pytest.mark.parametrize(("mode", "default"), [("never", "ignore"), ("idle", "warn")])
def test_default_is_to_warn_where_a_response_may_be_held(mode: str, default: str) -> None:
    middleware = ctxkit.WSGIMiddleware(lambda *_: [], mode=mode)
    assert middleware.options.leftovers is LeftoverPolicy(default)


def test_default_is_to_warn_where_the_mode_is_always(endless: Work, told: list[Leftover]) -> None:
    cross("handler", endless.thread)
    cross("asgi", endless.thread, mode="always")
    cross("block", endless.thread, mode="never")
    assert len(told) == 2


def test_policy_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, endless: Work, told: list[Leftover]
) -> None:
    monkeypatch.setenv("CTXKIT_LEFTOVERS", "warn")
    for way in (*SYNC, *ASYNC):
        cross(way, endless.thread, mode="never")
    assert len(told) == len(SYNC) + len(ASYNC)
    monkeypatch.setenv("CTXKIT_LEFTOVERS", "")
    cross("block", endless.thread, mode="never")
    assert len(told) == len(SYNC) + len(ASYNC)


@pytest.mark.parametrize("way", [*SYNC, *ASYNC])
def test_unknown_policy_is_refused(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ctxkit.ConfigurationError, match="must be one of warn, await, cancel"):
        cross(way, int, leftovers="kill")
    monkeypatch.setenv("CTXKIT_LEFTOVERS", "kill")
    with pytest.raises(ctxkit.ConfigurationError, match=r"^CTXKIT_LEFTOVERS must be one of"):
        cross(way, int)


@pytest.mark.parametrize("way", [*SYNC, *ASYNC])
def test_error_of_the_work_comes_out_as_it_was_when_something_is_left(
    way: str, endless: Work, told: list[Leftover]
) -> None:
    error = KeyError("no coffee")

    def work() -> None:
        endless.thread()
        raise error

    with pytest.raises(KeyError) as caught:
        cross(way, work, mode="always", leftovers="await", timeout=0.1)
    assert caught.value is error
    assert [leftover.outcome for leftover in told] == ["alive"]


@pytest.mark.parametrize("way", [*ASYNC])
def test_task_that_refuses_to_be_cancelled_is_waited_for_within_bounds(
    way: str, told: list[Leftover], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE", 0.1)

    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        await asyncio.sleep(10)

    kept: list[Any] = []

    def work() -> None:
        kept.append(asyncio.create_task(stubborn()))

    took = cross(way, work, mode="always", leftovers="cancel", timeout=60)
    assert [leftover.outcome for leftover in told] == ["alive"]
    assert took < 5


def test_task_that_was_just_cancelled_is_no_leftover(told: list[Leftover]) -> None:
    async def closing() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0)

    async def main() -> None:
        async with ctxkit.invocation("x", mode="always"):
            task = asyncio.create_task(closing())
            await asyncio.sleep(0)
            task.cancel()
        assert task.cancelled()

    asyncio.run(main())
    assert told == []


def test_task_of_the_server_is_no_leftover(told: list[Leftover]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(start())
        await send(body(b"ok"))

    async def main() -> None:
        own = asyncio.create_task(asyncio.sleep(10))
        await Exchange()(ctxkit.ASGIMiddleware(app, mode="always", leftovers="cancel"))
        assert not own.done()
        own.cancel()

    asyncio.run(main())
    assert told == []


def test_requests_at_once_settle_their_own(told: list[Leftover]) -> None:
    kept: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/leave":
            kept.append(asyncio.create_task(asyncio.sleep(10), name="left"))
        else:
            await asyncio.create_task(asyncio.sleep(SHORT))
        await send(start())
        await send(body(b"ok"))

    async def main() -> None:
        crossed = ctxkit.ASGIMiddleware(app, mode="always", leftovers="cancel")
        await asyncio.gather(*(Exchange(path=path)(crossed) for path in ("/", "/leave", "/")))

    asyncio.run(main())
    assert [(each.name, each.outcome) for each in told] == [("task 'left' of sleep", "cancelled")]


def test_response_is_held_until_what_is_awaited_has_ended(short: Work, sink: Any) -> None:
    timeline: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        short.task()
        await send(start())
        await send(body(b"ok"))

    async def main() -> None:
        crossed = ctxkit.ASGIMiddleware(app, mode="never", leftovers="await", timeout=20)
        exchange = Exchange(timeline)
        exchange.timeline = timeline
        await exchange(crossed)
        timeline.append(list(short.over))

    asyncio.run(main())
    assert timeline[0] == "start"
    assert len(short.over) == 1
    assert sink.timeouts == []


def test_flush_has_what_leftovers_leave_of_the_budget(
    endless: Work, sink: Any, told: list[Leftover]
) -> None:
    cross("wsgi", endless.thread, mode="always", leftovers="await", timeout=0.4)
    end = time.monotonic() + 10
    while not sink.timeouts and time.monotonic() < end:  # its thread may begin late
        time.sleep(0.01)
    [budget] = sink.timeouts
    assert 0.05 < budget <= 0.2 + 0.01


@pytest.mark.parametrize("way", SYNC)
def test_flush_comes_also_where_settling_is_interrupted(
    way: str, endless: Work, sink: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ctxkit.boundary.invocations.settle", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cross(way, endless.thread, mode="always", leftovers="await", timeout=20)
    assert len(sink.timeouts) == 1


def test_loop_that_stands_still_is_run_for_the_task_that_is_left_in_it(
    told: list[Leftover],
) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    over: list[object] = []
    kept: list[Any] = []

    async def refresh() -> None:
        await asyncio.sleep(SHORT)
        over.append(ctxkit.get("request_id"))

    async def main() -> None:
        kept.append(asyncio.create_task(refresh()))

    try:
        cross("block", lambda: loop.run_until_complete(main()), mode="always", leftovers="await")
        assert over == ["own"]
        cross("block", lambda: loop.run_until_complete(main()), mode="always", leftovers="cancel")
        assert over == ["own"]
        assert [each.outcome for each in told] == ["finished", "cancelled"]
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_task_in_the_loop_that_is_blocked_is_not_waited_for(told: list[Leftover]) -> None:
    kept: list[Any] = []

    async def main() -> float:
        began = time.monotonic()
        with ctxkit.invocation("inner", mode="always", leftovers="await", timeout=20):
            kept.append(asyncio.create_task(asyncio.sleep(10)))
        took = time.monotonic() - began
        kept.pop().cancel()
        return took

    assert asyncio.run(main()) < 5
    assert [leftover.outcome for leftover in told] == ["alive"]


def test_job_whose_awaiting_was_cancelled_is_left(endless: Work, told: list[Leftover]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        began = threading.Event()
        job = asyncio.ensure_future(ctxkit.to_thread(endless._block, began))
        await until(began.is_set)
        job.cancel()
        await send(start())
        await send(body(b"ok"))

    async def main() -> None:
        await Exchange()(ctxkit.ASGIMiddleware(app, mode="always", leftovers="warn"))
        endless.end()

    asyncio.run(main())
    assert [(leftover.kind, leftover.outcome) for leftover in told] == [("job", "alive")]


def test_job_that_has_not_begun_in_the_pool_of_the_loop_is_cancelled(
    endless: Work, told: list[Leftover]
) -> None:
    ran: list[int] = []

    async def main() -> None:
        with ctxkit.ThreadPoolExecutor(1) as pool:
            async with ctxkit.invocation("x", mode="always", leftovers="cancel"):
                endless.kept.append(ctxkit.run_in_executor(pool, endless._block))
                waiting = ctxkit.run_in_executor(pool, ran.append, 1)
            endless.end()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(main())
    assert ran == []
    assert sorted(leftover.outcome for leftover in told) == ["alive", "cancelled"]


@pytest.mark.parametrize("policy", ["warn", "await", "cancel"])
def test_nothing_is_kept_alive_by_being_watched(policy: str) -> None:
    class Order:
        pass

    seen: list[Any] = []

    def work() -> None:
        order = Order()
        seen.append(weakref.ref(order))
        thread = ctxkit.Thread(target=lambda: order)
        thread.start()
        thread.join()
        seen.append(weakref.ref(thread))
        seen.append(weakref.ref(ctxkit.current()))

    for way in (*SYNC, *ASYNC):
        cross(way, work, mode="always", leftovers=policy)
    gc.collect()
    assert [each() for each in seen] == [None] * len(seen)


def test_more_than_can_be_remembered_is_counted(
    endless: Work, caplog: pytest.LogCaptureFixture, told: list[Leftover]
) -> None:
    def work() -> None:
        for _ in range(300):
            endless._pool.submit(endless._block)

    cross("block", work, mode="always", leftovers="cancel")
    [record] = [each for each in of_ours(caplog) if each.levelno == logging.WARNING]
    assert "and 44 more" in record.getMessage()
    assert len(told) == 256


def test_listener_that_fails_is_told_of_in_the_log(
    endless: Work, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise LookupError

    remove = on_leftovers(fail)
    try:
        cross("block", endless.thread, mode="always")
    finally:
        remove()
    assert [r.getMessage() for r in caplog.records][-1] == "ctxkit.leftovers: a listener failed"


def test_warning_is_logged_as_its_request_and_later_records_are_marked(
    endless: Work, short: Work, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(ctxkit.RequestIdFilter())
    log = logging.getLogger("shop")
    going = threading.Event()

    def refresh() -> None:
        log.warning("begun")
        assert going.wait(10)
        log.warning("ended")

    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(ctxkit.Thread(target=refresh))
        threads[0].start()
        while "begun" not in caplog.messages:
            time.sleep(0.001)

    cross("wsgi", work, mode="always")
    with ctxkit.invocation("next", request_id="next", mode="always"):
        going.set()
        threads[0].join()
        log.warning("mine")
    seen = [(r.getMessage()[:17], *marks(r)) for r in caplog.records]
    assert seen == [
        ("begun", "own", False),
        ("ctxkit.leftovers:", "own", False),
        ("ended", "own", True),
        ("mine", "next", False),
    ]


def own(way: str) -> str:
    """Return the id of what crosses by ``way``."""
    return "8f5b-aws" if "handler" in way else "own"


def marks(record: logging.LogRecord) -> tuple[object, object]:
    known = vars(record)
    return known["request_id"], known["leftover"]


def test_response_that_the_client_left_settles_what_it_left(
    endless: Work, told: list[Leftover]
) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        endless.timer()
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        yield b"b"

    WSGIExchange(give_up_after=1)(ctxkit.WSGIMiddleware(app, mode="always", leftovers="cancel"))
    assert [leftover.outcome for leftover in told] == ["cancelled"]


def test_response_that_is_dropped_waits_for_nothing(endless: Work, told: list[Leftover]) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        endless.thread()
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"

    began = time.monotonic()
    crossed = ctxkit.WSGIMiddleware(app, mode="always", leftovers="await", timeout=20)
    response: Any = crossed(dict(WSGIExchange().environ), lambda *_: bytes)
    next(iter(response))
    del response
    gc.collect()
    assert time.monotonic() - began < 5
    assert [leftover.outcome for leftover in told] == ["alive"]


def test_request_that_is_cancelled_settles_and_is_cancelled(
    endless: Work, told: list[Leftover]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        endless.task()
        await asyncio.sleep(10)

    async def main() -> None:
        crossed = ctxkit.ASGIMiddleware(app, mode="always", leftovers="cancel")
        request = asyncio.create_task(Exchange()(crossed))
        await until(lambda: bool(endless.kept))
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert endless.kept[0].cancelled()

    asyncio.run(main())
    assert [leftover.outcome for leftover in told] == ["cancelled"]


def test_waiting_goes_on_when_it_is_cancelled(short: Work, told: list[Leftover]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        short.task()
        await send(start())
        await send(body(b"ok"))

    async def main() -> None:
        crossed = ctxkit.ASGIMiddleware(app, mode="always", leftovers="await", timeout=20)
        request = asyncio.create_task(Exchange()(crossed))
        await until(lambda: bool(short.kept))
        await asyncio.sleep(SHORT / 5)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(main())
    assert len(short.over) == 1
    assert [leftover.outcome for leftover in told] == ["finished"]


@pytest.fixture
def installed() -> Iterator[None]:
    ctxkit.install()
    yield
    ctxkit.uninstall()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("policy", ["warn", "await"])
def test_work_of_the_standard_library_is_found_where_it_carries_the_context(
    policy: str, told: list[Leftover]
) -> None:
    begun = threading.Barrier(5)

    def block() -> None:
        begun.wait(10)
        time.sleep(SHORT)

    def work() -> None:
        threading.Thread(target=block).start()
        threading.Timer(0, block).start()
        pool.submit(block)
        results.append(workers.apply_async(block))
        begun.wait(10)

    results: list[Any] = []
    workers = ThreadPool(1)
    with futures.ThreadPoolExecutor(1) as pool:
        cross("block", work, mode="always", leftovers=policy, timeout=20)
    workers.close()
    workers.join()
    assert sorted(leftover.kind for leftover in told) == ["job", "job", "thread", "timer"]
    outcome = "alive" if policy == "warn" else "finished"
    assert {leftover.outcome for leftover in told} == {outcome}
    assert all("test_leftovers.py" in leftover.place for leftover in told)


@pytest.mark.usefixtures("installed")
def test_threads_that_serve_everybody_are_no_leftovers(told: list[Leftover]) -> None:
    queue: SimpleQueue[Any] = SimpleQueue()
    listener = QueueListener(queue)  # type: ignore[arg-type]
    pool = futures.ThreadPoolExecutor(1)

    def work() -> None:
        listener.start()
        assert pool.submit(int).result() == 0

    cross("block", work, mode="always", leftovers="warn")
    listener.stop()
    pool.shutdown()
    assert told == []


@pytest.mark.usefixtures("installed")
def test_job_of_asyncio_is_found_once(endless: Work, told: list[Leftover]) -> None:
    async def main() -> None:
        began = threading.Event()
        async with ctxkit.invocation("x", mode="always", leftovers="warn"):
            job = asyncio.ensure_future(asyncio.to_thread(endless._block, began))
            await until(began.is_set)
            job.cancel()
        endless.end()

    asyncio.run(main())
    assert [leftover.kind for leftover in told] == ["job"]


def test_background_task_of_starlette_is_no_leftover(told: list[Leftover]) -> None:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette  # noqa: PLC0415 - not everywhere
    from starlette.background import BackgroundTask  # noqa: PLC0415
    from starlette.middleware.base import BaseHTTPMiddleware  # noqa: PLC0415
    from starlette.responses import PlainTextResponse  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    over: list[str] = []

    async def later() -> None:
        await asyncio.sleep(SHORT)
        over.append(ctxkit.current().get("request_id", "-"))

    async def view(request: Any) -> Any:
        return PlainTextResponse("ok", background=BackgroundTask(later))

    async def passed(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app = Starlette(routes=[Route("/", view)])
    app.add_middleware(BaseHTTPMiddleware, dispatch=passed)
    crossed = ctxkit.ASGIMiddleware(app, mode="always", leftovers="warn")
    asyncio.run(Exchange(headers=[(b"x-request-id", b"own")])(crossed))
    assert over == ["own"]
    assert told == []


def test_task_of_a_loop_of_this_thread_that_another_runs_is_waited_for(
    told: list[Leftover],
) -> None:
    ended: list[bool] = []

    async def sleep() -> None:
        await asyncio.sleep(0.05)
        ended.append(True)

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with ctxkit.invocation("own", mode="always", leftovers="await"):
            asyncio.run_coroutine_threadsafe(sleep(), loop)
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)  # it has begun
        # Not the future, which its loop tells of that a step later.
        assert ended == [True]
    finally:
        asyncio.set_event_loop(None)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
    assert [each.outcome for each in told] == ["finished"]
