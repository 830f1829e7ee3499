"""The Extensions API, spoken on bare sockets.

Not through ``http.client.HTTPConnection``: that is what instrumentations trace, and none of
this belongs into anybody's trace.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from http.client import HTTPResponse
from typing import Any, Final, NamedTuple, final

_ROOT: Final = "/2020-01-01/extension"
_NAME: Final = "ctxkit"
_REGISTER_TIMEOUT: Final = 2.0  # seconds
_OK: Final = 200
_ITS_FAULT: Final = 500  # from here on: Lambda may wait for the extension all the same


class RefusedError(Exception):
    """Say that Lambda does not want the extension, and why."""


class Event(NamedTuple):
    """Hold what an extension is told of an invocation.

    Attributes:
        kind: ``"INVOKE"``.
        request_id: The id of the invocation.
        deadline: When the function's time is over, as ``time.time()``.
    """

    kind: str
    request_id: str
    deadline: float


@final
class ExtensionsApi:
    """Be one internal extension for Lambda.

    Args:
        address: ``AWS_LAMBDA_RUNTIME_API``, host and port.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host or address, int(port) if host else 80)
        self._identifier = ""
        self._polling: socket.socket | None = None

    def register(self) -> None:
        """Register for invocations. Has to come before the runtime's first event.

        Raises:
            RefusedError: Lambda does not want it.
            OSError: It could not be asked.
        """
        content = b'{"events":["INVOKE"]}'
        connection = socket.create_connection(self._address, _REGISTER_TIMEOUT)
        self._ask(connection, "POST", "/register", f"Lambda-Extension-Name: {_NAME}", content)
        headers, _ = _answer(connection)
        self._identifier = headers.get("Lambda-Extension-Identifier") or ""
        if not self._identifier:
            raise RefusedError("it gave no identifier")

    def next(self) -> Event:
        """Wait for the next invocation, for as long as that takes: the host may freeze now.

        Raises:
            RefusedError: Lambda does not know the extension.
            OSError: The connection broke, or Lambda failed.
        """
        _, told = _answer(self.poll())
        deadline = float(told.get("deadlineMs") or 0) / 1000
        return Event(str(told.get("eventType")), str(told.get("requestId")), deadline)

    def poll(self) -> socket.socket:
        """Ask for the next invocation without waiting: the host may freeze now.

        Who asks again gives up what was asked before.
        """
        # No timeout: a frozen environment may wait for hours.
        connection = socket.create_connection(self._address, None)
        # Before it is used: another thread that asks must find whatever was asked.
        earlier, self._polling = self._polling, connection
        if earlier is not None:
            with suppress(OSError):  # wakes a thread that waits for it; closing does not
                earlier.shutdown(socket.SHUT_RDWR)
            earlier.close()
        header = f"Lambda-Extension-Identifier: {self._identifier}"
        self._ask(connection, "GET", "/event/next", header, b"")
        return connection

    def _ask(
        self, connection: socket.socket, method: str, path: str, header: str, content: bytes
    ) -> None:
        lines = (
            f"{method} {_ROOT}{path} HTTP/1.1",
            f"Host: {self._address[0]}:{self._address[1]}",
            header,
            f"Content-Length: {len(content)}",
            "Content-Type: application/json",
            "Connection: close",
        )
        try:
            connection.sendall("\r\n".join((*lines, "", "")).encode() + content)
        except OSError:
            connection.close()
            raise


def _answer(connection: socket.socket) -> tuple[Any, Any]:
    """Return the headers of the answer and the object that it is."""
    with connection:
        response = HTTPResponse(connection)
        try:
            response.begin()
            content = response.read()
        finally:
            response.close()
    if response.status >= _ITS_FAULT:
        raise OSError(f"{response.status} {content.decode(errors='replace')}")
    if response.status != _OK:
        raise RefusedError(f"{response.status} {content.decode(errors='replace')}")
    return response.headers, json.loads(content or b"{}")
