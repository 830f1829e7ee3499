"""Tasks that are applied here and now are like those of a worker; and what needs no broker."""

from __future__ import annotations

import asyncio
import time
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from celery import Task, chain
from celery.app import trace
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import after_task_publish, before_task_publish
from helpers.celery_shop import DRAFT, TENANT, foreign, local, make_app, seen, spawned
from helpers.timeline import RecordingSink, recording_sink
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

import ctxkit
import ctxkit.contrib.celery
from ctxkit.boundary import Invocation
from ctxkit.contrib.celery import CeleryEngine, install, is_installed, uninstall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

AS_OF = ctxkit.Key[date](
    "as_of", hops={"thread", "wire"}, dump=date.isoformat, load=date.fromisoformat
)
UNFIT = ctxkit.Key[object]("unfit", hops={"thread", "wire"})


@pytest.fixture
def app() -> Iterator[Celery]:
    shop = make_app("memory://", "cache+memory://")
    shop.conf.task_always_eager = True
    install()
    yield shop
    uninstall()
    shop.close()


@pytest.fixture
def timeline() -> list[object]:
    return []


@pytest.fixture
def sink(timeline: list[object]) -> Iterator[RecordingSink]:
    with recording_sink(timeline) as recording:
        yield recording


@pytest.fixture
def bound() -> Iterator[None]:
    with ctxkit.bind({TENANT: "acme", DRAFT: "mine"}, request_id="r-1"):
        yield


SEEN = ("acme", "r-1", None)


def told(sight: dict[str, Any]) -> tuple[Any, ...]:
    return sight["tenant"], sight["request_id"], sight["draft"]


@pytest.mark.rule("F-91")
@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("how", ["delay", "apply", "apply_async"])
def test_eager_task_sees_what_is_for_the_wire_and_nothing_else(app: Celery, how: str) -> None:
    sight = getattr(app.tasks["look"], how)().get()
    assert told(sight) == SEEN
    assert sight["invocation"] == "look"


@pytest.mark.rule("F-91")
def test_eager_task_without_a_frame_around_it_has_the_id_of_its_own(app: Celery) -> None:
    result = app.tasks["look"].delay()
    assert told(result.get()) == (None, result.id, None)


@pytest.mark.rule("F-91")
@pytest.mark.usefixtures("bound")
def test_eager_task_leaves_its_caller_as_it_was(app: Celery) -> None:
    frame = ctxkit.current()
    foreign.set("mine")
    local.value = "mine"
    before = app.tasks["stain"].delay().get()
    assert (before["foreign"], before["local"]) == (None, None)
    assert ctxkit.current() is frame
    assert told(seen()) == ("acme", "r-1", "mine")
    assert (foreign.get(), local.value) == ("mine", "mine")


def test_values_reach_an_eager_task_as_they_reach_a_worker(app: Celery) -> None:
    @app.task
    def values() -> tuple[Any, ...]:
        return AS_OF.get(None), UNFIT.get(None)

    with ctxkit.bind({AS_OF: date(2026, 11, 20), UNFIT: object()}):
        assert values.delay().get() == (date(2026, 11, 20), None)


@pytest.mark.usefixtures("bound")
def test_tries_and_chains_of_eager_tasks_see_the_same(app: Celery) -> None:
    sights = app.tasks["try_again"].delay([]).get()
    assert [told(sight) for sight in sights] == [SEEN] * 3
    add = app.tasks["add_sight"]
    sights = chain(add.s([]), add.s(), app=app)().get()
    assert [told(sight) for sight in sights] == [SEEN] * 2


def test_error_of_an_eager_task_reaches_its_caller(app: Celery) -> None:
    error = LookupError("as planned")

    @app.task
    def fails() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        fails.apply(throw=True)
    assert caught.value is error
    assert fails.delay().state == "FAILURE"


def test_eager_task_is_flushed_where_tasks_are_held(
    app: Celery, sink: RecordingSink, timeline: list[object]
) -> None:
    install(mode="always")
    app.tasks["look"].delay()
    assert [each for each in timeline if "flush" in str(each)]


def test_thread_that_a_task_leaves_behind_is_waited_for_where_that_is_asked_for(
    app: Celery,
) -> None:
    ended: list[str | None] = []
    install(mode="always", leftovers="await")

    def go_on() -> None:
        time.sleep(0.1)
        ended.append(TENANT.get(None))

    @app.task
    def start() -> None:
        ctxkit.Thread(target=go_on).start()

    with ctxkit.bind({TENANT: "acme"}):
        start.delay()
    assert ended == ["acme"]


def test_headers_that_the_caller_gives_stay(app: Celery) -> None:
    @app.task(bind=True)
    def headers(task: Any) -> dict[str, Any] | None:
        return task.request.headers

    assert headers.apply().get() is None
    assert headers.apply(headers={"mine": "1"}).get() == {"mine": "1"}
    with ctxkit.bind({TENANT: "acme"}):
        assert headers.apply(headers={"mine": "1"}).get() == {
            "mine": "1",
            "ctxkit-context": 'v1 {"tenant":"acme"}',
        }


def test_nothing_is_taken_in_where_messages_are_not_trusted(app: Celery) -> None:
    install(trust=False)
    with ctxkit.bind({TENANT: "acme"}, request_id="r-1"):
        result = app.tasks["look"].delay()
    assert told(result.get()) == (None, result.id, None)


@pytest.mark.usefixtures("bound")
def test_uninstalling_leaves_celery_as_it_was(app: Celery) -> None:
    assert is_installed()
    uninstall()
    uninstall()
    assert not is_installed()
    assert told(app.tasks["look"].delay().get()) == ("acme", "r-1", "mine")
    assert Task.apply.__module__ == "celery.app.task"
    assert vars(Task)["__trace__"] is None
    headers: dict[str, Any] = {}
    before_task_publish.send(sender="look", headers=headers)
    assert headers == {}


@pytest.mark.parametrize("when", ["before", "after"])
def test_tracer_of_a_task_is_crossed_whenever_it_was_built(app: Celery, when: str) -> None:
    task = app.tasks["look"]
    if when == "before":
        uninstall()
    task.__trace__ = trace.build_tracer(task.name, task, app=app)
    install()
    message = {"id": "t-1", "ctxkit-context": 'v1 {"tenant":"acme"}', "is_eager": True}
    assert told(task.__trace__("t-1", (), {}, message).retval) == ("acme", "t-1", None)
    uninstall()
    assert told(task.__trace__("t-2", (), {}, message).retval) == (None, None, None)


def test_try_is_the_child_of_the_one_before_it(app: Celery) -> None:
    former, present = (f"00-{'a' * 32}-{digit * 16}-01" for digit in "bc")
    headers = {"traceparent": former, "tracestate": "k=old"}

    @app.task(bind=True)
    def publish(task: Any) -> None:
        task.request.traceparent = former
        with ctxkit.bind(traceparent=present):
            before_task_publish.send(sender=task.name, headers=headers)

    publish.delay()
    assert headers == {"traceparent": present, "ctxkit-context": headers["ctxkit-context"]}


@pytest.mark.usefixtures("bound")
def test_spawned_function_runs_as_a_task(app: Celery) -> None:
    spawn = spawned.using({TENANT: "laid over"}, engine=CeleryEngine(app)).spawn
    sight = spawn("ab", times=2).get()
    assert told(sight) == ("laid over", "r-1", None)
    assert sight["said"] == "abab"
    assert sight["invocation"] == "helpers.celery_shop:spawned"


def test_engine_of_the_application_is_known_by_its_name(app: Celery) -> None:
    install(app)
    assert told(spawned.using(engine="celery").spawn("a").get())[0] is None


def test_span_of_the_caller_is_current_in_an_eager_task(app: Celery) -> None:
    @app.task
    def span_id() -> int:
        return get_current_span().get_span_context().span_id

    with TracerProvider().get_tracer("t").start_as_current_span("view") as span:
        assert span_id.delay().get() == span.context.span_id


def test_eager_task_is_known_to_asgiref_to_hold_its_one_thread(app: Celery) -> None:
    async def back() -> str:
        return await sync_to_async(lambda: "back")()

    @app.task
    def over() -> str:
        return async_to_sync(back)()

    @app.task
    def loop_of_its_own() -> str:
        return asyncio.run(back())

    async def view() -> None:
        assert (await sync_to_async(over.delay)()).get() == "back"
        # Waits for ever where asgiref does not know.
        assert "would deadlock" in str((await sync_to_async(loop_of_its_own.delay)()).result)

    asyncio.run(view())


@pytest.mark.parametrize("order", ["first", "last"])
def test_message_is_a_child_of_the_span_that_opentelemetry_makes_of_its_sending(
    app: Celery, order: str
) -> None:
    uninstall()
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumentor = CeleryInstrumentor()
    steps = [install, lambda: instrumentor.instrument(tracer_provider=provider)]
    for step in steps if order == "last" else reversed(steps):
        step()
    sent: list[dict[str, Any]] = []

    def note(headers: dict[str, Any], **_: object) -> None:
        sent.append(headers)

    after_task_publish.connect(note)
    try:
        app.conf.task_always_eager = False
        with ctxkit.bind({TENANT: "acme"}), provider.get_tracer("t").start_as_current_span("view"):
            app.tasks["look"].delay()
    finally:
        after_task_publish.disconnect(note)
        instrumentor.uninstrument()
    publish, view = sorted(spans.get_finished_spans(), key=lambda span: span.name == "view")
    assert publish.parent == view.context
    assert sent[0]["traceparent"].split("-")[1:3] == [
        format_trace_id(view.context.trace_id),
        format_span_id(publish.context.span_id),
    ]
    assert sent[0]["ctxkit-context"] == 'v1 {"tenant":"acme"}'


@pytest.fixture
def calls() -> Iterator[list[str]]:
    calls: list[str] = []

    @ctxkit.interceptor(at={"task"}, name="noting")
    def note(call: ctxkit.Call) -> Any:
        calls.append(f"{call.kind} {call.name} {call.args}")
        try:
            result = yield call
        except LookupError as error:
            calls.append(f"failed {error}")
            raise
        calls.append("done")
        return result

    ctxkit.add_interceptor(note)
    yield calls
    ctxkit.remove_interceptor(note)


@pytest.mark.rule("F-61")
def test_interceptor_sees_a_task_and_its_error(app: Celery, calls: list[str]) -> None:
    assert app.tasks["echo"].delay("hello").get() == "hello"
    assert app.tasks["fail"].delay().state == "FAILURE"
    assert calls == [
        "task echo ('hello',)",
        "done",
        "task fail ()",
        "failed as planned",
    ]


def test_task_that_is_called_as_a_function_is_none_of_a_queue(
    app: Celery, calls: list[str]
) -> None:
    @app.task
    def inner() -> None: ...

    @app.task
    def outer() -> None:
        inner()

    inner.delay()
    outer.delay()
    inner()
    assert [call for call in calls if call != "done"] == [
        f"task {inner.name} ()",
        f"task {outer.name} ()",
    ]


def test_soft_time_limit_while_a_task_ends_does_not_fail_it(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def finish(self: Invocation, reason: str) -> None:
        self.close()
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(Invocation, "finish", finish)
    task = app.tasks["look"]
    task.__trace__ = trace.build_tracer(task.name, task, app=app)
    assert task.__trace__("t-1", (), {}, {"id": "t-1"}).retval["invocation"] == "look"
    assert "the soft time limit of look came while it was ending" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trust": "yes"}, "trust must be a bool"),
        ({"mode": "sometimes"}, "mode must be one of"),
        ({"timeout": -1}, "timeout must be a number of seconds"),
        ({"leftovers": "eat"}, "leftovers must be one of"),
    ],
)
def test_unusable_argument_is_refused_and_nothing_installed(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ctxkit.ConfigurationError, match=message):
        install(**arguments)
    assert not is_installed()
