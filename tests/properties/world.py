"""The process around the requests: its loop, its pools, its threads, all stepped by hand."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent import futures
from contextvars import Context
from typing import TYPE_CHECKING, Any

from properties.known import Holders, Known, agree
from properties.places import PATIENCE, Boom, InTask, Main, OnThread

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

    from properties.hops import Parts
    from properties.known import Request, View
    from properties.places import Place


class Pool:
    """A pool of one worker, with the jobs that it was given in order."""

    def __init__(self, name: str, pool: futures.ThreadPoolExecutor) -> None:
        self.name = name
        self.pool = pool
        self.jobs: list[OnThread] = []
        #: Whose jobs it still has in its queue although they were cancelled.
        self.holds: set[Request | None] = set()

    def add(self, job: OnThread) -> None:
        self.jobs.append(job)
        if len(self.jobs) == 1:
            job.await_start()

    def over(self, job: OnThread) -> None:
        """Notice that ``job`` has ended, or was cancelled; the next one begins."""
        was_first = self.jobs[0] is job
        self.jobs.remove(job)
        if not was_first:
            self.holds.add(job.owner)
        elif not self.jobs:
            self.holds.clear()
        else:
            self.jobs[0].await_start()

    def base(self, look: Callable[[], View]) -> View:
        """Return what is visible on the idle worker to nobody's job."""
        # As the standard library submits; the context here is nobody's.
        future = Context().run(futures.ThreadPoolExecutor.submit, self.pool, look)
        return future.result(PATIENCE)


class World:
    """One process."""

    def __init__(self, parts: Parts) -> None:
        # What is here already is no concern of the collector's, which is asked often.
        gc.freeze()
        self.parts = parts
        self.made: list[Place] = []
        #: What code was ended with.
        self.errors: list[Boom] = []
        self.holders = Holders()
        self.accessor = ctxkit.ThreadLocalAccessor(self.holders.legacy, "x")
        ctxkit.register_accessor(self.accessor)
        self.loop = asyncio.SelectorEventLoop()
        self.loop.set_debug(False)
        self.carrying = Pool("carrying", parts.ThreadPoolExecutor(1))
        self.plain = Pool("plain", futures.ThreadPoolExecutor(1))
        self.loop.set_default_executor(self.plain.pool)
        #: What a middleware was made in.
        self.server = Context()
        self.server.run(Holders.server.set, "server")
        self.main = Main(self, None, Known())
        self._idle_task: InTask | None = None
        self._threads: list[threading.Thread] = []
        self._hook, threading.excepthook = threading.excepthook, self._excepthook
        self._last_words: list[View] = []

    @property
    def pools(self) -> tuple[Pool, Pool]:
        return (self.carrying, self.plain)

    @property
    def idle_task(self) -> InTask:
        """A task of nobody's, which takes steps for others."""
        if self._idle_task is None:
            self._idle_task = place = InTask(self, None, Known())
            place.task = self.loop.create_task(place.body(), context=Context())
            self.spin()
        return self._idle_task

    def spin(self) -> None:
        """Let the loop go round until there is nothing left to do."""
        loop: Any = self.loop
        while True:
            loop.call_soon(loop.stop)
            loop.run_forever()
            if not loop._ready:
                return

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop wait for what another thread is about to tell it."""

        if condition():
            return

        async def waiting() -> None:
            async with asyncio.timeout(PATIENCE):
                while not condition():  # noqa: ASYNC110 - what is waited for has no event
                    await asyncio.sleep(0)

        Context().run(self.loop.run_until_complete, waiting())

    def keep(self, thread: threading.Thread) -> None:
        """Keep the object of a thread, as some do; it must not keep what its run has known."""
        self._threads.append(thread)

    def end(self, place: Place, how: str) -> None:
        """Bring a place to its end, and with it what waits for it."""
        expected = place.moment().view()
        place.end(how)
        self.over(place)
        handle, place.handle = place.handle, None
        if isinstance(handle, threading.Thread):
            handle.join(PATIENCE)
            if how == "raise":
                place.farewell = self._last_words.pop()
        elif isinstance(handle, asyncio.Future):
            self.until(handle.done)
            assert handle.cancelled() or isinstance(handle.exception(), Boom | None)
        if place.farewell is not None:
            agree(place.farewell, expected)

    def over(self, place: Place) -> None:
        """Take a job that has ended, or was cancelled, from its pool."""
        for pool in self.pools:
            if place in pool.jobs:
                pool.over(place)

    def check_base(self) -> None:
        """Nothing is known to the loop, the main thread and idle workers."""
        look = self.holders.look
        agree(look(), {})
        agree(self.idle_task.run(look), {})
        for pool in self.pools:
            if pool.pool._threads and not pool.jobs:
                agree(pool.base(look), {})
        agree(self.server.run(look), {"server": "server"})

    def check_dead(self, requests: list[Request]) -> None:
        """What these requests have known is gone, now that nothing of them is going on."""
        self.check_base()  # so that the workers have put their last job away
        while self.errors:
            # A traceback keeps what its frames hold, as long as somebody has it.
            self.errors.pop().__traceback__ = None
        if any(request.alive() for request in requests):
            gc.collect()
        for request in requests:
            assert not request.alive(), f"still there: {request.alive()}"

    def close(self) -> None:
        """End whatever a failed example has left, and the process with it."""
        for place in self.made:
            place.abandon()
        threading.excepthook = self._hook
        ctxkit.unregister_accessor(self.accessor)
        self.spin()
        for pool in self.pools:
            pool.pool.shutdown()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        gc.unfreeze()

    def _excepthook(self, hooked: Any) -> None:
        self._last_words.append(self.holders.look())
