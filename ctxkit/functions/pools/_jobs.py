"""Jobs: what is submitted to a pool, and waits at its gate like any caller. Private."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TYPE_CHECKING, Any, final
from weakref import ref

from ctxkit.context.errand import Errand, carried, is_carried
from ctxkit.functions.pools._slots import AT_WORK, Alone
from ctxkit.functions.pools._waiters import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.functions.pools._crew import Crew
    from ctxkit.functions.pools.gate import Gate


@final
class JobFuture(Future[Any]):
    """Be the future of a job; cancelling it takes the job out of the queue at once.

    Args:
        job: The job, which it does not keep.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = ref(job)
        self._untold = [None]  # only one can take it out

    def cancel(self) -> bool:
        """Cancel the job, if it has not begun."""
        job = self._job()  # before: a thread that finds it cancelled lets go of it
        if not super().cancel():
            return False
        if job is not None:
            job.give_up()
        self.begins()
        return True

    def begins(self) -> bool:
        """Tell those who wait, once, that the job begins or was cancelled; return which."""
        try:
            self._untold.pop()
        except IndexError:
            return False
        return self.set_running_or_notify_cancel()


@final
class Job(Waiter):
    """Call something once, on a thread of a pool, in the context of whoever submits it.

    Args:
        crew: The threads.
        f: What to call.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """

    __slots__ = ("__weakref__", "_args", "_call", "_crew", "_kwargs", "future")

    def __init__(
        self, crew: Crew, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__()
        self._crew = crew
        self._call: Callable[..., Any] | None
        self._args: tuple[Any, ...]
        self._kwargs: dict[str, Any]
        self._call, self._args, self._kwargs = f, args, kwargs
        if not is_carried(f):
            with Alone():
                call, argument = carried(f, args, kwargs)
            self._call, self._args, self._kwargs = call, (argument,), {}
        self.future = JobFuture(self)

    def wake(self) -> bool:
        """Have it done, now that it has a slot."""
        try:
            self._crew.put_to_work(self)
        except RuntimeError as error:  # no thread can be started
            if self.future.begins():
                self.future.set_exception(error)
            self._over()
            return False
        return True

    def give_up(self) -> None:
        """Leave the queue: it was cancelled."""
        self._crew.gate.give_up(self)
        self._over()

    def run(self) -> None:
        """Do it, give the slot back, and tell the future, in this order."""
        future, slot = self.future, self.slot
        if slot is None or not future.begins():
            return  # give_up() gives back the slot
        call, args, kwargs = self._call, self._args, self._kwargs
        self._forget()
        try:
            # What is in a local variable is kept by a traceback. What carried() returns empties
            # its argument, and an errand itself.
            result = None if call is None else call(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is whoever waits that gets it
            slot.release(error)
            self._crew.futures.discard(future)
            future.set_exception(error)
            del future, self
        else:
            slot.release()
            self._crew.futures.discard(future)
            future.set_result(result)

    def _forget(self) -> None:
        self._call, self._args, self._kwargs = None, (), {}

    def _over(self) -> None:
        self._forget()
        self._crew.futures.discard(self.future)


def submitted(
    crew: Crew, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Future[Any]:
    """Have ``f`` called on a thread of ``crew``, now or when there is a slot; return the future.

    Raises:
        PoolFull: There is no room to wait.
        PoolClosed: The gate was closed.
        RuntimeError: No thread can be started.
    """
    job = Job(crew, f, args, kwargs)
    future = job.future
    crew.futures.add(future)  # before: it may be over at once
    slot = None
    try:
        slot = crew.gate.join(job)
        if slot is not None:
            crew.put_to_work(job)
    except BaseException:
        crew.futures.discard(future)
        if slot is not None:
            crew.gate.give_up(job)
        raise
    return future


def done_here(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
    """Call ``f`` in a copy of the current context; return the future, which is done."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    try:
        future.set_result(Errand(f)(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - it is whoever waits that gets it
        future.set_exception(error)
    return future


def finish(crew: Crew, *, wait: bool, cancel_futures: bool) -> None:
    """Cancel the jobs of ``crew`` that have not begun; wait for the others, and for its threads.

    A job that does so does not wait for itself.
    """
    if cancel_futures:
        for future in list(crew.futures):
            future.cancel()
    if not wait:
        return
    mine = getattr(AT_WORK, "future", None)
    while others := {*crew.futures} - {mine}:
        _wait(others)
    crew.join()


_wait = wait  # finish() has an argument of this name


@final
class Patient(Executor):
    """Submit to a pool as much as fits, and wait for the first ones before the others.

    Args:
        executor: The pool.
        gate: Its gate; None for one that is always open.
    """

    def __init__(self, executor: Executor, gate: Gate | None) -> None:
        self._executor = executor
        self._gate = gate
        self._futures: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit, as soon as there is room."""
        while self._gate is not None and not self._gate.has_room():
            self._futures = {each for each in self._futures if not each.done()}
            if not self._futures:
                break  # it is others who wait
            wait(self._futures, return_when=FIRST_COMPLETED)
        future = self._executor.submit(fn, *args, **kwargs)
        self._futures.add(future)
        return future
