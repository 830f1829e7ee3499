"""The modes of the AWS Lambda room, under the real awslambdaric, really frozen."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("awslambdaric")
pytest.importorskip("sentry_sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from helpers.frozen import in_turn
from helpers.lambda_hosts import all_landed, landed, named, running
from helpers.uncovered import UNCOVERED

INVOCATIONS = 30
LATENCY = 0.05
#: What the client may wait longer in extension mode. The machine of a CI is somebody else's
#: too: one run of so many has to keep it. All have to land everything.
PROMISED = 0.005
TRIES = 3


@pytest.mark.parametrize("mode", ["return", "exact"])
def test_mode_has_everything_landed_when_the_client_has_its_answer(mode: str) -> None:
    with running("handler", mode) as (function, sink):
        for n in range(5):
            result = function.invoke({"n": n})
            assert not result.failed, function.output()
            assert len(landed(sink, n, result.times.complete)) == 2
        assert function.extensions == ()


def test_extension_mode_lands_everything_after_the_answer_at_no_cost_for_the_client() -> None:
    """Beside a function that flushes nothing, in one run: the medians are as good as equal."""
    none = {"CTXKIT_LAMBDA_MODE": None}
    with (
        running("handler", "extension", latency=LATENCY) as (function, sink),
        running("plain", env=none, freeze=False) as (reference, _),
    ):
        for run in range(TRIES):
            ours, theirs = [], []
            for n in range(run * INVOCATIONS, (run + 1) * INVOCATIONS):
                result = function.invoke({"n": n})
                assert all_landed(sink, n, result), f"{n}: {function.output()}"
                assert len(landed(sink, n, result.times.complete)) < 2
                ours.append(result.times.latency)
                theirs.append(reference.invoke({"n": n}).times.latency)
            added = statistics.median(a - b for a, b in zip(ours, theirs, strict=True))
            if added < PROMISED:
                break
        assert function.extensions == ("ctxkit",)
    assert added < PROMISED, f"{added * 1000:.1f} ms added"


def test_extension_mode_flushes_what_a_failed_handler_recorded() -> None:
    with running("handler", "extension") as (function, sink):
        result = function.invoke({"n": 0, "raise": "no coffee"})
        assert result.failed
        assert all_landed(sink, 0, result)


def test_handler_that_ends_the_process_flushes_before_it() -> None:
    """No answer is ever posted then, so nobody else would."""
    with running("handler", "extension") as (function, sink):
        with pytest.raises(RuntimeError, match="exit code 3"):
            function.invoke({"n": 0, "exit": True})
        assert len(landed(sink, 0, time.time())) == 2


def test_extension_thread_that_is_killed_has_a_successor_and_nothing_is_late() -> None:
    with running("handler", "extension", env=UNCOVERED) as (function, sink):
        pid = function.pid
        for n in range(6):
            result = function.invoke({"n": n, **({"kill": "once"} if n in (1, 3) else {})})
            assert all_landed(sink, n, result), f"{n}: {function.output()}"
            assert result.times.stopped - result.times.complete < 2
        assert result.payload["threads"] == 1
        assert function.pid == pid
        assert "ctxkit.lambda.extension_replaced" in function.output()


def test_extension_thread_that_cannot_be_replaced_leaves_the_flush_to_the_boundary() -> None:
    with running("handler", "extension", env=UNCOVERED) as (function, sink):
        pid = function.pid
        for n in range(5):
            result = function.invoke({"n": n, **({"kill": "for good"} if n == 1 else {})})
            assert all_landed(sink, n, result), f"{n}: {function.output()}"
            if n > 2:
                assert len(landed(sink, n, result.times.complete)) == 2
        assert function.pid == pid


def test_extension_that_is_held_up_is_replaced_before_the_function_times_out() -> None:
    with running("handler", "extension") as (function, sink):
        pid = function.pid
        result = function.invoke({"n": 0, "hold": True}, timeout=1.5)
        assert result.times.stopped is not None
        assert result.times.latency < 1
        assert all_landed(sink, 1, function.invoke({"n": 1}))
        assert function.pid == pid


def test_hung_sink_costs_the_client_nothing_and_the_environment_one_budget() -> None:
    env: dict[str, str | None] = {"CTXKIT_FLUSH_TIMEOUT": "0.3"}
    with running("handler", "extension", env=env) as (function, sink):
        function.invoke({"n": 0})
        sink.behaviour = "hang"
        for n in (1, 2, 3):
            result = function.invoke({"n": n})
            assert result.times.stopped is not None
            assert result.times.latency < 0.25
            assert result.times.stopped - result.times.complete < 0.6


def test_function_that_times_out_has_said_where_and_sent_what_was_finished() -> None:
    with running("handler", "extension") as (function, sink):
        pid = function.pid
        with pytest.raises(TimeoutError, match=r"ctxkit\.lambda\.deadline") as told:
            function.invoke({"n": 0, "sleep": 60}, timeout=1.5)
        assert "has 0.4 s left" in str(told.value)
        assert "time.sleep(event.get" in str(told.value)
        sink.wait_for(lambda item: item.name == "span 0")
        sink.wait_for(lambda item: item.name == "event 0")
        result = function.invoke({"n": 1})
        assert result.payload["pid"] != pid
        assert all_landed(sink, 1, result)


def test_answer_that_comes_at_the_last_moment_is_flushed_and_the_alarm_was_raised() -> None:
    """When the extension has given it up already: half a second before the deadline."""
    with running("handler", "extension") as (function, sink):
        result = function.invoke({"n": 0, "sleep": 4.3}, timeout=4.65)
        assert all_landed(sink, 0, result)
        assert "ctxkit.lambda.deadline" in function.output()
        time.sleep(0.5)  # until it would have been replaced, were it not frozen
        assert all_landed(sink, 1, function.invoke({"n": 1}))
        assert "ctxkit.lambda.extension_replaced" not in function.output()


def test_refused_extension_leaves_the_flush_to_the_boundary_and_warns_once() -> None:
    with running("handler", "extension", setup="taken") as (function, sink):
        for n in range(2):
            result = function.invoke({"n": n})
            assert len(landed(sink, n, result.times.complete)) == 2
        assert function.output().count("ctxkit.lambda.mode") == 1
        assert "AlreadyRegistered" in function.output()


@pytest.mark.parametrize("mode", ["exact", "extension"])
def test_mode_flushes_last_beside_the_wrappers_of_sdks(mode: str) -> None:
    pytest.importorskip("opentelemetry.instrumentation.aws_lambda")
    pytest.importorskip("aws_lambda_powertools")
    setup = "sentry opentelemetry powertools"
    with running("wrapped", mode, setup=setup) as (function, sink):
        for n in range(4):
            asked = time.time()
            result = function.invoke({"n": n})
            assert not result.failed, result
            assert all_landed(sink, n, result)
            # What the wrappers record when the handler has returned.
            end = result.times.complete if mode == "exact" else result.times.stopped
            kept = [item for item in sink.items if item.acknowledged <= (end or 0)]
            assert sum(item.kind == "sentry.transaction" for item in kept) == n + 1
            assert sum(item.kind == "otel.span" for item in kept) == 2 * (n + 1)
        if mode == "exact":
            # Not Sentry's drain, OpenTelemetry's flush and ours, one after the other.
            assert in_turn([item for item in kept if item.arrived > asked]) < 3
        else:
            assert any(item.acknowledged > result.times.complete for item in kept)


@pytest.mark.parametrize("mode", ["exact", "extension"])
def test_dead_sink_beside_the_wrappers_of_sdks_costs_one_budget(mode: str) -> None:
    pytest.importorskip("opentelemetry.instrumentation.aws_lambda")
    setup = "sentry opentelemetry"
    env: dict[str, str | None] = {"CTXKIT_FLUSH_TIMEOUT": "0.4"}
    with running("wrapped", mode, setup=setup, env=env) as (function, sink):
        function.invoke({"n": 0})
        sink.behaviour = "hang"
        for n in (1, 2):
            result = function.invoke({"n": n})
            assert result.times.latency < 1.2  # Sentry's drain alone would be 2 s
            assert result.times.stopped is not None


@pytest.mark.parametrize("mode", ["return", "extension"])
def test_coroutine_handler_runs_in_one_loop_for_all_invocations(mode: str) -> None:
    with running("coroutine", mode) as (function, sink):
        results = [function.invoke({"n": n}) for n in range(3)]
        assert not any(result.failed for result in results), results
        assert len({result.payload["loop"] for result in results}) == 1
        assert len({result.payload["id"] for result in results}) == 3
        assert all(all_landed(sink, n, result) for n, result in enumerate(results))


def test_coroutine_that_a_handler_runs_by_itself_stays_a_coroutine() -> None:
    with running("calls_coroutine") as (function, sink):
        result = function.invoke({"n": 0})
        assert not result.failed, result
        assert all_landed(sink, 0, result)


@pytest.mark.parametrize("mode", ["return", "extension"])
def test_mangum_lands_everything_and_its_lifespan_costs_nothing(mode: str) -> None:
    pytest.importorskip("mangum")
    with running("web", mode, setup="web") as (function, sink):
        for n in range(4):
            exchange = function.request("GET", f"/?n={n}")
            assert exchange.status == 200, function.output()
            assert exchange.times.stopped is not None
            assert len(landed(sink, n, exchange.times.stopped)) == 2
        if mode == "extension":
            assert len(landed(sink, n, exchange.times.complete)) < 2


def test_end_of_the_environment_is_seen_and_used_to_flush() -> None:
    env = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.13", **UNCOVERED}
    with running("handler", "return", setup="sigterm parting", env=env) as (function, sink):
        function.invoke({"n": 0})
        assert function.shutdown(grace=10) == 0
        assert named(sink, "sentry.event")[-1].name == "parting"


def test_managed_instance_holds_no_answer() -> None:
    pytest.importorskip("awslambdaric.lambda_multi_concurrent_utils")
    with running("handler", "extension", latency=0.3, concurrency=2) as (function, sink):
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(function.invoke, [{"n": 0}, {"n": 1}]))
        assert not any(result.failed for result in results), results
        for result in (function.invoke({"n": n}) for n in (2, 3)):
            assert result.times.latency < 0.25
        sink.wait_for(lambda item: item.kind == "sentry.event", count=4)
        assert function.extensions == ()
