"""Payload format 2.0 of API Gateway HTTP APIs.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping


def gateway_event(
    method: str, target: str, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    """Return the event that a request becomes."""
    path, _, query = target.partition("?")
    named = {"host": "ctxkit.test", **{name.lower(): value for name, value in headers.items()}}
    cookies = named.pop("cookie", "")
    now = time.time()
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(path),
        "rawQueryString": query,
        "headers": named,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "ctxkit",
            "domainName": named["host"],
            "domainPrefix": "ctxkit",
            "http": {
                "method": method.upper(),
                "path": unquote(path),
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": named.get("user-agent", ""),
            },
            "requestId": uuid.uuid4().hex,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": bool(body),
    }
    if query:
        pairs = parse_qsl(query, keep_blank_values=True)
        event["queryStringParameters"] = {
            name: ",".join(value for key, value in pairs if key == name) for name, _ in pairs
        }
    if cookies:
        event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
    if body:
        event["body"] = base64.b64encode(body).decode()
    return event


def read_gateway_result(payload: Any) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """Return status, headers and body of what a function returned.

    A result without ``statusCode`` is a JSON body with status 200, as the format says.
    """
    if not isinstance(payload, dict) or "statusCode" not in payload:
        return 200, (("content-type", "application/json"),), json.dumps(payload).encode()
    result = cast("dict[str, Any]", payload)
    named = cast("dict[str, Any]", result.get("headers") or {})
    cookies = cast("list[str]", result.get("cookies") or [])
    headers = [(name.lower(), str(value)) for name, value in named.items()]
    headers += [("set-cookie", cookie) for cookie in cookies]
    body = str(result.get("body") or "")
    raw = base64.b64decode(body) if result.get("isBase64Encoded") else body.encode()
    return int(result["statusCode"]), tuple(headers), raw
