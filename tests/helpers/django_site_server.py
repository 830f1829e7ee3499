"""Run the bare Django project under a real server, and talk to it byte by byte."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from helpers.servers import python_path

from ctxkit.testing import TelemetrySink

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_APP = "helpers.django_site_app"
_ARGV = {
    "wsgi": ["gunicorn", "--bind=127.0.0.1:0", "--threads=4", "--keep-alive=30", f"{_APP}:wsgi"],
    "asgi": ["uvicorn", "--host=127.0.0.1", "--port=0", f"{_APP}:asgi"],
}
_LISTENING = re.compile(r"(?:Listening at|running on).*http://127\.0\.0\.1:(\d+)")


@dataclass
class Answer:
    """A response as its client saw it; times are ``time.time()``."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    complete: float = 0.0

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One keep-alive connection, over a bare socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, *paths: str, headers: dict[str, str] | None = None, method: str = "GET") -> None:
        """Send one request for each path, all at once: pipelined."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._socket.sendall(
            b"".join(
                f"{method} {path} HTTP/1.1\r\nHost: testserver\r\n{lines}\r\n".encode("latin1")
                for path in paths
            )
        )

    def receive(self, method: str = "GET") -> Answer:
        """Read one response up to its last byte."""
        answer = self.receive_head()
        while self.receive_chunk(answer, method):
            pass
        answer.complete = answer.chunks[-1][0] if answer.chunks else time.time()
        answer.body = b"".join(chunk for _, chunk in answer.chunks)
        return answer

    def receive_head(self) -> Answer:
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin1").split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        return Answer(int(first.split()[1]), {name.lower(): value for name, _, value in pairs})

    def receive_chunk(self, answer: Answer, method: str = "GET") -> bool:
        """Read the next piece of the body; False if that was the end of the response."""
        if method == "HEAD":
            return False
        if answer.headers.get("transfer-encoding") == "chunked":
            size = int(self._line(), 16)
            self._take(answer, size)
            self._line()
            return size > 0
        length = int(answer.headers.get("content-length", 0))
        if length:
            self._take(answer, length)
        return False

    def _take(self, answer: Answer, size: int) -> None:
        while len(self._buffer) < size:
            self._fill()
        answer.chunks.append((time.time(), self._buffer[:size]))
        self._buffer = self._buffer[size:]

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _fill(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            msg = f"the server closed the connection; unread: {self._buffer!r}"
            raise ConnectionError(msg)
        self._buffer += data


class Site:
    """The bare project under gunicorn (``wsgi``) or uvicorn (``asgi``), with its own sink."""

    def __init__(self, protocol: str, **environ: str) -> None:
        self.protocol = protocol
        self.sink = TelemetrySink()
        self._environ = environ
        self._log: list[str] = []
        self._port = 0
        self._listening = threading.Event()

    def __enter__(self) -> Self:
        self.sink.__enter__()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *_ARGV[self.protocol]],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith(("CTXKIT_", "OTEL_"))},
                "PYTHONPATH": python_path(),
                "PYTHONUNBUFFERED": "1",
                "SENTRY_DSN": self.sink.dsn,
                "OTEL_EXPORTER_OTLP_ENDPOINT": self.sink.otlp_endpoint,
                "CTXKIT_FLUSH_MODE": "always",
                "CTXKIT_FLUSH_TIMEOUT": "10",
                **self._environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(30) or not self._port:
            self.__exit__(None, None, None)
            raise RuntimeError("the server did not start:\n" + self.log)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self.sink.close()

    def stop(self) -> None:
        """Ask the server to stop as an operator would, and make sure that it did."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)
        self._reader.join(10)
        assert self._process.stdout
        self._process.stdout.close()

    @property
    def log(self) -> str:
        """What the server wrote to its terminal."""
        return "".join(self._log)

    def connect(self) -> Connection:
        return Connection(self._port)

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        with self.connect() as connection:
            connection.send(path, headers=headers, method=method)
            return connection.receive(method)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._log.append(line)
            listening = _LISTENING.search(line)
            if listening:
                self._port = int(listening[1])
                self._listening.set()
        self._listening.set()
