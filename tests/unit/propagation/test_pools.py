from __future__ import annotations

import gc
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor as PlainExecutor
from contextvars import ContextVar
from itertools import count
from threading import Event
from typing import Any

import pytest
from helpers.follow import run_script

from ctxkit import ThreadPoolExecutor, bind, get

VAR: ContextVar[str] = ContextVar("var", default="unset")


def _swap(value: str) -> str:
    before = VAR.get()
    VAR.set(value)
    return before


def test_submit_runs_in_the_context_of_the_submission() -> None:
    with ThreadPoolExecutor(1) as pool:
        for tenant in ("alice", "bob"):
            with bind(tenant=tenant):
                future = pool.submit(get, "tenant", "default")
            assert future.result(10) == tenant
        assert pool.submit(get, "tenant", "default").result(10) == "default"
    assert isinstance(pool, PlainExecutor)


def test_submit_captures_even_if_the_worker_is_busy() -> None:
    go = Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(go.wait, 10)
        with bind(tenant="alice"):
            future = pool.submit(get, "tenant")
        go.set()
        assert future.result(10) == "alice"


def test_jobs_see_nothing_of_each_other_nor_the_submitter_of_them() -> None:
    VAR.set("submitter")
    with ThreadPoolExecutor(1) as pool:
        seen = [pool.submit(_swap, "job").result(10) for _ in range(3)]
    assert seen == ["submitter"] * 3
    assert VAR.get() == "submitter"
    VAR.set("unset")


def test_map_runs_in_the_context_of_the_call() -> None:
    with ThreadPoolExecutor(2) as pool:
        with bind(tenant="alice"):
            results = pool.map(lambda number: (number, get("tenant")), range(3))
        assert list(results) == [(0, "alice"), (1, "alice"), (2, "alice")]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="map(buffersize=) came with Python 3.14")
def test_map_with_a_buffer_runs_in_the_context_of_the_call_not_of_the_reader() -> None:
    with ThreadPoolExecutor(1) as pool:
        with bind(tenant="alice"):
            results = pool.map(lambda _: get("tenant"), range(5), buffersize=1)
        with bind(tenant="bob"):
            assert list(results) == ["alice"] * 5


def test_error_comes_out_as_the_very_object() -> None:
    error = LookupError()

    def fail() -> None:
        raise error

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(fail).exception(10) is error


class Request: ...


def test_idle_worker_and_kept_future_keep_nothing_of_the_submitter() -> None:
    def fail() -> None:
        raise LookupError

    with ThreadPoolExecutor(1) as pool:
        kept: list[Any] = []
        gone: list[Any] = []
        for job in (get, fail):
            request = Request()
            gone.append(weakref.ref(request))
            with bind(request=request):
                kept.append(pool.submit(job, *(["nothing"] if job is get else [])))
            del request
        kept[1].exception(10)
        pool.submit(get, "nothing").result(10)
        gc.collect()
        assert [each() for each in gone] == [None, None]


def test_shutdown_pool_refuses() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(get, "tenant")


def test_initializer_runs_in_an_empty_context_and_is_not_seen_by_jobs() -> None:
    seen: list[Any] = []

    def initializer() -> None:
        seen.append((get("tenant"), VAR.get()))
        VAR.set("initialised")

    with bind(tenant="alice"), ThreadPoolExecutor(1, initializer=initializer) as pool:
        assert pool.submit(VAR.get).result(10) == "unset"
    assert seen == [(None, "unset")]


WORKER = """
import gc, threading, weakref
import ctxkit
from ctxkit import ThreadPoolExecutor

class Request: ...

bases = []

def initializer():
    bases.append(ctxkit.get("request"))

with ThreadPoolExecutor(1, initializer=initializer) as pool:
    request = Request()
    gone = weakref.ref(request)
    with ctxkit.bind(request=request):
        pool.submit(ctxkit.get, "request").result()
    del request
    pool.submit(print, end="").result()
    gc.collect()
    assert bases == [None], bases
    assert gone() is None
print("ok")
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the flag came with Python 3.14")
def test_worker_starts_empty_where_threads_inherit_the_context() -> None:
    assert run_script(WORKER, options=("-X", "thread_inherit_context=1")) == "ok\n"


def test_many_submitters_at_once_never_see_each_other() -> None:
    numbers = count()
    with ThreadPoolExecutor(4) as pool, PlainExecutor(4) as submitters:

        def submitter(tenant: str) -> set[Any]:
            with bind(tenant=tenant):
                futures = [pool.submit(get, "tenant") for _ in range(100)]
                next(numbers)
                return {future.result(10) for future in futures}

        tenants = [f"tenant{number}" for number in range(8)]
        seen = list(submitters.map(submitter, tenants))
    assert seen == [{tenant} for tenant in tenants]
