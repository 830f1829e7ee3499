"""Faults to plant in the boundary, each of which the properties of responses have to find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctxkit.boundary import _asgi_held, _stamping, _wsgi_passed, wsgi
from ctxkit.boundary._ending import Ending
from ctxkit.boundary.completion import Completion

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

_Response = wsgi._Response
_Held = _asgi_held._Held


def wsgi_parts_are_never_complete(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Completion, "at_part", lambda self, size: False)


def asgi_parts_are_never_complete(patch: pytest.MonkeyPatch) -> None:
    _measure_otherwise(patch, lambda left: None)


def _measure_otherwise(
    patch: pytest.MonkeyPatch, other: Callable[[int | None], int | None]
) -> None:
    begun = _Held._begun

    def measured_otherwise(self: Any, message: Any) -> Any:
        message = begun(self, message)
        self._left = other(self._left)
        return message

    patch.setattr(_Held, "_begun", measured_otherwise)


def wsgi_parts_wait_for_the_next(patch: pytest.MonkeyPatch) -> None:
    step = _Response.__next__

    def one_later(self: Any) -> bytes:
        ahead.setdefault(self, step(self))
        held = ahead.pop(self)
        if self._body is not None:
            ahead[self] = step(self)
        return held

    ahead: dict[Any, bytes] = {}
    patch.setattr(_Response, "__next__", one_later)


def asgi_parts_wait_although_more_come(patch: pytest.MonkeyPatch) -> None:
    _measure_otherwise(patch, lambda left: 1)


def wsgi_heads_have_content(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ctxkit.boundary.completion.has_no_content", lambda method, status: False)


def asgi_heads_have_content(patch: pytest.MonkeyPatch) -> None:
    _measure_otherwise(patch, lambda left: left or None)


def wsgi_lengths_are_not_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ctxkit.boundary.completion.announced_length", lambda headers, name: 1000)


def asgi_the_length_is_one_too_short(patch: pytest.MonkeyPatch) -> None:
    _measure_otherwise(patch, lambda left: left and left - 1)


def wsgi_written_parts_do_not_count(patch: pytest.MonkeyPatch) -> None:
    start = _Response.start

    def uncounted(self: Any, *args: Any) -> Any:
        serve = self._start_response
        writes: list[Any] = []
        self._start_response = lambda *given: writes.append(serve(*given))
        try:
            start(self, *args)
        finally:
            self._start_response = serve
        return writes[0]

    patch.setattr(_Response, "start", uncounted)


def wsgi_restarts_lose_their_reason(patch: pytest.MonkeyPatch) -> None:
    start = _Response.start
    patch.setattr(_Response, "start", lambda self, *args: start(self, *args[:2]))


def wsgi_restarts_are_not_refused(patch: pytest.MonkeyPatch) -> None:
    start = _Response.start

    def unrefused(self: Any, status: str, headers: Any, exc_info: Any = None, /) -> Any:
        self._whole, self._written = b"", False
        return start(self, status, headers, exc_info)

    patch.setattr(_Response, "start", unrefused)


def wsgi_bodies_are_flushed_before_they_are_closed(patch: pytest.MonkeyPatch) -> None:
    settle = _Response.settle

    def early(self: Any, reason: str) -> None:
        self._crossing.finish(reason)
        settle(self, reason)

    patch.setattr(_Response, "settle", early)


def wsgi_bodies_are_not_closed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wsgi, "iterate_in", lambda context, body: _Unclosed(body))


class _Unclosed:
    def __init__(self, body: Any) -> None:
        self._body = iter(body)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> bytes:
        return next(self._body)

    def close(self) -> None:
        return


def wsgi_bodies_are_closed_twice(patch: pytest.MonkeyPatch) -> None:
    settle = _Response.settle

    def again(self: Any, reason: str) -> None:
        body = self._body
        settle(self, reason)
        if body is not None and hasattr(body._inner, "close"):
            body._inner.close()

    patch.setattr(_Response, "settle", again)


def wsgi_errors_at_the_close_are_lost(patch: pytest.MonkeyPatch) -> None:
    settle = _Response.settle

    def silent(self: Any, reason: str) -> None:
        settle(self, reason)
        self._error = None

    patch.setattr(_Response, "settle", silent)


def wsgi_errors_end_a_body(patch: pytest.MonkeyPatch) -> None:
    step = _Response.__next__

    def ending(self: Any) -> bytes:
        try:
            return step(self)
        except Exception:
            raise StopIteration from None

    patch.setattr(_Response, "__next__", ending)


def wsgi_completing_parts_are_cut(patch: pytest.MonkeyPatch) -> None:
    hold = _Response._hold

    def last(self: Any, body: Any, chunk: bytes) -> bytes:
        return hold(self, body, chunk)[:-1]

    patch.setattr(_Response, "_hold", last)


def wsgi_failing_calls_lose_what_they_wrote(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Response, "fails_late", lambda self, error: False)


def wsgi_passed_bodies_are_closed_twice(patch: pytest.MonkeyPatch) -> None:
    close = _wsgi_passed._Passed.close

    def twice(self: Any) -> None:
        body = self._body
        close(self)
        if hasattr(body, "close"):
            body.close()

    patch.setattr(_wsgi_passed._Passed, "close", twice)


def asgi_held_parts_change_places(patch: pytest.MonkeyPatch) -> None:
    release = _Held.release

    async def reversed_release(self: Any) -> None:
        if self.events is not None:
            self.events.reverse()
        await release(self)

    patch.setattr(_Held, "release", reversed_release)


def asgi_held_parts_are_lost_when_the_application_raises(patch: pytest.MonkeyPatch) -> None:
    settle = _Held.settle

    async def losing(self: Any, reason: str) -> None:
        if reason == "exception" and self.events:
            self.events.clear()
        await settle(self, reason)

    patch.setattr(_Held, "settle", losing)


def asgi_responses_are_flushed_after_they_left(patch: pytest.MonkeyPatch) -> None:
    flush = _Held.flush

    async def late(self: Any, reason: str) -> Any:
        await self.release()
        return await flush(self, reason)

    patch.setattr(_Held, "flush", late)


def asgi_responses_are_flushed_twice(patch: pytest.MonkeyPatch) -> None:
    flush = _Held.flush

    async def twice(self: Any, reason: str) -> Any:
        await flush(self, reason)
        return await flush(self, reason)

    patch.setattr(_Held, "flush", twice)


def asgi_errors_are_swallowed(patch: pytest.MonkeyPatch) -> None:
    cross = _asgi_held.cross_held

    async def silent(*args: Any) -> None:
        try:
            await cross(*args)
        except Exception:
            return

    patch.setattr(_asgi_held, "cross_held", silent)


def asgi_trailers_come_after_the_end(patch: pytest.MonkeyPatch) -> None:
    ends = _Held._ends
    patch.setattr(
        _Held,
        "_ends",
        lambda self, message: "trailers" not in message["type"] and ends(self, message),
    )


def asgi_headers_are_read_once(patch: pytest.MonkeyPatch) -> None:
    begun = _Held._begun

    def reading(self: Any, message: Any) -> Any:
        tuple(message["headers"])
        return begun(self, message)

    patch.setattr(_Held, "_begun", reading)


def asgi_ids_are_stamped_over(patch: pytest.MonkeyPatch) -> None:
    def over(headers: Any, stamp: Any) -> None:
        headers[:] = [*(field for field in headers if field[0] != stamp[0]), stamp]

    begun = _Held._begun

    def over_at_the_start(self: Any, message: Any) -> Any:
        stamp, self._stamp = self._stamp, None
        message = begun(self, message)
        self._stamp = stamp
        if stamp is not None:
            over(message["headers"], stamp)
        return message

    patch.setattr(_Held, "_begun", over_at_the_start)
    patch.setattr(_asgi_held, "add_stamp", over)
    patch.setattr(_stamping, "add_stamp", over)


def asgi_events_are_kept_from_the_application(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Any, receive: Any) -> Any:
        await receive()
        return {"type": "http.disconnect"}

    patch.setattr(Ending, "event_before", nothing)


#: By name; each is called with what undoes it. The first word says who has to find it.
FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    name: fault
    for name, fault in [*globals().items()]
    if getattr(fault, "__module__", None) == __name__ and name.startswith(("wsgi_", "asgi_"))
}
