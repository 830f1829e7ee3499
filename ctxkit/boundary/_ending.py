"""Waiting for a server's event or for the end of the response, whichever comes first."""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Coroutine, Generator

    from ctxkit.boundary._asgi_types import Message, Receive


@final
class Ending:
    """Mark the moment after which an application has nothing more to send.

    Safety:
        Belongs to one response and one loop.

    Attributes:
        reached: Whether it has come.
    """

    __slots__ = ("_gates", "_loop", "reached")

    def __init__(self) -> None:
        self.reached = False
        self._loop = get_running_loop()
        self._gates: set[Future[None]] = set()

    def reach(self) -> None:
        """Note that the moment has come, and wake whoever waits for an event."""
        self.reached = True
        for gate in self._gates:
            _open(gate)

    @coroutine
    def event_before(self, receive: Receive) -> Generator[Any, None, Message | None]:
        """Await the server's ``receive()``; return None if the end comes first.

        The server's coroutine is stepped by hand, not made a task: Starlette's
        ``is_disconnected()`` cancels a receive at its first suspension, and an event that
        is there already has to come without one.
        """
        steps: Coroutine[Any, None, Message] = _call(receive)
        error: BaseException | None = None
        while True:
            try:
                awaited = steps.send(None) if error is None else steps.throw(error)
            except StopIteration as done:
                message: Message = done.value
                return message
            error = None
            gate = self._gate(awaited)
            try:
                if gate is None:
                    yield None
                else:
                    yield from gate
            except BaseException as interruption:  # noqa: BLE001 - goes on into the server's coroutine
                # What asyncio does with the future that a cancelled task waits for.
                if gate is not None and isinstance(interruption, CancelledError):
                    awaited.cancel()
                error = interruption
            finally:
                if gate is not None:
                    self._gates.discard(gate)
            if self.reached and error is None and not (gate is None or awaited.done()):
                steps.close()
                return None

    def _gate(self, awaited: Any) -> Future[None] | None:
        """Return a future that is done with ``awaited`` or at the end; None for a bare yield."""
        if awaited is None:  # asyncio.sleep(0)
            return None
        gate: Future[None] = self._loop.create_future()
        awaited._asyncio_future_blocking = False  # noqa: SLF001 - how a task takes over a future
        awaited.add_done_callback(partial(_open, gate))
        self._gates.add(gate)
        return gate


def _open(gate: Future[None], *_: object) -> None:
    if not gate.done():
        gate.set_result(None)


async def _call(receive: Receive) -> Message:
    return await receive()
