"""The crossing of a request: how its frame is opened, and where it runs."""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.boundary.holding import IN_FLIGHT
from ctxkit.boundary.hosting import HOST
from ctxkit.boundary.invocations import Invocation, get_ready
from ctxkit.boundary.keys import REQUEST_ID
from ctxkit.boundary.request_id import chosen_id
from ctxkit.context import NO_FRAME, Deadline, Frame
from ctxkit.context._children import Children
from ctxkit.context._current import CURRENT
from ctxkit.context.frame import outermost
from ctxkit.flushing.budget import lambda_context_in, remaining_of
from ctxkit.lifecycle import begun
from ctxkit.propagation._tracing import TRACING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ctxkit.boundary.options import BoundaryOptions

_current = CURRENT.get

#: Where an environ or a scope keeps its crossing, for boundaries further in.
CROSSING: Final = "ctxkit.crossing"

#: The protocol of a crossed function: frames opened inside inherit from it.
FUNCTION_PROTOCOL: Final = "aws-lambda"


@final
class Crossing(Invocation):
    """Stand for one request from its first byte to its last.

    Args:
        carrier: The environ or the scope: it has the headers, and adapters leave the host's
            deadline in it.
        options: What was chosen at this boundary.
        known: What the protocol tells: method, path, ...
        request_id: What :func:`choose_id` returned.
        host: Lambda's context object, if an adapter has left one; None otherwise.
        values: Further values for the frame, laid over the known ones.
        baseline: The context to start from where the current one is another request's.

    Context:
        The request runs in :attr:`context`, a private copy of the current one, so nothing
        that it sets sticks to the server's thread, task or connection. The current one is
        not to be trusted if it holds another request's frame: asyncio hands the context of
        the request that resumes reading to every later one on the connection
        (python/cpython#140947), and uvicorn and daphne start a pipelined request from the
        one before it. Then the copy is taken of the ``baseline``. Whoever takes the first
        step in there sets the frame, or has :meth:`enter` do it.

    Attributes:
        frame: The frame of the request.
        context: Where it runs.
        deadline: When the host ends it; None where it does not.
        request_id: Its id.
        open: Whether it is still running.
    """

    __slots__ = ()

    context: Context
    deadline: Deadline | None
    frame: Frame
    open: bool
    options: BoundaryOptions
    request_id: str

    def __init__(  # noqa: C901, PLR0913, PLR0917 - called in two places, once per request
        self,
        carrier: Mapping[str, object],
        options: BoundaryOptions,
        known: dict[str, object],
        request_id: str,
        host: object | None,
        values: Mapping[str, object] | None,
        baseline: Context | None,
    ) -> None:
        # Not super().__init__(), which would cost a call and know less.
        self.options, self.open, self._counted = options, True, False
        self.request_id = known["request_id"] = request_id
        if host is not None:
            known["aws_request_id"] = getattr(host, "aws_request_id", None)
        if values:
            known.update(values)
        outer = _current(NO_FRAME)
        # Not inside of a function that is an invocation of its own, and has said so.
        self._counts = counts = outer is NO_FRAME or not _is_function(outer)
        if counts:
            begun(known, options.mode)
        if outer is NO_FRAME:
            self.context = copy_context()
            frame = Frame(known)
        elif outermost(outer) is NO_FRAME or not counts:
            self.context = copy_context()
            frame = outer.extended(known)
            frame.root = frame
        else:
            self.context = Context() if baseline is None else baseline.copy()
            frame = Frame(known)
        self.frame, self.deadline = frame, frame.deadline
        if not IN_FLIGHT.prepared or (options.holds and not IN_FLIGHT.pushing):
            get_ready(options)
        if options.settles:
            if host is not None or HOST.remaining is not None or options.time_limit is not None:
                _limit(self, host, carrier)
            if options.watches:
                frame.children = Children()
            if options.counts:
                IN_FLIGHT.enter(None)
                self._counted = True
        if TRACING.on or options.report_leaks:
            _trace_opening(self)

    def enter(self) -> None:
        """Set the frame in the context, where the first step in there does not."""
        self.context.run(CURRENT.set, self.frame)

    def trace_closing(self) -> None:
        """Tell those who watch for leaks that the request is over."""
        _trace_closing(self)


def opened(
    environ: Mapping[str, object],
    options: BoundaryOptions,
    known: dict[str, object],
    values: Mapping[str, object] | None,
    baseline: Context | None,
) -> Crossing:
    """Return the crossing of a request that is told by an environ: see :class:`Crossing`."""
    inbound: Any = environ.get(options.environ_name) if options.environ_name else None
    request_id = choose_id(environ, options, known, inbound)
    host = lambda_context_in(environ) if options.settles else None
    return Crossing(environ, options, known, request_id, host, values, baseline)


def _limit(crossing: Crossing, host: object, carrier: Mapping[str, object]) -> None:
    """Set the deadline of a crossing to what its host tells, or was told to tell."""
    remaining = None
    if host is not None:
        remaining = remaining_of(host)
    elif HOST.remaining is not None:
        remaining = HOST.remaining(carrier)
    if remaining is None:
        remaining = crossing.options.time_limit
    if remaining is not None:
        crossing.deadline = crossing.frame.deadline = Deadline.after(remaining)


def choose_id(
    carrier: Mapping[str, object],
    options: BoundaryOptions,
    known: dict[str, object],
    inbound: str | None,
) -> str:
    """Return the id of a request, taken over or made.

    Args:
        carrier: The environ or the scope.
        options: What was chosen at this boundary.
        known: What the protocol tells. Gets the client's own id if that was refused, and
            what the caller sent of its context if that is trusted.
        inbound: The value of the request id header, or None.
    """
    request_id, refused = chosen_id(inbound, trusted=options.trust_request_id)
    if refused is not None:
        known["client_request_id"] = refused
    if options.trust_context:
        request_id = _take_in(carrier, known, request_id, inbound)
    return request_id


def _is_function(frame: Frame) -> bool:
    """Return whether a frame is that of a crossed function, or lies over it."""
    protocol: object = frame.root.get("protocol")
    return protocol == FUNCTION_PROTOCOL


def _trace_opening(crossing: Crossing) -> None:
    """Tell those who watch for leaks of the frame of a request."""
    from ctxkit.boundary import _leak_report  # noqa: PLC0415 - only while somebody watches

    _leak_report.opened(crossing)


def _trace_closing(crossing: Crossing) -> None:
    from ctxkit.boundary import _leak_report  # noqa: PLC0415 - as above

    _leak_report.closed(crossing)


def lay_over(crossing: Crossing, values: Mapping[str, object] | None) -> None:
    """Add the values of a further boundary to the frame that a crossing has opened.

    Only inside of its context or a copy: anywhere else they would outlive the request.
    """
    frame = CURRENT.get(NO_FRAME)
    if values and frame.root is crossing.frame:
        CURRENT.set(frame.extended(values))


def _take_in(
    carrier: Mapping[str, object], known: dict[str, object], request_id: str, inbound: str | None
) -> str:
    """Add to ``known`` what the caller sent of its own context.

    Args:
        carrier: The environ or the scope.
        known: What the protocol tells, which goes before what the caller says.
        request_id: What was chosen by the request id header.
        inbound: What that header said.

    Returns:
        The id of the request: the one of the header if that was taken over, otherwise the
        caller's own, and without that the new one.
    """
    from ctxkit.propagation import extract  # noqa: PLC0415 - who trusts nobody does not need it

    headers = carrier if "REQUEST_METHOD" in carrier else carrier["headers"]
    for key, value in extract(headers, trusted=True).items():
        known.setdefault(str(key), value)
    sent = known.get(REQUEST_ID.name)
    return sent if request_id != inbound and isinstance(sent, str) else request_id
