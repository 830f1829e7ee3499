"""Small HTTP servers on loopback: threads, keep-alive, content encodings, refusal."""

from __future__ import annotations

import contextlib
import socket
import threading
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LIMIT = 64 * 1024 * 1024  # bytes of one request body, compressed or not
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # https://docs.python.org/3/library/zlib.html#zlib.decompress


@dataclass(frozen=True, slots=True)
class Reply:
    """Hold the answer to one request."""

    status: int
    content: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """Hold one request that was read whole; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes = field(repr=False)

    def body(self) -> bytes:
        """Return the body without its content encoding.

        Raises:
            ValueError: The body is not so encoded, is too large, or the encoding unknown.
        """
        encoding = self.headers.get("content-encoding", "").strip().lower()
        if encoding == "br":
            from ctxkit.testing._brotli import decompress  # noqa: PLC0415 - only when asked for

            return decompress(self.raw)
        if encoding in ("gzip", "deflate"):
            return _inflate(self.raw)
        if encoding in ("", "identity"):
            return self.raw
        raise ValueError(f"unknown content encoding {encoding!r}")


def _inflate(raw: bytes) -> bytes:
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        body = inflater.decompress(raw, _LIMIT)
    except zlib.error as error:
        raise ValueError(f"not compressed as announced: {error}") from error
    if not inflater.eof:
        raise ValueError(f"compressed body is cut off, or over {_LIMIT} bytes")
    return body


class Listener:
    """Serve one loopback port in threads until closed.

    Args:
        answer: Called in the connection's thread with each request; None means that
            there will never be an answer.
    """

    def __init__(self, answer: Callable[[Request], Reply | None]) -> None:
        self.answer = answer
        self.port = 0
        self.connections: set[socket.socket] = set()
        self._closed = threading.Event()
        self._server: _Server | None = None
        self._reserved: socket.socket | None = None

    def start(self) -> None:
        """Bind a free port and serve it."""
        reserved = _reserve(0)
        self.port = reserved.getsockname()[1]
        self._serve(reserved)

    def close(self) -> None:
        """Stop serving, drop every connection, free the port."""
        self._closed.set()
        self._stop()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def pause(self, seconds: float) -> None:
        """Sleep, but not beyond the closing of this listener."""
        if seconds > 0:
            self._closed.wait(seconds)

    @property
    def refusing(self) -> bool:
        """Whether connections are refused."""
        return self._reserved is not None

    @refusing.setter
    def refusing(self, value: bool) -> None:
        if value and self._server is not None:
            self._stop()
            # A bound socket that does not listen refuses, and keeps the port ours.
            self._reserved = _reserve(self.port)
        elif not value and self._reserved is not None:
            reserved, self._reserved = self._reserved, None
            self._serve(reserved)

    def _serve(self, bound: socket.socket) -> None:
        self._server = _Server(self, bound)
        threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="ctxkit-testing",
            daemon=True,
        ).start()

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):  # its own thread may have closed it meanwhile
                connection.shutdown(socket.SHUT_RDWR)


def _reserve(port: int) -> socket.socket:
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, listener: Listener, bound: socket.socket) -> None:
        self.listener = listener
        super().__init__(("127.0.0.1", listener.port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.server_address = bound.getsockname()
        self.server_activate()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one segment for the whole answer

    def setup(self) -> None:
        super().setup()
        self.listener = cast("_Server", self.server).listener
        self.listener.connections.add(self.connection)

    def finish(self) -> None:
        self.listener.connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._handle(b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", -1))
        if not 0 <= length <= _LIMIT:
            self.close_connection = True
            self._send(Reply(411 if length < 0 else 413, b"", {}))
            return
        raw = self.rfile.read(length)
        if len(raw) < length:  # the client went away in the middle of it
            self.close_connection = True
            return
        self._handle(raw)

    def _handle(self, raw: bytes) -> None:
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, headers, raw)
        reply = self.listener.answer(request)
        if reply is None:
            self.close_connection = True
            while not self.listener.refusing and self.connection.recv(4096):
                pass  # until the client, or close(), gives up
            return
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Print nothing: the items tell it all."""
