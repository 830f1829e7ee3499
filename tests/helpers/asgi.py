"""A strict ASGI server without a network: it refuses what the specification forbids."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HTTP = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80),
}


class ProtocolError(AssertionError):
    """The application, or what wraps it, broke the rules of ASGI."""


class Exchange:
    """One HTTP request: feeds the application, checks its events, writes them down.

    Args:
        timeline: Gets "start", each body as bytes, and "end".
        method: The method, and so on: fields of the scope.
        body: Events' bodies that ``receive`` gives out, before it waits for the end.
    """

    def __init__(
        self,
        timeline: list[object] | None = None,
        *,
        body: tuple[bytes, ...] = (b"",),
        **scope: Any,
    ) -> None:
        self.timeline: list[object] = [] if timeline is None else timeline
        self.scope: dict[str, Any] = {**HTTP, **scope}
        self.events: list[dict[str, Any]] = []
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.disconnected = asyncio.Event()
        self.receiving = 0
        self._incoming = [
            {"type": "http.request", "body": part, "more_body": i + 1 < len(body)}
            for i, part in enumerate(body)
        ]
        self._trailers = False
        self._state = "new"

    @property
    def body(self) -> bytes:
        return b"".join(part for part in self.timeline if isinstance(part, bytes))

    def header(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.headers if field == name]

    async def __call__(self, app: Any) -> Exchange:
        await app(self.scope, self.receive, self.send)
        return self

    async def receive(self) -> dict[str, Any]:
        if self._incoming:
            return self._incoming.pop(0)
        self.receiving += 1
        try:
            await self.disconnected.wait()
        finally:
            self.receiving -= 1
        return {"type": "http.disconnect"}

    async def send(self, event: dict[str, Any]) -> None:
        self.events.append(dict(event))
        kind = event["type"]
        if self._state == "done":
            raise ProtocolError(f"{kind} after the end of the response")
        if kind == "http.response.start":
            self._start(event)
        elif kind == "http.response.body":
            self._expect("started", kind)
            self._content(event.get("body", b""))
            if not event.get("more_body", False):
                self._finish("trailers" if self._trailers else "done")
        elif kind == "http.response.trailers":
            self._expect("trailers", kind)
            if not event.get("more_trailers", False):
                self._finish("done")
        elif kind in ("http.response.pathsend", "http.response.zerocopysend"):
            if kind not in self.scope.get("extensions", {}):
                raise ProtocolError(f"{kind} was not offered")
            self._expect("started", kind)
            self.timeline.append(kind)
            self._finish("done")
        elif kind not in ("http.response.early_hint", "http.response.debug"):
            raise ProtocolError(f"unknown event {kind}")
        await asyncio.sleep(0)

    def _start(self, event: dict[str, Any]) -> None:
        self._expect("new", event["type"])
        self._state = "started"
        self.status = event["status"]
        self.headers = [(name, value) for name, value in event.get("headers", ())]
        for name, value in self.headers:
            if not isinstance(name, bytes) or not isinstance(value, bytes) or name != name.lower():
                raise ProtocolError(f"bad header {name!r}: {value!r}")
        self._trailers = event.get("trailers", False)
        self.timeline.append("start")

    def _content(self, body: bytes) -> None:
        if not isinstance(body, bytes):
            raise ProtocolError(f"bad body {body!r}")
        if body:
            self.timeline.append(body)

    def _finish(self, state: str) -> None:
        self._state = state
        if state == "done":
            self.timeline.append("end")
            self.disconnected.set()

    def _expect(self, state: str, kind: str) -> None:
        if self._state != state:
            raise ProtocolError(f"{kind} in state {self._state}")


async def until(condition: Callable[[], bool], patience: float = 10) -> None:
    """Let the loop go round until ``condition`` holds."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


def start(*headers: tuple[bytes, bytes], status: int = 200, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(content: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}
