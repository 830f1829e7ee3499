from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from helpers.land import FakeSink

import ctxkit
from ctxkit import aws_lambda
from ctxkit.aws_lambda import installing
from ctxkit.aws_lambda.modes import chosen_mode, context_trusted
from ctxkit.boundary._shielded import finish_shielded
from ctxkit.boundary.crossing import Crossing
from ctxkit.boundary.hosting import HOST, meet_host
from ctxkit.boundary.options import BoundaryOptions, FlushMode
from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing import add_sink, on_report, remove_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

LambdaMode = aws_lambda.LambdaMode


class Context:
    aws_request_id = "id-1"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


@pytest.fixture
def sink() -> Iterator[FakeSink]:
    sink = FakeSink()
    add_sink(sink)
    yield sink
    remove_sink(sink)


@pytest.fixture
def flushes() -> Iterator[list[tuple[str, bool]]]:
    """The reasons of what was flushed, and whether it was waited for."""
    found: list[tuple[str, bool]] = []
    remove = on_report(lambda report: found.append((report.reason, report.budget > 0)))
    yield found
    remove()


@ctxkit.flush_before_return
def handler(event: Any, context: Any) -> Any:
    if event == "raise":
        raise ValueError("no coffee")
    if event == "exit":
        raise SystemExit
    return event


def test_mode_is_return_unless_said_otherwise() -> None:
    assert chosen_mode(None, {}) is LambdaMode.RETURN
    assert chosen_mode(None, {"CTXKIT_LAMBDA_MODE": ""}) is LambdaMode.RETURN
    assert chosen_mode(None, {"CTXKIT_LAMBDA_MODE": "exact"}) is LambdaMode.EXACT
    assert chosen_mode("extension", {"CTXKIT_LAMBDA_MODE": "exact"}) is LambdaMode.EXTENSION


@pytest.mark.parametrize(("given", "setting"), [("often", "mode"), (None, "CTXKIT_LAMBDA_MODE")])
def test_mode_that_is_none_is_an_error_that_names_where_it_stands(
    given: str | None, setting: str
) -> None:
    with pytest.raises(ConfigurationError, match="return, exact, extension") as told:
        chosen_mode(given, {"CTXKIT_LAMBDA_MODE": "often"})
    assert told.value.setting == setting


def test_trust_in_the_context_header_is_a_yes_or_a_no() -> None:
    assert not context_trusted({})
    assert context_trusted({"CTXKIT_TRUST_LAMBDA_CONTEXT": "Yes"})
    with pytest.raises(ConfigurationError, match="must be 1 or 0"):
        context_trusted({"CTXKIT_TRUST_LAMBDA_CONTEXT": "perhaps"})


@pytest.mark.parametrize("boundary", ["flush_before_return", "ASGIMiddleware", "WSGIMiddleware"])
def test_wrong_variable_is_told_when_the_boundary_is_made(
    monkeypatch: pytest.MonkeyPatch, boundary: str
) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API")
    monkeypatch.setenv("CTXKIT_LAMBDA_MODE", "often")
    HOST.restart()
    with pytest.raises(ConfigurationError, match="CTXKIT_LAMBDA_MODE must be one of"):
        getattr(ctxkit, boundary)(print)


def test_variable_is_heeded_by_the_first_boundary(
    monkeypatch: pytest.MonkeyPatch, client: Any, runtime: Any
) -> None:
    monkeypatch.setenv("CTXKIT_LAMBDA_MODE", "exact")
    HOST.restart()
    ctxkit.flush_before_return(print)
    assert runtime() is not client


@pytest.mark.parametrize("chosen", [False, True])
def test_variable_that_is_set_later_is_heeded_at_the_end_of_the_initialisation(
    monkeypatch: pytest.MonkeyPatch, client: Any, runtime: Any, *, chosen: bool
) -> None:
    """Unless a mode was chosen: by a module that reads a file of variables, say."""

    class LambdaRuntimeClient:
        def wait_next_invocation(self) -> Any:
            return runtime().next()

    module: Any = sys.modules["awslambdaric.lambda_runtime_client"]
    module.LambdaRuntimeClient = LambdaRuntimeClient
    wait = LambdaRuntimeClient.wait_next_invocation
    monkeypatch.setattr(installing, "_chosen", False)
    HOST.restart()
    ctxkit.flush_before_return(print)
    if chosen:
        aws_lambda.install("return")
    monkeypatch.setenv("CTXKIT_LAMBDA_MODE", "exact")
    assert runtime() is client
    LambdaRuntimeClient().wait_next_invocation()
    assert (runtime() is client) is chosen
    assert LambdaRuntimeClient.wait_next_invocation is wait


def test_process_that_is_not_on_lambda_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, client: Any, runtime: Any
) -> None:
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API")
    assert aws_lambda.install("exact", watchdog=True) is LambdaMode.RETURN
    assert runtime() is client


def test_default_mode_touches_nothing(client: Any, runtime: Any) -> None:
    meet_host()
    assert aws_lambda.install() is LambdaMode.RETURN
    assert runtime() is client


def test_exact_mode_flushes_once_right_before_the_answer(
    client: Any, runtime: Any, sink: FakeSink, flushes: list[tuple[str, bool]]
) -> None:
    assert aws_lambda.install("exact") is LambdaMode.EXACT
    sink.work = lambda: client.log.append("flushed") or True
    runtime().next()
    handler("hello", Context())
    assert flushes == []
    runtime().post_invocation_result("id-1", b"hello", "application/json")
    assert flushes == [("response", True)]
    assert client.log[1:] == ["flushed", ("result", ("id-1", b"hello", "application/json"), {})]


def test_exact_mode_flushes_before_an_error_too_and_passes_on_what_posting_raises(
    client: Any, runtime: Any, sink: FakeSink, flushes: list[tuple[str, bool]]
) -> None:
    aws_lambda.install("exact")
    runtime().next()
    with pytest.raises(ValueError, match="no coffee"):
        handler("raise", Context())
    runtime().post_error("id-1", "{}", "{}")
    assert flushes == [("response", True)]
    client.broken = True
    runtime().next()
    with pytest.raises(RuntimeError, match="413"):
        runtime().post_invocation_result("id-2", b"")
    assert len(flushes) == 2


def test_timeout_of_the_boundary_is_the_budget_of_the_exact_flush(
    client: Any, runtime: Any, sink: FakeSink
) -> None:
    aws_lambda.install("exact")
    quick = ctxkit.flush_before_return(timeout=0.25)(print)
    runtime().next()
    quick("hello", Context())
    runtime().post_invocation_result("id-1", b"")
    assert sink.timeouts == [0.25]


def test_timeout_of_the_boundary_counts_for_what_wrappers_record_after_it(
    client: Any, runtime: Any, sink: FakeSink
) -> None:
    aws_lambda.install("exact")
    quick = ctxkit.flush_before_return(timeout=0.25)(print)
    runtime().next()
    sink.waiting = 0
    quick("hello", Context())
    sink.waiting = 1
    runtime().post_invocation_result("id-1", b"")
    assert sink.timeouts == [0.25]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_idle_response_is_left_to_the_flush_of_the_invocation_too(
    client: Any,
    runtime: Any,
    sink: FakeSink,
    flushes: list[tuple[str, bool]],
    *,
    asynchronous: bool,
) -> None:
    aws_lambda.install("exact")
    runtime().next()
    call = Crossing({}, BoundaryOptions(FlushMode.IDLE), {}, "r", None, None, None)
    if asynchronous:
        asyncio.run(finish_shielded(call, "response"))
    else:
        call.finish("response")
    assert flushes == []
    runtime().post_invocation_result("id-1", b"")
    assert flushes == [("response", True)]


def test_handler_that_ends_the_process_flushes_by_itself(
    client: Any, runtime: Any, sink: FakeSink, flushes: list[tuple[str, bool]]
) -> None:
    aws_lambda.install("exact")
    runtime().next()
    with pytest.raises(SystemExit):
        handler("exit", Context())
    assert flushes == [("exception", True)]


def test_function_that_no_event_has_called_flushes_by_itself(
    client: Any, sink: FakeSink, flushes: list[tuple[str, bool]]
) -> None:
    aws_lambda.install("exact")
    handler("hello", Context())
    assert flushes == [("return", True)]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_flushes_by_itself(
    client: Any, runtime: Any, sink: FakeSink, flushes: list[tuple[str, bool]]
) -> None:
    """No answer leaves from there."""
    aws_lambda.install("exact")
    runtime().next()
    child = os.fork()
    if not child:
        try:
            handler("hello", Context())
            os._exit(0 if flushes == [("return", True)] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_answers_that_do_not_pass_end_the_mode_and_nothing_is_late(
    client: Any,
    runtime: Any,
    sink: FakeSink,
    flushes: list[tuple[str, bool]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An awslambdaric that posts in another way."""
    aws_lambda.install("exact")
    for _ in range(2):
        runtime().next()
        handler("hello", Context())
        client.post_invocation_result("id-1", b"")
    runtime().next()
    assert flushes == [("response", True), ("return", True)]
    assert [r.message for r in caplog.records if "ctxkit.lambda.mode" in r.message].__len__() == 1


@pytest.mark.parametrize(
    ("module", "problem"),
    [(None, "does not run in this process"), (object(), "has no next, post_invocation_result")],
)
def test_mode_that_is_not_possible_is_return_and_a_warning(
    monkeypatch: pytest.MonkeyPatch,
    client: Any,
    caplog: pytest.LogCaptureFixture,
    module: Any,
    problem: str,
) -> None:
    if module is None:
        monkeypatch.delitem(sys.modules, "awslambdaric.lambda_runtime_client")
    else:
        sys.modules["awslambdaric.lambda_runtime_client"].runtime_client = module  # type: ignore[attr-defined]
    assert aws_lambda.install("exact") is LambdaMode.RETURN
    [record] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert problem in record.message


def test_extension_that_cannot_be_registered_is_return_and_a_warning(
    client: Any, runtime: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert aws_lambda.install("extension") is LambdaMode.RETURN
    assert "no extension could be registered" in caplog.text
    assert runtime() is client


def test_extension_is_not_registered_under_snap_start(
    monkeypatch: pytest.MonkeyPatch, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("snapshot_restore_py")
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    assert aws_lambda.install("extension") is LambdaMode.RETURN
    assert "uses SnapStart" in caplog.text


def test_snap_start_without_its_hooks_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the Web Adapter: the application has to start all the same."""
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    monkeypatch.delitem(sys.modules, "ctxkit.aws_lambda.snapstart", raising=False)
    monkeypatch.delattr(aws_lambda, "snapstart", raising=False)
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    HOST.restart()
    ctxkit.flush_before_return(print)
    assert "ctxkit.lambda.snapstart" in caplog.text


def test_managed_instance_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
    client: Any,
    runtime: Any,
    sink: FakeSink,
    flushes: list[tuple[str, bool]],
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_MAX_CONCURRENCY", "4")
    assert aws_lambda.install("exact") is LambdaMode.RETURN
    assert runtime() is client
    ctxkit.flush_before_return(print)("hello", Context())
    assert flushes == []


@pytest.fixture(params=[False, True])
def managed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Be on a Managed Instance, or not."""
    if request.param:
        monkeypatch.setenv("AWS_LAMBDA_MAX_CONCURRENCY", "4")
    return bool(request.param)


def test_leftovers_are_named_unless_the_process_goes_on(
    client: Any, caplog: pytest.LogCaptureFixture, *, managed: bool
) -> None:
    go_on = threading.Event()
    threads = [ctxkit.Thread(target=go_on.wait, name="poller")]

    @ctxkit.flush_before_return
    def handler(event: Any, context: Any) -> None:
        threads[0].start()

    handler({}, Context())
    go_on.set()
    threads[0].join()
    assert ("poller" in caplog.text) is not managed


def test_log_line_of_the_environment_says_whether_answers_are_held(
    client: Any, caplog: pytest.LogCaptureFixture, *, managed: bool
) -> None:
    with caplog.at_level(logging.INFO, "ctxkit"):
        ctxkit.flush_before_return(lambda event, context: None)({}, Context())
    held = "never" if managed else "always"
    assert f"responses are held: {held}" in caplog.text
    assert (ctxkit.environment().freeze_gap is None) is managed


def test_uninstall_puts_the_client_back(client: Any, runtime: Any) -> None:
    aws_lambda.install("exact")
    assert runtime().initialize_client("me") == "me"
    aws_lambda.install("exact")
    assert runtime().real is client
    aws_lambda.uninstall()
    aws_lambda.uninstall()
    assert runtime() is client


def test_own_drains_of_sdks_wait_for_nothing_within_an_invocation(
    monkeypatch: pytest.MonkeyPatch, client: Any, runtime: Any
) -> None:
    from types import ModuleType  # noqa: PLC0415 - of this test

    drained: list[str] = []
    sentry: Any = ModuleType("sentry_sdk.integrations.aws_lambda")
    sentry._drain_queue = lambda: drained.append("sentry")
    otel: Any = ModuleType("opentelemetry.instrumentation.aws_lambda")
    provider = type("Provider", (), {"force_flush": lambda *_: drained.append("otel")})()
    otel.get_tracer_provider = lambda: provider
    for module in (sentry, otel):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    aws_lambda.install("exact")
    for _ in range(2):
        runtime().next()
        sentry._drain_queue()
        otel.get_tracer_provider().force_flush(30_000)
        runtime().post_invocation_result("id", b"")
    assert drained == []
    sentry._drain_queue()
    otel.get_tracer_provider().force_flush(30_000)
    assert drained == ["sentry", "otel"]


def test_watchdog_tells_where_the_handler_is_and_sends_what_is_finished(
    client: Any, runtime: Any, sink: FakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Event()
    remove = on_report(lambda report: told.set() if report.reason == "deadline" else None)
    aws_lambda.install("return", watchdog=True)
    client.remaining = 0.9
    runtime().next()
    assert told.wait(10)
    remove()
    assert "ctxkit.lambda.deadline: id-1 has 0.4 s left" in caplog.text
    assert "told.wait" in caplog.text


def test_watchdog_is_off_once_the_mode_was_chosen_anew(
    client: Any, runtime: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client.remaining = 0.9
    for choose in (lambda: aws_lambda.install("exact", watchdog=False), aws_lambda.uninstall):
        aws_lambda.install("exact")
        runtime().next()
        choose()
    time.sleep(0.7)  # both alarms would have been due
    assert "ctxkit.lambda.deadline" not in caplog.text


def test_sigterm_handler_that_is_there_is_called_after_the_flush(
    client: Any, sink: FakeSink, flushes: list[tuple[str, bool]]
) -> None:
    seen: list[list[tuple[str, bool]]] = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(list(flushes)))
    try:
        aws_lambda.install("exact", sigterm=True)
        os.kill(os.getpid(), signal.SIGTERM)
        assert ("shutdown", True) in seen[0]
        ours = signal.getsignal(signal.SIGTERM)
        aws_lambda.install("exact", sigterm=True)
        assert signal.getsignal(signal.SIGTERM) is ours  # and not twice the wait
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        aws_lambda.install("exact", sigterm=True)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_is_left_alone_by_default(client: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    aws_lambda.install("exact")
    assert signal.getsignal(signal.SIGTERM) is before
