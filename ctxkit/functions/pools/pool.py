"""Pools: limits on what runs at a time, and executors."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, ParamSpec, TypeVar, final

from ctxkit.context import capture
from ctxkit.context._children import NOTING, note
from ctxkit.exceptions import PoolClosed
from ctxkit.functions.pools import _sizes
from ctxkit.functions.pools._crew import Crew
from ctxkit.functions.pools._jobs import Patient, done_here, finish, submitted
from ctxkit.functions.pools._ledger import UNCOUNTED, PoolStats
from ctxkit.functions.pools._names import NAMES
from ctxkit.functions.pools._slots import NO_SLOT
from ctxkit.functions.pools.gate import Gate

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable, Iterator

    from ctxkit.context import Deadline
    from ctxkit.functions.pools._controller import Controller
    from ctxkit.functions.pools._slots import NoSlot, Slot

    Kind = Literal["inline", "static", "lazy", "adaptive"]

P = ParamSpec("P")
T = TypeVar("T")

_number: Final = count(1)


@final
class Pool(Executor):
    """Limit how many calls run at a time; run jobs on threads, as an executor.

    A pool is made by :meth:`inline`, :meth:`static`, :meth:`lazy`, :meth:`adaptive` or
    :meth:`auto`. Calls of functions run where they are called, in the caller's thread or on
    its event loop, and the pool lets so many of them in; the others wait in their order. Jobs
    that are submitted run on threads of the pool, and count too::

        images = ctxkit.Pool.static(workers=2)
        with images.acquire():
            pass
        assert images.submit(len, "abc").result() == 3
        images.shutdown()

    A call inside another one that has a place in the same pool shares that place. A place is
    shared with one call at a time: of several that are awaited together each takes its turn, or
    a place of its own. What is submitted does not share: it waits for a place of its own.

    Context:
        Each job runs in a copy of the context in which it was submitted, as with
        :class:`ctxkit.ThreadPoolExecutor`.

    Safety:
        May be used by any number of threads and event loops at once. Threads are made at need,
        no timer runs: a pool may be frozen with its process. After a fork, the child's has
        nobody in and no thread. The interpreter waits for jobs at its exit.

    Attributes:
        kind: ``"inline"``, ``"static"``, ``"lazy"`` or ``"adaptive"``.
        name: What it was called; None if nothing.
    """

    _ctxkit_carries: ClassVar[bool] = True

    kind: Kind
    name: str | None
    _closed: bool
    _crew: Crew | None
    _gate: Gate | None
    _title: str

    def __init__(self) -> None:
        raise TypeError(
            "Make a pool with Pool.static(), .lazy(), .adaptive(), .inline() or .auto()."
        )

    @classmethod
    def _made(
        cls, kind: Kind, name: str | None, gate: Gate | None = None, crew: Crew | None = None
    ) -> Pool:
        pool = cls.__new__(cls)
        title = name or (kind if gate is None else gate.name)
        vars(pool).update(kind=kind, name=name, _title=title, _gate=gate, _crew=crew, _closed=False)
        NAMES.add(pool)
        return pool

    @classmethod
    def _gated(  # noqa: PLR0913 - what differs between the kinds
        cls,
        kind: Kind,
        name: str | None,
        limit: int,
        buffer: int | None,
        *,
        idle_timeout: float | None = None,
        controller: Controller | None = None,
    ) -> Pool:
        gate = Gate(name or f"{kind}-{next(_number)}", limit, buffer, controller)
        return cls._made(kind, name, gate, Crew(gate, idle_timeout))

    @staticmethod
    def inline(*, name: str | None = None) -> Pool:
        """Make a pool without a limit: calls go through, jobs run where they are submitted.

        Args:
            name: A name to find it by (:meth:`named`).

        Raises:
            DuplicateName: Another pool that is open has this name.
        """
        return Pool._made("inline", name)

    @staticmethod
    def static(workers: int = 8, buffer: int | None = None, *, name: str | None = None) -> Pool:
        """Make a pool that lets a fixed number in.

        Args:
            workers: How many.
            buffer: How many may wait; the next one gets :class:`ctxkit.PoolFull`. None for 64
                times as many as are let in.
            name: A name to find it by (:meth:`named`).

        Raises:
            ConfigurationError: A number makes no sense.
            DuplicateName: Another pool that is open has this name.
        """
        _sizes.check("Pool.static()", workers=workers, buffer=buffer)
        room = workers * _sizes.ROOM if buffer is None else buffer
        return Pool._gated("static", name, workers, room)

    @staticmethod
    def lazy(max_size: int = 16, idle_timeout: float = 30.0, *, name: str | None = None) -> Pool:
        """Make a pool in which any number may wait, and whose idle threads do not stay.

        Args:
            max_size: How many are let in.
            idle_timeout: After how many idle seconds a thread is gone at the next use.
            name: A name to find it by (:meth:`named`).

        Raises:
            ConfigurationError: A number makes no sense.
            DuplicateName: Another pool that is open has this name.
        """
        _sizes.check("Pool.lazy()", max_size=max_size, idle_timeout=idle_timeout)
        return Pool._gated("lazy", name, max_size, None, idle_timeout=idle_timeout)

    @staticmethod
    def adaptive(
        max_size: int = 16,
        min_size: int = 1,
        initial: int | None = None,
        *,
        name: str | None = None,
    ) -> Pool:
        """Make a pool that finds out how many are worth letting in, by what they get done.

        The limit rises while callers wait and more at a time get more done, and falls where
        fewer get as much done, or have nothing to do. 64 times ``max_size`` may wait.

        Args:
            max_size: The highest limit.
            min_size: The lowest.
            initial: Where it begins; None for 4, or as near as the other two allow.
            name: A name to find it by (:meth:`named`).

        Raises:
            ConfigurationError: A number makes no sense.
            DuplicateName: Another pool that is open has this name.
        """
        _sizes.check("Pool.adaptive()", max_size=max_size, min_size=min_size, initial=initial)
        _sizes.check_range("Pool.adaptive()", min_size, initial, max_size)
        from ctxkit.functions.pools._controller import (  # noqa: PLC0415 - random is heavy
            Controller,
        )

        controller = Controller(max_size, min_size, initial)
        room = max_size * _sizes.ROOM
        return Pool._gated("adaptive", name, controller.limit, room, controller=controller)

    @staticmethod
    def auto(
        type: str | None = None,  # noqa: A002 - as one writes it in a configuration
        workers: int | None = None,
        max_size: int | None = None,
        buffer: int | None = None,
        *,
        name: str | None = None,
    ) -> Pool:
        """Make the pool that a configuration asks for.

        Args:
            type: The kind. None for what the others suggest: ``workers`` a static pool,
                ``max_size`` a lazy one, neither an inline one.
            workers: As of :meth:`static`.
            max_size: As of :meth:`lazy` and :meth:`adaptive`; where the type is given, a size
                that is another kind's is no obstacle beside the right one.
            buffer: As of :meth:`static`.
            name: A name to find it by (:meth:`named`).

        Raises:
            ConfigurationError: There is no such kind, a size or buffer that it does not take
                was given, or ``workers`` and ``max_size`` without a type.
            DuplicateName: Another pool that is open has this name.
        """
        chosen = _sizes.choose(type, workers, max_size, buffer)
        if chosen == "static":
            return Pool.static(_sizes.WORKERS if workers is None else workers, buffer, name=name)
        size = _sizes.SIZE if max_size is None else max_size
        if chosen == "lazy":
            return Pool.lazy(size, name=name)
        return Pool.inline(name=name) if chosen == "inline" else Pool.adaptive(size, name=name)

    @staticmethod
    def named(name: str) -> Pool:
        """Return the open pool of this name.

        Raises:
            ConfigurationError: There is none.
        """
        return NAMES.find(name)

    def acquire(self, deadline: Deadline | None = None) -> Slot | NoSlot:
        """Return a place, as soon as there is one; release it, or use it as a with-block.

        Args:
            deadline: When to give up; None for never.

        Raises:
            PoolFull: There is no room to wait; or this is the thread of a running event loop,
                which must not be blocked.
            PoolClosed: It was closed.
            DeadlineExceeded: The deadline was reached.
            Cancelled: The caller's caller does not wait for it any more.
        """
        if self._gate is not None:
            self._send_home()
            return self._gate.acquire(deadline)
        self._refuse_if_closed()
        return NO_SLOT

    async def aacquire(self, deadline: Deadline | None = None) -> Slot | NoSlot:
        """Do what :meth:`acquire` does, without blocking the event loop."""
        if self._gate is not None:
            self._send_home()
            return await self._gate.aacquire(deadline)
        self._refuse_if_closed()
        return NO_SLOT

    def stats(self) -> PoolStats:
        """Return how it is doing."""
        return UNCOUNTED if self._gate is None else self._gate.stats()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` in the current context.

        Raises:
            PoolFull: There is no room to wait. It never blocks.
            PoolClosed: It was closed.
        """
        if self._crew is None:
            self._refuse_if_closed()
            return done_here(fn, args, kwargs)
        future: Future[T] = submitted(self._crew, fn, args, kwargs)
        if NOTING.on:
            note(future)
        return future

    def map(self, fn: Callable[..., T], *iterables: Iterable[Any], **options: Any) -> Iterator[T]:
        """Schedule ``fn`` for the items of ``iterables`` in the current context.

        Where there is no room for all of them, it waits for the first ones.

        Raises:
            PoolFull: Others have taken all the room.
            PoolClosed: It was closed.
        """
        # With buffersize= (Python 3.14) the rest is submitted by whoever reads the results.
        executor = self if options.get("buffersize") is not None else Patient(self, self._gate)
        return Executor.map(executor, capture().wrap(fn), *iterables, **options)

    def close(self) -> None:
        """Take no more work. What was let in, or waits, ends as usual; the name is free again."""
        self._closed = True
        NAMES.discard(self)
        if self._gate is not None and self._crew is not None:
            self._gate.close()
            self._crew.dismiss()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the executor's
        """Close it; wait for its jobs and threads, not for calls.

        Args:
            wait: Whether to wait.
            cancel_futures: Whether to cancel jobs that have not begun.
        """
        self.close()
        if self._crew is not None:
            finish(self._crew, wait=wait, cancel_futures=cancel_futures)

    def as_default_executor(self, loop: AbstractEventLoop | None = None) -> None:
        """Have an event loop run on this pool what it runs on threads by default.

        That is what ``asyncio.to_thread`` and ``loop.run_in_executor(None, ...)`` are given, and
        the host names that the loop looks up. The end of the loop waits for what it has
        submitted, and does not close the pool, which other loops may use.

        Args:
            loop: The loop; None for the one that runs.

        Raises:
            ConfigurationError: The pool is inline: its jobs would block the loop.
        """
        from ctxkit.functions.pools._default_executor import set_on  # noqa: PLC0415 - asyncio

        set_on(loop, self)

    def __repr__(self) -> str:
        return f"<Pool {self._title} ({self.kind})>"

    def __del__(self) -> None:
        # Its idle threads know the crew, not us.
        crew: Crew | None = getattr(self, "_crew", None)
        if crew is not None:
            crew.dismiss()

    def _send_home(self) -> None:
        if self._crew is not None and self._crew.idle:
            self._crew.send_home()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise PoolClosed(self._title)
