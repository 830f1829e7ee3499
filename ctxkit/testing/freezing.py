"""A real server that is frozen at the instant its response is complete, for tests."""

from __future__ import annotations

import contextlib
import shlex
import socket
import time
from typing import TYPE_CHECKING

from ctxkit.exceptions import HostError
from ctxkit.testing._exchange import Exchange, ResponseReader, Times
from ctxkit.testing._processes import ProcessGroup

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self


class FreezingServer:
    """Run a real HTTP server that lives only while a request is open.

    The server runs in a process group of its own. All of the group is stopped
    (SIGSTOP) the moment the bytes are read that complete a response for the client,
    continued (SIGCONT) for the next request, and killed (SIGKILL) at the end: what a
    host that freezes its processes does, at its worst. Usable once entered::

        argv = [sys.executable, "-m", "gunicorn", "shop.wsgi", "--bind", "127.0.0.1:{port}"]
        with FreezingServer(argv, env={"CTXKIT_FLUSH_MODE": "always"}) as server:
            exchange = server.request("GET", "/")

    Args:
        argv: The command. ``{port}`` in any argument becomes the port.
        env: Variables on top of those of this process; None as value removes one.
            ``PORT`` is set to the port.
        cwd: The directory to start in; None means this process's own.
        port: The port that the server will listen on at 127.0.0.1; None picks a free one.
        start_timeout: Seconds that the server may take until it accepts connections.
        freeze: Whether to stop the group after each response; False serves as a
            reference that is never frozen, but killed all the same.

    Safety: POSIX only. One request at a time; not for use by several threads. Nothing
    survives the with-block, an exception in it, or the end of this interpreter.
    """

    def __init__(  # noqa: PLR0913 - keyword-only options
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        port: int | None = None,
        start_timeout: float = 20.0,
        freeze: bool = True,
    ) -> None:
        self.port: int = _free_port() if port is None else port
        self.freeze = freeze
        self._argv = [argument.replace("{port}", str(self.port)) for argument in argv]
        self._command = shlex.join(self._argv)
        self._env = {**(env or {}), "PORT": str(self.port)}
        self._cwd = cwd
        self._start_timeout = start_timeout
        self._group: ProcessGroup | None = None
        self._frozen = False

    def __enter__(self) -> Self:
        self._group = ProcessGroup(self._argv, env=self._env, cwd=self._cwd)
        try:
            self._wait_until_it_accepts(self._group)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process that was started, which is also the id of its group."""
        return self._running().pid

    @property
    def frozen(self) -> bool:
        """Whether the group is stopped now."""
        return self._frozen

    def output(self) -> str:
        """Return the end of what the server has printed so far, errors included."""
        return "" if self._group is None else self._group.output()

    def close(self) -> None:
        """Kill the whole group without grace. Idempotent."""
        if self._group is not None:
            self._group.kill()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float = 30.0,
    ) -> Exchange:
        """Thaw the server, send one request on a new connection, freeze at its completion.

        Args:
            method: The method.
            path: The target, query included.
            headers: Sent as they are. ``Host``, and ``Content-Length`` if there is a
                body, are added.
            body: The body.
            timeout: Seconds for the whole exchange.

        Raises:
            HostError: The server ended, or broke off its answer.
            TimeoutError: The response was not complete in time. The server is frozen.
        """
        group = self._running()
        message = _message(
            method, path, {"Host": f"127.0.0.1:{self.port}", **(headers or {})}, body
        )
        deadline = time.monotonic() + timeout
        thawed = self._thaw(group)
        reader = ResponseReader(method)
        first_byte = 0.0
        stopped = None
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sent = time.time()
                connection.sendall(message)
                while True:
                    connection.settimeout(max(deadline - time.monotonic(), 0.001))
                    data = connection.recv(65536)
                    done = reader.feed(data) if data else reader.end()
                    if done:
                        complete = time.time()
                        stopped = self._stop(group)
                        break
                    if not data:
                        raise ConnectionResetError("connection closed within the response")
                    first_byte = first_byte or time.time()
        except (ConnectionError, ValueError) as error:
            raise HostError(self._command, f"{method} {path}: {error}", self.output()) from error
        except TimeoutError:
            raise TimeoutError(
                f"{method} {path} was not complete after {timeout} s.\n{self.output()}"
            ) from None
        finally:
            if stopped is None:
                self._stop(group)
        times = Times(thawed, sent, first_byte or complete, complete, stopped)
        return Exchange(reader.status, reader.headers, reader.body, times)

    def _running(self) -> ProcessGroup:
        if self._group is None:
            raise HostError(self._command, "has not been started: enter the with-block", "")
        if self._group.exit_code is not None:
            raise HostError(
                self._command, f"has ended with exit code {self._group.exit_code}", self.output()
            )
        return self._group

    def _thaw(self, group: ProcessGroup) -> float | None:
        if not self._frozen:
            return None
        thawed = time.time()
        self._frozen = False
        group.resume()
        return thawed

    def _stop(self, group: ProcessGroup) -> float | None:
        if not self.freeze:
            return None
        group.stop()
        self._frozen = True
        return time.time()

    def _wait_until_it_accepts(self, group: ProcessGroup) -> None:
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            self._running()
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0),
            ):
                return
            time.sleep(0.02)
        raise HostError(
            self._command,
            f"did not accept connections at port {self.port} within {self._start_timeout} s",
            group.output(),
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _message(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    if body and not any(name.lower() == "content-length" for name in headers):
        headers["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
