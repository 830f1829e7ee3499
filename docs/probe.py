"""See what other packages carry where: ``python docs/probe.py PACKAGE``.

The cells of ``features.toml`` that the page calls measured are from what this prints. A request
of alice and then one of bob make each hop, and the code on the other side says whose it takes
itself for: ``yes``, each for its own; ``leaks``, the first for its own and not the second; or
``no``. ``kept`` means that what one leaves there is seen by the next, ``shared`` that it is seen by
who has sent it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


class Peer:
    """What a package keeps: how to set it for a request, and how to read it."""

    def __init__(self, get: Any, put: Any) -> None:
        self.get, self.put = get, put

    @contextmanager
    def request(self, name: str) -> Iterator[None]:
        self.put(name)
        try:
            yield
        finally:
            self.put(None)


def _stdlib() -> Peer:
    var: ContextVar[str | None] = ContextVar("var", default=None)
    return Peer(var.get, var.set)


def _attribute(local: Any) -> Peer:
    return Peer(lambda: getattr(local, "who", None), lambda who: setattr(local, "who", who))


def _asgiref() -> Peer:
    from asgiref.local import Local  # noqa: PLC0415 - one package each time

    return _attribute(Local())


def _werkzeug() -> Peer:
    from werkzeug.local import Local  # noqa: PLC0415

    return _attribute(Local())


def _opentelemetry() -> Peer:
    from opentelemetry import context  # noqa: PLC0415
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor  # noqa: PLC0415

    ThreadingInstrumentor().instrument()
    return Peer(
        lambda: context.get_value("who"),
        lambda who: context.attach(context.set_value("who", who)),
    )


def _sentry() -> Peer:
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.integrations.asyncio import AsyncioIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.threading import ThreadingIntegration  # noqa: PLC0415

    sentry_sdk.init(
        dsn="http://public@127.0.0.1:1/1",
        default_integrations=False,
        integrations=[ThreadingIntegration(), AsyncioIntegration()],
    )

    def put(who: str | None) -> None:
        sentry_sdk.get_isolation_scope().set_tag("who", who)

    class Sentry(Peer):
        @contextmanager
        def request(self, name: str) -> Iterator[None]:
            with sentry_sdk.isolation_scope():
                put(name)
                yield

    return Sentry(lambda: sentry_sdk.get_isolation_scope()._tags.get("who"), put)  # noqa: SLF001


PEERS = {
    "anyio": _stdlib,
    "stdlib": _stdlib,
    "asgiref": _asgiref,
    "werkzeug": _werkzeug,
    "opentelemetry-instrumentation-threading": _opentelemetry,
    "sentry-sdk": _sentry,
}
POOL, LEGACY_POOL = ThreadPoolExecutor(1), ThreadPoolExecutor(1)


class _Overriding(threading.Thread):
    def __init__(self, job: Callable[[], object]) -> None:
        super().__init__()
        self.job = job

    def run(self) -> None:
        self.job()


def _joined(thread: threading.Thread) -> None:
    thread.start()
    thread.join(10)


def _low_level(job: Callable[[], object]) -> None:
    import _thread  # noqa: PLC0415

    done = threading.Event()

    def run() -> None:
        job()
        done.set()

    _thread.start_new_thread(run, ())
    done.wait(10)


_LAZY: dict[str, Any] = {}


def _thread_pool(job: Callable[[], object]) -> None:
    if "pool" not in _LAZY:
        _LAZY["pool"] = ThreadPool(1)  # in the request that comes first
    _LAZY["pool"].apply(job)


def _finalize(job: Callable[[], object]) -> Callable[[], None]:
    class Thing: ...

    thing = [Thing()]
    weakref.finalize(thing[0], job)

    def drop() -> None:
        thing.clear()
        gc.collect()

    return drop


def _signal(job: Callable[[], object]) -> Callable[[], None]:
    signal.signal(signal.SIGUSR1, lambda *_: job())
    return lambda: signal.raise_signal(signal.SIGUSR1)


def _callback(job: Callable[[], object]) -> Callable[[], None]:
    future: Future[None] = Future()
    future.add_done_callback(lambda _: job())
    return lambda: _joined(threading.Thread(target=future.set_result, args=(None,)))


def _excepthook(job: Callable[[], object]) -> None:
    threading.excepthook = lambda _: job()
    _joined(threading.Thread(target=lambda: 1 / 0))


async def _anyio_group(job: Callable[[], object]) -> None:
    import anyio  # noqa: PLC0415

    async with anyio.create_task_group() as group:
        group.start_soon(_as_coroutine, job)


async def _anyio_thread(job: Callable[[], object]) -> None:
    import anyio.to_thread  # noqa: PLC0415

    await anyio.to_thread.run_sync(job)


async def _anyio_back(job: Callable[[], object]) -> None:
    import anyio.from_thread  # noqa: PLC0415
    import anyio.to_thread  # noqa: PLC0415

    await anyio.to_thread.run_sync(anyio.from_thread.run, _as_coroutine, job)


#: What is returned is called when the request is over.
SYNC: dict[str, Callable[[Any], Any]] = {
    "Thread": lambda job: _joined(threading.Thread(target=job)),
    "Thread subclass with run()": lambda job: _joined(_Overriding(job)),
    "Timer": lambda job: _joined(threading.Timer(0, job)),
    "_thread.start_new_thread": _low_level,
    "ThreadPoolExecutor.submit": lambda job: POOL.submit(job).result(10) and None,
    "ThreadPoolExecutor.map": lambda job: [*POOL.map(lambda _: job(), [1])] and None,
    "multiprocessing ThreadPool": _thread_pool,
    "weakref.finalize": _finalize,
    "signal.signal": _signal,
    "Future.add_done_callback, pending": _callback,
    "threading.excepthook": _excepthook,
}


async def _as_coroutine(job: Callable[[], object]) -> None:
    await asyncio.sleep(0)
    job()


async def _group(job: Callable[[], object]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_as_coroutine(job))


async def _eager(job: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        await loop.create_task(_as_coroutine(job))
    finally:
        loop.set_task_factory(before)


async def _soon(job: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_soon(job)
    await asyncio.sleep(0.01)


async def _threadsafe(job: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_as_coroutine(job), loop))


async def _reader(job: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    loop.add_reader(ours, lambda: (ours.recv(1), job()))

    async def later() -> None:
        theirs.send(b"1")
        await asyncio.sleep(0.01)
        loop.remove_reader(ours)
        ours.close()
        theirs.close()

    return later


async def _agen(job: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def generate() -> Any:
        yield
        job()
        yield

    generator = generate()
    await anext(generator)

    async def later() -> None:
        await anext(generator)
        await generator.aclose()

    return later


async def _loop_signal(job: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, job)

    async def later() -> None:
        os.kill(os.getpid(), signal.SIGUSR2)
        await asyncio.sleep(0.01)

    return later


ASYNC: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "loop.run_in_executor": lambda job: asyncio.get_running_loop().run_in_executor(
        LEGACY_POOL, job
    ),
    "asyncio.to_thread": asyncio.to_thread,
    "create_task": lambda job: asyncio.create_task(_as_coroutine(job)),
    "TaskGroup": _group,
    "eager task": _eager,
    "call_soon": _soon,
    "run_coroutine_threadsafe": _threadsafe,
    "add_reader": _reader,
    "async generator, next step later": _agen,
    "loop.add_signal_handler": _loop_signal,
}


ANYIO = {
    "anyio TaskGroup": _anyio_group,
    "anyio.to_thread": _anyio_thread,
    "anyio.from_thread": _anyio_back,
}


class Witness:
    """Notes whose request the code on the other side takes itself for."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.seen: list[object] = []
        self.shared = False

    def job(self) -> None:
        self.seen.append(self.peer.get())
        self.peer.put("child")

    def verdict(self) -> str:
        first, second = self.seen
        word = "no" if first != "alice" else "yes" if second == "bob" else "leaks"
        kept = ", kept" if second == "child" else ""
        return word + kept + (", shared" if self.shared else "")


def _probe(peer: Peer, hop: Callable[[Any], Any]) -> str:
    witness = Witness(peer)
    for name in ("alice", "bob"):
        with peer.request(name):
            later = hop(witness.job)
            witness.shared |= peer.get() != name
        if callable(later):
            later()
    return witness.verdict()


def _aprobe(peer: Peer, hop: Callable[[Any], Awaitable[Any]]) -> str:
    witness = Witness(peer)

    async def request(name: str) -> Any:
        with peer.request(name):
            later = await hop(witness.job)
            witness.shared |= peer.get() != name
            return later

    async def main() -> None:
        for name in ("alice", "bob"):
            later = await asyncio.create_task(request(name))
            if callable(later):
                await later()

    asyncio.run(main())
    return witness.verdict()


def main(package: str) -> None:
    """Print a line for each hop."""
    peer = PEERS[package]()
    number = ".".join(map(str, sys.version_info[:3]))
    own = "" if package == "stdlib" else f"{package} {version(package)}, "
    sys.stdout.write(f"{own}Python {number}\n")
    if package == "anyio":
        for name, ahop in ANYIO.items():
            sys.stdout.write(f"{name}: {_aprobe(peer, ahop)}\n")
        return
    for name, hop in SYNC.items():
        sys.stdout.write(f"{name}: {_probe(peer, hop)}\n")
    for name, ahop in ASYNC.items():
        if name != "eager task" or hasattr(asyncio, "eager_task_factory"):
            sys.stdout.write(f"{name}: {_aprobe(peer, ahop)}\n")
    POOL.shutdown()
    LEGACY_POOL.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
