"""dramatiq: each message takes the context along, and processing it is a crossing."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, final

from dramatiq import Middleware

from ctxkit.boundary import BoundaryOptions
from ctxkit.boundary.receiving import received
from ctxkit.propagation import detached, inject

if TYPE_CHECKING:
    from collections.abc import Callable

    from dramatiq import Broker, Message
    from dramatiq.broker import MessageProxy

    from ctxkit.boundary import Entry

#: The option of a message that holds the carrier.
OPTION: Final = "ctxkit"

#: Set in the threads that take messages from the broker: what they send was sent before.
_HANDS_ON: ContextVar[bool] = ContextVar("ctxkit.dramatiq.hands_on", default=False)
#: What the thread at hand is processing.
_PROCESSED: ContextVar[_Processed | None] = ContextVar("ctxkit.dramatiq.processed", default=None)


class ContextMiddleware(Middleware):
    """Send the context along with each message, and give each message its frame.

    ::

        broker.add_middleware(ContextMiddleware())

    Wherever ``broker`` is used, in the processes that send and in the workers, before the
    workers start. Actors stay as they are, sync and async ones.

    A message takes along what :func:`ctxkit.inject` writes where it is sent. A retry, and a
    message whose time has come, keep what the original was sent with. The next message of a
    pipeline, the callbacks of a group and those of an actor are sent by the worker, and get
    what its frame holds.

    Args:
        mode: When what a message recorded is flushed before it is acknowledged, or rejected:
            ``"auto"``, ``"always"``, ``"idle"`` or ``"never"``; None reads
            ``CTXKIT_FLUSH_MODE``.
        timeout: The longest that this may take, in seconds; None reads
            ``CTXKIT_FLUSH_TIMEOUT``, else 2.0.
        leftovers: What becomes of tasks, threads, timers and jobs that an actor has started
            and that are alive at its end: ``"warn"``, ``"await"``, ``"cancel"`` or
            ``"ignore"``; None reads ``CTXKIT_LEFTOVERS``, else warns where the mode is not
            ``never``.
        trust_context: Whether the context that a message brings is taken in. Only where
            nobody but your own services can write to the broker.

    Raises:
        ConfigurationError: A value cannot be used.

    Context:
        A worker processes each message, with every hook of every middleware, in a context of
        its own. It holds the frame and nothing else; what an actor sets there is gone with
        the message, ``ContextVar`` objects of other packages included. When the message is
        acknowledged the frame is closed.

    Safety:
        One middleware serves all threads of a worker. The end of a message may block its
        thread up to ``timeout``.
    """

    def __init__(
        self,
        *,
        mode: str | None = None,
        timeout: float | None = None,
        leftovers: str | None = None,
        trust_context: bool = True,
    ) -> None:
        self._options = BoundaryOptions.resolve(
            mode, timeout, leftovers=leftovers, trust_context=trust_context
        )

    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int) -> None:
        """Write the carrier into the message."""
        processed = _PROCESSED.get()
        again = processed is not None and processed.message_id == message.message_id
        if again or _HANDS_ON.get():
            return
        carrier: dict[str, str] = inject({})
        if carrier:
            message.options[OPTION] = carrier
        else:  # a message may be sent twice
            message.options.pop(OPTION, None)

    def after_consumer_thread_boot(self, broker: Broker, thread: Any) -> None:
        """Have a consumer hand on messages as they are: it sends those that were delayed."""
        _HANDS_ON.set(True)

    def after_worker_thread_boot(self, broker: Broker, thread: Any) -> None:
        """Put the boundary around what the thread does with a message.

        Not in the hooks of a middleware: they can set and reset a value, but they cannot run
        the actor and all other hooks in a context of its own.
        """
        process = thread.process_message
        thread.process_message = lambda message: detached(self._cross)(process, message)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        """Note how the actor ended."""
        processed = _PROCESSED.get()
        if processed is not None:
            processed.error = exception

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        """Settle and flush, now that all other hooks have recorded what they had to."""
        processed = _PROCESSED.get()
        if processed is not None:
            processed.finish()

    before_nack = before_ack

    def _cross(self, process: Callable[[MessageProxy], None], message: MessageProxy) -> None:
        entry = received(message.actor_name, message.options.get(OPTION), self._options)
        processed = _Processed(message.message_id, entry)
        _PROCESSED.set(processed)
        entry.__enter__()
        try:
            process(message)
        finally:
            processed.finish()


@final
class _Processed:
    """Stand for a message between its arrival and its acknowledgement."""

    __slots__ = ("_entry", "error", "message_id")

    def __init__(self, message_id: str, entry: Entry) -> None:
        self._entry: Entry | None = entry
        self.error: BaseException | None = None
        self.message_id: str = message_id

    def finish(self) -> None:
        """Close the frame, unless that was done."""
        entry, self._entry = self._entry, None
        if entry is not None:
            error, self.error = self.error, None
            entry.__exit__(type(error) if error is not None else None, error, None)
