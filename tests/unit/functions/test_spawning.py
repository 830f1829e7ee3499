"""Spawning: values go along, the lifetime does not."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.exceptions import (
    ConfigurationError,
    DuplicateName,
    EngineUnavailable,
    FunctionNotFound,
    MissingContext,
    PoolFull,
)
from ctxkit.functions import call_sent
from ctxkit.functions.spawning import (
    EmbeddedEngine,
    Work,
    add_engine,
    embedded,
    engines,
    set_engine,
)
from ctxkit.lifecycle.phases import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

TENANT = ctxkit.Key[str]("tenant_that_is_spawned", hops={"thread", "wire"})
THEIRS: ContextVar[str] = ContextVar("theirs", default="empty")

gate = threading.Event()


@ctxkit.function
def seen(order: Any) -> dict[str, Any]:
    return {
        "order": order,
        "tenant": TENANT.get("none"),
        "local": ctxkit.get("local"),
        "remaining": ctxkit.remaining(),
        "protocol": ctxkit.get("protocol"),
        "invocation": ctxkit.get("invocation"),
        "theirs": THEIRS.get(),
        "id": ctxkit.get("request_id"),
    }


@ctxkit.function
async def aseen(order: Any) -> Any:
    await asyncio.sleep(0)
    return order, TENANT.get("none")


@ctxkit.function
def waits() -> None:
    THEIRS.set("left behind")
    assert gate.wait(10)


@ctxkit.function
def fails() -> None:
    raise ValueError("out of beans")


@ctxkit.function(requires=["tenant_that_is_spawned"])
def requiring() -> Any:
    return TENANT.get()


class Recording:
    """An engine that keeps what it is sent."""

    name = "recording"

    def __init__(self) -> None:
        self.sent: list[Work] = []

    def send(self, work: Work) -> str:
        self.sent.append(work)
        return "handle"

    async def asend(self, work: Work) -> str:
        return self.send(work)


@pytest.fixture(autouse=True)
def engine() -> Generator[EmbeddedEngine]:
    before = dict(engines._engines.known), engines._engines.default
    made = EmbeddedEngine(workers=1, buffer=1)
    set_engine(made)
    gate.clear()
    yield made
    gate.set()
    made.close()
    engines._engines.known, engines._engines.default = before


@pytest.mark.rule("F-28")
def test_spawned_call_has_the_values_that_go_on_wires_and_nothing_else(engine: Any) -> None:
    THEIRS.set("caller")

    @ctxkit.interceptor
    def limited(call: ctxkit.Call) -> Any:
        return (yield call.replace(deadline=ctxkit.Deadline.after(60)))

    @ctxkit.function(interceptors=[limited])
    def caller() -> Any:
        return seen.spawn(7)

    with ctxkit.bind(tenant_that_is_spawned="acme", local="here", request_id="abc"):
        told = caller().result(10)
    assert told == {
        "order": 7,
        "tenant": "acme",
        "local": None,
        "remaining": None,
        "protocol": "task",
        "invocation": f"{__name__}:seen",
        "theirs": "empty",
        "id": "abc",
    }


@pytest.mark.rule("F-28")
def test_spawned_call_goes_on_when_its_caller_has_ended(engine: Any) -> None:
    with ctxkit.invocation("request", mode="always", leftovers="cancel"):
        future = waits.spawn()
    assert not future.done()
    gate.set()
    assert future.result(10) is None
    assert seen.spawn(1).result(10)["theirs"] == "empty"


def test_values_of_using_go_along(engine: Any) -> None:
    assert seen.using({TENANT: "x"}).spawn(1).result(10)["tenant"] == "x"


def test_coroutine_function_runs_in_a_loop_of_its_own(engine: Any) -> None:
    with ctxkit.bind({TENANT: "acme"}):
        assert aseen.spawn([1]).result(10) == ([1], "acme")

        async def main() -> Any:
            future = await aseen.aspawn(2)
            return await asyncio.wrap_future(future)

        assert asyncio.run(main()) == (2, "acme")


def test_arguments_are_what_any_engine_would_hand_over(engine: Any) -> None:
    given = [1]
    future = seen.spawn(given)
    given.append(2)
    assert future.result(10)["order"] == [1]
    with pytest.raises(ConfigurationError, match="does not know: Object of type object"):
        seen.spawn(object())


def test_what_is_required_is_asked_where_it_is_spawned(engine: Any) -> None:
    with pytest.raises(MissingContext, match="tenant_that_is_spawned"):
        requiring.spawn()
    with ctxkit.bind({TENANT: "acme"}):
        assert requiring.spawn().result(10) == "acme"


def test_failure_is_told_to_the_log(engine: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="out of beans"):
        fails.spawn().result(10)
    assert f"ctxkit.spawn.failed: {__name__}:fails" in caplog.text


def test_spawned_call_is_a_transaction_in_the_trace_of_its_sender(engine: Any) -> None:
    sentry_sdk = pytest.importorskip("sentry_sdk")
    sent: list[Any] = []

    class Transport(sentry_sdk.transport.Transport):  # type: ignore[misc,name-defined]
        def capture_envelope(self, envelope: Any) -> None:
            sent.extend(item.payload.json for item in envelope.items)

    before = sentry_sdk.get_global_scope().client
    client = sentry_sdk.Client(
        "http://key@127.0.0.1:1/1",
        transport=Transport,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_session_tracking=False,
    )
    sentry_sdk.get_global_scope().set_client(client)
    try:
        with sentry_sdk.isolation_scope() as scope:
            scope.set_tag("of", "the request")
            with sentry_sdk.start_transaction(name="request") as request:
                seen.spawn(1).result(10)
    finally:
        sentry_sdk.get_global_scope().set_client(before)
        client.close()
    spawned, _ = sent
    assert spawned["transaction"] == f"{__name__}:seen"
    assert spawned["contexts"]["trace"]["trace_id"] == request.trace_id
    assert spawned["contexts"]["trace"]["parent_span_id"] == request.span_id
    assert not spawned.get("tags")


def test_more_than_fits_is_refused(engine: Any) -> None:
    waits.spawn()
    waiting = waits.spawn()
    with pytest.raises(PoolFull):
        waits.spawn()
    assert waiting.cancel()


@pytest.mark.parametrize("variable", ["AWS_LAMBDA_FUNCTION_NAME", "K_SERVICE"])
def test_host_that_freezes_gets_an_error_that_says_what_to_use(
    engine: Any, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ENVIRONMENT, "_environ", {variable: "shop"})
    monkeypatch.setattr(ENVIRONMENT, "_host", None)
    with pytest.raises(EngineUnavailable, match="set up Celery, dramatiq or Django's tasks"):
        seen.spawn(1)


def test_host_that_does_not_freeze_although_its_kind_does_is_believed(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ENVIRONMENT, "_environ", {"K_SERVICE": "shop"})
    monkeypatch.setattr(ENVIRONMENT, "_host", None)
    monkeypatch.setenv("CTXKIT_FLUSH_MODE", "never")
    assert seen.spawn(1).result(10)["order"] == 1


@pytest.mark.parametrize(
    "options", [{"timeout": 1}, {"retry": 1}, {"pool": None}, {"validate": False}]
)
def test_option_of_one_call_that_would_not_go_along_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"which does not go along"):
        seen.using(**options).spawn(1)
    with pytest.raises(ConfigurationError, match=r"which does not go along"):
        asyncio.run(seen.using(**options).aspawn(1))


def test_name_that_came_in_a_message_imports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_imported.py").write_text("import ctxkit\n@ctxkit.function\ndef f(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FunctionNotFound, match="has not imported it"):
        call_sent("never_imported:f")
    assert "never_imported" not in sys.modules
    assert call_sent(f"{__name__}:aseen", 7) == (7, "none")


def test_end_of_the_process_waits_and_says_what_it_could_not_run(
    engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    short = EmbeddedEngine(workers=1, drain_timeout=0.01)
    set_engine(short)
    future = waits.spawn()
    short.drain()
    assert "1 spawned calls" in caplog.text
    assert f"{__name__}:waits" in caplog.text
    gate.set()
    future.result(10)
    short.close()
    caplog.clear()
    short.drain()
    assert caplog.text == ""


def test_end_of_a_forked_child_does_not_wait_for_what_its_parent_has(
    engine: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = EmbeddedEngine(workers=1, drain_timeout=0.01)
    set_engine(short)
    waits.spawn()
    monkeypatch.setattr(embedded, "getpid", lambda: -1)
    short.drain()
    assert caplog.text == ""
    short.close()


def test_engine_is_chosen_by_name_or_as_it_is() -> None:
    recording = Recording()
    function = seen.using(engine=recording)
    with ctxkit.bind({TENANT: "acme"}):
        assert function.spawn(1, rush=True) == "handle"
    [work] = recording.sent
    assert work.name == f"{__name__}:seen"
    assert (work.args, work.kwargs) == ((1,), {"rush": True})
    assert '"acme"' in work.carrier["ctxkit-context"]

    with pytest.raises(ConfigurationError, match="'recording', which nobody has set up"):
        seen.using(engine="recording").spawn(1)
    add_engine(recording)
    add_engine(recording)
    assert seen.using(engine="recording").spawn(1) == "handle"
    with pytest.raises(DuplicateName, match="engine 'recording'"):
        add_engine(Recording())
    set_engine("recording")
    assert asyncio.run(seen.aspawn(1)) == "handle"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: set_engine(7), "is 7"),  # type: ignore[arg-type]
        (lambda: add_engine(object()), "Give an engine"),  # type: ignore[arg-type]
        (lambda: seen.using(engine=7).spawn(1), "is 7"),
        (lambda: ctxkit.function(lambda: None).spawn(), "nobody can find by its name"),
    ],
)
def test_what_cannot_be_spawned_is_refused(ask: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ask()
