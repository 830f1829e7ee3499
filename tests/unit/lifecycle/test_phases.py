from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from helpers.children import in_child
from helpers.clocks import FakeClocks

import ctxkit
from ctxkit.lifecycle import on_init, on_reset, on_thaw
from ctxkit.lifecycle.phases import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "shop"}


@pytest.fixture
def clocks() -> FakeClocks:
    return FakeClocks()


@pytest.fixture
def environment(clocks: FakeClocks, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    """The environment that hooks are registered for, on Lambda; this process serves, too."""
    environment = Environment(LAMBDA, clocks=clocks.as_clocks())
    monkeypatch.setattr("ctxkit.lifecycle.hooks.ENVIRONMENT", environment)
    yield environment
    environment._sentinel.stop()


def cross(environment: Environment, mode: str = "always") -> dict[str, object]:
    """Begin and end a request; return what its frame got."""
    known: dict[str, object] = {}
    environment.begun(known, mode)
    environment.ended()
    return known


def test_environment_before_any_request_is_in_its_init_phase(environment: Environment) -> None:
    assert environment.phase == "init"
    assert environment.cold
    assert not environment.restored
    assert environment.invocations == 0
    assert environment.freeze_gap is None


def test_environment_is_cold_until_its_first_request_has_ended(environment: Environment) -> None:
    environment.begun({}, "always")
    assert environment.cold
    assert environment.phase == "invoke"

    environment.ended()

    assert not environment.cold


def test_environment_tells_frames_of_cold_starts_where_the_host_makes_them(
    environment: Environment,
) -> None:
    assert cross(environment) == {"cold_start": True}
    assert cross(environment) == {"cold_start": False}
    assert cross(Environment({}), "never") == {}


@pytest.mark.parametrize(
    ("environ", "age", "cold"),
    [
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}, 9, True),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}, 11, False),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"}, 1, False),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"}, 1, False),
        ({"AWS_LAMBDA_MAX_CONCURRENCY": "16"}, 1, False),
        ({}, 11, False),
    ],
)
def test_environment_on_lambda_is_cold_if_a_client_waited_for_it(
    clocks: FakeClocks, environ: dict[str, str], age: float, *, cold: bool
) -> None:
    environment = Environment({**LAMBDA, **environ}, clocks=clocks.as_clocks())
    clocks.idle(age)

    environment.begun({}, "never")

    assert environment.cold is cold


def test_environment_elsewhere_is_cold_at_its_first_request_whenever_that_comes(
    clocks: FakeClocks,
) -> None:
    environment = Environment({"K_SERVICE": "shop"}, clocks=clocks.as_clocks())
    clocks.idle(60)

    environment.begun({}, "never")

    assert environment.cold


def test_environment_counts_requests_of_many_threads() -> None:
    environment = Environment({})
    threads = [
        threading.Thread(target=lambda: [cross(environment, "never") for _ in range(500)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert environment.invocations == 8 * 500


def test_environment_tells_how_long_the_process_stood_still(
    environment: Environment, clocks: FakeClocks
) -> None:
    cross(environment)
    assert environment.freeze_gap == 0.0

    clocks.idle(60)
    cross(environment)
    gap = environment.freeze_gap
    cross(environment)

    assert gap == pytest.approx(60, abs=0.2)
    assert environment.freeze_gap == 0.0


def test_environment_where_nothing_is_held_watches_nothing(clocks: FakeClocks) -> None:
    environment = Environment({}, clocks=clocks.as_clocks())
    cross(environment, "never")
    clocks.idle(60)
    cross(environment, "never")

    assert environment.freeze_gap is None
    assert not environment._sentinel.watching


def test_environment_whose_boundary_holds_is_watched_on_any_host(clocks: FakeClocks) -> None:
    environment = Environment({}, clocks=clocks.as_clocks())
    cross(environment, "always")

    assert environment._sentinel.watching
    environment._sentinel.stop()


def test_on_thaw_is_called_with_the_gap_before_the_request(
    environment: Environment, clocks: FakeClocks
) -> None:
    calls: list[tuple[str, float]] = []
    on_thaw(lambda gap: calls.append(("short", gap)))
    on_thaw(after=120)(lambda gap: calls.append(("long", gap)))
    cross(environment)

    clocks.idle(60)
    environment.begun({}, "always")
    first, calls[:] = calls[:], []
    clocks.idle(600)
    environment.begun({}, "always")

    assert [(name, round(gap)) for name, gap in first] == [("short", 60)]
    assert [(name, round(gap)) for name, gap in calls] == [("short", 600), ("long", 600)]


def test_on_thaw_that_fails_is_logged_and_disturbs_nobody(
    environment: Environment, clocks: FakeClocks, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[float] = []

    @on_thaw
    def fail(gap: float) -> None:
        raise OSError("no route")

    on_thaw(calls.append)
    cross(environment)
    clocks.idle(60)

    cross(environment)

    assert len(calls) == 1
    assert "ctxkit.thaw.failed" in caplog.text
    assert "no route" in caplog.text


def test_on_init_is_called_once_before_the_first_request(environment: Environment) -> None:
    calls: list[str] = []

    @on_init
    def load() -> None:
        calls.append(environment.phase)

    cross(environment)
    cross(environment)
    environment.initialise()

    assert calls == ["init"]


def test_on_init_makes_requests_that_come_meanwhile_wait(environment: Environment) -> None:
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    @on_init
    def load() -> None:
        begun.set()
        assert go_on.wait(10)
        order.append("init")

    def request() -> None:
        environment.begun({}, "always")
        order.append("request")

    threads = [threading.Thread(target=request) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join()

    assert order == ["init", "request", "request"]


def test_on_init_in_a_process_that_serves_already_is_called_at_once(
    environment: Environment,
) -> None:
    calls: list[str] = []
    environment.initialise()

    hook = on_init(lambda: calls.append("late"))
    on_init(hook.function)

    assert calls == ["late"]


def test_on_reset_is_called_at_the_end_of_each_request(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    cache = {"rate": 1.1}

    @on_reset
    def fail() -> None:
        raise ValueError("nothing to forget")

    on_reset(cache.clear)
    environment.begun({}, "always")
    assert cache

    environment.ended()

    assert not cache
    assert "ctxkit.reset.failed" in caplog.text


def test_environment_that_is_restored_is_cold_once_more_and_another(
    environment: Environment, clocks: FakeClocks
) -> None:
    cross(environment)
    before = environment.id
    clocks.idle(3600)

    environment.restore()

    assert (environment.phase, environment.cold, environment.restored) == ("init", True, True)
    assert environment.invocations == 0
    assert environment.id != before
    cross(environment)
    assert environment.freeze_gap == 0.0
    assert environment.restored
    assert not environment.cold


def test_environment_that_serves_again_after_a_shutdown_is_not_shut_down(
    environment: Environment,
) -> None:
    """Mangum ends a lifespan with each invocation."""
    cross(environment)
    environment.shut_down()
    assert environment.phase == "shutdown"

    cross(environment)

    assert environment.phase == "invoke"


def test_environment_is_logged_once_at_the_first_request(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "ctxkit"):
        cross(environment)
        cross(environment)

    [line] = [each.getMessage() for each in caplog.records]
    assert line == (
        "ctxkit.environment: aws-lambda, told by AWS_LAMBDA_FUNCTION_NAME=shop, "
        "cold, started 0.0 s ago; responses are held: always"
    )


def test_environment_knows_its_host_and_all_that_speaks_of_it() -> None:
    environment = Environment(
        {**LAMBDA, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", "HOME": "/", "VERCEL": ""}
    )

    assert environment.host == ("aws-lambda", "always", environment.evidence, "snap-start")
    assert (environment.name, environment.hold) == ("aws-lambda", "always")
    assert environment.evidence == "AWS_LAMBDA_FUNCTION_NAME=shop"
    assert environment.init_type == "snap-start"
    assert environment.marks == (
        "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start",
        "AWS_LAMBDA_FUNCTION_NAME=shop",
    )
    assert "init type snap-start" in repr(environment)


def test_environment_has_an_id_that_stays() -> None:
    environment = Environment({})

    assert re.fullmatch("[0-9a-f]{16}", environment.id)
    assert environment.id == environment.id
    assert environment.id != Environment({}).id


def test_environment_of_a_forked_child_begins_anew() -> None:
    mine = ctxkit.environment()
    mine.begun({}, "never")
    counted = mine.invocations

    def look() -> object:
        theirs = ctxkit.environment()
        before = (theirs.invocations, theirs.phase, theirs.pid == os.getpid())
        theirs.begun({}, "never")
        return (*before, theirs.invocations, theirs.id)

    *told, theirs_id = in_child(look)

    assert told == [0, "init", True, 1]
    assert theirs_id != mine.id
    assert mine.invocations == counted


def test_on_init_is_called_in_each_child_that_serves() -> None:
    """And not in a process that only forks those."""
    pids: list[int] = []
    on_init(lambda: pids.append(os.getpid()))
    pids.clear()  # this process serves

    def serve() -> object:
        ctxkit.environment().begun({}, "never")
        return (pids == [os.getpid()],)

    assert in_child(serve) == [True]
    assert in_child(serve) == [True]


def test_environment_that_was_forked_without_hooks_begins_anew_at_its_first_request(
    environment: Environment,
) -> None:
    """What uWSGI does, which forks in C."""
    cross(environment)
    environment.pid = -1
    environment.shut_down()

    cross(environment)

    assert environment.invocations == 1
    assert environment.pid == os.getpid()


def test_environment_notices_a_process_that_was_really_stopped() -> None:
    program = """
import signal, os, sys, ctxkit
environment = ctxkit.environment()
def request():
    environment.begun({}, "always"); environment.ended()
    print(environment.freeze_gap, flush=True)
request()
for line in sys.stdin:
    request()
"""
    import signal  # noqa: PLC0415 - only here
    import time  # noqa: PLC0415

    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert float(process.stdout.readline()) == 0.0
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write("\n")
        frozen = float(process.stdout.readline())
        process.stdin.close()
        process.wait(10)

    assert 0.6 < frozen < 30


def test_id_can_be_asked_for_by_whom_a_hook_waits_for() -> None:
    environment = ctxkit.environment()
    ids: list[str] = []

    def ask() -> None:
        ids.append(environment.id)

    with environment._lock:  # as while hooks run
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(10)
        assert ids == [environment.id]
