"""What goes to pools of processes and interpreters: values of keys that say so, and no more."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor as PlainExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from helpers.elsewhere import CALLBACK, LEFT, SINCE, TENANT, look, look_and_leave
from helpers.follow import run_script

from ctxkit import (
    ConfigurationError,
    InterpreterPoolExecutor,
    ProcessPoolExecutor,
    bind,
    run_in_executor,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

HERE = {TENANT: "acme", SINCE: 7, "private": "stays"}
THERE = {"tenant_elsewhere": "acme", "since_elsewhere": 7}

METHODS = [m for m in ("spawn", "fork") if m in multiprocessing.get_all_start_methods()]
# Forking where other tests have left threads is what Python warns of, from 3.12.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.fixture(scope="module", params=[*METHODS, "interpreters"])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "interpreters":
        if sys.version_info < (3, 14):
            pytest.skip("the executor came with Python 3.14")
        # They start with the path of the program, not with that of the tests.
        path = f"import sys; sys.path[:] = {sys.path!r}"
        made: Any = InterpreterPoolExecutor(1, initializer=exec, initargs=(path,))
    else:
        made = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(request.param))
    with made as running:
        with bind({TENANT: "first", "private": "of whoever made the pool grow"}):
            running.submit(int).result(50)
        yield running


def test_declared_values_go_along_and_no_others(pool: Executor) -> None:
    with bind(HERE):
        future = pool.submit(look)
    assert future.result(50) == (THERE, "unset")
    assert pool.submit(look).result(50) == ({}, "unset")


def test_jobs_on_one_worker_see_nothing_of_each_other(pool: Executor) -> None:
    with bind(HERE):
        assert [pool.submit(look_and_leave).result(50) for _ in range(3)] == [(THERE, "unset")] * 3
    assert LEFT.get() == "unset"


def test_map_takes_the_values_of_the_call(pool: Executor) -> None:
    with bind(HERE):
        results = pool.map(partial(look), [1, 2])
    assert list(results) == [(THERE, "unset")] * 2


def test_run_in_executor_takes_them_too(pool: Executor) -> None:
    async def main() -> object:
        with bind(HERE):
            return await run_in_executor(pool, look)

    assert asyncio.run(main()) == (THERE, "unset")


def test_plain_pool_of_processes_gets_them_by_run_in_executor() -> None:
    async def main() -> object:
        with (
            PlainExecutor(1, mp_context=multiprocessing.get_context("spawn")) as plain,
            bind(HERE),
        ):
            return await run_in_executor(plain, look)

    assert asyncio.run(main()) == (THERE, "unset")


def test_value_that_cannot_be_written_down_is_refused_at_the_submission(pool: Executor) -> None:
    with (
        bind({CALLBACK: lambda: None}),
        pytest.raises(ConfigurationError, match=r"callback_elsewhere.*dump= and load="),
    ):
        pool.submit(look)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="from Python 3.14 there is one")
def test_pool_of_interpreters_says_what_it_needs() -> None:
    with pytest.raises(ConfigurationError, match=r"Python 3\.14"):
        InterpreterPoolExecutor(1)


UNKNOWN = """
import multiprocessing, sys
import ctxkit

if __name__ == "__main__":
    key = ctxkit.Key("only_there", hops={"process"}, dump=str, load=int)
    context = multiprocessing.get_context("spawn")
    with ctxkit.ProcessPoolExecutor(1, mp_context=context) as pool, ctxkit.bind({key: 1}):
        print(pool.submit(int).exception(50))
"""


def test_worker_that_does_not_know_the_key_says_so(tmp_path: Any) -> None:
    program = tmp_path / "unknown.py"
    program.write_text(UNKNOWN)
    said = run_script(f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')")
    assert "Key('only_there') was sent here by another process" in said


@pytest.mark.skipif(sys.version_info < (3, 14), reason="map(buffersize=) came with Python 3.14")
def test_map_with_a_buffer_takes_the_values_of_the_call_not_of_the_reader(pool: Executor) -> None:
    options: dict[str, Any] = {"buffersize": 1}
    with bind(HERE):
        results = pool.map(look, range(4), **options)
    with bind({TENANT: "reader"}):
        assert list(results) == [(THERE, "unset")] * 4


KEYS = """
import ctxkit
TENANT = ctxkit.Key[str]("tenant_of_a_module", hops={"process"}, dump=str, load=str)
"""
JOB = """
import ctxkit
def look():
    return ctxkit.get("tenant_of_a_module")
"""
PROGRAM = """
import multiprocessing
import ctxkit

if __name__ == "__main__":
    import job, keys
    context = multiprocessing.get_context("spawn")
    with ctxkit.ProcessPoolExecutor(1, mp_context=context) as pool:
        with ctxkit.bind({keys.TENANT: "acme"}):
            print(pool.submit(job.look).result(50))
"""


def test_worker_imports_the_module_that_declares_the_key(tmp_path: Path) -> None:
    for name, source in (("keys", KEYS), ("job", JOB), ("program", PROGRAM)):
        (tmp_path / f"{name}.py").write_text(source)
    program = str(tmp_path / "program.py")
    path = f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r});"
    assert run_script(f"{path} runpy.run_path({program!r}, run_name='__main__')") == "acme\n"
