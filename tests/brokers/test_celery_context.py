"""What goes with a message to a real worker, over each broker and in each pool."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from celery import Task, chain, chord, group
from helpers.brokers import url_of
from helpers.celery_shop import DRAFT, TENANT, aspawned, foreign, spawned
from helpers.celery_worker import Worker

import ctxkit
import ctxkit.contrib.celery
from ctxkit.contrib.celery import CeleryEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery

PATIENCE = 20
PROCESSES = 3
PREFORK = [("redis", "prefork"), ("rabbitmq", "prefork")]
KINDS = [*PREFORK, ("redis", "solo")]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Iterator[None]:
    ctxkit.contrib.celery.install()
    yield
    ctxkit.contrib.celery.uninstall()


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def app(
    request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Celery]:
    """Run a worker of few processes, so that tasks follow each other in them."""
    broker, pool = request.param
    folder = tmp_path_factory.mktemp("worker")
    with Worker(url_of(broker), redis_url, folder, pool, at_once=PROCESSES) as worker:
        yield worker.app


@pytest.fixture
def bound() -> Iterator[None]:
    with ctxkit.bind({TENANT: "acme", DRAFT: "mine"}, request_id="r-1"):
        yield


def tenants(sights: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(sight["tenant"], sight["request_id"], sight["draft"]) for sight in sights]


SEEN = ("acme", "r-1", None)


@pytest.mark.rule("F-91")
@pytest.mark.usefixtures("bound")
def test_task_sees_what_is_for_the_wire_and_nothing_else(app: Celery) -> None:
    sight = app.tasks["look"].delay().get(PATIENCE)
    assert tenants([sight]) == [SEEN]
    assert sight["invocation"] == "look"


@pytest.mark.rule("F-91")
def test_message_without_context_gets_an_empty_frame_and_the_id_of_its_task(app: Celery) -> None:
    result = app.send_task("look")  # as beat sends it
    assert tenants([result.get(PATIENCE)]) == [(None, result.id, None)]


@pytest.mark.rule("F-91")
def test_nothing_of_a_task_is_seen_by_the_next_one_of_its_worker(app: Celery) -> None:
    with ctxkit.bind({TENANT: "acme"}):
        first = [app.tasks["stain"].delay() for _ in range(PROCESSES)]
    sights = [result.get(PATIENCE) for result in first]
    then = [app.tasks["stain"].delay() for _ in range(PROCESSES)]
    sights += [result.get(PATIENCE) for result in then]
    assert len({sight["pid"] for sight in sights}) <= PROCESSES
    left = [(sight["tenant"], sight["foreign"], sight["local"]) for sight in sights]
    assert left == [("acme", None, None)] * PROCESSES + [(None, None, None)] * PROCESSES


@pytest.mark.usefixtures("bound")
def test_delayed_task_sees_what_was_bound_when_it_was_sent(app: Celery) -> None:
    result = app.tasks["look"].apply_async(countdown=0.3)
    with ctxkit.bind({TENANT: "later"}):
        assert tenants([result.get(PATIENCE)]) == [SEEN]


@pytest.mark.usefixtures("bound")
def test_each_try_of_a_task_sees_the_same(app: Celery) -> None:
    sights = app.tasks["try_again"].delay([]).get(PATIENCE)
    assert tenants(sights) == [SEEN] * 3


@pytest.mark.usefixtures("bound")
def test_each_task_of_a_chain_sees_the_same(app: Celery) -> None:
    add = app.tasks["add_sight"]
    sights = chain(add.s([]), add.s(), add.s(), app=app)().get(PATIENCE)
    assert tenants(sights) == [SEEN] * 3


@pytest.mark.usefixtures("bound")
def test_each_task_of_a_group_sees_the_same(app: Celery) -> None:
    result = group([app.tasks["look"].s() for _ in range(3)], app=app)()
    assert tenants(result.get(PATIENCE)) == [SEEN] * 3


@pytest.mark.usefixtures("bound")
def test_callback_of_a_chord_sees_what_its_parts_see(app: Celery) -> None:
    add, gather = app.tasks["add_sight"], app.tasks["gather"]
    sights = chord([add.s([]), add.s([])], app=app)(gather.s()).get(PATIENCE)
    assert tenants(sights) == [SEEN] * 3


@pytest.mark.usefixtures("bound")
def test_errback_sees_what_the_failed_task_saw(app: Celery) -> None:
    look = app.tasks["look"].s().set(task_id=f"errback-{app.conf.task_default_queue}")
    app.tasks["fail"].apply_async(link_error=look)
    assert tenants([app.AsyncResult(look.id).get(PATIENCE)]) == [SEEN]


@pytest.mark.usefixtures("bound")
def test_errback_of_a_chord_sees_what_its_parts_saw(app: Celery) -> None:
    errback = app.tasks["look"].s().set(task_id=f"chord-{app.conf.task_default_queue}")
    body = app.tasks["gather"].s().on_error(errback)
    chord([app.tasks["add_sight"].s([]), app.tasks["fail"].s()], app=app)(body)
    assert tenants([app.AsyncResult(errback.id).get(PATIENCE)]) == [SEEN]


@pytest.mark.usefixtures("bound")
def test_task_applied_inside_of_another_is_one_of_its_own(app: Celery) -> None:
    inner, outer = app.tasks["nest"].delay().get(PATIENCE)
    assert (inner["tenant"], inner["draft"], inner["invocation"]) == ("nested", None, "stain")
    assert (outer["tenant"], outer["draft"], outer["foreign"]) == ("nested", "nested", "outer")


@pytest.mark.rule("F-61")
def test_interceptors_of_tasks_are_put_around_the_body_of_each(app: Celery) -> None:
    assert app.tasks["echo"].delay("hello").get(PATIENCE) == "hello!"
    assert app.tasks["echo"].delay("hello again").get(PATIENCE) == "hello again!"


@pytest.mark.usefixtures("bound")
def test_spawned_function_is_called_by_a_worker(app: Celery) -> None:
    engine = CeleryEngine(app)
    sight = spawned.using({TENANT: "laid over"}, engine=engine).spawn("ab", times=2).get(PATIENCE)
    assert tenants([sight]) == [("laid over", "r-1", None)]
    assert sight["said"] == "abab"
    assert sight["invocation"] == "helpers.celery_shop:spawned"


@pytest.mark.usefixtures("bound")
def test_coroutine_spawns_a_coroutine_function(app: Celery) -> None:
    async def view() -> Any:
        return await aspawned.using(engine=CeleryEngine(app)).aspawn()

    assert tenants([asyncio.run(view()).get(PATIENCE)]) == [SEEN]


def test_sender_keeps_its_own_context(app: Celery) -> None:
    foreign.set("mine")
    with ctxkit.bind({TENANT: "acme"}):
        app.tasks["stain"].delay().get(PATIENCE)
        assert (TENANT.get(), foreign.get()) == ("acme", "mine")


@pytest.mark.rule("F-94")
def test_deadline_of_the_sender_does_not_go_along(
    app: Celery, request: pytest.FixtureRequest
) -> None:
    @ctxkit.function(timeout=PATIENCE, name=f"{__name__}:{request.node.name}")
    def send() -> float | None:
        return app.tasks["time_left"].delay().get(PATIENCE)

    left = send()
    assert left is None or left > 200


def test_hard_time_limit_is_the_deadline_where_it_is_enforced(
    app: Celery, request: pytest.FixtureRequest
) -> None:
    left = app.tasks["time_left"].delay().get(PATIENCE)
    assert (left is not None) == ("prefork" in request.node.name)
    assert left is None or 200 < left <= 300
    if left is not None:
        left = app.tasks["time_left"].apply_async(time_limit=100).get(PATIENCE)
        assert 50 < left <= 100


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("app", PREFORK, indirect=True, ids="-".join)
def test_who_comes_after_a_process_that_was_killed_sees_what_that_saw(app: Celery) -> None:
    # All at once: it takes Celery some seconds to miss a process.
    errback = app.tasks["look"].s().set(task_id=uuid.uuid4().hex)
    app.tasks["die"].apply_async(link_error=errback)
    results = {
        "given up": app.AsyncResult(errback.id),
        "delivered again": app.tasks["die_once"].delay(),
    }
    if hasattr(Task, "retry_on_worker_lost"):
        results["sent again"] = app.tasks["die_once_more"].delay()
    sights = {how: tenants([result.get(PATIENCE)]) for how, result in results.items()}
    assert sights == {how: [SEEN] for how in results}


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_tasks_that_run_at_once_see_nothing_of_each_other(
    pool: str, redis_url: str, tmp_path: Path
) -> None:
    with Worker(redis_url, redis_url, tmp_path, pool, at_once=4) as worker:
        sent = {}
        for number in range(4):
            with ctxkit.bind({TENANT: f"tenant-{number}"}):
                sent[f"tenant-{number}"] = worker.app.tasks["look_twice"].delay()
        for tenant, result in sent.items():
            for sight in result.get(PATIENCE):
                assert (sight["tenant"], sight["foreign"]) == (tenant, result.id)
