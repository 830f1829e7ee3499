"""Several threads behind one bounded queue, and certainty about what has left it. Private."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextvars import Context
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LONGEST_LINGER: Final = 0.01  # seconds


class _Job(NamedTuple, Generic[T]):
    number: int
    load: T
    ordered: bool


@final
class _Crew(Generic[T]):
    """What the senders of one process share. A forked child gets one of its own.

    Attributes:
        lock: Guards the rest. Reentrant: a signal handler may capture something on the very
            thread that holds it.
        hired: Told when there is something to send.
        done: Told when something is sent, or a place in the queue is free.
        waiting: What nobody has taken yet, oldest first.
        unfinished: The numbers of all that is not sent yet, in ascending order.
        alive: How many threads there are.
        idle: How many of them wait for a job.
        gathering: Whether one of them waits for more to take along; then the rest take nothing.
        chained: Whether a job that is bound to an order is being sent.
        dismissed: Whether the threads end when all is sent.
    """

    __slots__ = (
        "alive",
        "chained",
        "dismissed",
        "done",
        "gathering",
        "hired",
        "idle",
        "lock",
        "unfinished",
        "waiting",
    )

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.hired = threading.Condition(self.lock)
        self.done = threading.Condition(self.lock)
        self.waiting: deque[_Job[T]] = deque()
        self.unfinished: dict[int, None] = {}
        self.alive = 0
        self.idle = 0
        self.gathering = False
        self.chained = False
        self.dismissed = False

    def take(self) -> _Job[T] | None:
        """Return the oldest job that may be sent now; the lock is held."""
        if not self.gathering:
            for place, job in enumerate(self.waiting):
                if not (job.ordered and self.chained):
                    del self.waiting[place]
                    self.chained = self.chained or job.ordered
                    return job
        return None


class Senders(Generic[T]):
    """Work off a bounded queue with several threads, which start at need and are daemonic.

    Each load has a number, in the order of their coming. A mark is the number of the latest;
    it has passed when everything up to it is done. So any number of callers can wait, each for
    what was there when it came, and for nothing that came later.

    Args:
        name: What the threads are called.
        work: Called in one of them with the loads it has taken.
        fail: Called with what ``work`` raised.
        senders: The most threads.
        room: The most loads that wait; 0 for any number.
        weight: What a load weighs. None: loads are sent one at a time.
        most: The most that loads sent together may weigh.
        linger: The seconds that a thread waits for more to take along, for each other one that
            is at work: what ends together is sent together, and the first at once.
        renew: Called once in a forked child, before anything else is done there.

    Safety:
        Thread-safe. What waits or is being sent when the process forks belongs to the parent
        alone. No at-fork hook is needed, which uWSGI would not run.
    """

    def __init__(  # noqa: PLR0913 - a private part with two users
        self,
        name: str,
        work: Callable[[list[T]], None],
        *,
        fail: Callable[[Exception], object],
        senders: int,
        room: int,
        weight: Callable[[T], int] | None = None,
        most: int = 0,
        linger: float = 0.0,
        renew: Callable[[], object],
    ) -> None:
        self._name = name
        self._work = work
        self._fail = fail
        self._senders = senders
        self._room = room
        self._weight = weight
        self._most = most
        self._linger = linger
        self._renew = renew
        self._last = 0
        self._crews: dict[int, _Crew[T]] = {os.getpid(): _Crew()}

    @property
    def lock(self) -> threading.RLock:
        """A reentrant lock that is free in a forked child, whoever held it in the parent."""
        return self._crew().lock

    @property
    def is_alive(self) -> bool:
        """Whether a thread is there to send something."""
        return self._crew().alive > 0

    @property
    def unfinished(self) -> int:
        """How many loads wait or are being sent right now."""
        return len(self._crew().unfinished)

    def full(self) -> bool:
        """Whether there is no room for another load."""
        return 0 < self._room <= len(self._crew().waiting)

    def put(self, load: T, *, ordered: bool = False, timeout: float = 0.0) -> bool:
        """Hand in a load.

        Args:
            load: What is to be sent.
            ordered: Whether it must not be overtaken by, nor overtake, another of this kind.
            timeout: The seconds to wait for room.

        Returns:
            Whether there was room for it.
        """
        crew = self._crew()
        end = monotonic() + timeout
        with crew.lock:
            while 0 < self._room <= len(crew.waiting):
                left = end - monotonic()
                if left <= 0 or not crew.alive:
                    return False
                crew.done.wait(min(left, threading.TIMEOUT_MAX))
            self._last += 1
            crew.unfinished[self._last] = None
            crew.waiting.append(_Job(self._last, load, ordered))
            if crew.idle < len(crew.waiting) and crew.alive < self._senders:
                self._hire(crew)
            crew.hired.notify()
        return True

    def mark(self) -> int:
        """Return the number of the latest load."""
        return self._last

    def wait(self, mark: int, timeout: float) -> bool:
        """Block until everything up to ``mark`` is done, at most ``timeout`` seconds.

        Returns:
            Whether it is; False at once if there is no thread to do it.
        """
        crew = self._crew()
        end = monotonic() + timeout
        with crew.lock:
            while crew.unfinished and next(iter(crew.unfinished)) <= mark:
                left = end - monotonic()
                if left <= 0 or not crew.alive:
                    return False
                crew.done.wait(min(left, threading.TIMEOUT_MAX))
        return True

    def work_off(self) -> None:
        """Do in this thread what waits, where no other can be started."""
        crew = self._crew()
        while True:
            with crew.lock:
                job = crew.take()
            if job is None:
                return
            Context().run(self._do, crew, [job])  # as in a thread of its own

    def kill(self) -> None:
        """Let the threads end after what they still have to do; blocks for nothing."""
        pid = os.getpid()
        crew = self._crew()
        self._crews = {pid: _Crew()}
        with crew.lock:
            crew.dismissed = True
            crew.hired.notify_all()

    def _crew(self) -> _Crew[T]:
        pid = os.getpid()
        crews = self._crews
        crew = crews.get(pid)
        if crew is None:
            new: _Crew[T] = _Crew()
            crew = crews.setdefault(pid, new)  # atomic: of two threads, one is first
            if crew is new:
                for other in [key for key in crews if key != pid]:
                    del crews[other]
                self._renew()
        return crew

    def _hire(self, crew: _Crew[T]) -> None:
        thread = threading.Thread(
            target=self._serve, args=(crew,), name=f"ctxkit.send.{self._name}", daemon=True
        )
        crew.alive += 1
        try:
            # In no context: others that patch threads would give it this request's.
            Context().run(thread.start)
        except RuntimeError:  # CPython 3.12 refuses new threads at exit; the old ones go on
            crew.alive -= 1

    def _serve(self, crew: _Crew[T]) -> None:
        try:
            while jobs := self._take(crew):
                self._do(crew, jobs)
                del jobs  # an idle thread keeps nothing alive
        finally:
            with crew.lock:
                crew.alive -= 1
                if crew.waiting and not crew.alive:  # work has raised SystemExit, say
                    self._hire(crew)
                crew.done.notify_all()

    def _do(self, crew: _Crew[T], jobs: list[_Job[T]]) -> None:
        try:
            self._work([job.load for job in jobs])
        except Exception as error:  # noqa: BLE001 - told there
            self._fail(error)
        finally:
            self._finish(crew, jobs)

    def _take(self, crew: _Crew[T]) -> list[_Job[T]]:
        """Return what is to be sent next, together; nothing when the thread is to end."""
        with crew.lock:
            crew.idle += 1
            try:
                while (job := crew.take()) is None:
                    if crew.dismissed and not crew.waiting:
                        return []
                    crew.hired.wait()
            finally:
                crew.idle -= 1
            if len(crew.waiting) == self._room - 1:
                crew.done.notify_all()
            if self._weight is None:
                return [job]
            linger = min(self._linger * (crew.alive - crew.idle - 1), _LONGEST_LINGER)
            crew.gathering = gathering = linger > 0
        if gathering:
            sleep(linger)
        with crew.lock:
            if gathering:
                crew.gathering = False
            return self._take_along(crew, job, self._weight)

    def _take_along(
        self, crew: _Crew[T], job: _Job[T], weight: Callable[[T], int]
    ) -> list[_Job[T]]:
        jobs, total = [job], weight(job.load)
        while crew.waiting and (total := total + weight(crew.waiting[0].load)) <= self._most:
            jobs.append(crew.waiting.popleft())
        if crew.waiting:
            crew.hired.notify()
        crew.done.notify_all()
        return jobs

    def _finish(self, crew: _Crew[T], jobs: list[_Job[T]]) -> None:
        with crew.lock:
            for job in jobs:
                del crew.unfinished[job.number]
                if job.ordered:
                    crew.chained = False
                    crew.hired.notify()
            crew.done.notify_all()
