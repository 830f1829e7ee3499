"""Real servers on 127.0.0.1, and a client that knows when a response is complete."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

TESTS = Path(__file__).parent.parent
PATIENCE = 15.0  # seconds


@dataclass(frozen=True)
class Kind:
    """A server and how it is started.

    Attributes:
        protocol: "wsgi" or "asgi".
        command: Arguments, with ``{port}`` and ``{app}``; the first is run with ``-m``,
            unless it is a program.
        needs: Modules that have to be importable.
        overlapping: Whether it runs two requests at once.
        keeps_connections: Whether it answers a second request on a connection.
    """

    name: str
    protocol: str
    command: str
    needs: tuple[str, ...]
    overlapping: bool = True
    keeps_connections: bool = True
    program: bool = False

    @property
    def available(self) -> bool:
        if self.program:
            return _program(self.command.split()[0]) is not None
        return all(find_spec(module) is not None for module in self.needs)

    def argv(self, app: str, port: int) -> list[str]:
        words = [word.format(app=app, port=port) for word in shlex.split(self.command)]
        if self.program:
            return [str(_program(words[0])), *words[1:]]
        return [sys.executable, "-m", *words]


def _program(name: str) -> str | None:
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


_GUNICORN = "gunicorn --no-control-socket -b 127.0.0.1:{port} -w 1"
_GRANIAN = "granian --host 127.0.0.1 --port {port} --workers 1"

KINDS = (
    Kind(
        "gunicorn-sync",
        "wsgi",
        f"{_GUNICORN} -k sync {{app}}",
        ("gunicorn",),
        overlapping=False,
        keeps_connections=False,
    ),
    Kind("gunicorn-gthread", "wsgi", f"{_GUNICORN} -k gthread --threads 4 {{app}}", ("gunicorn",)),
    Kind("waitress", "wsgi", "waitress --listen=127.0.0.1:{port} {app}", ("waitress",)),
    Kind(
        "granian-wsgi",
        "wsgi",
        f"{_GRANIAN} --interface wsgi --blocking-threads 4 {{app}}",
        ("granian",),
    ),
    Kind("hypercorn-wsgi", "wsgi", "hypercorn -b 127.0.0.1:{port} wsgi:{app}", ("hypercorn",)),
    Kind(
        "uwsgi",
        "wsgi",
        "uwsgi --http-socket 127.0.0.1:{port} --wsgi {app} --enable-threads --threads 4",
        (),
        keeps_connections=False,
        program=True,
    ),
    Kind("gunicorn-asgi", "asgi", f"{_GUNICORN} -k asgi {{app}}", ("gunicorn.workers.gasgi",)),
    Kind(
        "uvicorn-h11",
        "asgi",
        "uvicorn --loop asyncio --http h11 --port {port} {app}",
        ("uvicorn", "h11"),
    ),
    Kind(
        "uvicorn-httptools",
        "asgi",
        "uvicorn --loop asyncio --http httptools --port {port} {app}",
        ("uvicorn", "httptools"),
    ),
    Kind(
        "uvicorn-uvloop",
        "asgi",
        "uvicorn --loop uvloop --http httptools --port {port} {app}",
        ("uvicorn", "httptools", "uvloop"),
    ),
    Kind("hypercorn", "asgi", "hypercorn -b 127.0.0.1:{port} {app}", ("hypercorn",)),
    Kind("granian-asgi", "asgi", f"{_GRANIAN} --interface asgi {{app}}", ("granian",)),
    Kind("daphne", "asgi", "daphne -b 127.0.0.1 -p {port} {app}", ("daphne",)),
)


def python_path() -> str:
    """Return where a program finds the helpers, and what this one was told to look for."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([str(TESTS), *(str(Path(each).resolve()) for each in given if each)])


class Server:
    """A running server; a context manager that ends it.

    Args:
        kind: Which one.
        app: ``module:name``, importable from the folder of the tests.
        folder: Where it may write its log.
        environ: Variables for it; None as value removes one.
    """

    def __init__(
        self, kind: Kind, app: str, folder: Path, environ: Mapping[str, str | None]
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.port = _free_port()
        self._output = (folder / "server.log").open("w+")
        variables = {**os.environ, "PYTHONPATH": python_path(), **environ}
        self.process = subprocess.Popen(
            kind.argv(app, self.port),
            cwd=folder,
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise AssertionError(
                        f"{self.kind.name} did not start:\n{self.output()}"
                    ) from None
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, 15)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait(5)
        self._output.close()

    def output(self) -> str:
        return Path(self._output.name).read_text()

    def connect(self) -> Connection:
        return Connection(self.port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Response:
    """What came, complete for the client."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    parts: list[bytes] = field(default_factory=list)


class Connection:
    """A raw connection; reads a response exactly to where HTTP says that it is complete."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.settimeout(PATIENCE)
        self._buffer = b""
        # What was written but not sent; None to send it at once.
        self._written: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self) -> None:
        """Keep back what is written until :meth:`let_go`, to send it all at once."""
        self._written = b""

    def let_go(self) -> None:
        written, self._written = self._written, None
        self._socket.sendall(written or b"")

    def close(self) -> None:
        self._socket.close()

    def send(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Connection:
        fields = {"Host": "localhost", **(headers or {})}
        if body:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        message = "\r\n".join(lines).encode() + body
        if self._written is None:
            self._socket.sendall(message)
        else:
            self._written += message
        return self

    def _more(self) -> bool:
        received = self._socket.recv(65536)
        self._buffer += received
        return bool(received)

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if not self._more():
                raise ConnectionError(f"closed amid a line: {self._buffer!r}")
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._more():
                raise ConnectionError(f"closed with {size - len(self._buffer)} bytes missing")
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def headers(self) -> Response:
        status = int(self._line().split()[1])
        fields = {}
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        if status == 100:
            return self.headers()
        return Response(status, fields)

    def content(self, response: Response, size: int) -> bytes:
        """Read the first ``size`` bytes of content, however they are framed."""
        got = b""
        while len(got) < size:
            if response.headers.get("transfer-encoding") == "chunked":
                part = self._take(int(self._line(), 16))
                self._line()
            else:
                part = self._take(1)
            got += part
        response.body += got
        return got

    def first_line(self, response: Response) -> bytes:
        """Read the first line of content."""
        while b"\n" not in response.body:
            self.content(response, 1)
        return response.body.split(b"\n")[0]

    def finish(self, response: Response, method: str = "GET") -> Response:
        """Read on until the response is complete for the client."""
        if method == "HEAD" or response.status in (204, 304):
            return response
        if "content-length" in response.headers:
            response.body += self._take(
                int(response.headers["content-length"]) - len(response.body)
            )
        elif response.headers.get("transfer-encoding") == "chunked":
            while part := self._take(int(self._line(), 16)):
                response.body += part
                self._line()
            self._line()
        else:
            while self._more():
                pass
            response.body += self._buffer
            self._buffer = b""
        return response

    def receive(self, method: str = "GET") -> Response:
        return self.finish(self.headers(), method)
