"""The boundary of your own entry points: a loop that polls, a queue's consumer, a command."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final

from ctxkit.boundary._callables import is_coroutine_function
from ctxkit.boundary.invocations import CLOSED, NOWHERE, Invocation
from ctxkit.boundary.options import BoundaryOptions
from ctxkit.boundary.request_id import chosen_id, well_formed_id
from ctxkit.context import NO_FRAME, Key
from ctxkit.context._current import CURRENT
from ctxkit.context.frame import outermost, restore_elsewhere
from ctxkit.context.key import checked_name
from ctxkit.context.lifetime import put_within
from ctxkit.exceptions import ConfigurationError
from ctxkit.lifecycle import begun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token
    from types import TracebackType

    from ctxkit.context import Frame

F = TypeVar("F", bound="Callable[..., Any]")

#: The protocol of what enters by itself.
OWN_PROTOCOL: Final = "invocation"

_NO_VALUES: Final[Mapping[str | Key[Any], object]] = {}


def invocation(  # noqa: PLR0913 - each has a default
    name: str,
    values: Mapping[str | Key[Any], object] = _NO_VALUES,
    /,
    *,
    request_id: str | None = None,
    mode: str | None = None,
    timeout: float | None = None,
    leftovers: str | None = None,
    **named: object,
) -> Entry:
    """Cross the boundary with work that no server, and no host, has handed in.

    For a loop that polls, the consumer of a queue, a management command; as a with-block,
    an ``async with`` block, or a decorator of ``def`` and ``async def`` functions::

        def consume(message):
            with ctxkit.invocation("orders", request_id=message.id, tenant=message.tenant):
                handle(message)


        @ctxkit.invocation("nightly", mode="always", leftovers="await")
        def clean_up(): ...

    It gets a frame of its own, and at its end what every request gets: what was left over is
    settled, what was recorded is flushed where the host calls for it, the frame is closed.

    Args:
        name: What it is called: bound as ``invocation``, and found in reports.
        values: A mapping of names or :class:`Key` objects to further values of the frame.
        request_id: Its id: 1 to 128 letters, digits, ``.``, ``_`` and ``-``. None for a new
            one.
        mode: ``"auto"``, ``"always"``, ``"idle"`` or ``"never"``; None reads
            ``CTXKIT_FLUSH_MODE``.
        timeout: The longest that its end may take, in seconds; None reads
            ``CTXKIT_FLUSH_TIMEOUT``, else 2.0.
        leftovers: What becomes of tasks, threads, timers and jobs that it has started and
            that are alive at its end: ``"warn"``, ``"await"``, ``"cancel"`` or ``"ignore"``;
            None reads ``CTXKIT_LEFTOVERS``, else warns where the mode is not ``never``.
        named: Further values by name.

    Returns:
        A context manager that yields the :class:`Frame`, and a decorator; each block and
        each call is an invocation of its own.

    Raises:
        ConfigurationError: A value cannot be used, or what is decorated is a class, a
            generator function or not callable.

    Context:
        What is bound around it is inherited. Inside of a request it opens a frame of its own
        all the same: what is started in it belongs to it, and not to the request.

    Safety:
        Leaving a with-block may block up to ``timeout``; an ``async with`` block waits
        without blocking its loop. Errors of the block are passed on untouched.
    """
    if not isinstance(cast("object", name), str) or not name:
        raise ConfigurationError(
            "invocation()", f"got {name!r} for a name", 'Name it, like invocation("nightly").'
        )
    known = dict(named)
    for key, value in values.items():
        known[key.name if isinstance(key, Key) else checked_name(key)] = value
    if request_id is not None:
        known["request_id"] = _checked_id(request_id)
    return Entry(
        BoundaryOptions.resolve(mode, timeout, leftovers=leftovers),
        known | {"invocation": name, "protocol": OWN_PROTOCOL},
    )


@final
class Entry:
    """Be what :func:`invocation` returns: a context manager and a decorator.

    Safety:
        One block at a time; for several at once make several, or decorate a function.
    """

    __slots__ = ("_invocation", "_known", "_options", "_token")

    def __init__(self, options: BoundaryOptions, known: dict[str, object]) -> None:
        self._options = options
        self._known = known
        self._invocation: Invocation | None = None
        self._token: Token[Frame] | None = None

    def __call__(self, function: F, /) -> F:
        """Return ``function`` with each call of it as an invocation of its own."""
        if isinstance(function, (staticmethod, classmethod)):
            method = cast("Any", function)
            return cast("F", method.__class__(self(method.__func__)))

        async def ainvoke(*args: Any, **kwargs: Any) -> Any:
            async with Entry(self._options, self._known):
                return await function(*args, **kwargs)

        def invoke(*args: Any, **kwargs: Any) -> Any:
            with Entry(self._options, self._known):
                return function(*args, **kwargs)

        asynchronous = is_coroutine_function("invocation", function)
        return cast("F", update_wrapper(ainvoke if asynchronous else invoke, function))

    def __enter__(self) -> Frame:
        if self._invocation is not None:
            msg = "This invocation() is entered already. Make a new one for each block."
            raise RuntimeError(msg)
        outer = CURRENT.get(NO_FRAME)
        request_id = str(self._known.get("request_id") or chosen_id(None, trusted=False)[0])
        known = {**self._known, "request_id": request_id}
        counts = outermost(outer) in (NO_FRAME, CLOSED)  # else it is a part of what has begun
        if counts:
            begun(known, self._options.mode)
        frame = outer.extended(known)
        frame.root = frame
        if outer is not NO_FRAME:
            put_within(frame, outer)
        self._invocation = Invocation(
            self._options, frame, NOWHERE, frame.deadline, request_id, counts=counts
        )
        self._token = CURRENT.set(frame)
        return frame

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Closed from outside, as the generator it stands in: nobody waits for that.
        dropped = isinstance(error, GeneratorExit)
        self._left().finish("dropped" if dropped else _reason(error))

    async def __aenter__(self) -> Frame:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        from ctxkit.boundary._shielded import finish_shielded  # noqa: PLC0415 - brings asyncio

        if isinstance(error, GeneratorExit):  # awaiting is not possible any more
            self.__exit__(kind, error, traceback)
            return
        interruption = await finish_shielded(self._left(), _reason(error))
        if interruption is not None and error is None:
            raise interruption

    def _left(self) -> Invocation:
        """Restore the frame from before, and return what is to be finished."""
        left, token = self._invocation, self._token
        self._invocation = self._token = None
        if left is None or token is None:
            msg = "This invocation() was not entered."
            raise RuntimeError(msg)
        try:
            CURRENT.reset(token)
        except ValueError:  # in another context than it was entered in
            restore_elsewhere(token, left.frame)
        return left


def _reason(error: BaseException | None) -> str:
    if error is None:
        return "return"
    cancelled = type(error).__name__ == "CancelledError"  # asyncio's, trio's is "Cancelled"
    return "cancelled" if cancelled else "exception"


def _checked_id(request_id: object) -> str:
    try:
        return well_formed_id(request_id)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            "request_id", f"is {request_id!r}, which is {error}", "Leave it out for a new one."
        ) from None
