"""A caller's context at the boundary: laid into the frame of the request if it is trusted."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest
from helpers import asgi, wsgi
from helpers.follow import run_script

from ctxkit import ASGIMiddleware, ConfigurationError, Key, WSGIMiddleware, current
from ctxkit.boundary import BoundaryOptions

TENANT = Key[str]("sent_tenant", hops={"thread", "wire"})
PARENT = "00-12345678901234567890123456789012-1234567890123456-01"
SENT = {
    "ctxkit-context": 'v1 {"request_id":"sent","sent_tenant":"acme","path":"/evil"}',
    "traceparent": PARENT,
    "tracestate": "a=1",
    "baggage": "k=v",
}


def _by_asgi(sent: dict[str, str], kind: str = "http", **options: Any) -> dict[str, object]:
    seen: dict[str, object] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(current())
        assert current().root is current()
        if kind == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    headers = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
    scope = {**asgi.HTTP, "type": kind, "headers": headers}

    async def nothing(*_: Any) -> Any: ...

    asyncio.run(ASGIMiddleware(app, **options)(scope, nothing, nothing))
    return seen


def _by_websocket(sent: dict[str, str], **options: Any) -> dict[str, object]:
    return _by_asgi(sent, "websocket", **options)


def _by_wsgi(sent: dict[str, str], **options: Any) -> dict[str, object]:
    seen: dict[str, object] = {}

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.update(current())
        start_response("204 No Content", [])
        return []

    environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in sent.items()}
    wsgi.Exchange(environ=environ)(WSGIMiddleware(app, **options))
    return seen


protocols = pytest.mark.parametrize("serve", [_by_asgi, _by_websocket, _by_wsgi])
TRACE = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "k=v"}


@protocols
def test_context_of_a_caller_is_ignored_by_default(serve: Any) -> None:
    seen = serve(SENT)
    assert seen.keys() <= {"request_id", "method", "path", "protocol"}
    assert seen["request_id"] != "sent"


@protocols
def test_trusted_context_is_laid_into_the_frame_of_the_request(serve: Any) -> None:
    seen = serve(SENT, trust_context=True)
    assert {name: seen[name] for name in TRACE} == TRACE
    assert seen["sent_tenant"] == "acme"
    assert seen["path"] == "/"
    assert seen["request_id"] == "sent"


@protocols
def test_request_id_header_goes_before_the_wire(serve: Any) -> None:
    seen = serve({**SENT, "X-Request-ID": "header"}, trust_context=True)
    assert seen["request_id"] == "header"
    assert "client_request_id" not in seen


@protocols
@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("bad id", {}),
        ("header", {"trust_request_id": False}),
        ("sent", {"trust_request_id": False}),
    ],
)
def test_request_id_header_that_is_refused_gives_way_to_the_wire(
    serve: Any, header: str, options: dict[str, Any]
) -> None:
    seen = serve({**SENT, "X-Request-ID": header}, trust_context=True, **options)
    assert seen["request_id"] == "sent"
    assert seen["client_request_id"] == header


@protocols
def test_wire_brings_the_id_also_without_a_header_for_it(serve: Any) -> None:
    assert serve(SENT, trust_context=True, request_id_header=None)["request_id"] == "sent"


@protocols
def test_id_of_the_wire_is_checked_like_one_of_a_client(serve: Any) -> None:
    sent = {"ctxkit-context": 'v1 {"request_id":"a b"}'}
    seen = serve(sent, trust_context=True)
    assert len(str(seen["request_id"])) == 32


@protocols
def test_junk_of_a_trusted_caller_costs_it_its_context_and_no_more(serve: Any) -> None:
    seen = serve(dict.fromkeys(SENT, "{junk"), trust_context=True)
    assert seen.keys() <= {"request_id", "method", "path", "protocol"}


DECLARED = """
from helpers import wsgi
import ctxkit
ctxkit.Key("path", hops={"thread", "wire"})

def app(environ, start_response):
    start_response("204 No Content", [])
    print(ctxkit.get("path"), ctxkit.extract(environ, trusted=True)["path"])
    return []

sent = {"HTTP_CTXKIT_CONTEXT": 'v1 {"path":"/evil"}'}
wsgi.Exchange(environ=sent)(ctxkit.WSGIMiddleware(app, trust_context=True))
"""


def test_what_the_protocol_says_goes_before_what_the_caller_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    assert run_script(DECLARED) == "/ /evil\n"


@pytest.mark.parametrize("value", ["no", "yes", 1, None])
def test_trust_that_is_no_bool_is_a_configuration_error(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="trust_context must be a bool"):
        BoundaryOptions.resolve(trust_context=value, environ={})
    assert "trust_context=False" in repr(BoundaryOptions())
