"""Django's synchronous code under ASGI on the threads of a pool."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db.utils import ConnectionHandler
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from helpers.django_site_calls import acall_asgi, call_asgi, lifespan

from ctxkit.django import SyncThreads, threads
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions import Pool
from ctxkit.lifecycle import on_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.http import HttpRequest

#: What the views below meet: the connections of a database, and who waits for whom.
WORLD: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def site(tmp_path: Path) -> Iterator[None]:
    WORLD.clear()
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}
    WORLD.update(connections=ConnectionHandler({"default": database}), tasks=set())
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[f"{__name__}.outer"]):
        yield


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool.static(2, buffer=1) as pool:
        yield pool
    assert pool.stats()[1:3] == (0, 0)


def _here() -> tuple[int, int]:
    """Return which thread this is, and which connection it has."""
    return threading.get_ident(), id(WORLD["connections"]["default"])


def _close() -> None:
    WORLD["connections"]["default"].close()


def outer(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        vars(request)["seen"] = [_here()]
        WORLD["connections"]["default"].set_autocommit(False)
        return get_response(request)

    return middleware


def plain(request: Any) -> JsonResponse:
    connection = WORLD["connections"]["default"]
    within = not connection.get_autocommit()  # the transaction that the middleware has begun
    connection.set_autocommit(True)
    connection.close()
    return JsonResponse({"seen": [*request.seen, _here()], "within": within})


def bridging(request: Any) -> JsonResponse:
    @async_to_sync
    async def fetch() -> Any:
        return await sync_to_async(_here)()

    _close()
    return JsonResponse({"seen": [*request.seen, fetch(), _here()]})


async def aplain(request: Any) -> JsonResponse:
    seen = [*request.seen, await sync_to_async(_here)()]
    seen.append(await asyncio.create_task(sync_to_async(_here)()))
    await sync_to_async(_close)()
    return JsonResponse({"seen": seen})


def stream(request: Any) -> StreamingHttpResponse:
    _close()
    return StreamingHttpResponse(str(threading.get_ident()) for _ in range(1))


def whoami(request: Any) -> HttpResponse:
    _close()
    return HttpResponse(str(threading.get_ident()))


def meet(request: Any) -> HttpResponse:
    _close()
    WORLD["meeting"].wait(10)
    return HttpResponse(str(threading.get_ident()))


async def leave_behind(request: Any) -> HttpResponse:
    async def late() -> Any:
        await WORLD["over"].wait()
        return await sync_to_async(threading.get_ident)()

    await sync_to_async(_close)()
    WORLD["tasks"].add(asyncio.create_task(late()))
    return HttpResponse()


urlpatterns = [
    path(view.__name__, view)
    for view in (plain, bridging, aplain, stream, whoami, meet, leave_behind)
]


async def _auntil(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def _pool_threads() -> set[int | None]:
    return {each.ident for each in threading.enumerate() if each.name.startswith("ctxkit.pool.")}


@pytest.mark.parametrize("view", ["plain", "bridging", "aplain"])
def test_synchronous_code_of_a_request_is_on_one_thread_of_the_pool(pool: Pool, view: str) -> None:
    app = SyncThreads(ASGIHandler(), pool)
    threads_before = threading.active_count()
    seen = []
    for _ in range(3):
        status, _, body = call_asgi(app, f"/{view}")
        assert status == 200
        answer = json.loads(body)
        seen += [tuple(each) for each in answer["seen"]]
        assert answer.get("within", True)
        while not pool._crew.idle:  # type: ignore[union-attr]
            time.sleep(0.001)
    assert len(set(seen)) == 1  # also with the same connection: it may be persistent
    assert {seen[0][0]} == _pool_threads()
    assert threading.active_count() <= threads_before + 1  # others may have ended


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
def test_response_streams_from_the_thread_of_its_request(pool: Pool) -> None:
    _, _, body = call_asgi(SyncThreads(ASGIHandler(), pool), "/stream")
    assert {int(body)} == _pool_threads()


def test_requests_at_a_time_are_on_threads_of_their_own_and_no_more_than_the_pool_has(
    pool: Pool,
) -> None:
    app = SyncThreads(ASGIHandler(), pool)
    WORLD["meeting"] = threading.Barrier(2)

    async def main() -> list[Any]:
        calls = [asyncio.create_task(acall_asgi(app, "/meet")) for _ in range(3)]
        await _auntil(lambda: pool.stats()[1:3] == (2, 1))
        await _auntil(lambda: pool.stats()[1:3] == (1, 0))
        calls.append(asyncio.create_task(acall_asgi(app, "/meet")))
        return await asyncio.gather(*calls)

    bodies = [int(body) for _, _, body in asyncio.run(main())]
    assert len(set(bodies)) == 2
    pool.shutdown()
    assert pool.stats().completed == 4


async def _nothing_but_a_step(scope: Any, receive: Any, send: Any) -> None:
    # Stands for Django, which (5.2) leaves the file of the body open when its signal fails.
    await sync_to_async(time.sleep)(0)


def test_full_pool_answers_that_it_is_full(pool: Pool) -> None:
    app = SyncThreads(_nothing_but_a_step, pool)
    slots = [pool.acquire() for _ in range(2)]
    waiting = pool.submit(int)
    assert call_asgi(app, "/plain")[0] == 503
    for slot in slots:
        slot.release()
    assert waiting.result(10) == 0


def test_request_that_is_given_up_while_it_waits_leaves_the_queue(pool: Pool) -> None:
    app = SyncThreads(_nothing_but_a_step, pool)

    async def main() -> None:
        slots = [await pool.aacquire() for _ in range(2)]
        call = asyncio.create_task(acall_asgi(app, "/plain"))
        await _auntil(lambda: pool.stats().waiting)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0)  # the loop tells the pool by a callback
        waiting = pool.stats().waiting
        for slot in slots:
            slot.release()
        assert waiting == 0

    asyncio.run(main())


def test_task_that_outlives_its_request_is_served_elsewhere(pool: Pool) -> None:
    # Beneath a synchronous middleware asgiref refuses it, with us and without.
    with override_settings(MIDDLEWARE=[]):
        app = SyncThreads(ASGIHandler(), pool)

    async def main() -> tuple[int, int]:
        WORLD["over"] = asyncio.Event()
        await acall_asgi(app, "/leave_behind")
        await _auntil(lambda: not pool.stats().busy)
        WORLD["over"].set()
        return await WORLD["tasks"].pop(), pool.stats().busy

    thread, busy = asyncio.run(main())
    assert thread not in _pool_threads()
    assert busy == 0
    gc.collect()


def test_thread_of_a_request_is_no_leftover_of_it(pool: Pool) -> None:
    found: list[Any] = []
    remove = on_leftovers(found.extend)
    options = {"LEFTOVERS": "warn", "FLUSH_MODE": "always"}
    middleware = ["ctxkit.django.ContextMiddleware", f"{__name__}.outer"]
    with override_settings(MIDDLEWARE=middleware, CTXKIT=options):
        status, _, _ = call_asgi(SyncThreads(ASGIHandler(), pool), "/plain")
    remove()
    assert (status, found) == (200, [])


def test_synchronous_caller_keeps_its_own_thread(pool: Pool) -> None:
    app = SyncThreads(ASGIHandler(), pool)
    _, _, body = async_to_sync(acall_asgi)(app, "/whoami")
    assert int(body) == threading.get_ident()
    assert pool.stats().completed == 0


def test_context_of_whoever_is_around_goes_before_ours(pool: Pool) -> None:
    app = SyncThreads(ASGIHandler(), pool)

    async def main() -> tuple[Any, int]:
        async with ThreadSensitiveContext():
            thread = await sync_to_async(threading.get_ident)()
            return await acall_asgi(app, "/whoami"), thread

    (_, _, body), thread = asyncio.run(main())
    assert int(body) == thread
    assert pool.stats().completed == 0


def test_other_protocols_pass_through(pool: Pool) -> None:
    said: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        said.append(scope["type"])
        await send({"type": "lifespan.startup.complete"})

    assert lifespan(SyncThreads(application, pool)) == ["lifespan.startup.complete"]
    assert said == ["lifespan"]


def test_pool_without_threads_and_asgiref_without_a_place_are_refused(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="inline"):
        SyncThreads(ASGIHandler(), Pool.inline())
    monkeypatch.setattr(threads, "_EXECUTORS", None)
    with pytest.raises(ConfigurationError, match="asgiref"):
        SyncThreads(ASGIHandler(), pool)


def test_failing_application_gives_its_thread_back(pool: Pool) -> None:
    async def application(*_: Any) -> None:
        await sync_to_async(time.sleep)(0)
        raise RuntimeError("out of beans")

    with pytest.raises(RuntimeError, match="out of beans"):
        call_asgi(SyncThreads(application, pool), "/")
    while pool.stats().busy:
        time.sleep(0.001)
