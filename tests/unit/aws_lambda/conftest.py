from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit.aws_lambda import installing
from ctxkit.boundary import hosting
from ctxkit.lifecycle import phases

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = "awslambdaric.lambda_runtime_client"


class Client:
    """What awslambdaric's C module looks like, with a log of what was asked of it."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.remaining = 10.0
        self.broken = False

    def next(self) -> tuple[bytes, dict[str, str]]:
        self.log.append("next")
        deadline = int((time.time() + self.remaining) * 1000)
        return b"{}", {
            "Lambda-Runtime-Aws-Request-Id": f"id-{self.log.count('next')}",
            "Lambda-Runtime-Deadline-Ms": str(deadline),
        }

    def post_invocation_result(self, *args: Any, **kwargs: Any) -> None:
        self.log.append(("result", args, kwargs))
        if self.broken:
            raise RuntimeError("413")

    def post_error(self, *args: Any, **kwargs: Any) -> None:
        self.log.append(("error", args, kwargs))

    def initialize_client(self, agent: str) -> str:
        return agent


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """Stand for awslambdaric, whichever version is installed, if any."""
    real = Client()
    module: Any = ModuleType(CLIENT)
    module.runtime_client = real
    monkeypatch.setitem(sys.modules, "awslambdaric", ModuleType("awslambdaric"))
    monkeypatch.setitem(sys.modules, CLIENT, module)
    return real


@pytest.fixture
def runtime(client: Client) -> Any:
    """Look the client up as awslambdaric does: by its name, at each call."""
    return lambda: vars(sys.modules[CLIENT])["runtime_client"]


@pytest.fixture(autouse=True)
def on_lambda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be on AWS Lambda, where nobody listens, and leave nothing of that behind."""
    for name in ("CTXKIT_LAMBDA_MODE", "CTXKIT_TRUST_LAMBDA_CONTEXT", "AWS_LAMBDA_MAX_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    _forget_host()
    yield
    installing.uninstall()
    hosting.HOST.restart()
    monkeypatch.undo()
    _forget_host()


def _forget_host() -> None:
    phases.ENVIRONMENT._host = None
    phases.ENVIRONMENT.begin_anew()


class Context(SimpleNamespace):
    """The context object of an invocation."""

    aws_request_id = "id-1"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000
