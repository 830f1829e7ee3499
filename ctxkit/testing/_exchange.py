"""HTTP as a client sees it, to the very byte that completes a response."""

from __future__ import annotations

from dataclasses import dataclass, field

_LIMIT = 64 * 1024 * 1024  # bytes of one response


@dataclass(frozen=True, slots=True)
class Times:
    """Say when a request passed each point, as ``time.time()``.

    Args:
        thawed: When the frozen host was continued for it; None if it was not frozen.
        sent: When the request was on its way.
        first_byte: When the first byte of the answer came.
        complete: When the byte came that completes the answer for the client.
        stopped: When the host was stopped again; None if it ended instead.
    """

    thawed: float | None
    sent: float
    first_byte: float
    complete: float
    stopped: float | None

    @property
    def latency(self) -> float:
        """Seconds from sending the request to the complete answer."""
        return self.complete - self.sent


@dataclass(frozen=True, slots=True)
class Exchange:
    """Hold one answer and the times of the exchange.

    Args:
        status: The status code.
        headers: The response headers in order, names in lower case.
        body: The body, without its transfer encoding.
        times: When what happened.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    times: Times

    def header(self, name: str) -> str | None:
        """Return the first value of a header; None if it is not there."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key == wanted), None)


class ResponseReader:
    """Read one HTTP/1.1 response from pieces, and know when it is complete.

    The rules are those of RFC 9112 section 6.3: no body after HEAD, 204, 304; the last
    chunk and its trailers; Content-Length; else the end of the connection.

    Args:
        method: The method of the request; a response to HEAD has no body.
    """

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.body = b""
        self.complete = False
        self._method = method.upper()
        self._pending = b""
        self._framing = ""  # of a body that is being read: length, chunked or close
        self._left = 0  # bytes that the body, or the current chunk, still lacks
        self._trailers = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes, and return whether the response is now complete.

        Raises:
            ValueError: This is not HTTP/1.1, or it is too large.
        """
        self._pending += data
        while not self.complete and self._step():
            pass
        if len(self.body) + len(self._pending) > _LIMIT:
            raise ValueError(f"response is larger than {_LIMIT} bytes")
        return self.complete

    def end(self) -> bool:
        """Take the end of the connection, and return whether the response is complete."""
        self.complete = self.complete or self._framing == "close"
        return self.complete

    def _step(self) -> bool:
        if not self._framing:
            return self._head()
        if self._framing == "chunked" and not self._left:
            return self._chunk_line()
        return self._content()

    def _head(self) -> bool:
        head, found, rest = self._pending.partition(b"\r\n\r\n")
        if not found:
            return False
        self._pending = rest
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, _, status = status_line.partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdigit():
            raise ValueError(f"not an HTTP/1.1 status line: {status_line!r}")
        self.status = int(status[:3])
        if self.status < 200:  # noqa: PLR2004 - an interim response, the real one follows
            return True
        pairs = (line.partition(":") for line in lines)
        self.headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
        self._frame(dict(self.headers))
        return True

    def _frame(self, headers: dict[str, str]) -> None:
        if self._method == "HEAD" or self.status in (204, 304):
            self.complete = True
        elif headers.get("transfer-encoding", "").lower().endswith("chunked"):
            self._framing = "chunked"
        elif "content-length" in headers:
            self._framing = "length"
            self._left = int(headers["content-length"])
            self.complete = self._left == 0
        else:
            self._framing = "close"

    def _content(self) -> bool:
        if self._framing == "close":
            self.body += self._pending
            self._pending = b""
            return False
        taken = self._pending[: self._left]
        self.body += taken
        self._pending = self._pending[len(taken) :]
        self._left -= len(taken)
        self.complete = self._framing == "length" and not self._left
        return bool(taken)

    def _chunk_line(self) -> bool:
        line, found, rest = self._pending.partition(b"\r\n")
        if not found:
            return False
        self._pending = rest
        if self._trailers:
            self.complete = not line
        elif line:  # an empty one ends the chunk before
            self._left = int(line.partition(b";")[0], 16)
            self._trailers = not self._left
        return True
