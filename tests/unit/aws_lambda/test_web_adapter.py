from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ctxkit.boundary.crossing import Crossing
from ctxkit.boundary.hosting import HOST, meet_host
from ctxkit.boundary.options import BoundaryOptions, FlushMode


def said(**fields: Any) -> str:
    return json.dumps({"request_id": "r", **fields})


def in_seconds(seconds: float) -> int:
    return int((time.time() + seconds) * 1000)


def remaining(text: str, *, asgi: bool = False) -> float | None:
    carrier: dict[str, Any] = {"HTTP_X_AMZN_LAMBDA_CONTEXT": text, "REQUEST_METHOD": "GET"}
    if asgi:
        carrier = {"headers": [(b"a", b"b"), (b"x-amzn-lambda-context", text.encode())]}
    crossing = Crossing(carrier, BoundaryOptions(FlushMode.ALWAYS), {}, "r", None, None, None)
    return None if crossing.deadline is None else crossing.deadline.remaining()


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTXKIT_TRUST_LAMBDA_CONTEXT", "1")
    HOST.restart()
    meet_host()


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("asgi", [False, True])
@pytest.mark.parametrize("field", ["deadline", "deadline_ms"])
def test_header_of_the_adapter_tells_the_deadline(field: str, *, asgi: bool) -> None:
    left = remaining(said(**{field: in_seconds(3)}), asgi=asgi)
    assert left == pytest.approx(3, abs=1)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "7", "[]", '{"deadline": null}', '{"deadline": "soon"}', "{}", "[" * 60_000],
)
def test_header_that_cannot_be_read_sets_no_limit(text: str) -> None:
    assert remaining(text) is None


@pytest.mark.parametrize("name", ["AWS_LAMBDA_RUNTIME_API", "CTXKIT_TRUST_LAMBDA_CONTEXT"])
def test_header_is_not_believed_unless_on_lambda_and_trusted(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Anywhere else it is what a client has written."""
    monkeypatch.setenv("CTXKIT_TRUST_LAMBDA_CONTEXT", "1")
    monkeypatch.delenv(name)
    HOST.restart()
    meet_host()
    assert remaining(said(deadline=in_seconds(0.1))) is None
