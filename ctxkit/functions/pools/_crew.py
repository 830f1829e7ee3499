"""The threads of a pool: made at need, and gone when they were not needed for long. Private."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from contextvars import Context
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, final
from weakref import WeakSet

from ctxkit.functions.pools._slots import AT_WORK

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ctxkit.functions.pools._jobs import Job
    from ctxkit.functions.pools.gate import Gate


@final
class Worker:
    """Be one thread of a crew.

    Attributes:
        bell: Rung when there is a job, or none any more.
        job: The job; None where it is to end.
        since: Since when it has nothing to do, on the clock of :func:`time.monotonic`.
        thread: Its thread.
    """

    __slots__ = ("bell", "job", "since", "thread")

    def __init__(self, crew: Crew, job: Job, number: int) -> None:
        self.bell = threading.Lock()
        self.bell.acquire()
        self.job: Job | None = job
        self.since = 0.0
        name = f"ctxkit.pool.{crew.gate.name}_{number}"
        self.thread = threading.Thread(target=self._work, args=(crew,), name=name, daemon=DAEMONIC)

    def _work(self, crew: Crew) -> None:
        try:
            while (job := self.job) is not None:
                self.job = None
                AT_WORK.slot, AT_WORK.future = job.slot, job.future
                job.run()
                # Nothing of a request may be kept by a thread that waits.
                del job
                AT_WORK.slot = AT_WORK.future = None
                if crew.settle(self):
                    self.bell.acquire()
        except BaseException:  # a callback of a future has raised SystemExit, or the like
            crew.lose()
            raise


@final
class Crew:
    """Have the threads that do the jobs which a gate has let in.

    Whoever was the last to become idle is the first to get something to do, so those that are
    not needed grow old. They are sent home at the next use: no thread and no timer waits for
    that. There are never more of them than the gate has places.

    Args:
        gate: The gate.
        idle_timeout: After how many idle seconds a thread is sent home; None for never.

    Attributes:
        futures: Those of all jobs that are not over.
        gate: The gate, whose lock it shares.
        idle: The threads that have nothing to do, the oldest first.
    """

    __slots__ = (
        "__weakref__",
        "_dismissed",
        "_idle_timeout",
        "_made",
        "_ready",
        "_size",
        "_threads",
        "futures",
        "gate",
        "idle",
    )

    def __init__(self, gate: Gate, idle_timeout: float | None) -> None:
        self.gate = gate
        self._idle_timeout = idle_timeout
        self._dismissed = False
        self.restart()
        _CREWS.add(self)

    def restart(self) -> None:
        """Begin without threads. In a child, which has none of its parent's."""
        self.futures: set[Future[Any]] = set()
        self.idle: deque[Worker] = deque()
        self._ready: deque[Job] = deque()
        self._threads: set[threading.Thread] = set()
        self._made = self._size = 0

    def put_to_work(self, job: Job) -> None:
        """Have a job done that has its slot.

        Raises:
            RuntimeError: No thread can be started, and there is none.
        """
        with self.gate.lock:
            if self.idle:
                self.send_home()
            worker = fresh = None
            if self.idle:
                worker = self.idle.pop()
                worker.job = job
            elif self._size < max(1, self.gate.limit):
                fresh = self._new_worker(job)
            else:
                self._ready.append(job)  # some thread has given its slot back, and is not idle yet
        if worker is not None:
            worker.bell.release()
        elif fresh is not None:
            self._start(fresh)

    def send_home(self) -> None:
        """End the threads that have been idle for too long, or are too many by now."""
        with self.gate.lock:
            idle, most = self.idle, max(1, self.gate.limit)
            before = -inf if self._idle_timeout is None else monotonic() - self._idle_timeout
            while idle and (idle[0].since < before or self._size > most):
                idle.popleft().bell.release()
                self._size -= 1

    def settle(self, worker: Worker) -> bool:
        """Give a worker its next job, have it wait for one, or let it go.

        Returns:
            Whether it has to wait for its bell.
        """
        with self.gate.lock:
            if self._ready:
                worker.job = self._ready.popleft()
                return False
            if self._dismissed or self._size > max(1, self.gate.limit):
                self._size -= 1
                return False
            worker.since = monotonic()
            self.idle.append(worker)
            return True

    def lose(self) -> None:
        """Make up for a thread that ends, and should not."""
        with self.gate.lock:
            self._size -= 1
            job = self._ready.popleft() if self._ready else None
        if job is not None:
            self.put_to_work(job)

    def dismiss(self) -> None:
        """End the threads that are idle now, and each one when it becomes idle."""
        with self.gate.lock:
            self._dismissed = True
            self._size -= len(self.idle)
            while self.idle:
                self.idle.pop().bell.release()

    def join(self) -> None:
        """Wait for all threads but this one."""
        this = threading.current_thread()
        with self.gate.lock:
            threads = [each for each in self._threads if each.ident and each is not this]
        for each in threads:
            each.join()

    def _new_worker(self, job: Job) -> Worker:
        worker = Worker(self, job, self._made)
        self._made += 1
        self._size += 1
        self._threads = {each for each in self._threads if not each.ident or each.is_alive()}
        self._threads.add(worker.thread)
        return worker

    def _start(self, worker: Worker) -> None:
        self.gate.threaded = True
        try:
            # In an empty context: what starts a thread is kept by it for its life.
            Context().run(worker.thread.start)
        except RuntimeError:
            with self.gate.lock:
                self._size -= 1
                self._threads.discard(worker.thread)
                if self._size > 0 and worker.job is not None:
                    self._ready.append(worker.job)
                    return
            raise


#: All crews of the process.
_CREWS: Final[WeakSet[Crew]] = WeakSet()


def _dismiss_all() -> None:
    """Let the interpreter end: it waits for threads, and these would wait for jobs."""
    for crew in list(_CREWS):
        crew.dismiss()


def _register() -> bool:
    """Have that called before the interpreter waits; return whether that is possible."""
    # As concurrent.futures does. atexit comes too late: it is after the waiting.
    register: Any = getattr(threading, "_register_atexit", None)
    with suppress(RuntimeError):  # the end has begun
        if register is not None:
            register(_dismiss_all)
            return True
    return False


DAEMONIC: Final = not _register()


def _restart_all() -> None:
    for crew in _CREWS:
        crew.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
