"""Generated WSGI responses, and a server that keeps to PEP 3333 and writes down what happens."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper

from hypothesis import strategies as st
from properties.timelines import REQUEST_ID, FailedError, LeftError, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_CALL = -1
_STEPS = 4
_parts = st.sampled_from([b"", b"a", b"bc", b"defg"])
# Where something happens: in the call, at a step of the body, or nowhere.
_step = st.none() | st.integers(IN_CALL, _STEPS)


@dataclass(frozen=True)
class Response:
    """What an application does for one request, and how its server is.

    Attributes:
        length: By how much the Content-Length is wrong; None for none, text as it is.
        lazy: Whether start_response() is called by the first step of the body.
        wrote: What is given to write() in the call.
        writes: What each step gives to write() before it yields.
        restarts: Where start_response() is called once more, with an exception.
        fails: Where it raises.
        closes: Whether close() raises.
        leaves: After how many parts the client has gone.
        eager: Whether the server sends its headers with an empty part, where more may come.
        stamped: Whether the application has chosen the id of the request itself.
    """

    method: str
    status: str
    length: int | str | None
    lazy: bool
    kind: str
    wrote: tuple[bytes, ...]
    writes: bytes | None
    parts: tuple[bytes, ...]
    restarts: int | None
    fails: int | None
    error: type[BaseException]
    closes: bool
    leaves: int | None
    eager: bool
    stamped: bool

    def headers(self) -> list[tuple[str, str]]:
        headers = [("Content-Type", "text/plain")]
        if isinstance(self.length, str):
            headers.append(("Content-Length", self.length))
        elif self.length is not None:
            headers.append(("content-length", str(max(0, self._size() + self.length))))
        if self.stamped:
            headers.append(("x-request-id", "its own"))
        return headers

    def _size(self) -> int:
        size = sum(map(len, (*self.wrote, *self.parts)))
        return size + len(self.writes or b"") * len(self.parts)


def responses() -> st.SearchStrategy[Response]:
    return st.builds(
        Response,
        method=st.sampled_from(["GET", "GET", "POST", "HEAD"]),
        status=st.sampled_from(["200 OK", "200 OK", "404 Not Found", "204 No Content", "304 Not"]),
        length=st.sampled_from([None, None, 0, 0, 0, -1, 3, -100, "junk", "+4", ""]),
        lazy=st.booleans(),
        kind=st.sampled_from(["generator", "iterator", "iterable", "list", "tuple", "file"]),
        wrote=st.lists(_parts, max_size=2).map(tuple),
        writes=st.none() | _parts,
        parts=st.lists(_parts, max_size=_STEPS).map(tuple),
        restarts=_step,
        fails=_step,
        error=st.sampled_from([FailedError, LeftError]),
        closes=st.booleans(),
        leaves=st.none() | st.integers(1, _STEPS),
        eager=st.booleans(),
        stamped=st.booleans(),
    )


class Application:
    """Do what a response says, and write down each step."""

    def __init__(self, response: Response, timeline: Timeline) -> None:
        self.response = response
        self.timeline = timeline
        self.start_response: Any = None
        self.write: Any = None

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.timeline.app("called")
        self.start_response = start_response
        wanted = self.response
        whole = wanted.kind in ("list", "tuple", "file")
        if whole or wanted.wrote or not wanted.lazy:
            self._start()
        for number, part in enumerate(wanted.wrote):
            self.timeline.app(f"write {number}")
            self.write(part)
        self._happen(IN_CALL)
        if wanted.kind == "file":
            return environ["wsgi.file_wrapper"](_File(self))
        if whole:
            return (list if wanted.kind == "list" else tuple)(wanted.parts)
        if wanted.kind == "generator":
            return self._generated()
        return _Iterator(self) if wanted.kind == "iterator" else _Iterable(self)

    def step(self, number: int) -> bytes | None:
        """Take a step of the body; return its part, None after the last."""
        self.timeline.app(f"step {number}")
        if self.write is None:
            self._start()
        self._happen(number)
        if number >= len(self.response.parts):
            return None
        if self.response.writes is not None and self.response.kind != "file":
            self.timeline.app("write")
            self.write(self.response.writes)
        return self.response.parts[number]

    def close(self) -> None:
        self.timeline.app("close")
        if self.response.closes:
            raise self.timeline.raising(FailedError("close"))

    def _start(self) -> None:
        self.write = self.start_response(self.response.status, self.response.headers())

    def _happen(self, place: int) -> None:
        wanted = self.response
        if wanted.restarts == place and self.write is not None:
            try:
                raise self.timeline.raising(FailedError(f"restart at {place}"))
            except FailedError:
                headers = [("Content-Type", "text/html"), ("Content-Length", "2")]
                self.start_response("500 Oh", headers, sys.exc_info())
        if wanted.fails == place:
            raise self.timeline.raising(wanted.error(f"at {place}"))

    def _generated(self) -> Iterator[bytes]:
        number = 0
        try:
            while (part := self.step(number)) is not None:
                yield part
                number += 1
        finally:
            self.close()


class _Iterator:
    def __init__(self, app: Application) -> None:
        self._app = app
        self._number = -1

    def __iter__(self) -> _Iterator:
        return self

    def __next__(self) -> bytes:
        self._number += 1
        part = self._app.step(self._number)
        if part is None:
            raise StopIteration
        return part

    def close(self) -> None:
        self._app.close()


class _Iterable:
    """An iterable that cannot be closed, and has its iterator made."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __iter__(self) -> Iterator[bytes]:
        self._app.timeline.app("iter")
        number = 0
        while (part := self._app.step(number)) is not None:
            yield part
            number += 1


class _File(_Iterator):
    def read(self, size: int = -1) -> bytes:
        for part in self:
            if part:
                return part
        return b""


class Server:
    """Serve one request of an application as PEP 3333 wants it."""

    def __init__(self, response: Response, timeline: Timeline) -> None:
        self._response = response
        self._timeline = timeline
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self._sent = False
        self._left: int | None = None
        self._parts = 0

    def serve(self, app: Any) -> None:
        environ = {
            "REQUEST_METHOD": self._response.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "HTTP_X_REQUEST_ID": REQUEST_ID,
            "wsgi.file_wrapper": FileWrapper,
        }
        try:
            body = app(environ, self._start_response)
        except (FailedError, LeftError) as error:
            self._failed(error)
            return
        failure = None
        try:
            if not self._iterate(body):
                self._timeline.mark("gone")
        except (FailedError, LeftError) as error:
            failure = error
        try:
            if hasattr(body, "close"):
                body.close()
        except (FailedError, LeftError) as error:
            self._timeline.surfaced(error)
        if failure is not None:
            self._failed(failure)

    def _iterate(self, body: Any) -> bool:
        for part in body:
            self._send(part, eager=self._response.eager and self._announced() != 0)
            self._parts += bool(part)
            if self._parts == self._response.leaves and not self._timeline.complete:
                return False
        self._send(b"", eager=True)
        if not self._timeline.complete:
            self._timeline.wire("end")
            self._timeline.completed()
        return True

    def _start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        if exc_info:
            try:
                if self._sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        else:
            assert self._head is None, "start_response() was called twice"
        self._head = (status, headers)
        return lambda data: self._send(data, eager=True)

    def _send(self, part: bytes, *, eager: bool) -> None:
        if not (part or eager):
            return
        if not self._sent:
            assert self._head is not None, "a part before start_response()"
            self._sent = True
            status, headers = self._head
            kept = [field for field in headers if field != ("X-Request-ID", REQUEST_ID)]
            assert len(headers) - len(kept) <= 1
            self._timeline.wire(f"start {status} {kept}")
            self._left = self._announced()
        if self._left is not None:
            part = part[: self._left]
            self._left -= len(part)
        if part:
            self._timeline.wire(part)
        if self._left == 0 and not self._timeline.complete:
            self._timeline.completed()

    def _announced(self) -> int | None:
        """Return how much content the headers allow; None for any."""
        status, headers = self._head or ("", [])
        if self._response.method == "HEAD" or status[:3] in ("204", "304"):
            return 0
        lengths = [int(v) for k, v in headers if k.lower() == "content-length" and v.isdigit()]
        return min(lengths, default=None)

    def _failed(self, error: BaseException) -> None:
        self._timeline.surfaced(error)
        if not self._timeline.complete:
            self._timeline.wire("aborted" if self._sent else "start 500, of the server")
            self._timeline.completed()
