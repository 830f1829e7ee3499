"""Small HTTP servers on loopback: threads, keep-alive, content encodings, refusal."""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
import time
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LIMIT = 64 * 1024 * 1024  # bytes of one request body, compressed or not
_PATIENCE = 0.1  # seconds in which loopback accepts a connection if it ever will
_FAREWELL = 1.0  # seconds in which a connection is closed by its thread, if that is not busy
_FILLERS = 16  # connections that fill the queue of one that does not accept, at the most
# Closing discards what was not sent, and resets. https://man7.org/linux/man-pages/man7/socket.7.html
_NO_LINGER = struct.pack("ii", 1, 0)
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # https://docs.python.org/3/library/zlib.html#zlib.decompress


@dataclass(frozen=True, slots=True)
class Reply:
    """Hold the answer to one request.

    Args:
        status: The status code.
        content: The body.
        headers: The headers, but the length, which is added.
        pause: Seconds between two bytes of the answer; 0 sends it in one piece.
        finished: Called just before the byte leaves that completes the answer.
    """

    status: int
    content: bytes
    headers: Mapping[str, str]
    pause: float = 0.0
    finished: Callable[[], None] | None = None


#: In place of an answer: the connection is reset (RST).
RESET: Final = Reply(0, b"", {})


@dataclass(frozen=True, slots=True)
class Request:
    """Hold one request that was read whole; header names in lower case.

    Args:
        method: The method.
        path: The target, without its query.
        headers: The headers.
        raw: The body as it came.
        number: The how many-eth of its connection it is, from 1.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes = field(repr=False)
    number: int = 1

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
        self.resetting: set[socket.socket] = set()  # that are to be closed without a farewell
        self._closed = threading.Event()
        self._server: _Server | None = None
        # What keeps the port ours while nobody serves it.
        self._placeholders: list[socket.socket] = []

    def start(self) -> None:
        """Bind a free port and serve it."""
        reserved = _reserve(0)
        self.port = reserved.getsockname()[1]
        self._serve(reserved)

    def close(self) -> None:
        """Stop serving, drop every connection, free the port."""
        self._stop()
        dropped = self._reset_connections()
        self._closed.set()
        self._see_off(dropped)
        self._give_way()

    def pause(self, seconds: float) -> None:
        """Sleep, but not beyond the closing of this listener."""
        if seconds > 0:
            self._closed.wait(seconds)

    def drop_connections(self) -> None:
        """Reset every connection, also those that wait for an answer.

        Not closed, which some clients take for the end of an answer that has just begun.
        """
        # A client that still took one for alive would lose its next request.
        self._see_off(self._reset_connections())

    def _reset_connections(self) -> list[socket.socket]:
        dropped = list(self.connections)
        for connection in dropped:
            self.resetting.add(connection)
            with contextlib.suppress(OSError):  # its own thread may have closed it meanwhile
                connection.shutdown(socket.SHUT_RD)  # tells the client nothing, wakes the thread
        return dropped

    def _see_off(self, dropped: list[socket.socket]) -> None:
        deadline = time.monotonic() + _FAREWELL
        while not self.connections.isdisjoint(dropped) and time.monotonic() < deadline:
            time.sleep(0.001)

    def accept(self) -> None:
        """Serve the port, whatever was done with it before."""
        if self._server is None and self.port:
            self._give_way()
            self._serve(_reserve(self.port))

    def refuse(self) -> None:
        """Refuse connections and drop those that there are."""
        if self._vacate():
            # A bound socket that does not listen refuses, and keeps the port ours.
            self._placeholders = [_reserve(self.port)]
            self.drop_connections()

    def ignore(self) -> None:
        """Let attempts to connect pass unanswered, as a network does that drops packets (Linux).

        The queue of connections to be accepted is full, so that SYN packets are discarded.
        """
        if self._vacate():
            hole = _reserve(self.port)
            hole.listen(0)
            self._placeholders = [hole, *_fill(self.port)]

    def _vacate(self) -> bool:
        """Stop serving but keep the connections; False if this does not run."""
        if self._closed.is_set() or not self.port:
            return False
        self._stop()
        self._give_way()
        return True

    def _give_way(self) -> None:
        for placeholder in self._placeholders:
            placeholder.close()
        self._placeholders = []

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


def _reserve(port: int) -> socket.socket:
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved


def _fill(port: int) -> list[socket.socket]:
    """Connect until nobody answers any more, and return the connections."""
    fillers: list[socket.socket] = []
    for _ in range(_FILLERS):
        filler = socket.socket()
        filler.settimeout(_PATIENCE)
        try:
            filler.connect(("127.0.0.1", port))
        except TimeoutError:
            filler.close()
            break
        fillers.append(filler)
    return fillers


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

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, without a farewell if it is to be reset."""
        if request in self.listener.resetting:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.close_request(request)
        else:
            super().shutdown_request(request)
        self.listener.connections.discard(request)
        self.listener.resetting.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.listener = cast("_Server", self.server).listener
        self.requests = 0
        self.listener.connections.add(self.connection)

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
        self.requests += 1
        request = Request(self.command, path, headers, raw, self.requests)
        reply = self.listener.answer(request)
        if reply is None:
            self.close_connection = True
            while self.connection.recv(4096):
                pass  # until the client, or the listener, gives up
        elif reply is RESET or self.connection in self.listener.resetting:
            self.close_connection = True
            self.listener.resetting.add(self.connection)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        wire, self.wfile = self.wfile, io.BytesIO()
        try:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            message = self.wfile.getvalue() + reply.content
        finally:
            self.wfile = wire
        held = -1 if reply.pause else 0  # what leaves last: one byte, or all of it
        for number in range(len(message) + held if reply.pause else 0):
            self.connection.sendall(message[number : number + 1])
            self.listener.pause(reply.pause)
            if self.connection in self.listener.resetting:
                return
        if reply.finished is not None:
            reply.finished()
        self.connection.sendall(message[held:])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Print nothing: the items tell it all."""
