"""Leftovers: work that was started in a request or invocation and is alive at its end."""

from __future__ import annotations

from contextvars import Context
from enum import StrEnum
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from ctxkit.context._current import CURRENT
from ctxkit.context._places import told_of
from ctxkit.lifecycle._survivors import age, find, loop_of_thread, running_loop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable, Generator

    from ctxkit.context import Frame
    from ctxkit.lifecycle._survivors import Survivor

#: The longest that is waited for what was cancelled, in seconds: it may refuse.
PATIENCE: Final = 0.5
#: How many are named in one line of the log.
NAMED: Final = 8
#: How often the loop is let go round, for what has been cancelled to end, before it counts.
_ROUNDS: Final = 3
#: The first and the longest pause between two looks at what cannot be awaited, in seconds.
_SHORTEST: Final = 0.001
_LONGEST: Final = 0.016


class LeftoverPolicy(StrEnum):
    """Say what becomes of work that is alive when its request or invocation ends.

    Attributes:
        WARN: It is named in the log: what, where it was started, how old.
        AWAIT: It is waited for; what is not done in time is named.
        CANCEL: Tasks, timers and jobs that have not begun are cancelled, and waited for a
            moment; what goes on is named. Threads cannot be ended.
        IGNORE: Nobody looks for it.
    """

    WARN = "warn"
    AWAIT = "await"
    CANCEL = "cancel"
    IGNORE = "ignore"


class Leftover(NamedTuple):
    """Tell of one thing that was alive when the request or invocation ended.

    Attributes:
        kind: ``"task"``, ``"thread"``, ``"timer"`` or ``"job"`` (of a pool).
        name: What it is called, as a part of a sentence.
        place: Where it was started; of a task that no carrier of ours has started, where
            it is now; empty if nobody knows.
        age: How old it was then, in seconds; None if nobody knows.
        outcome: What has become of it: ``"alive"``, ``"finished"`` or ``"cancelled"``.
    """

    kind: str
    name: str
    place: str
    age: float | None
    outcome: Literal["alive", "finished", "cancelled"]

    def __str__(self) -> str:
        """Return it as a part of a sentence."""
        place = self.place and f", {self.place}"
        return f"{self.name}{place}" + ("" if self.age is None else f", {self.age:.2f} s old")


_listeners: tuple[Callable[[tuple[Leftover, ...]], object], ...] = ()


def on_leftovers(
    listener: Callable[[tuple[Leftover, ...]], object],
) -> Callable[[], None]:
    """Have ``listener`` called with the leftovers of each invocation that has some.

    Args:
        listener: Must be quick and must not block. Called in the context of the invocation,
            before its flush. What it raises is logged.

    Returns:
        A callable that takes the listener off again.
    """
    global _listeners  # noqa: PLW0603 - one tuple for the process, replaced as a whole

    # Told apart by identity of the pair: the same listener may be added twice.
    def call(leftovers: tuple[Leftover, ...]) -> object:
        return listener(leftovers)

    _listeners = (*_listeners, call)

    def remove() -> None:
        global _listeners  # noqa: PLW0603 - as above
        _listeners = tuple(each for each in _listeners if each is not call)

    return remove


def settle(frame: Frame, context: Context, policy: LeftoverPolicy, seconds: float) -> None:
    """Do what ``policy`` says with what was started in ``frame`` and is alive.

    Args:
        frame: The frame that a boundary opened.
        context: A context to tell of it in: whoever logs, logs as the invocation.
        policy: What to do.
        seconds: The longest that may be waited for it.

    Safety:
        Blocks. Tasks of a loop that stands still (an adapter's, between two requests) are
        waited for by running it; those of one that runs in this thread cannot be waited for.
    """
    loop = loop_of_thread()
    running = running_loop()
    settlement = _Settlement(find(frame, loop), policy, seconds)
    # One of this thread may be run by another.
    idle = None if loop is None or loop.is_running() else loop
    for tasks, pause in settlement.plan(idle, running):
        if idle is None or not tasks:
            sleep(pause)
        else:
            Context().run(idle.run_until_complete, _all_of(tasks, pause))
    settlement.tell(frame, context)


async def asettle(frame: Frame, context: Context, policy: LeftoverPolicy, seconds: float) -> None:
    """Do what :func:`settle` does, without blocking the loop."""
    from asyncio import sleep as asleep  # noqa: PLC0415 - settle() needs no asyncio

    loop = running_loop()
    found = find(frame, loop)
    for _ in range(_ROUNDS):
        if not any(survivor.loop is loop for survivor in found):
            break
        await asleep(0)
        found = [survivor for survivor in found if not survivor.has_ended()]
    settlement = _Settlement(found, policy, seconds)
    for tasks, pause in settlement.plan(loop, None):
        await (_all_of(tasks, pause) if tasks else asleep(pause))
    settlement.tell(frame, context)


class _Settlement:
    """Settle once, whoever waits, and however."""

    def __init__(self, found: list[Survivor], policy: LeftoverPolicy, seconds: float) -> None:
        self._found = found
        self._policy = policy
        self._seconds = min(seconds, PATIENCE) if policy is LeftoverPolicy.CANCEL else seconds
        # Of now: what is waited for here was alive, and so old, when its invocation ended.
        self._ages = [age(survivor.since) for survivor in found]
        if policy is LeftoverPolicy.CANCEL:
            for survivor in found:
                survivor.cancel()

    def plan(
        self, loop: AbstractEventLoop | None, blocked: AbstractEventLoop | None
    ) -> Generator[tuple[list[Task[Any]], float]]:
        """Yield what to wait for, for as long as it takes.

        Args:
            loop: The loop whose tasks can be awaited.
            blocked: The loop that stands still as long as we wait.

        Yields:
            Tasks to await, none for none that can be, and the seconds to wait at most.
        """
        if self._policy is LeftoverPolicy.WARN:
            return
        end = monotonic() + self._seconds
        step = _SHORTEST
        waiting = [each for each in self._found if blocked is None or each.loop is not blocked]
        while waiting := [each for each in waiting if not self._is_settled(each)]:
            left = end - monotonic()
            if left <= 0:
                return
            tasks = [each.what for each in waiting if loop is not None and each.loop is loop]
            yield tasks, (left if len(tasks) == len(waiting) else min(step, left))
            step = min(2 * step, _LONGEST)

    def tell(self, frame: Frame, context: Context) -> None:
        """Tell the log, and who listens, what there was and what has become of it."""
        if self._found:
            leftovers = tuple(map(self._leftover, self._found, self._ages))
            context.run(_tell, frame, leftovers)

    def _is_settled(self, survivor: Survivor) -> bool:
        # A thread that cannot be cancelled would be waited for in vain.
        hopeless = self._policy is LeftoverPolicy.CANCEL and not survivor.is_ending
        return hopeless or survivor.has_ended()

    def _leftover(self, survivor: Survivor, old: float | None) -> Leftover:
        outcome: Literal["alive", "finished", "cancelled"] = "alive"
        if survivor.has_ended():
            outcome = "cancelled" if survivor.is_ending else "finished"
        return Leftover(survivor.kind, survivor.name, survivor.place, old, outcome)


async def _all_of(tasks: list[Task[Any]], seconds: float) -> None:
    from asyncio import wait  # noqa: PLC0415 - as above

    await wait(tasks, timeout=seconds)


def _tell(frame: Frame, leftovers: tuple[Leftover, ...]) -> None:
    import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

    CURRENT.set(frame)
    logger = logging.getLogger("ctxkit")
    alive = [each for each in leftovers if each.outcome == "alive"]
    settled = [each for each in leftovers if each.outcome != "alive"]
    title = _title(frame)
    if settled:
        told = "; ".join(f"{each} ({each.outcome})" for each in settled[:NAMED])
        more = _more(len(settled))
        logger.info("ctxkit.leftovers: at the end of %s: %s%s", title, told, more)
    if alive:
        logger.warning(
            "ctxkit.leftovers: %s ended and left behind: %s%s. The host may stop it at any "
            "moment, or it goes on during another request. Await it before the end; or start it "
            "by ctxkit.detached(), if it is meant to outlive that.",
            title,
            "; ".join(map(str, alive[:NAMED])),
            _more(len(alive), getattr(frame.children, "unnoted", 0)),
        )
    for listener in _listeners:
        try:
            listener(leftovers)
        except Exception:
            logger.exception("ctxkit.leftovers: a listener failed")


def _more(count: int, unnoted: int = 0) -> str:
    """Return how many there are that were not named."""
    more = max(0, count - NAMED) + unnoted
    return f"; and {more} more" if more else ""


def _title(frame: Frame) -> str:
    """Return what to call the work of a frame."""
    what = "request" if frame.get("protocol") in ("http", "websocket") else "invocation"
    told = told_of(frame, "invocation", "method", "path")
    return f"{what} {frame.get('request_id')}{told}"
