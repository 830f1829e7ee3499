"""The lanes of the demo: three real hosts, each without and with ctxkit."""

from __future__ import annotations

import sys
from dataclasses import dataclass
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
}


@dataclass(frozen=True, slots=True)
class Lane:
    """Name one server, and whether ctxkit is in the application that it runs.

    Args:
        server: ``gunicorn``, ``uvicorn`` or ``awslambdaric``.
        with_ctxkit: Whether the line in ``MIDDLEWARE``, or the decorator, is there.
    """

    server: str
    with_ctxkit: bool

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.server} {'with' if self.with_ctxkit else 'without'} ctxkit"


SERVERS = ("gunicorn", "uvicorn", "awslambdaric")
PROTOCOLS = {"gunicorn": "WSGI", "uvicorn": "ASGI", "awslambdaric": "AWS Lambda"}

_GUNICORN = ("-m", "gunicorn", "ctxkit.demo.witness:wsgi", "--bind", "127.0.0.1:{port}")
_UVICORN = ("-m", "uvicorn", "ctxkit.demo.witness:asgi", "--port", "{port}", "--lifespan", "off")


def choose_servers(names: Iterable[str]) -> tuple[str, ...]:
    """Check the names of servers, and return them in the order in which they run.

    Raises:
        ConfigurationError: A name is unknown, or there is none.
    """
    wanted = {name.strip() for name in names if name.strip()}
    unknown = sorted(wanted - set(SERVERS))
    if unknown or not wanted:
        problem = f"names {', '.join(unknown)}" if unknown else "names no server"
        raise ConfigurationError("--lanes", problem, f"Choose among {', '.join(SERVERS)}.")
    return tuple(server for server in SERVERS if server in wanted)


def require_packages(servers: Iterable[str]) -> None:
    """Fail early, and in words, if something is not installed.

    Raises:
        MissingDependencyError: The first package that is missing.
    """
    for module, package in {**_NEEDED, **{server: server for server in servers}}.items():
        try:
            found = find_spec(module)
        except ModuleNotFoundError:  # of a parent package
            found = None
        if found is None:
            raise MissingDependencyError(package, "demo")


def open_host(
    server: str, *, env: Mapping[str, str | None], cwd: Path, freeze: bool = True
) -> FreezingServer | LambdaHost:
    """Return the host of a server, not yet started.

    Args:
        server: One of :data:`SERVERS`.
        env: Variables on top of those of this process.
        cwd: The example project.
        freeze: Whether to freeze it; see there.
    """
    if server == "awslambdaric":
        return LambdaHost("ctxkit.demo.witness.handler", env=env, cwd=cwd, freeze=freeze)
    argv = _GUNICORN if server == "gunicorn" else _UVICORN
    return FreezingServer([sys.executable, *argv], env=env, cwd=cwd, freeze=freeze)
