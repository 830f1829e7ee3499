"""The boundary of a WSGI application (PEP 3333)."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, final

from ctxkit.boundary._server_timing import NAME, server_timing
from ctxkit.boundary._wsgi_file import as_sent
from ctxkit.boundary._wsgi_passed import cross_passed
from ctxkit.boundary.completion import Completion
from ctxkit.boundary.crossing import CROSSING, lay_over, opened
from ctxkit.boundary.hosting import meet_host
from ctxkit.boundary.intercepting import CHAIN
from ctxkit.boundary.options import BoundaryOptions
from ctxkit.context.stepping import iterate_in
from ctxkit.flushing import nudge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextvars import Context
    from typing import Any
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from ctxkit.boundary.crossing import Crossing
    from ctxkit.context.stepping import SteppedIterator
    from ctxkit.flushing import FlushReport

    Headers = list[tuple[str, str]]
    Write = Callable[[bytes], object]


class WSGIMiddleware:
    """Cross the boundary with each request of a WSGI application.

    Gives the request a frame and a context of its own, takes its id in and sends it out,
    and, where the host calls for it, holds the response until its telemetry has landed.

    What is held is the part that completes the response for the client, and nothing else:
    the chunk that fills the Content-Length, or, without one, the end of the body. Chunks
    before it pass at once, whether they are yielded or written. It is held until the
    application's iterable is exhausted and closed and the flush is over. Bodies that are
    lists or tuples are there as a whole, and are held as a whole.

    A ``wsgi.file_wrapper`` is handed to the server as such, or it could not use
    ``sendfile``. So the flush comes before it, and what closing the file records is not
    waited for. Its file is read and closed in the context of the request all the same.

    Args:
        app: The application to wrap.
        mode: ``"auto"``, ``"always"``, ``"idle"`` or ``"never"``; None reads
            ``CTXKIT_FLUSH_MODE``.
        timeout: The longest that a response is held, in seconds; None reads
            ``CTXKIT_FLUSH_TIMEOUT``, else 2.0.
        request_id_header: The header that brings the request's id and takes it back; None
            for none.
        trust_request_id: Whether a well-formed inbound id is taken over.
        trust_context: Whether the context that the caller sent is taken in, see
            :func:`ctxkit.extract`. Only where nobody but your own services can call.
        report_leaks: Whether to log what still holds a request some time after its end, for
            development and staging; None reads ``CTXKIT_REPORT_LEAKS``, else no.
        server_timing: Whether to tell in a ``Server-Timing`` header how long each sink held
            the response. Only where the headers have not left before: on a response
            whose body is a list or a tuple, that is complete with its headers, or with a
            first chunk that fills the ``Content-Length``.
        leftovers: What becomes of tasks, threads, timers and jobs that a request has started
            and that are alive at its end: ``"warn"``, ``"await"``, ``"cancel"`` or
            ``"ignore"``; None reads ``CTXKIT_LEFTOVERS``, else warns where responses are
            held, and ignores them elsewhere.

    Raises:
        ConfigurationError: A value cannot be used.
    """

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        app: WSGIApplication,
        *,
        mode: str | None = None,
        timeout: float | None = None,
        request_id_header: str | None = "X-Request-ID",
        trust_request_id: bool = True,
        trust_context: bool = False,
        report_leaks: bool | None = None,
        server_timing: bool = False,
        leftovers: str | None = None,
    ) -> None:
        self.app = app
        self.options: BoundaryOptions = BoundaryOptions.resolve(
            mode,
            timeout,
            request_id_header,
            trust_request_id=trust_request_id,
            trust_context=trust_context,
            report_leaks=report_leaks,
            server_timing=server_timing,
            leftovers=leftovers,
        )
        self._baseline = copy_context()
        meet_host()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Run one request of the application."""
        app = intercepted(self.app) if CHAIN.all else self.app
        return cross_wsgi(app, environ, start_response, self.options, baseline=self._baseline)


def intercepted(app: WSGIApplication) -> WSGIApplication:
    """Return ``app`` with the interceptors of requests around it."""
    from ctxkit.boundary.intercepted import wrapped_wsgi  # noqa: PLC0415 - few put any on

    return wrapped_wsgi(app)


def cross_wsgi(  # noqa: PLR0913 - WSGI's own two, and ours
    app: WSGIApplication,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    options: BoundaryOptions,
    values: Mapping[str, object] | None = None,
    *,
    baseline: Context | None = None,
) -> Iterable[bytes]:
    """Run one request of ``app`` as :class:`WSGIMiddleware` does.

    A boundary inside another one adds its ``values`` to the frame and passes through.

    Args:
        app: The application.
        environ: Gets the crossing under ``ctxkit.crossing``.
        start_response: The server's.
        options: What was chosen at this boundary.
        values: Further values for the frame.
        baseline: The context to run in where the current one is another request's; None
            for an empty one.
    """
    outer = environ.get(CROSSING)
    if outer is not None and outer.open:
        lay_over(outer, values)
        return app(environ, start_response)
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if not path.isascii():  # PEP 3333: bytes in the disguise of latin-1
        path = path.encode("latin-1", "replace").decode("utf-8", "replace")
    known: dict[str, object] = {
        "method": environ["REQUEST_METHOD"],
        "path": path,
        "protocol": "http",
    }
    crossing = environ[CROSSING] = opened(environ, options, known, values, baseline)
    crossing.enter()
    if not options.settles:
        return cross_passed(crossing, app, environ, start_response)
    response = _Response(crossing, environ, start_response)
    try:
        body = crossing.context.run(app, environ, response.start)
    except BaseException as error:
        response.settle("exception")
        if not response.fails_late(error):
            raise
        return response
    return response.carrying(body)


@final
class _Response:
    """Be the iterable that the server gets, and all that has to be known for it."""

    __slots__ = (
        "_announced",
        "_body",
        "_completion",
        "_crossing",
        "_deferred",
        "_environ",
        "_error",
        "_held",
        "_start_response",
        "_whole",
        "_write",
        "_written",
    )

    def __init__(
        self, crossing: Crossing, environ: WSGIEnvironment, start_response: StartResponse
    ) -> None:
        self._crossing = crossing
        self._environ = environ
        self._start_response = start_response
        # The application's iterable, stepped in the context of the request.
        self._body: SteppedIterator[bytes, None] | None = None
        # What the application said of its content, until that is asked for.
        self._announced: tuple[str, Headers] | None = None
        self._completion: Completion | None = None
        # What the server is to be told, once it is known how long the flush took.
        self._deferred: tuple[str, Headers] | None = None
        # The server's own.
        self._write: Write | None = None
        # The content that completes the response, once there is some.
        self._whole = b""
        # Whether that was written: a server sends its headers with the first of it, be it empty.
        self._written = False
        # What is left for the server to fetch before the next step.
        self._held: bytes | None = None
        # What the application raised when its response was complete; raised by close().
        self._error: BaseException | None = None

    def start(self, status: str, headers: Headers, exc_info: Any = None, /) -> Write:
        """Pass on the application's ``start_response()``, with the request's id."""
        if exc_info and (self._whole or self._written):  # a server has sent its headers by now
            raise exc_info[1].with_traceback(exc_info[2])
        crossing = self._crossing
        name, wanted = crossing.options.request_id_header, crossing.options.lower_name
        if name is not None:
            for field, _ in headers:
                if field.lower() == wanted:
                    break
            else:
                headers = [*headers, (name, crossing.request_id)]
        self._announced = status, headers
        if crossing.options.server_timing and self._write is None:
            # A server must be told once, so with all that is to be told.
            self._deferred = status, list(headers)
            return self._count
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            try:
                self._write = self._start_response(status, headers, exc_info)
            finally:
                exc_info = None  # PEP 3333: or it is a circular reference
        return self._count

    def _start(self, report: FlushReport | None = None) -> None:
        """Start the response now, if that was put off."""
        deferred, self._deferred = self._deferred, None
        if deferred is not None:
            status, headers = deferred
            field = "" if report is None else server_timing(report)
            if field:
                headers.append((NAME, field))
            self._write = self._start_response(status, headers)

    def _count(self, data: bytes) -> None:
        """Be the ``write()`` that the application gets."""
        if self._completes(len(data)):
            self._written = True
            self._whole = self._whole or data
            return
        self._start()
        if self._write is not None:
            self._write(data)

    def _completes(self, size: int) -> bool:
        """Return whether ``size`` bytes more of content complete the response."""
        if self._announced is not None:
            (status, headers), self._announced = self._announced, None
            method = self._environ["REQUEST_METHOD"]
            self._completion = Completion()
            self._completion.at_headers(method, _code(status), headers, "content-length")
        return self._completion is not None and self._completion.at_part(size)

    def carrying(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return what the server gets for ``body``: itself, a list or this object."""
        written = self._written
        context = self._crossing.context
        whole = type(body) in (list, tuple)
        if not whole:
            whole, body = as_sent(body, self._environ, None if written else context)
        if whole and not written:
            # Nothing more is going to happen in the application, and nothing has left.
            self.settle("response")
            return body
        try:
            self._body = iterate_in(context, body)
        except BaseException:
            self.settle("exception")
            raise
        if self._completes(0):
            # Complete with its headers, or with what was written: a server need not ask for
            # content after this.
            self._held = self._hold(self._body, self._whole)
        return self

    def fails_late(self, error: BaseException) -> bool:
        """Return whether a response is complete although its application has raised.

        Then the client gets it as without a boundary, and the server the error after it.
        """
        if not (self._whole or self._written):
            return False
        self._error = error
        self._held = self._whole
        return True

    def __iter__(self) -> _Response:
        return self

    def __next__(self) -> bytes:
        held, self._held = self._held, None
        if held is not None:
            return held
        body = self._body
        if body is None:
            raise StopIteration
        try:
            chunk = next(body)
        except BaseException as error:
            ended = isinstance(error, StopIteration)
            late = (self._whole or self._written) and not ended
            if late:
                self._error = error  # raised by close()
            self.settle("response" if ended else "exception")
            if late or self._written:
                return self._whole  # written in that last step
            raise
        if not self._completes(len(chunk)):
            if self._deferred is not None:
                self._start()
            nudge()
            return chunk
        return self._hold(body, self._whole or chunk)

    def close(self) -> None:
        """Close the application's iterable, unless that is done already."""
        if self._body is not None:
            self.settle("disconnect")
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __del__(self) -> None:
        # Never closed, against PEP 3333: else it would be in flight for ever.
        if self._body is not None:
            self._crossing.finish("dropped")

    def settle(self, reason: str) -> None:
        """Close the application's iterable, then have its telemetry land."""
        body, self._body = self._body, None
        if body is not None:
            try:
                body.close()
            except BaseException as error:  # noqa: BLE001 - raised by close(), where servers expect it
                self._error = self._error or error
        report = self._crossing.finish(reason)
        if self._deferred is not None:
            self._start(report)

    def _hold(self, body: Iterator[bytes], chunk: bytes) -> bytes:
        """Settle before ``chunk``, which completes the response; return what is to leave.

        Content beyond it is dropped, as PEP 3333 wants it. Of content that HTTP does not
        allow (HEAD) the first chunk is kept, be it empty: servers derive header fields from
        it, and some start the response only with a chunk. As long as it is empty the
        application may start again, with headers that allow content.
        """
        self._whole = chunk
        try:
            for beyond in body:
                if self._completes(0):
                    self._whole = self._whole or beyond
                elif self._completes(len(beyond)):
                    self._whole = beyond
                else:
                    self._start()
                    return beyond
        except BaseException as error:
            if not (self._whole or self._written):  # nothing has left: the server answers
                self.settle("exception")
                raise
            self._error = error  # the response is whole: raised by close()
        self.settle("response" if self._error is None else "exception")
        return self._whole


def _code(status: str) -> int:
    try:
        return int(status[:3])
    except ValueError:  # the server's to complain about
        return 0
