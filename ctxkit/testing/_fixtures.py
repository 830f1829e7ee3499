"""What the fixtures of the plugin make: hosts that freeze, and send to the test's own backend."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any, final

from ctxkit.exceptions import ConfigurationError
from ctxkit.testing.freezing import FreezingServer
from ctxkit.testing.runtime_api import LambdaHost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from ctxkit.testing.sink import TelemetrySink


class _Hosts:
    """Know where the hosts of one test send to, where they start, and what closes them.

    Args:
        sink: Where the SDKs in them send to.
        cwd: Where they start if nothing else is said.
        stack: Closes them.
    """

    def __init__(self, sink: TelemetrySink, cwd: Path, stack: ExitStack) -> None:
        self._sink = sink
        self._cwd = cwd
        self._stack = stack


@final
class FrozenServers(_Hosts):
    """Start servers that are frozen after each response, for one test; the ``frozen_server``."""

    def __call__(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        **options: Any,
    ) -> FreezingServer:
        """Return a server that accepts connections.

        Args:
            command: A text is a module and its arguments, run by this interpreter:
                ``"gunicorn shop.wsgi --bind 127.0.0.1:{port}"``. Anything else is a command
                as :class:`ctxkit.testing.FreezingServer` takes it.
            env: Variables on top of those that make the SDKs send to the test's sink, and
                of ``CTXKIT_FLUSH_MODE=always``; None as value removes one.
            options: Further ones of :class:`ctxkit.testing.FreezingServer`.

        Raises:
            ConfigurationError: ``command`` is empty.
            HostError: The server did not start.
        """
        argv = _argv(command)
        variables = {**self._sink.environ, "CTXKIT_FLUSH_MODE": "always", **(env or {})}
        options = {"cwd": self._cwd, **options}
        return self._stack.enter_context(FreezingServer(argv, env=variables, **options))


@final
class FrozenLambdas(_Hosts):
    """Start Lambda functions that freeze between events, for one test; the ``frozen_lambda``."""

    def __call__(
        self,
        handler: str | Callable[..., object],
        *,
        env: Mapping[str, str | None] | None = None,
        **options: Any,
    ) -> LambdaHost:
        """Return a host in which the function is initialised and waits for an event.

        Args:
            handler: ``"module.function"``, as Lambda is configured with it, or the function
                itself if it can be imported by its module and name.
            env: Variables on top of those that make the SDKs send to the test's sink; None
                as value removes one.
            options: Further ones of :class:`ctxkit.testing.LambdaHost`.

        Raises:
            ConfigurationError: ``handler`` names no function of a module.
            HostError: The function did not initialise.
        """
        variables = {**self._sink.environ, **(env or {})}
        options = {"cwd": self._cwd, **options}
        return self._stack.enter_context(LambdaHost(_path_of(handler), env=variables, **options))


def _argv(command: str | Sequence[str]) -> list[str]:
    words = shlex.split(command) if isinstance(command, str) else list(command)
    if not words:
        raise ConfigurationError(
            "frozen_server()", "got an empty command", 'Write it like "gunicorn shop.wsgi".'
        )
    return [sys.executable, "-m", *words] if isinstance(command, str) else words


def _path_of(handler: str | Callable[..., object]) -> str:
    if isinstance(handler, str):
        path = handler
    else:
        module = getattr(handler, "__module__", None)
        name = getattr(handler, "__qualname__", "<none>")
        path = f"{module}.{name}" if module and "<" not in name else ""
    if not all(path.rpartition(".")[::2]):
        raise ConfigurationError(
            "frozen_lambda()", f"got {handler!r}", 'Name the handler like "shop.handler".'
        )
    return path
