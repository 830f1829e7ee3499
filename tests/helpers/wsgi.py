"""A strict WSGI server without a network: wsgiref's validator on both sides of a middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

if TYPE_CHECKING:
    from collections.abc import Callable
    from wsgiref.types import WSGIApplication


class Exchange:
    """One HTTP request. Writes down "start", each chunk, "end" and what close() did.

    Args:
        timeline: Gets what the server sends, in order.
        give_up_after: Chunks after which the client has gone; None to read to the end.
        strict: Whether wsgiref's validator stands between server and middleware.
        environ: Further entries.
    """

    def __init__(
        self,
        timeline: list[object] | None = None,
        *,
        give_up_after: int | None = None,
        strict: bool = True,
        environ: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.timeline: list[object] = [] if timeline is None else timeline
        self.environ: dict[str, Any] = {
            "QUERY_STRING": "",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            **(environ or {}),
            **more,
        }
        setup_testing_defaults(self.environ)
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.result: Any = None
        self._give_up_after = give_up_after
        self._strict = strict
        self._sent = False

    @property
    def body(self) -> bytes:
        return b"".join(part for part in self.timeline if isinstance(part, bytes))

    def header(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field.lower() == name.lower()]

    def __call__(self, app: WSGIApplication) -> Exchange:
        serve = validator(app) if self._strict else app
        self.result = serve(self.environ, self._start_response)
        count = 0
        try:
            for chunk in self.result:
                self._write(chunk)
                count += bool(chunk)
                if count == self._give_up_after:
                    break
            else:
                self._send_headers()
                self.timeline.append("end")
        finally:
            if hasattr(self.result, "close"):
                self.result.close()
        return self

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info:
            try:
                if self._sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status:
            raise AssertionError("start_response() was called twice")
        self.status, self.headers = status, headers
        return self._write

    def _send_headers(self) -> None:
        if not self._sent:
            assert self.status, "a body before start_response()"
            self._sent = True
            self.timeline.append("start")

    def _write(self, chunk: bytes) -> None:
        if chunk:
            self._send_headers()
            self.timeline.append(chunk)
