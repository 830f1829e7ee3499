"""Generated ASGI responses, and a server that writes down what happens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from properties.timelines import REQUEST_ID, FailedError, LeftError, Timeline

# What an application does, one after the other.
Action = tuple[Any, ...]

_content = st.sampled_from([b"", b"a", b"bc", b"defg"])
_between = st.sampled_from(
    [
        ("receive",),
        ("receive",),
        ("yield",),
        ("hint",),
        ("debug",),
        ("wait for disconnect",),
    ]
)


@dataclass(frozen=True)
class Response:
    """What an application does for one request, and how its server is.

    Attributes:
        length: By how much the Content-Length is wrong; None for none, bytes as they are.
        headers_as: What holds the headers: "list", "tuple", "iterator" or "none".
        parts: The content.
        ends: How the response ends: "last" with the last part, "empty" with an event after
            it, "bare" with one that has nothing but its type, "path" with a file's,
            "never".
        trailers: How many events of trailers follow; None where none are announced.
        actions: What is done before the start, and after each event.
        fails: After how many events it raises.
        leaves: After how many events the client has gone.
        cancels: Whether the server then cancels the application, and does not tell it.
        offers: The extensions that the server offers.
    """

    method: str
    status: int
    length: int | bytes | None
    headers_as: str
    parts: tuple[bytes, ...]
    ends: str
    trailers: int | None
    actions: tuple[Action, ...]
    fails: int | None
    error: type[BaseException]
    leaves: int | None
    cancels: bool
    offers: tuple[str, ...]
    body: tuple[bytes, ...]
    stamped: bool

    def headers(self) -> Any:
        headers = [(b"content-type", b"text/plain")]
        if isinstance(self.length, bytes):
            headers.append((b"content-length", self.length))
        elif self.length is not None:
            size = max(0, sum(map(len, self.parts)) + self.length)
            headers.append((b"Content-Length", str(size).encode()))
        if self.stamped:
            headers.append((b"x-request-id", b"its own"))
        made: Any = {"list": list, "tuple": tuple, "iterator": iter}[self.headers_as](headers)
        return made

    def without_paths(self) -> Response:
        """Return the same of a server that sends no files by itself."""
        return replace(self, offers=tuple(each for each in self.offers if "path" not in each))

    def events(self, offered: Any) -> list[dict[str, Any]]:
        """Return the events of the response, in order."""
        start: dict[str, Any] = {"type": "http.response.start", "status": self.status}
        start["headers"] = self.headers()
        if self.trailers is not None:
            start["trailers"] = True
        events = [start]
        events += [_body(part, more=True) for part in self.parts]
        if self.ends == "path" and "http.response.pathsend" in offered:
            events[1:] = [{"type": "http.response.pathsend", "path": __file__}]
        elif self.ends == "last" and self.parts:
            events[-1] = _body(self.parts[-1], more=False)
            if not self.parts[-1]:
                del events[-1]["more_body"]  # false is the default
        elif self.ends == "bare":
            events.append({"type": "http.response.body"})
        elif self.ends != "never":
            events.append(_body(b"", more=False))
        if self.trailers is not None and self.ends != "never":
            for number in range(self.trailers, -1, -1):
                fields = [(b"x-left", str(number).encode())]
                events.append(
                    {
                        "type": "http.response.trailers",
                        "headers": fields,
                        "more_trailers": number > 0,
                    }
                )
        return events


def _body(content: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


def responses() -> st.SearchStrategy[Response]:
    return st.builds(
        Response,
        method=st.sampled_from(["GET", "GET", "POST", "HEAD"]),
        status=st.sampled_from([200, 200, 404, 204, 304]),
        length=st.sampled_from([None, None, 0, 0, 0, -1, 3, -100, b"junk", b"+4"]),
        headers_as=st.sampled_from(["list", "tuple", "iterator"]),
        parts=st.lists(_content, max_size=3).map(tuple),
        ends=st.sampled_from(["last", "last", "empty", "bare", "path", "never"]),
        trailers=st.none() | st.none() | st.integers(0, 2),
        actions=st.lists(_between | st.just(()), max_size=6).map(tuple),
        fails=st.none() | st.none() | st.integers(0, 6),
        error=st.sampled_from([FailedError, LeftError]),
        leaves=st.none() | st.none() | st.integers(0, 5),
        cancels=st.booleans(),
        offers=st.sampled_from([(), ("http.response.pathsend",), ("http.response.trailers",)]),
        body=st.lists(_content, min_size=1, max_size=2).map(tuple),
        stamped=st.booleans(),
    )


class Application:
    """Do what a response says, and write down each step."""

    def __init__(self, response: Response, timeline: Timeline) -> None:
        self.response = response
        self.timeline = timeline
        self.ended = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        wanted = self.response
        self.timeline.app("called")
        events = wanted.events(scope["extensions"])
        for number, event in enumerate(events):
            await self._between(number, receive, send)
            self.timeline.app(f"send {number}")
            self.ended = number + 1 == len(events) and wanted.ends != "never"
            await send(event)
            self.timeline.app(f"sent {number}")
        await self._between(len(events), receive, send)
        self.timeline.app("returns")

    async def _between(self, number: int, receive: Any, send: Any) -> None:
        if self.response.fails == number:
            self.timeline.app("raises")
            raise self.timeline.raising(self.response.error(f"after {number}"))
        actions = self.response.actions
        action = actions[number] if number < len(actions) else ()
        match action:
            case ("receive",) | ("wait for disconnect",) if self._may_receive(action):
                received = await receive()
                self.timeline.app(("received", *received.values()))
            case ("yield",):
                await asyncio.sleep(0)
                self.timeline.app("went on")
            case ("hint",) if not number:
                await send({"type": "http.response.early_hint", "links": [b"<a>"]})
            case ("debug",) if not number:
                await send({"type": "http.response.debug", "info": {}})

    def _may_receive(self, action: Action) -> bool:
        """Return whether there is something to receive, or the response is over."""
        return self.ended or (action == ("receive",) and self.timeline.left > 0)


class Server:
    """Serve one request of an application."""

    def __init__(self, response: Response, timeline: Timeline) -> None:
        self._response = response
        self._timeline = timeline
        bodies = response.body
        self._incoming = [
            {"type": "http.request", "body": body, "more_body": number + 1 < len(bodies)}
            for number, body in enumerate(bodies)
        ]
        timeline.left = len(bodies)
        self._left: int | None = None
        self._trailers = False
        self._started = False
        self._ended = asyncio.Event()
        self._gone = asyncio.Event()
        self._sent = 0
        self._task: Any = None

    async def serve(self, app: Any) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self._response.method,
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"x-request-id", REQUEST_ID.encode())],
            "client": None,
            "server": None,
            "extensions": {name: {} for name in self._response.offers},
        }
        task = self._task = asyncio.create_task(app(scope, self._receive, self._send))
        await asyncio.wait([task])
        if task.cancelled():
            self._timeline.append(("error", "cancelled"))
        elif error := task.exception():
            self._timeline.surfaced(error)
        if not (self._timeline.complete or self._gone.is_set()):
            self._timeline.wire("aborted" if self._started else "start 500, of the server")
            self._timeline.completed()

    async def _receive(self) -> dict[str, Any]:
        if not self._response.cancels and ("app", "send 0") not in self._timeline:
            self._leave()
        if self._incoming:
            self._timeline.left -= 1
            return self._incoming.pop(0)
        if not (self._ended.is_set() or self._gone.is_set()):
            await asyncio.wait(
                [asyncio.ensure_future(each.wait()) for each in (self._ended, self._gone)],
                return_when=asyncio.FIRST_COMPLETED,
            )
        return {"type": "http.disconnect"}

    async def _send(self, event: dict[str, Any]) -> None:
        assert not self._ended.is_set(), "an event after the end"
        if not self._response.cancels:
            self._leave()
        if self._gone.is_set():
            raise self._timeline.raising(OSError("the client has gone"))
        kind = event["type"]
        if kind == "http.response.start":
            self._start(event)
        elif kind == "http.response.body":
            self._content(event)
        elif kind == "http.response.trailers":
            self._timeline.wire(("trailers", *event["headers"]))
            self._end(over=not event["more_trailers"])
        elif kind == "http.response.pathsend":
            self._timeline.wire("a file")
            self._end(over=not self._trailers)
        else:
            self._timeline.wire(kind)
        if kind not in ("http.response.early_hint", "http.response.debug"):
            self._sent += 1
            self._leave()
        await asyncio.sleep(0)

    def _leave(self) -> None:
        """Have the client leave when its time has come."""
        if self._sent == self._response.leaves and not (
            self._timeline.complete or self._gone.is_set()
        ):
            self._timeline.mark("gone")
            self._gone.set()
            if self._response.cancels:
                self._task.cancel()

    def _start(self, event: dict[str, Any]) -> None:
        assert not self._started
        self._started = True
        headers = list(event["headers"])
        kept = [field for field in headers if field != (b"x-request-id", REQUEST_ID.encode())]
        assert len(headers) - len(kept) <= 1
        self._trailers = event.get("trailers", False)
        self._timeline.wire(f"start {event['status']} {kept} {self._trailers}")
        lengths = [int(v) for k, v in kept if k.lower() == b"content-length" and v.isdigit()]
        self._left = min(lengths, default=None)
        if self._response.method == "HEAD" or event["status"] in (204, 304):
            self._left = 0
        if self._left == 0:
            self._timeline.completed()

    def _content(self, event: dict[str, Any]) -> None:
        content = event.get("body", b"")
        if self._left is not None:
            content = content[: self._left]
            self._left -= len(content)
        if content:
            self._timeline.wire(content)
            if self._left == 0 and not self._timeline.complete:
                self._timeline.completed()
        self._end(over=not (event.get("more_body", False) or self._trailers))

    def _end(self, *, over: bool) -> None:
        if over:
            self._ended.set()
            if not self._timeline.complete:
                self._timeline.wire("end")
                self._timeline.completed()
