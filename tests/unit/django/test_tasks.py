"""Tasks of Django's framework: the context of whoever enqueues one, wherever it runs."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import pickle
import sys
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import django
import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.test import override_settings
from helpers.spawnable import SEEN, aconfirm, confirm, give_what_json_does_not_know
from helpers.spawnable import TENANT as SPAWNED_TENANT
from helpers.timeline import recording_sink

import ctxkit
from ctxkit.context import NO_FRAME
from ctxkit.django import ContextMiddleware, conf
from ctxkit.django import tasks as ours
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHOUT = django.VERSION < (6, 0)
needs_tasks = pytest.mark.skipif(WITHOUT, reason="Django has tasks since 6.0")

NOTHING = [None, None, None]
ACME = ["acme", None, None]
CALLER = ["acme", "view", "caller"]


@pytest.fixture(scope="module")
def site() -> Iterator[Any]:
    """Import the module of the tasks as a project would that has the setting."""
    if WITHOUT:
        pytest.skip("Django has tasks since 6.0")
    with override_settings(CTXKIT={"TASKS": True}):
        conf.tasks_declared()
    name = "helpers.django_site_tasks"
    sys.modules.pop(name, None)
    with override_settings(TASKS=_settings()):
        yield importlib.import_module(name)
        ours.uninstall()
    del sys.modules[name]


def _settings() -> dict[str, Any]:
    folder = "django.tasks.backends"
    return {
        "default": {"BACKEND": f"{folder}.immediate.ImmediateBackend"},
        "dummy": {"BACKEND": f"{folder}.dummy.DummyBackend"},
        "queue": {"BACKEND": "helpers.django_site_tasks.Queue"},
    }


@pytest.fixture
def caller(site: Any) -> Iterator[None]:
    """Be in the midst of a request."""
    token = site.FOREIGN.set("caller")
    with ctxkit.bind({site.TENANT: "acme", site.HERE: "view"}, request_id="0b7fd4c1"):
        yield
        assert site.seen() == CALLER
    site.FOREIGN.reset(token)


TASKS = pytest.mark.parametrize("name", ["look", "alook", "look_with_context"])


@pytest.mark.rule("F-93")
@TASKS
@pytest.mark.usefixtures("caller")
def test_task_runs_at_once_with_what_was_sent_and_leaves_nothing(site: Any, name: str) -> None:
    result = getattr(site, name).enqueue(1, colour="red")
    assert result.errors == []
    assert result.return_value == [*ACME, [1], {"colour": "red"}]
    assert site.seen() == CALLER


@pytest.mark.rule("F-93")
@TASKS
@pytest.mark.usefixtures("caller")
def test_task_runs_at_once_from_a_coroutine(site: Any, name: str) -> None:
    async def view() -> Any:
        result = await getattr(site, name).aenqueue(1)
        assert site.seen() == CALLER
        return result

    result = asyncio.run(view())
    assert result.errors == []
    assert result.return_value == [*ACME, [1], {}]


@pytest.mark.rule("F-93")
@TASKS
@pytest.mark.parametrize("by_function", [False, True], ids=["call", "function"])
def test_task_sees_in_a_worker_what_was_sent(site: Any, name: str, *, by_function: bool) -> None:
    task = getattr(site, name).using(backend="queue")
    with ctxkit.bind({site.TENANT: "acme", site.HERE: "view"}):
        task.enqueue(1, colour="red")
    task.enqueue(2)

    def call(*args: Any) -> Any:
        worker = task.get_backend().work
        return worker(by_function=by_function)

    if by_function and name == "alook":

        async def main() -> list[Any]:
            return [await each for each in call()]

        returned = asyncio.run(main())
    else:
        returned = call()
    assert returned == [[*ACME, [1], {"colour": "red"}], [*NOTHING, [2], {}]]
    assert site.seen() == NOTHING
    assert ctxkit.current() is NO_FRAME


@pytest.mark.rule("F-93")
@pytest.mark.usefixtures("caller")
def test_stored_arguments_are_json_and_hold_what_goes_over_wires(site: Any) -> None:
    result = site.look.using(backend="dummy").enqueue(1, colour="red")
    assert json.loads(json.dumps(result.kwargs)) == result.kwargs
    carrier = result.kwargs.pop(ours.KEYWORD)
    assert result.kwargs == {"colour": "red"}
    assert ctxkit.extract(carrier, trusted=True) == {
        "tasks_tenant": "acme",
        "request_id": "0b7fd4c1",
    }


@pytest.mark.rule("F-93")
def test_task_gets_no_keyword_where_nothing_is_bound(site: Any) -> None:
    assert site.look.using(backend="dummy").enqueue(colour="red").kwargs == {"colour": "red"}


@needs_tasks
@pytest.mark.rule("F-93")
def test_task_without_ctxkit_gets_no_keyword(site: Any) -> None:
    from django.tasks import Task  # noqa: PLC0415 - since 6.0

    fields = {"run_after": None} if django.VERSION < (6, 1) else {}
    function = site.look.func.__wrapped__
    plain = Task(func=function, priority=0, backend="dummy", queue_name="default", **fields)  # type: ignore[arg-type,unused-ignore]
    with ctxkit.bind({site.TENANT: "acme"}):
        assert plain.enqueue(colour="red").kwargs == {"colour": "red"}


@pytest.mark.usefixtures("caller")
def test_carrier_among_given_arguments_is_not_taken_over(site: Any) -> None:
    forged = {ours.KEYWORD: {"ctxkit-context": 'v1 {"tasks_tenant":"other"}'}}
    assert site.look.enqueue(**forged).return_value == [*ACME, [], {}]


def test_carrier_among_given_arguments_is_dropped_where_nothing_is_bound(site: Any) -> None:
    forged = {ours.KEYWORD: {"ctxkit-context": 'v1 {"tasks_tenant":"other"}'}}
    assert site.look.enqueue(**forged).return_value == [*NOTHING, [], {}]


@pytest.mark.parametrize(
    "carrier",
    [5, "text", ["v1"], {"ctxkit-context": "v1 {"}, {"ctxkit-context": "v1 " + "x" * 5000}],
    ids=str,
)
def test_stored_carrier_that_is_malformed_or_too_long_is_ignored(site: Any, carrier: Any) -> None:
    assert site.look.call(1, **{ours.KEYWORD: carrier}) == [*NOTHING, [1], {}]


@pytest.mark.usefixtures("caller")
def test_task_that_is_called_directly_sees_what_it_would_see_in_a_worker(site: Any) -> None:
    assert site.look.call(1) == [*ACME, [1], {}]
    assert site.look.func(1) == [*ACME, [1], {}]
    assert asyncio.run(site.alook.acall(1)) == [*ACME, [1], {}]
    assert asyncio.run(site.look.acall(1)) == [*ACME, [1], {}]
    assert site.look.func.__wrapped__.__name__ == "look"


@pytest.mark.usefixtures("caller")
def test_task_that_fails_leaves_nothing_and_its_error_as_it_was(site: Any) -> None:
    result = site.fail.enqueue()
    assert [error.exception_class for error in result.errors] == [LookupError]
    assert site.seen() == CALLER


def test_frame_is_that_of_a_task_under_the_id_of_its_sender(site: Any) -> None:
    with ctxkit.bind(request_id="0b7fd4c1"):
        found = site.describe.enqueue().return_value
    name = "helpers.django_site_tasks.describe"
    assert found == {"request_id": "0b7fd4c1", "invocation": name, "protocol": "task"}


def test_telemetry_has_landed_when_a_task_has_run_where_asked_for(site: Any) -> None:
    timeline: list[object] = []
    with override_settings(CTXKIT={"FLUSH_MODE": "always"}), recording_sink(timeline):
        site.look.call()
        asyncio.run(site.alook.acall())
    assert timeline == ["flush", "flush"]
    with override_settings(CTXKIT={"FLUSH_MODE": "never"}), recording_sink(timeline):
        site.look.call()
    assert timeline == ["flush", "flush"]


def test_leftovers_of_a_task_are_awaited_where_asked_for(site: Any) -> None:
    site.LEFT.clear()
    with override_settings(CTXKIT={"LEFTOVERS": "await", "FLUSH_TIMEOUT": 20}):
        site.leave_thread_running.call()
    assert sorted(site.LEFT) == ["returned", "thread"]


@pytest.mark.parametrize("scope", [ThreadSensitiveContext, AsyncExitStack])
def test_synchronous_code_of_a_task_runs_in_the_thread_of_its_request(
    site: Any, scope: Any
) -> None:
    async def view() -> Any:
        async with scope():
            thread = await sync_to_async(threading.get_ident)()
            with ctxkit.bind({site.TENANT: "acme"}):
                result = await site.ahop.aenqueue()
            assert result.errors == []
            assert result.return_value == [*ACME, thread]

    asyncio.run(asyncio.wait_for(view(), 20))
    result = site.ahop.enqueue()
    assert result.return_value == [*NOTHING, threading.get_ident()]


@pytest.mark.usefixtures("caller")
def test_task_keeps_its_name_its_class_and_its_equals(site: Any) -> None:
    from django.tasks import Task  # noqa: PLC0415 - since 6.0

    assert isinstance(site.look, Task)
    assert site.look.name == "look"
    assert site.look.module_path == "helpers.django_site_tasks.look"
    again = site.look.using(priority=3).using(priority=0)
    assert again == site.look
    assert again.func is site.look.func
    result = site.look.using(backend="dummy").enqueue()
    assert copy.deepcopy(result).task.func is site.look.func


@pytest.mark.skipif(django.VERSION < (6, 1), reason="tasks can be pickled since 6.1")
def test_task_can_be_pickled(site: Any) -> None:
    task = pickle.loads(pickle.dumps(site.look))
    assert task == site.look
    with ctxkit.bind({site.TENANT: "acme"}):
        assert task.enqueue().return_value == [*ACME, [], {}]


@needs_tasks
def test_backends_of_other_threads_make_the_same_tasks(site: Any) -> None:
    from django.tasks import task_backends  # noqa: PLC0415 - since 6.0

    async def elsewhere() -> Any:
        return await asyncio.to_thread(lambda: task_backends["queue"].task_class)

    assert asyncio.run(elsewhere()) is task_backends["queue"].task_class


def test_installing_twice_is_installing_once(site: Any) -> None:
    ours.install()
    assert site.look.enqueue().return_value == [*NOTHING, [], {}]


@pytest.mark.skipif(not WITHOUT, reason="this Django has tasks")
def test_setting_does_nothing_without_the_framework() -> None:
    with override_settings(CTXKIT={"TASKS": True}):
        conf.tasks_declared()
    ours.uninstall()
    assert "django.tasks" not in sys.modules


def test_setting_is_refused_where_the_app_is_not_installed() -> None:
    with (
        override_settings(CTXKIT={"TASKS": True}),
        pytest.raises(ConfigurationError, match="INSTALLED_APPS"),
    ):
        ContextMiddleware(lambda _: None)


@needs_tasks
@pytest.mark.parametrize("engine", ["django", ours.TasksEngine(backend="queue")], ids=str)
def test_spawned_function_runs_as_a_task_of_its_own(site: Any, engine: Any) -> None:
    from django.tasks import task_backends  # noqa: PLC0415 - since 6.0

    SEEN.clear()
    with ctxkit.bind({SPAWNED_TENANT: "acme"}):
        result = confirm.using(engine=engine).spawn(7, colour="green")
        confirm.using({SPAWNED_TENANT: "other"}, engine=engine).spawn(8)
        asyncio.run(confirm.using(engine=engine).aspawn(9))
        nothing = give_what_json_does_not_know.using(engine=engine).spawn()
        confirm_later = aconfirm.using(engine=engine)
        confirm_later.spawn(10)
    if engine == "django":
        assert result.return_value == "acme (7, 'green')"
        assert (nothing.errors, nothing.return_value) == ([], None)
    else:
        task_backends["queue"].work()
    name = "helpers.spawnable:confirm"
    assert [
        ("acme", name, 7, "green"),
        ("other", name, 8, "red"),
        ("acme", name, 9, "red"),
        ("acme", "helpers.spawnable:aconfirm", 10),
    ] == SEEN


def test_engine_needs_tasks_that_take_the_context_along(site: Any) -> None:
    from ctxkit.django import spawned  # noqa: PLC0415 - needs Django 6.0

    ours.uninstall()
    try:
        importlib.reload(spawned)
        with pytest.raises(ConfigurationError, match="TASKS"):
            confirm.using(engine="django").spawn(7)
    finally:
        ours.install()
        importlib.reload(spawned)


@TASKS
def test_interceptor_at_tasks_is_around_the_function(site: Any, name: str) -> None:
    calls: list[Any] = []

    @ctxkit.interceptor(at={"task"})
    def note(call: ctxkit.Call) -> Any:
        calls.append((call.name, call.kind, call.args[-1], ctxkit.get("invocation")))
        return (yield call.replace(args=(*call.args[:-1], 2)))

    ctxkit.add_interceptor(note)
    try:
        found = getattr(site, name).enqueue(1).return_value
    finally:
        ctxkit.remove_interceptor(note)
    full = f"helpers.django_site_tasks.{name}"
    assert found == [*NOTHING, [2], {}]
    assert calls == [(full, "task", 1, full)]
