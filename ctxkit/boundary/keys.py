"""The typed names of what a boundary knows about a request."""

from __future__ import annotations

from ctxkit.boundary.request_id import well_formed_id
from ctxkit.context import Key

#: The id of the request: the inbound one where it was trusted and well formed, else a new one.
REQUEST_ID = Key[str](
    "request_id", hops={"thread", "process", "log", "wire"}, dump=str, load=well_formed_id
)
#: The id that the client sent, if it was refused; escaped, at most 128 characters.
CLIENT_REQUEST_ID = Key[str]("client_request_id")
#: The HTTP method; not bound for a WebSocket.
METHOD = Key[str]("method")
#: The path of the request, percent-decoded, without the query.
PATH = Key[str]("path")
#: What was crossed: "http", "websocket", "aws-lambda", "task" or "invocation".
PROTOCOL = Key[str]("protocol")
#: Whether it is the first of its environment, whose start the client has waited for; bound on
#: hosts that start, freeze and end processes by the request.
COLD_START = Key[bool]("cold_start", hops={"thread", "log"})
#: What an :func:`ctxkit.invocation`, or a task, is called.
INVOCATION = Key[str]("invocation")
#: Lambda's own id of the invocation, bound where there is one.
AWS_REQUEST_ID = Key[str]("aws_request_id")
