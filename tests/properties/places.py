"""Where code runs, one step at a time: threads, tasks and generators that do what they are told."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from properties.known import Known, agree

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from properties.known import Request
    from properties.world import World

#: Seconds that nothing takes here; then the test fails instead of waiting for ever.
PATIENCE = 20


class Boom(Exception):  # noqa: N818 - it is no mistake
    """What some of the code raises in the end."""


class Place:
    """Some code that goes on, what must be visible to it, and whose it is.

    Attributes:
        known: What must be visible there; None before it has begun.
        thread: Which thread it runs on.
        looping: Whether an event loop is running there.
        keeps: Whether the thread's own holder belongs to it alone while it runs.
        waits: For what it waits, if it does.
        ended: Whether it will run no more.
    """

    looping = False

    def __init__(self, world: World, owner: Request | None, known: Known) -> None:
        self.world = world
        self.owner = owner
        self.known = known
        self.thread = "main"
        self.keeps = False
        self.started = True
        self.ended = False
        self.waits: Place | None = None
        #: What becomes known here when that has ended.
        self.homecoming: Callable[[], None] = bool
        self.handle: Any = None
        #: What was visible at the very end, where code was run there.
        self.farewell: object = None
        self.answer: tuple[bool, Any] | None = None
        world.made.append(self)

    @property
    def ident(self) -> int | None:
        """The thread that it runs on, as Python numbers them; numbers are used again."""
        return threading.main_thread().ident

    @property
    def legacy(self) -> object:
        """What the thread's own holder holds there."""
        return self.known.legacy if self.keeps else None

    def moment(self) -> Known:
        """Return what is known there now, the thread's own holder included."""
        return Known(self.known.frame, self.known.loose, self.legacy)

    def check(self) -> None:
        """Hold what is visible there against the model."""
        agree(self.run(self.world.holders.look), self.moment().view())

    def run(self, f: Callable[..., Any], /, *args: Any) -> Any:
        """Return what ``f(*args)`` returns, called there."""
        self.step((f, args, False))
        return self._answered()

    def arun(self, f: Callable[..., Any], /, *args: Any) -> Any:
        """Return what awaiting ``f(*args)`` there returns."""
        self.step((f, args, True))
        return self._answered()

    def begin(self, f: Callable[..., Any], child: Place) -> None:
        """Have ``f()`` awaited there, which takes until ``child`` has ended."""
        self.waits = child
        self.step((f, (), True))

    def resume(self) -> None:
        """Go on after what was waited for."""
        self.waits = None
        self.world.until(lambda: self.answer is not None)
        with suppress(Boom, ExceptionGroup):
            self._answered()

    def _answered(self) -> Any:
        answer, self.answer = self.answer, None
        assert answer is not None, f"no answer from {self}"
        well, result = answer
        if not well:
            raise result
        return result

    def step(self, order: Any) -> None:
        """Have the code do as it is told, or come to its end where that is an exception or None."""
        raise NotImplementedError

    def end(self, how: str) -> None:
        """Bring it to its end."""
        self.ended = True

    def abandon(self) -> None:
        """Have it end, whatever it is at."""

    def last_order(self, how: str) -> Boom | None:
        """Return what brings the code to its end."""
        if how != "raise":
            return None
        error = Boom(how)
        self.world.errors.append(error)
        return error

    def obey(self, order: Any) -> Any:
        f, args, _ = order
        try:
            self.answer = True, f(*args)
        except BaseException as error:
            self.answer = False, error


class Main(Place):
    """The main thread, in a context where nothing is known."""

    def step(self, order: Any) -> None:
        self.obey(order)


class OnThread(Place):
    """Code that blocks its thread while it waits."""

    def __init__(self, *args: Any, thread: str) -> None:
        super().__init__(*args)
        self.thread = thread
        self.started = False
        self._ident: int | None = None
        self._orders: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[None] = SimpleQueue()

    @property
    def ident(self) -> int | None:
        return self._ident

    def body(self, *_: object) -> None:
        self._ident = threading.get_ident()
        self._answers.put(None)
        while (order := self._orders.get()) is not None:
            if isinstance(order, Boom):
                raise order
            self.obey(order)
            del order  # or it would be kept until the next one
            self._answers.put(None)
        self.farewell = self.world.holders.look()

    def await_start(self) -> None:
        self._answers.get(timeout=PATIENCE)
        self.started = True

    def step(self, order: Any) -> None:
        self._orders.put(order)
        if isinstance(order, tuple):
            self._answers.get(timeout=PATIENCE)

    def end(self, how: str) -> None:
        self.ended = True
        self.step(self.last_order(how))

    def abandon(self) -> None:
        self._orders.put(None)


class InTask(Place):
    """A coroutine in a task of the loop."""

    looping = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.task: Any = None
        self._gate: Any = None

    async def body(self, *_: object) -> None:
        """Do as told; ``_`` is what a server gives to an application."""
        try:
            while True:
                self._gate = asyncio.get_running_loop().create_future()
                order = await self._gate
                if order is None:
                    return
                if isinstance(order, Boom):
                    raise order
                self.obey(order)
                awaited = order[2]
                del order
                if awaited and self.answer is not None and self.answer[0]:
                    await self._finish()
        finally:
            self.farewell = self.world.holders.look()
            self._gate = None

    async def _finish(self) -> None:
        (_, awaitable), self.answer = self.answer, None  # type: ignore[misc]
        try:
            result = await awaitable
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.answer = False, error
        else:
            self.answer = True, result

    def step(self, order: Any) -> None:
        gate, self._gate = self._gate, None
        gate.set_result(order)
        self.world.spin()

    def end(self, how: str) -> None:
        self.ended = True
        if how == "cancel":
            self.task.cancel()
            self.world.spin()
        else:
            self.step(self.last_order(how))
        self.world.until(self.task.done)
        task, self.task = self.task, None
        if not task.cancelled():
            task.exception()

    def abandon(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Stepping(Place):
    """A generator of either kind, whose next step anybody may ask for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stepper: Place = self.world.main
        self.iterator: Any = None
        self._order: Any = None

    @property
    def looping(self) -> bool:  # type: ignore[override]
        return self.by.looping

    @property
    def ident(self) -> int | None:
        return self.by.ident

    @property
    def legacy(self) -> object:
        return self.known.legacy if self.keeps else self.by.legacy

    @property
    def by(self) -> Place:
        """Who takes the next step."""
        free = self.stepper.waits is None and not self.stepper.ended
        return self.stepper if free else self.world.main

    def body(self, *_: object) -> Generator[bytes]:
        try:
            while self._obeyed():
                yield b"x"
        finally:
            self.farewell = self.world.holders.look()

    def _obeyed(self) -> bool:
        order, self._order = self._order, None
        if isinstance(order, Boom):
            raise order
        if order is not None:
            self.obey(order)
        return order is not None

    def step(self, order: Any) -> None:
        self._order = order
        by = self.by
        self.thread = by.thread
        by.run(next, self.iterator, None)

    def end(self, how: str) -> None:
        by = self.by
        self.ended = True
        if how == "drop" and self.keeps:
            by.run(self._drop)
        elif how in ("close", "cancel", "drop"):  # PEP 3333: a response is closed
            by.run(self.iterator.close)
        else:
            with suppress(Boom):
                self.step(self.last_order(how))
            # Whoever iterates over a response closes it.
            getattr(self.iterator, "close", bool)()
        self.iterator = None

    def abandon(self) -> None:
        self.iterator = None

    def _drop(self) -> None:
        self.iterator = None


class SteppingAsync(Stepping):
    """An asynchronous one, whose steps are awaited by tasks."""

    @property
    def by(self) -> Place:
        free = self.stepper.waits is None and not self.stepper.ended and self.stepper.looping
        return self.stepper if free else self.world.idle_task

    async def body(self, *_: object) -> AsyncGenerator[bytes]:  # type: ignore[override]
        try:
            while self._obeyed():
                yield b"x"
        finally:
            self.farewell = self.world.holders.look()

    def step(self, order: Any) -> None:
        self._order = order
        self.by.arun(anext, self.iterator, None)

    def end(self, how: str) -> None:
        by = self.by
        self.ended = True
        if how == "drop":
            by.run(self._drop)
            self.world.spin()
        elif how in ("close", "cancel"):
            by.arun(self.iterator.aclose)
        else:
            with suppress(Boom):
                self.step(self.last_order(how))
        self.iterator = None
