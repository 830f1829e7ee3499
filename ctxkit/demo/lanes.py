"""The lanes of the demo: real hosts, each without and with ctxkit."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ctxkit.exceptions import ConfigurationError, MissingDependencyError
from ctxkit.testing import FreezingServer, LambdaHost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Import name and distribution of what the example and its hosts need.
_NEEDED = {
    "django": "django",
    "sentry_sdk": "sentry-sdk",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.instrumentation.asgi": "opentelemetry-instrumentation-asgi",
    "opentelemetry.instrumentation.django": "opentelemetry-instrumentation-django",
    "opentelemetry.instrumentation.logging": "opentelemetry-instrumentation-logging",
    "mangum": "mangum",
    "stamina": "stamina",
    "gunicorn": "gunicorn",
}


@dataclass(frozen=True, slots=True)
class Server:
    """Describe a host, and how the example is started in it.

    Args:
        protocol: What a person calls it.
        needs: Its module and its distribution.
        argv: The arguments of the interpreter; empty for AWS Lambda's runtime client.
        entry: What of the witness it runs.
        env: Variables of its lane with ctxkit.
        until_frozen: Whether something has landed in time if it has before the freeze: the
            client has the response already.
    """

    protocol: str
    needs: tuple[str, str]
    argv: tuple[str, ...] = ()
    entry: str = "handler"
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    until_frozen: bool = False


def _web(protocol: str, package: str, command: str, module: str = "") -> Server:
    kind = protocol.lower()
    argv = tuple(command.replace("{app}", f"ctxkit.demo.witness:{kind}").split())
    # Others are not known as hosts that freeze: there a user says so.
    return Server(protocol, (module or package, package), argv, kind, {_MODE: "always"})


def _function(protocol: str, entry: str = "handler", mode: str = "") -> Server:
    env = {_LAMBDA_MODE: mode} if mode else {}
    package = ("awslambdaric", "awslambdaric")
    return Server(protocol, package, (), entry, env, until_frozen=mode == "extension")


_MODE = "CTXKIT_FLUSH_MODE"
_LAMBDA_MODE = "CTXKIT_LAMBDA_MODE"
_GUNICORN = "-m gunicorn {app} --bind 127.0.0.1:{port}"
_GRANIAN = "-m granian --host 127.0.0.1 --port {port} --workers 1"
# It comes as a program, and as a module of which that is the only function.
_UWSGI = ("-c", "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])")
# It evaluates the name in the module, which makes its entry points when they are asked for.
_HYPERCORN = "-m hypercorn ctxkit.demo.witness:__getattr__('asgi') --bind 127.0.0.1:{port}"
# It looks for the name in the module's dictionary, and calls it where there is "()" behind it.
_UWSGI_OPTIONS = (
    "--http-socket 127.0.0.1:{port} --wsgi ctxkit.demo.witness:load_wsgi()"
    " --enable-threads --threads 4"
)

#: By name, in the order in which they run.
HOSTS: Mapping[str, Server] = {
    "gunicorn": _web("WSGI", "gunicorn", _GUNICORN),
    "gunicorn-gthread": _web("WSGI", "gunicorn", f"{_GUNICORN} -k gthread --threads 4"),
    "gunicorn-asgi": _web("ASGI", "gunicorn", f"{_GUNICORN} -k asgi", "gunicorn.workers.gasgi"),
    "uvicorn": _web("ASGI", "uvicorn", "-m uvicorn {app} --port {port} --lifespan off"),
    "hypercorn": _web("ASGI", "hypercorn", _HYPERCORN),
    "granian-wsgi": _web("WSGI", "granian", f"{_GRANIAN} --interface wsgi {{app}}"),
    "granian-asgi": _web("ASGI", "granian", f"{_GRANIAN} --interface asgi {{app}}"),
    "daphne": _web("ASGI", "daphne", "-m daphne -b 127.0.0.1 -p {port} {app}"),
    "waitress": _web("WSGI", "waitress", "-m waitress --listen=127.0.0.1:{port} {app}"),
    "uwsgi": _web("WSGI", "pyuwsgi", _UWSGI_OPTIONS),
    "awslambdaric": _function("AWS Lambda"),
    "lambda-decorator": _function("AWS Lambda, decorator", "decorated"),
    "lambda-extension": _function("AWS Lambda, extension", mode="extension"),
}
#: Those that run unless somebody chooses.
SERVERS = ("gunicorn", "uvicorn", "awslambdaric", "lambda-decorator", "lambda-extension")


@dataclass(frozen=True, slots=True)
class Lane:
    """Name one server, and whether ctxkit is in the application that it runs.

    Args:
        server: One of :data:`HOSTS`.
        with_ctxkit: Whether the line in ``MIDDLEWARE``, or the decorator, is there.
    """

    server: str
    with_ctxkit: bool

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.server} {'with' if self.with_ctxkit else 'without'} ctxkit"

    @property
    def host(self) -> Server:
        """The server."""
        return HOSTS[self.server]

    @property
    def experiment(self) -> object:
        """What tells this lane from others that would come out the same."""
        if self.with_ctxkit or self.host.argv:
            return (self.server, self.with_ctxkit)
        return self.host.needs


def choose_servers(names: Iterable[str]) -> tuple[str, ...]:
    """Check the names of servers, and return them in the order in which they run.

    Raises:
        ConfigurationError: A name is unknown, or there is none.
    """
    wanted = {name.strip() for name in names if name.strip()}
    unknown = sorted(wanted - set(HOSTS))
    if unknown or not wanted:
        problem = f"names {', '.join(unknown)}" if unknown else "names no server"
        raise ConfigurationError("--lanes", problem, f"Choose among {', '.join(HOSTS)}.")
    return tuple(server for server in HOSTS if server in wanted)


def installed_servers() -> tuple[str, ...]:
    """Return the names of all servers that are installed."""
    return tuple(name for name, server in HOSTS.items() if _is_installed(server.needs[0]))


def require_packages(servers: Iterable[str]) -> None:
    """Fail early, and in words, if something is not installed.

    Raises:
        MissingDependencyError: The first package that is missing.
    """
    for module, package in (*_NEEDED.items(), *(HOSTS[server].needs for server in servers)):
        if not _is_installed(module):
            raise MissingDependencyError(package, "demo")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent package
        return False


def open_host(
    lane: Lane, *, env: Mapping[str, str | None], cwd: Path, freeze: bool = True
) -> FreezingServer | LambdaHost:
    """Return the host of a lane, not yet started.

    Args:
        lane: Which.
        env: Variables on top of those of this process.
        cwd: The example project.
        freeze: Whether to freeze it; see there.
    """
    server = lane.host
    if not server.argv:
        # Without the decorator nothing is left but the handler.
        entry = server.entry if lane.with_ctxkit else "handler"
        return LambdaHost(f"ctxkit.demo.witness.{entry}", env=env, cwd=cwd, freeze=freeze)
    argv = [sys.executable, *(_UWSGI if lane.server == "uwsgi" else ()), *server.argv]
    return FreezingServer(argv, env=env, cwd=cwd, freeze=freeze)
