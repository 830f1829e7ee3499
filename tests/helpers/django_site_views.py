"""Views of the bare project: each exercises one promise of ctxkit."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import sentry_sdk
from django.core.signals import request_finished
from django.dispatch import receiver
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils import timezone, translation
from helpers import django_site_legacy as legacy
from opentelemetry import metrics, trace

import ctxkit
from ctxkit.django import current_request
from ctxkit.flushing import on_report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import TypeVar

    from django.http import HttpRequest

    T = TypeVar("T", bound=StreamingHttpResponse)

ctxkit.adopt("helpers.django_site_legacy", "state")

logger = logging.getLogger("site")
tracer = trace.get_tracer("site")
counter = metrics.get_meter("site").create_counter("site.requests")

_reports: list[ctxkit.FlushReport] = []
on_report(_reports.append)


# Land -----------------------------------------------------------------------------------


def _record(view: str) -> HttpResponse:
    """Leave one item of each kind behind, all marked with the request's id."""
    mark = str(ctxkit.get("request_id"))
    sentry_sdk.set_tag("mark", mark)
    sentry_sdk.capture_message(f"message {mark}")
    with tracer.start_as_current_span("inner", attributes={"mark": mark}):
        logger.info("log %s", mark)
    counter.add(1, {"mark": mark})
    return HttpResponse(f"{view} {mark}")


def land(request: HttpRequest) -> HttpResponse:
    return _record("sync")


async def aland(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return _record("async")


def fail(request: HttpRequest) -> HttpResponse:
    msg = f"failed {ctxkit.get('request_id')}"
    raise RuntimeError(msg)


def identity(request: HttpRequest, number: int) -> JsonResponse:
    return JsonResponse(
        {
            "request_id": ctxkit.get("request_id"),
            "client_request_id": ctxkit.get("client_request_id"),
            "method": ctxkit.get("method"),
            "path": ctxkit.get("path"),
            "route": ctxkit.get("route"),
            "same_request": current_request() is request,
        }
    )


def reports(request: HttpRequest) -> JsonResponse:
    """Tell what the flushes so far reported, oldest first."""
    told = [
        {
            "reason": report.reason,
            "seconds": report.seconds,
            "ok": report.ok,
            "sinks": {result.sink: str(result.status) for result in report.results},
        }
        for report in list(_reports)
    ]
    return JsonResponse({"reports": told})


# Stream ---------------------------------------------------------------------------------

_gates: dict[str, threading.Event] = {}
_closed: list[str] = []


def _gate(name: str) -> threading.Event:
    return _gates.setdefault(name, threading.Event())


def release(request: HttpRequest, name: str) -> HttpResponse:
    _gate(name).set()
    return HttpResponse("released")


def closed(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"closed": _closed})


def stream(request: HttpRequest, name: str) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        try:
            yield f"first {ctxkit.get('request_id')}\n"
            _gate(name).wait(20)
            yield f"last {ctxkit.get('request_id')}\n"
        finally:
            _closed.append(str(ctxkit.get("request_id")))
            logger.info("stream over %s", ctxkit.get("request_id"))

    return StreamingHttpResponse(body())


async def astream(request: HttpRequest, name: str) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        try:
            yield f"first {ctxkit.get('request_id')}\n"
            await asyncio.to_thread(_gate(name).wait, 20)
            yield f"last {ctxkit.get('request_id')}\n"
        finally:
            _closed.append(str(ctxkit.get("request_id")))
            logger.info("stream over %s", ctxkit.get("request_id"))

    return StreamingHttpResponse(body())


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))  # noqa: PTH123 - the response closes it


# Follow and forget ----------------------------------------------------------------------

LOCAL = ctxkit.Local()
_pool = ctxkit.ThreadPoolExecutor(max_workers=2)
_zones = {"fr": "Europe/Paris", "de": "Asia/Tokyo"}
_meetings: dict[str, threading.Barrier] = {}
_lock = threading.Lock()


def _meeting(name: str) -> threading.Barrier:
    with _lock:
        return _meetings.setdefault(name, threading.Barrier(2, timeout=15))


def _know(request: HttpRequest) -> tuple[str, str]:
    who = request.GET["who"]
    translation.activate(who)
    timezone.activate(_zones[who])
    LOCAL.who = who
    legacy.state.who = who
    return who, request.GET["meeting"]


def _seen() -> dict[str, object]:
    at_hand = current_request()
    return {
        "request_id": ctxkit.get("request_id"),
        "who": ctxkit.get("who"),
        "request": at_hand and at_hand.GET["who"],
        "language": translation.get_language(),
        "zone": timezone.get_current_timezone_name(),
        "local": getattr(LOCAL, "who", None),
        "adopted": getattr(legacy.state, "who", None),
    }


def _in_thread(kind: Callable[..., ctxkit.Thread | ctxkit.Timer]) -> dict[str, object]:
    found: list[dict[str, object]] = []
    thread = kind(lambda: found.append(_seen()))
    thread.start()
    thread.join(10)
    return found[0]


def _sync_carriers() -> dict[str, object]:
    propagated = ctxkit.propagate(_seen)
    found: list[dict[str, object]] = []
    plain = threading.Thread(target=lambda: found.append(propagated()))
    plain.start()
    plain.join(10)
    return {
        "here": _seen(),
        "submit": _pool.submit(_seen).result(10),
        "map": next(iter(_pool.map(lambda _: _seen(), [0]))),
        "thread": _in_thread(lambda target: ctxkit.Thread(target=target)),
        "timer": _in_thread(lambda target: ctxkit.Timer(0, target)),
        "propagate": found[0],
    }


def overlap(request: HttpRequest) -> JsonResponse:
    """Meet another request twice, with what each knows set in between."""
    who, meeting = _know(request)
    with ctxkit.bind(who=who):
        _meeting(meeting).wait()
        first = _sync_carriers()
        _meeting(meeting).wait()
        return JsonResponse({"first": first, "second": _sync_carriers()})


async def _ameet(name: str) -> None:
    await asyncio.get_running_loop().run_in_executor(None, _meeting(name).wait)


async def _aseen() -> dict[str, object]:
    await asyncio.sleep(0)
    return _seen()


async def _async_carriers() -> dict[str, object]:
    return {
        "here": _seen(),
        "task": await ctxkit.create_task(_aseen()),
        "to_thread": await ctxkit.to_thread(_seen),
        "run_in_executor": await ctxkit.run_in_executor(_pool, _seen),
        "submit": await asyncio.wrap_future(_pool.submit(_seen)),
    }


async def aoverlap(request: HttpRequest) -> JsonResponse:
    who, meeting = _know(request)
    with ctxkit.bind(who=who):
        await _ameet(meeting)
        first = await _async_carriers()
        await _ameet(meeting)
        return JsonResponse({"first": first, "second": await _async_carriers()})


# Streams, and what comes after them ----------------------------------------------------

_ends: dict[str, dict[str, object]] = {}


def _become(who: str) -> None:
    """Set what is known, and never set it back."""
    translation.activate(who)
    timezone.activate(_zones[who])
    LOCAL.who = who
    legacy.state.who = who
    ctxkit.bind(who=who).__enter__()


def _end(event: str) -> None:
    name = str(ctxkit.get("request_id"))
    ends = _ends.setdefault(name, {})
    ends[f"{event} again" if event in ends else event] = _seen()


@receiver(request_finished)
def _finished(**_: object) -> None:
    if str(ctxkit.get("request_id")).startswith("parted"):
        _end("request_finished")


class _Closer:
    def close(self) -> None:
        _end("resource closer")


def _ending(response: T) -> T:
    response._resource_closers.append(_Closer().close)
    return response


def _part() -> str:
    """Return what the part before left, and leave something else."""
    seen = _seen()
    _become("de" if seen["who"] == "fr" else "fr")
    return json.dumps(seen) + "\n"


def parted(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        try:
            for _ in range(3):
                yield _part()
        finally:
            _end("body")

    _become("fr")
    return _ending(StreamingHttpResponse(body()))


async def aparted(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        try:
            for _ in range(3):
                yield _part()
                await asyncio.sleep(0)
        finally:
            _end("body")

    _become("fr")
    return _ending(StreamingHttpResponse(body()))


def parted_file(request: HttpRequest) -> FileResponse:
    """Leave the body to the server: Django gives its own close() to the file for that."""
    _become("fr")
    return _ending(FileResponse(Path(__file__).open("rb")))


def ends(request: HttpRequest, name: str, count: int) -> JsonResponse:
    """Tell what a request saw after its last byte, when there is that much."""
    deadline = time.monotonic() + 10
    while len(_ends.get(name, {})) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return JsonResponse(_ends.get(name, {}))


def leftover(request: HttpRequest) -> JsonResponse:
    """Tell what a request finds that set nothing itself."""
    return JsonResponse(
        {
            "request_id": ctxkit.get("request_id"),
            "who": ctxkit.get("who"),
            "language": translation.get_language(),
            "zone": timezone.get_current_timezone_name(),
            "local": getattr(LOCAL, "who", None),
            "adopted": getattr(legacy.state, "who", None),
        }
    )


urlpatterns = [
    path("land", land),
    path("aland", aland),
    path("fail", fail),
    path("identity/<int:number>", identity),
    path("reports", reports),
    path("release/<name>", release),
    path("closed", closed),
    path("stream/<name>", stream),
    path("astream/<name>", astream),
    path("file", file),
    path("overlap", overlap),
    path("aoverlap", aoverlap),
    path("leftover", leftover),
    path("parted", parted),
    path("aparted", aparted),
    path("parted-file", parted_file),
    path("ends/<name>/<int:count>", ends),
]
