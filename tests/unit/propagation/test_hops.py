"""The hops of the feature table that no other file is about: one small real test for each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor as PlainExecutor
from contextvars import ContextVar
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import pytest
from helpers.follow import in_plain_thread, run_script

from ctxkit import (
    Key,
    Local,
    Thread,
    bind,
    detached,
    get,
    propagate,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VAR: ContextVar[str] = ContextVar("var", default="unset")


def _seen(*_: object) -> tuple[object, str]:
    """Return what is known here, and leave something behind."""
    seen = get("tenant"), VAR.get()
    VAR.set("left behind")
    return seen


async def _aseen() -> tuple[object, str]:
    await asyncio.sleep(0)
    return _seen()


def test_job_of_a_multiprocessing_thread_pool_that_is_propagated_has_its_own_context() -> None:
    with bind(tenant="of whoever made the pool"):
        pool = ThreadPool(1)
    with pool:
        for tenant in ("alice", "bob"):
            with bind(tenant=tenant):
                assert pool.apply(propagate(_seen)) == (tenant, "unset")
                assert pool.map(propagate(_seen), range(2)) == [(tenant, "unset")] * 2
    pool.join()


def test_create_task_ensure_future_and_gather_carry_what_is_bound_and_keep_writes_apart() -> None:
    async def main() -> None:
        with bind(tenant="acme"):
            seen = [
                await asyncio.create_task(_aseen()),
                await asyncio.ensure_future(_aseen()),
                *await asyncio.gather(_aseen(), _aseen()),
            ]
            assert (seen, VAR.get()) == ([("acme", "unset")] * 4, "unset")

    asyncio.run(main())


def test_task_group_carries_what_is_bound_and_keeps_writes_apart() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            with bind(tenant="alice"):
                one = group.create_task(_aseen())
            with bind(tenant="bob"):
                other = group.create_task(_aseen())
        assert [one.result(), other.result()] == [("alice", "unset"), ("bob", "unset")]
        assert VAR.get() == "unset"

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_task_carries_what_is_bound_and_keeps_writes_apart() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        with bind(tenant="acme"):
            task = asyncio.create_task(_aseen())
        assert (await task, VAR.get()) == (("acme", "unset"), "unset")

    asyncio.run(main())


def test_callbacks_of_the_loop_carry_what_is_bound_at_the_call() -> None:
    async def main() -> None:
        loop, seen = asyncio.get_running_loop(), asyncio.Queue[object]()

        def call(name: str) -> None:
            seen.put_nowait((name, *_seen()))

        with bind(tenant="acme"):
            loop.call_soon(call, "soon")
            loop.call_later(0, call, "later")
            loop.call_soon_threadsafe(call, "threadsafe")
        names = {"soon", "later", "threadsafe"}
        assert {await seen.get() for _ in names} == {(name, "acme", "unset") for name in names}
        assert VAR.get() == "unset"

    asyncio.run(main())


def test_coroutine_sent_to_a_loop_of_another_thread_carries_what_is_bound_here() -> None:
    async def main() -> object:
        loop = asyncio.get_running_loop()

        def send() -> Future[tuple[object, str]]:
            with bind(tenant="acme"):
                return asyncio.run_coroutine_threadsafe(_aseen(), loop)

        sending = PlainExecutor(1)
        with sending:
            future = await loop.run_in_executor(sending, send)
            return await asyncio.wrap_future(future)

    assert asyncio.run(main()) == ("acme", "unset")


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [(propagate, "alice"), (detached, None)],
    ids=["propagate", "detached"],
)
def test_reader_of_a_descriptor_has_the_context_it_was_given_whoever_registers_it(
    wrap: Any, expected: str | None
) -> None:
    async def main() -> None:
        loop, seen = asyncio.get_running_loop(), asyncio.Queue[object]()
        ours, theirs = socket.socketpair()
        with ours, theirs:

            def read() -> None:
                seen.put_nowait((ours.recv(1), *_seen()))

            with bind(tenant="alice"):
                reader = wrap(read)
            with bind(tenant="bob"):
                loop.add_reader(ours, reader)
            for byte in (b"1", b"2"):
                theirs.send(byte)
                assert await seen.get() == (byte, expected, "unset")
            loop.remove_reader(ours)

    asyncio.run(main())


def test_connection_whose_making_is_detached_keeps_nothing_of_its_first_user() -> None:
    class Reporting(asyncio.Protocol):
        def __init__(self, seen: asyncio.Queue[object]) -> None:
            self.seen = seen

        def data_received(self, data: bytes) -> None:
            self.seen.put_nowait((data, get("tenant")))

    async def connected(connect: Callable[..., Any]) -> object:
        seen = asyncio.Queue[object]()
        ours, theirs = socket.socketpair()
        with theirs, bind(tenant="first user"):
            transport, _ = await connect(lambda: Reporting(seen), sock=ours)
            theirs.send(b"hello")
            try:
                return await seen.get()
            finally:
                transport.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await connected(detached(loop.create_connection)) == (b"hello", None)
        assert await connected(loop.create_connection) == (b"hello", "first user")

    asyncio.run(main())


BOTH_WAYS = """
import asyncio, threading
import django
from django.conf import settings
settings.configure(USE_TZ=True, TIME_ZONE="UTC", LANGUAGE_CODE="en")
django.setup()
from asgiref.sync import async_to_sync, sync_to_async
from django.utils import timezone, translation
import ctxkit

def known():
    return ctxkit.get("tenant"), translation.get_language(), timezone.get_current_timezone_name()

async def aknown():
    return known()

def change():
    translation.activate("it")
    return known()

HERE = ("acme", "fr", "Europe/Paris")

async def main():
    for sensitive in (True, False):
        tenant, zone = ctxkit.bind(tenant="acme"), timezone.override("Europe/Paris")
        with tenant, zone, translation.override("fr"):
            assert await sync_to_async(known, thread_sensitive=sensitive)() == HERE
            # There and back again: a sync view that calls async code.
            back = sync_to_async(async_to_sync(aknown), thread_sensitive=sensitive)
            assert await back() == HERE
            # From asgiref's thread on to one of ours.
            assert await sync_to_async(threaded, thread_sensitive=sensitive)() == HERE
            # What is activated there holds here, as asgiref has it.
            assert (await sync_to_async(change, thread_sensitive=sensitive)())[1] == "it"
            assert translation.get_language() == "it"
        assert ctxkit.get("tenant") is None

def threaded():
    with ctxkit.ThreadPoolExecutor(1) as pool:
        seen = pool.submit(known).result(10)
        assert pool.submit(async_to_sync(aknown)).result(10) == seen
        return seen

asyncio.run(main())

with ctxkit.bind(tenant="acme"), translation.override("fr"), timezone.override("Europe/Paris"):
    assert async_to_sync(aknown)() == HERE
    assert threaded() == HERE
print("ok")
"""


def test_django_state_follows_through_sync_to_async_and_async_to_sync_both_ways() -> None:
    pytest.importorskip("django")
    assert run_script(BOTH_WAYS) == "ok\n"


GREENLETS = """
import gevent, gevent.pool
import ctxkit

def seen():
    before = ctxkit.get("tenant")
    ctxkit.Key("tenant").set("of the greenlet")
    return before

pool = gevent.pool.Pool(1)
for tenant in ("alice", "bob"):
    with ctxkit.bind(tenant=tenant):
        jobs = [gevent.spawn(ctxkit.propagate(seen)), pool.spawn(ctxkit.propagate(seen))]
        gevent.joinall(jobs, timeout=10)
        assert [job.value for job in jobs] == [tenant, tenant]
        assert ctxkit.get("tenant") == tenant
        assert gevent.spawn(seen).get(10) is None  # without
print("ok")
"""


def test_greenlet_that_runs_what_is_propagated_has_its_own_context() -> None:
    pytest.importorskip("gevent")
    assert run_script(GREENLETS) == "ok\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_forked_process_keeps_the_context_of_who_forked_and_carries_on() -> None:
    local = Local()
    read, write = os.pipe()
    with bind(tenant="acme"):
        local.user = "alice"
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):  # nobody may go on as the test runner
                seen: list[object] = [get("tenant"), local.user]
                thread = Thread(target=lambda: seen.extend((get("tenant"), local.user)))
                thread.start()
                thread.join(10)
                os.write(write, repr(seen).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as answer:
            assert answer.read().decode() == repr(["acme", "alice"] * 2)
        os.waitpid(child, 0)


def test_signal_handler_of_a_loop_has_the_context_it_was_given() -> None:
    async def main() -> None:
        loop, seen = asyncio.get_running_loop(), asyncio.Queue[object]()

        def handle() -> None:
            seen.put_nowait(_seen())

        for wrap, expected in ((propagate, "acme"), (detached, None)):
            with bind(tenant="acme"):
                loop.add_signal_handler(signal.SIGUSR1, wrap(handle))
            try:
                # The second one finds nothing of the first.
                for _ in range(2):
                    signal.raise_signal(signal.SIGUSR1)
                    assert await seen.get() == (expected, "unset")
            finally:
                loop.remove_signal_handler(signal.SIGUSR1)

    asyncio.run(main())


@pytest.mark.parametrize("done", [False, True], ids=["pending", "done"])
def test_callback_of_a_future_that_is_propagated_has_the_context_of_its_adding(
    done: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    future: Future[None] = Future()
    seen: list[object] = []
    if done:
        future.set_result(None)
    with bind(tenant="acme"):
        future.add_done_callback(propagate(lambda _: seen.append(_seen())))
    if not done:
        in_plain_thread(future.set_result, None)
    assert seen == [("acme", "unset")]
    assert VAR.get() == "unset"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="from Python 3.12 in the task's context")
def test_exception_handler_of_a_loop_is_called_in_the_context_of_the_task() -> None:
    seen: list[object] = []

    async def fail() -> None:
        raise LookupError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: seen.append((told["message"], _seen())))
        with bind(tenant="acme"):
            task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task  # nobody asked for its result

    asyncio.run(main())
    assert seen == [("Task exception was never retrieved", ("acme", "unset"))]


def test_key_is_typed_and_belongs_to_its_name() -> None:
    tenant = Key[str]("hops_tenant")
    retries = Key[int]("hops_retries", default=3)
    with bind({tenant: "acme"}):
        name: str = tenant.get()
        number: int = retries.get()
        assert (name, number) == ("acme", 3)
    assert Key[str]("hops_tenant") == tenant != retries
