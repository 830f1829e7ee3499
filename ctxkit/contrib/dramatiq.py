"""dramatiq: each message takes the context along, and processing it is a crossing."""

# ruff: noqa: ARG002 - hooks have dramatiq's signatures

from __future__ import annotations

from contextvars import ContextVar
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, cast, final

import dramatiq

from ctxkit.boundary import BoundaryOptions
from ctxkit.boundary.intercepting import CHAIN, Call, run
from ctxkit.boundary.receiving import received
from ctxkit.context import bind, current
from ctxkit.context._current import CURRENT
from ctxkit.exceptions import ConfigurationError, ContractViolation, PermissionDenied
from ctxkit.functions import call_sent
from ctxkit.propagation import detached, extract, inject

if TYPE_CHECKING:
    from collections.abc import Callable

    from dramatiq import Actor, Broker, Message
    from dramatiq.broker import MessageProxy

    from ctxkit.boundary import Entry
    from ctxkit.functions import Work

#: The option of a message that holds the carrier.
OPTION: Final = "ctxkit"
#: The actor that runs what was spawned.
SPAWNED: Final = "ctxkit.spawned"

#: Set in the threads that take messages from the broker: what they send was sent before.
_HANDS_ON: ContextVar[bool] = ContextVar("ctxkit.dramatiq.hands_on", default=False)
#: What the thread at hand is processing.
_PROCESSED: ContextVar[_Processed | None] = ContextVar("ctxkit.dramatiq.processed", default=None)


class ContextMiddleware(dramatiq.Middleware):
    """Send the context along with each message, and give each message its frame.

    ``broker.add_middleware(ContextMiddleware())`` is all there is to do, wherever the broker is
    used: in the processes that send and in the workers, before the
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
        trust: Whether workers take in what messages bring. Switch it off where others than
            your own services can write to the broker.

    Raises:
        ConfigurationError: A value cannot be used.

    Context:
        A worker processes each message, with every hook of every middleware, in a context of
        its own. It holds the frame and nothing else; what an actor sets there is gone with
        the message, ``ContextVar`` objects of other packages included. When the message is
        acknowledged the frame is closed. Interceptors at ``"task"`` are put around the actor.

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
        trust: bool = True,
    ) -> None:
        if not isinstance(cast("object", trust), bool):
            raise ConfigurationError(
                "trust", f"must be a bool, not {trust!r}", "Write True or False."
            )
        self._options = BoundaryOptions.resolve(
            mode, timeout, leftovers=leftovers, trust_context=trust
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

    def after_declare_actor(self, broker: Broker, actor: Actor[..., Any]) -> None:
        """Put interceptors around what the actor does with a message, and keep its frame."""
        actor.fn = _intercepted(actor)

    def after_consumer_thread_boot(self, broker: Broker, thread: Any) -> None:
        """Have a consumer hand on messages as they are: it sends those that were delayed."""
        _HANDS_ON.set(True)

    def after_worker_thread_boot(self, broker: Broker, thread: Any) -> None:
        """Put the boundary around what the thread does with a message.

        Not in the hooks of a middleware: they can set and reset a value, but they cannot run
        the actor and all other hooks in a context of its own.
        """
        process = thread.process_message

        def process_message(message: MessageProxy) -> None:
            detached(self._cross)(process, message)

        thread.process_message = process_message

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
        name = message.actor_name
        if name == SPAWNED:
            name = str(next(iter(message.args), name))
        entry = received(name, message.options.get(OPTION), self._options)
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

    __slots__ = ("_entry", "begun", "error", "message_id")

    def __init__(self, message_id: str, entry: Entry) -> None:
        self._entry: Entry | None = entry
        self.begun: bool = False
        self.error: BaseException | None = None
        self.message_id: str = message_id

    def finish(self) -> None:
        """Close the frame, unless that was done."""
        entry, self._entry = self._entry, None
        if entry is not None:
            error, self.error = self.error, None
            entry.__exit__(type(error) if error is not None else None, error, None)


def _intercepted(actor: Actor[..., Any]) -> Callable[..., Any]:
    """Return the function of an actor, with the interceptors of tasks where a message calls it."""
    function = actor.fn

    def intercepted(*args: Any, **kwargs: Any) -> Any:
        processed = _PROCESSED.get()
        # Actors that this one calls as functions are its own affair.
        if processed is None or processed.begun:
            return function(*args, **kwargs)
        processed.begun = True
        frame = current()
        chain = CHAIN.of("task") if CHAIN.all else ()
        call = Call(actor.actor_name, "task", args, kwargs, frame=frame, deadline=frame.deadline)
        try:
            return run(chain, call, lambda call: function(*call.args, **call.kwargs))
        finally:
            CURRENT.set(frame)  # hooks send the next message of a pipeline

    return update_wrapper(intercepted, function)


@final
class DramatiqEngine:
    """Run what is spawned in dramatiq's workers.

    ``set_engine(DramatiqEngine(broker))`` chooses it, where the broker is made: in the processes
    that spawn and in the workers.

    Args:
        broker: The broker, with a :class:`ContextMiddleware`; None for dramatiq's own.
        queue_name: The queue to send to.
        options: Those of the actor that runs what is spawned, such as ``max_retries`` and
            ``time_limit``. By default what was refused is not tried again.

    Raises:
        ConfigurationError: The broker has no :class:`ContextMiddleware`.

    Context:
        What is spawned is one message, with the carrier of the call. Its result is kept if
        ``store_results`` is among the options.
    """

    name: str = "dramatiq"

    def __init__(
        self, broker: Broker | None = None, *, queue_name: str = "default", **options: Any
    ) -> None:
        broker = broker if broker is not None else dramatiq.get_broker()
        if not any(isinstance(each, ContextMiddleware) for each in broker.middleware):
            raise ConfigurationError(
                "DramatiqEngine()",
                "got a broker that sends no context along",
                "Call broker.add_middleware(ContextMiddleware()) before.",
            )
        stored = bool(options.get("store_results"))

        def spawned(name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
            result = call_sent(name, *args, **kwargs)
            return result if stored else None  # dramatiq warns of one that nobody keeps

        options.setdefault("throws", (ContractViolation, PermissionDenied))
        declare = dramatiq.actor(
            actor_name=SPAWNED, queue_name=queue_name, broker=broker, **options
        )
        self._actor: Any = declare(spawned)

    def send(self, work: Work) -> Message[Any]:
        """Send the work as a message; its arguments have to be what the encoder knows."""
        with bind(extract(work.carrier, trusted=True)):
            message: Message[Any] = self._actor.send(work.name, [*work.args], work.kwargs)
        return message

    async def asend(self, work: Work) -> Message[Any]:
        """Do the same in a thread."""
        from asyncio import to_thread  # noqa: PLC0415 - few need it

        return await to_thread(self.send, work)
