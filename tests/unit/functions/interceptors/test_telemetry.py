"""Spans and metrics of real SDKs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from helpers.calls import Clock, Failing

import ctxkit
from ctxkit.context import Frame
from ctxkit.functions import Retry
from ctxkit.functions.interceptors import (
    _opentelemetry,
    _sentry,
    limit,
    metrics,
    retry,
    span,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHOWN = ctxkit.Key[str]("interceptors_tenant", hops={"thread", "log"})
DUMPED = ctxkit.Key[Any](
    "interceptors_plan", hops={"thread", "log"}, dump=lambda plan: plan["name"], load=str
)
SECRET = ctxkit.Key[str]("interceptors_token", hops={"thread", "wire"})
FRAME = Frame({SHOWN.name: "acme", SECRET.name: "s3cret", DUMPED.name: {"name": "gold"}})


def shop(order: int) -> None:
    """Stand for a function of a user's."""


class Pool:
    """Has a place after a quarter of a second, by the clock of the test."""

    waited = 0.25

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def acquire(self, deadline: object) -> Any:
        self.clock.now += self.waited
        return self

    async def aacquire(self, deadline: object) -> Any:
        return self.acquire(deadline)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_opentelemetry, "perf_counter", clock)
    monkeypatch.setattr(_sentry, "perf_counter", clock)
    return clock


class Body(Failing):
    """Takes half a second, by the clock of the test."""

    def __init__(self, clock: Clock, *errors: BaseException) -> None:
        super().__init__(*errors)
        self.clock = clock

    def __call__(self, call: ctxkit.Call) -> int:
        self.clock.now += 0.5
        return super().__call__(call)


@pytest.fixture
def no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: PLC0415
        InMemorySpanExporter,
    )

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter.get_finished_spans


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("opentelemetry.sdk.metrics")
    import opentelemetry.metrics._internal as api  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415

    reader = InMemoryMetricReader()
    monkeypatch.setattr(api, "_METER_PROVIDER", MeterProvider([reader], shutdown_on_exit=False))

    def collected() -> dict[str, Any]:
        data = reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        return {each.name: each.data.data_points for each in metrics}

    return collected


def _slept(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> None:
    pytest.importorskip("stamina")
    from ctxkit.functions.interceptors import _stamina, _waiting  # noqa: PLC0415 - needs stamina

    async def asleep(seconds: float) -> None:
        sleep(seconds)

    monkeypatch.setattr(_stamina, "sleep", sleep)
    monkeypatch.setattr(_waiting, "asleep", asleep)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    def sleep(seconds: float) -> None:
        clock.now += seconds

    _slept(monkeypatch, sleep)


@pytest.mark.rule("F-A0")
@pytest.mark.usefixtures("slept")
def test_call_has_one_span_with_its_attempts_as_events(
    drive: Any, spans: Any, clock: Clock
) -> None:
    policy = Retry(initial_delay=4.0, jitter=0)
    body = Body(clock, ConnectionError("s3cret"), ConnectionError("s3cret"))
    assert drive(body, span(), retry(policy), limit(Pool(clock)), function=shop) == 3
    (done,) = spans()
    assert done.name == "m:f"
    told = [(event.name, dict(event.attributes)) for event in done.events]
    assert told == [
        ("ctxkit.attempt.failed", {"attempt": 1, "error.type": "ConnectionError", "pause": 4.0}),
        ("ctxkit.attempt.failed", {"attempt": 2, "error.type": "ConnectionError", "pause": 8.0}),
    ]
    assert done.attributes["code.function.name"] == f"{__name__}.shop"
    assert done.attributes["ctxkit.wait.duration"] == pytest.approx(0.75)
    assert done.attributes["ctxkit.service.duration"] == pytest.approx(1.5)


@pytest.mark.rule("F-A0")
def test_error_of_a_call_is_recorded_and_comes_out_as_it_was(
    drive: Any, spans: Any, clock: Clock
) -> None:
    error = ctxkit.PermissionDenied("m:f", "shop.buy", "not allowed")
    with pytest.raises(ctxkit.PermissionDenied) as caught:
        drive(Body(clock, error), span())
    assert caught.value is error
    (done,) = spans()
    assert not done.status.is_ok
    assert done.attributes["error.type"] == "ctxkit.exceptions.PermissionDenied"
    assert [event.name for event in done.events] == ["exception"]


def test_cancellation_of_a_pause_is_no_attempt(
    drive: Any, spans: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        raise ctxkit.Cancelled("m:started")

    _slept(monkeypatch, sleep)
    with pytest.raises(ctxkit.Cancelled):
        drive(Failing(ConnectionError()), span(), retry())
    (done,) = spans()
    assert [event.name for event in done.events] == ["ctxkit.attempt.failed", "exception"]


def test_span_is_the_current_one_of_the_body_alone(drive: Any, spans: Any) -> None:
    from opentelemetry import trace  # noqa: PLC0415

    inside = drive(lambda call: trace.get_current_span().get_span_context().span_id, span())
    (done,) = spans()
    assert done.context.span_id == inside
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.rule("F-A1")
def test_values_are_shown_if_their_keys_go_to_logs(drive: Any, spans: Any) -> None:
    drive(Failing(), span(), frame=FRAME, args=("s3cret",), values={"other": "s3cret"})
    (done,) = spans()
    assert done.attributes[SHOWN.name] == "acme"
    assert done.attributes[DUMPED.name] == "gold"
    assert "s3cret" not in done.to_json()


@pytest.mark.rule("F-A1")
def test_value_that_the_call_gives_goes_before_that_of_its_caller(drive: Any, spans: Any) -> None:
    drive(Failing(), span(), frame=FRAME, values={SHOWN.name: "other"})
    assert spans()[0].attributes[SHOWN.name] == "other"


@pytest.mark.rule("F-A2")
@pytest.mark.usefixtures("no_provider")
@pytest.mark.parametrize(
    "missing", [(), ("opentelemetry.trace", "opentelemetry.metrics", "sentry_sdk")]
)
def test_call_without_an_sdk_goes_on(
    drive: Any, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    seen = drive(lambda call: call.options, span(), metrics())
    assert seen == {}


def test_calls_are_measured_apart_by_their_outcome(drive: Any, points: Any, clock: Clock) -> None:
    active: list[Any] = []

    def body(call: ctxkit.Call) -> None:
        active.extend(points()["ctxkit.function.active_calls"])
        Body(clock)(call)

    drive(body, metrics(), limit(Pool(clock)))
    with pytest.raises(OSError):
        drive(Body(clock, OSError()), metrics(), limit(Pool(clock)))
    told = points()
    durations = {
        point.attributes.get("error.type"): point for point in told["ctxkit.function.duration"]
    }
    assert durations[None].sum == pytest.approx(0.75)
    assert durations["OSError"].count == 1
    assert {point.attributes["ctxkit.function.name"] for point in durations.values()} == {"m:f"}
    (waits,) = told["ctxkit.function.wait.duration"]
    assert (waits.count, waits.sum) == (2, pytest.approx(0.5))
    assert [point.value for point in active] == [1]
    assert [point.value for point in told["ctxkit.function.active_calls"]] == [0]


def test_span_of_what_came_out_of_a_queue_is_a_child_of_who_sent_it(drive: Any, spans: Any) -> None:
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    sent = Frame({"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
    drive(Failing(), span(), frame=sent)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("theirs")
    with tracer.start_as_current_span("consumer") as consumer:
        drive(Failing(), span(), frame=sent)  # somebody else sees to it
    drive(Failing(), span(), frame=Frame({"traceparent": "nonsense"}))

    first, second, third = spans()
    assert first.context.trace_id == int("1" * 32, 16)
    assert first.parent.span_id == int("2" * 16, 16)
    assert first.parent.is_remote
    assert second.parent.span_id == consumer.get_span_context().span_id
    assert third.parent is None


def test_span_of_a_call_that_the_sender_did_not_sample_is_not_sampled(
    drive: Any, spans: Any
) -> None:
    drive(Failing(), span(), frame=Frame({"traceparent": f"00-{'1' * 32}-{'2' * 16}-00"}))
    assert not spans()


@pytest.fixture
def transactions(no_provider: None) -> Iterator[list[Any]]:
    sentry_sdk = pytest.importorskip("sentry_sdk")
    sent: list[Any] = []

    class Transport(sentry_sdk.transport.Transport):  # type: ignore[misc,name-defined]
        def capture_envelope(self, envelope: Any) -> None:
            sent.extend(item.payload.json for item in envelope.items)

    client = sentry_sdk.Client(
        "http://key@127.0.0.1:1/1",
        transport=Transport,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_session_tracking=False,
    )
    with sentry_sdk.isolation_scope(), sentry_sdk.new_scope() as scope:
        scope.set_client(client)
        yield sent
    client.close()


@pytest.mark.rule("F-A1")
@pytest.mark.usefixtures("slept")
def test_call_has_a_span_of_sentry_where_that_is_in_use_alone(
    drive: Any, transactions: list[Any], clock: Clock
) -> None:
    import sentry_sdk  # noqa: PLC0415

    body = Body(clock, ConnectionError("s3cret"))
    policy = Retry(initial_delay=4.0, jitter=0)
    with sentry_sdk.start_transaction(name="request"):
        drive(body, span(), retry(policy), limit(Pool(clock)), frame=FRAME)
    (transaction,) = transactions
    (done,) = transaction["spans"]
    assert (done["op"], done["description"]) == ("function", "m:f")
    data = done["data"]
    assert data[SHOWN.name] == "acme"
    assert data["ctxkit.attempt.1.error.type"] == "ConnectionError"
    assert data["ctxkit.attempt.1.pause"] == 4.0
    assert data["ctxkit.wait.duration"] == pytest.approx(0.5)
    assert "s3cret" not in repr(transaction)


def test_error_marks_the_span_of_sentry(drive: Any, transactions: list[Any], clock: Clock) -> None:
    import sentry_sdk  # noqa: PLC0415

    error = ValueError()
    with sentry_sdk.start_transaction(name="request"), pytest.raises(ValueError) as caught:
        drive(Body(clock, error), span())
    assert caught.value is error
    (done,) = transactions[0]["spans"]
    assert done["data"]["error.type"] == "ValueError"
    # Older ones tell it in a tag.
    assert done.get("status", done.get("tags", {}).get("status")) == "internal_error"


@pytest.mark.usefixtures("no_provider")
def test_span_of_sentry_without_a_client_is_none(drive: Any) -> None:
    assert drive(Failing(), span()) == 1
