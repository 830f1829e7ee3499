"""dramatiq: the context of whoever sends a message, in whatever processes it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit

dramatiq = pytest.importorskip("dramatiq")

from dramatiq.brokers.stub import StubBroker  # noqa: E402
from dramatiq.middleware import SkipMessage  # noqa: E402 - after the question whether it is there
from helpers.dramatiq_station import FOREIGN, HERE, TENANT, Seen, Station, seen  # noqa: E402
from helpers.spawnable import SEEN, aconfirm, confirm, refuse  # noqa: E402
from helpers.spawnable import TENANT as SPAWNED_TENANT  # noqa: E402
from helpers.timeline import recording_sink  # noqa: E402

from ctxkit.context import NO_FRAME  # noqa: E402
from ctxkit.contrib.dramatiq import OPTION, ContextMiddleware, DramatiqEngine  # noqa: E402
from ctxkit.exceptions import ConfigurationError  # noqa: E402
from ctxkit.flushing import on_report  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTHING: Seen = (None, None, None)
ACME: Seen = ("acme", None, None)


@pytest.fixture(scope="module")
def shared() -> Iterator[Station]:
    station = Station(loop=True)
    yield station
    station.close()


@pytest.fixture
def station(shared: Station) -> Station:
    shared.log.clear()
    return shared


@pytest.fixture
def opened(shared: Station) -> Iterator[Callable[..., Station]]:
    """Open a station with options of its own."""
    stations: list[Station] = []

    def open_station(**options: Any) -> Station:
        stations.append(Station(**options))
        return stations[-1]

    yield open_station
    for each in stations:
        each.close()


def leave_everything_set(tenant: str = "left") -> None:
    ctxkit.bind({TENANT: tenant, HERE: tenant}).__enter__()
    FOREIGN.set(tenant)


def looking(found: list[Seen]) -> Callable[..., Any]:
    """Return a function that notes what it sees, and leaves everything set."""

    def look(*_: object) -> None:
        found.append(seen())
        leave_everything_set()

    return look


def alooking(found: list[Seen]) -> Callable[..., Any]:
    async def look(*_: object) -> None:
        await asyncio.sleep(0)
        found.append(seen())
        leave_everything_set()

    return look


COLOURS = pytest.mark.parametrize("look", [looking, alooking], ids=["sync", "async"])


@pytest.mark.rule("F-92")
@COLOURS
def test_actor_sees_what_its_sender_sent_and_nothing_else(station: Station, look: Any) -> None:
    found: list[Seen] = []
    actor = station.actor(look(found))
    with ctxkit.bind({TENANT: "acme", HERE: "view"}):
        FOREIGN.set("sender")
        actor.send()
        actor.send_with_options(args=(1,), time_limit=60_000)
        actor.send_with_options(delay=1)
    FOREIGN.set(None)
    station.finish()
    assert found == [ACME, ACME, ACME]


@pytest.mark.rule("F-92")
@COLOURS
def test_message_without_context_gets_an_empty_frame_after_another(
    station: Station, look: Any
) -> None:
    found: list[Seen] = []
    ids: list[str | None] = []
    actor = station.actor(look(found))
    name = station.actor(lambda: ids.append(ctxkit.get("request_id"))).actor_name
    with ctxkit.bind({TENANT: "acme"}, request_id="first"):
        actor.send()
    station.finish()
    actor.send()
    message = station.broker.get_actor(name).send()
    station.finish()
    assert found == [ACME, NOTHING]
    assert OPTION not in message.options
    assert ids[0] is not None
    assert ids[0] != "first"


def test_frame_is_that_of_a_task_under_the_id_of_its_sender(station: Station) -> None:
    frames: list[dict[str, Any]] = []
    actor = station.actor(lambda: frames.append(dict(ctxkit.current())))
    with ctxkit.bind(request_id="0b7fd4c1"):
        actor.send()
    station.finish()
    assert frames == [
        {"request_id": "0b7fd4c1", "invocation": actor.actor_name, "protocol": "task"}
    ]


def test_retry_has_the_context_of_the_original(station: Station) -> None:
    found: list[Seen] = []
    ids: list[str | None] = []
    look = looking(found)

    def fail() -> None:
        ids.append(ctxkit.get("request_id"))
        look()
        raise dramatiq.Retry("once more", delay=1)

    actor = station.actor(fail, max_retries=2)
    with ctxkit.bind({TENANT: "acme"}):
        actor.send()
    actor.send()
    station.finish()
    assert sorted(found, key=str) == [ACME] * 3 + [NOTHING] * 3
    assert len(set(ids)) == 6  # nobody has sent one, so each try has its own


def test_next_message_of_a_pipeline_has_the_context_of_the_first(station: Station) -> None:
    found: list[Seen] = []

    def look(number: int) -> int:
        found.append(seen())
        ctxkit.bind({TENANT: "left"}).__enter__()
        return number + 1

    actor = station.actor(look)
    with ctxkit.bind({TENANT: "acme"}):
        messages = [actor.message(1), actor.message(), actor.message()]
        dramatiq.pipeline(messages, broker=station.broker).run()
    station.finish()
    assert found == [ACME] * 3


def test_callbacks_of_a_group_have_its_context(station: Station) -> None:
    found: list[Seen] = []
    member, callback = station.actor(lambda: None), station.actor(looking(found))
    group = dramatiq.group([member.message(), member.message()], broker=station.broker)
    group.add_completion_callback(callback.message())
    with ctxkit.bind({TENANT: "acme"}):
        group.run()
    station.finish()
    assert found == [ACME]


def test_callbacks_of_an_actor_have_its_context(station: Station) -> None:
    found: list[Seen] = []

    def fail() -> None:
        raise dramatiq.Retry("it did not work")  # which is not logged

    failing, fine = station.actor(fail), station.actor(lambda: None)
    callback = station.actor(looking(found))
    with ctxkit.bind({TENANT: "acme"}):
        failing.send_with_options(on_failure=callback)
        fine.send_with_options(on_success=callback.actor_name)
    station.finish()
    assert found == [ACME, ACME]


def test_what_an_actor_sends_has_what_is_bound_there(station: Station) -> None:
    found: list[Seen] = []
    inner = station.actor(looking(found))

    def send() -> None:
        inner.send()
        with ctxkit.bind({TENANT: "other"}):
            inner.send()

    outer = station.actor(send)
    with ctxkit.bind({TENANT: "acme"}):
        outer.send()
    station.finish()
    assert sorted(found, key=str) == [ACME, ("other", None, None)]


@pytest.mark.rule("F-92")
@pytest.mark.parametrize("how", ["skipped", "rejected"])
def test_nothing_survives_a_message_that_is_not_processed(station: Station, how: str) -> None:
    found: list[Seen] = []
    frames: list[object] = []
    actor = station.actor(looking(found))

    class Setting(dramatiq.Middleware):  # type: ignore[misc,unused-ignore]
        def before_process_message(self, broker: Any, message: Any) -> None:
            leave_everything_set()
            if how == "rejected":
                message.fail()

        def before_ack(self, broker: Any, message: Any) -> None:
            frames.append(ctxkit.current())

        before_nack = before_ack

    setting = Setting()
    station.broker.middleware.insert(0, setting)
    try:
        station.noting.skipping = SkipMessage("not now") if how == "skipped" else None
        with ctxkit.bind({TENANT: "acme"}):
            actor.send()
        station.finish()
    finally:
        station.broker.middleware.remove(setting)
    assert how in station.log
    actor.send()
    station.finish()
    assert frames[0].root.get("invocation") == actor.actor_name  # type: ignore[attr-defined]
    assert found == [NOTHING]


def test_message_that_is_sent_twice_has_the_context_of_each_sending(station: Station) -> None:
    found: list[Seen] = []
    message = station.actor(looking(found)).message()
    with ctxkit.bind({TENANT: "acme"}):
        station.broker.enqueue(message)
    station.finish()
    station.broker.enqueue(message)
    station.finish()
    assert found == [ACME, NOTHING]


@pytest.mark.parametrize(
    "carrier",
    [
        None,
        5,
        "ctxkit-context",
        ["v1"],
        {"ctxkit-context": 7},
        {"ctxkit-context": "v1 {"},
        {"ctxkit-context": 'v1 {"dramatiq_tenant":"' + "a" * 2000 + '"}'},
        {"ctxkit-context": 'v1 {"dramatiq_here":"x"}', "traceparent": {"a": 1}},
    ],
    ids=str,
)
def test_carrier_that_is_malformed_or_too_long_is_ignored(station: Station, carrier: Any) -> None:
    found: list[Seen] = []
    message = station.actor(looking(found)).message_with_options(**{OPTION: carrier})
    station.broker.queues[message.queue_name].put(message.encode())  # as somebody else sends
    station.finish()
    assert found == [NOTHING]


def test_carrier_is_not_read_where_it_is_not_trusted(opened: Any) -> None:
    found: list[Seen] = []
    station = opened(trust=False)
    actor = station.actor(looking(found))
    with ctxkit.bind({TENANT: "acme"}):
        actor.send()
    station.finish()
    assert found == [NOTHING]


def test_telemetry_has_landed_before_a_message_is_settled_where_asked_for(opened: Any) -> None:
    station = opened(mode="always")

    def fail() -> None:
        station.log.append("failed")
        raise dramatiq.Retry("no")

    fine = station.actor(lambda: station.log.append("worked"))
    failing = station.actor(fail)
    reports: list[ctxkit.FlushReport] = []
    remove = on_report(reports.append)
    with recording_sink(station.log):
        fine.send()
        station.finish()
        failing.send()
        station.finish()
    assert station.log == [
        *("worked", "processed", "flush", "acknowledged"),
        *("failed", "processed", "flush", "rejected"),
    ]
    remove()
    assert [report.reason for report in reports] == ["return", "exception"]


def test_nothing_is_flushed_where_it_is_not_asked_for(station: Station) -> None:
    with recording_sink(station.log):
        station.actor(lambda: None).send()
        station.finish()
    assert station.log == ["processed", "acknowledged"]


def test_leftovers_are_awaited_before_a_message_is_acknowledged(opened: Any) -> None:
    station = opened(leftovers="await", timeout=20)

    def nap(name: str) -> None:
        time.sleep(0.02)
        station.log.append(name)

    async def anap() -> None:
        await asyncio.sleep(0.02)
        station.log.append("task")

    kept: list[Any] = []

    async def start() -> None:
        kept.append(ctxkit.create_task(anap()))

    station.actor(lambda: ctxkit.Thread(target=nap, args=("thread",)).start()).send()
    station.finish()
    station.actor(start).send()
    station.finish()
    assert station.log == [
        *("processed", "thread", "acknowledged"),
        *("processed", "task", "acknowledged"),
    ]


def test_frame_is_closed_and_forgotten_with_its_message(station: Station) -> None:
    contexts: list[contextvars.Context] = []
    places: list[Any] = []

    class Noting(dramatiq.Middleware):  # type: ignore[misc,unused-ignore]
        def after_ack(self, broker: Any, message: Any) -> None:
            places.append((threading.current_thread(), ctxkit.current()))

    noting = Noting()
    station.broker.add_middleware(noting)
    try:
        with ctxkit.bind({TENANT: "acme"}):
            station.actor(lambda: contexts.append(contextvars.copy_context())).send()
        station.finish()
    finally:
        station.broker.middleware.remove(noting)
    assert [frame for _, frame in places] == [NO_FRAME]
    assert contexts[0].run(TENANT.get) == "acme"


def test_state_of_an_accessor_does_not_survive_its_message(station: Station) -> None:
    state = threading.local()
    found: list[str] = []

    def look() -> None:
        found.append(getattr(state, "user", "nobody"))
        state.user = "ada"

    actor = station.actor(look)
    accessor = ctxkit.ThreadLocalAccessor(state, "user")
    ctxkit.register_accessor(accessor)
    try:
        actor.send()
        actor.send()
        station.finish()
    finally:
        ctxkit.unregister_accessor(accessor)
    assert found == ["nobody", "nobody"]


def test_actor_that_is_called_sees_its_caller(station: Station) -> None:
    actor = station.actor(seen)
    with ctxkit.bind({TENANT: "acme", HERE: "view"}):
        assert actor() == ("acme", "view", None)


@pytest.mark.parametrize(
    "options",
    [{"mode": "sometimes"}, {"timeout": -1}, {"leftovers": "forget"}, {"trust": "yes"}],
    ids=str,
)
def test_wrong_option_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ContextMiddleware(**options)


NAME = "helpers.spawnable:confirm"


def test_spawned_function_runs_as_a_message_of_its_own(opened: Any) -> None:
    station = opened()
    engine = DramatiqEngine(station.broker, max_retries=3, min_backoff=1, max_backoff=1)
    SEEN.clear()
    with ctxkit.bind({TENANT: "acme", SPAWNED_TENANT: "acme"}):
        message = confirm.using(engine=engine).spawn(7, colour="green")
        station.finish()
        confirm.using({SPAWNED_TENANT: "other"}, engine=engine).spawn(8)
        station.finish()
        asyncio.run(aconfirm.using(engine=engine).aspawn(9))
        station.finish()
        refuse.using(engine=engine).spawn()
        station.finish()
    assert ctxkit.extract(message.options[OPTION], trusted=True) == {
        "dramatiq_tenant": "acme",
        "spawned_tenant": "acme",
    }
    assert SEEN == [
        ("acme", NAME, 7, "green"),
        ("other", NAME, 8, "red"),
        ("acme", "helpers.spawnable:aconfirm", 9),
        ("acme", "helpers.spawnable:refuse"),  # and never again
    ]


def test_engine_needs_a_broker_that_sends_context() -> None:
    with pytest.raises(ConfigurationError, match="ContextMiddleware"):
        DramatiqEngine(StubBroker())


def test_interceptor_at_tasks_is_around_the_actor(station: Station) -> None:
    calls: list[Any] = []

    @ctxkit.interceptor(at={"task"})
    def note(call: ctxkit.Call) -> Any:
        calls.append((call.name, call.kind, call.args, ctxkit.get("invocation")))
        try:
            return (yield call.replace(args=(*call.args, "added")))
        except dramatiq.Retry as error:
            calls.append(error)
            raise

    def fail(*args: Any) -> None:
        calls.append(args)
        inner(5)  # a call as any other
        raise dramatiq.Retry("no")

    inner = station.actor(lambda number: calls.extend([number]))
    actor = station.actor(fail)
    ctxkit.add_interceptor(note)
    try:
        actor.send(1)
        station.finish()
    finally:
        ctxkit.remove_interceptor(note)
    name = actor.actor_name
    assert calls[:3] == [(name, "task", (1,), name), (1, "added"), 5]
    assert [type(each) for each in calls[3:]] == [dramatiq.Retry]
