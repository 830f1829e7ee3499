"""dramatiq's own worker, in a process of its own with one thread, over a real Redis."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest.importorskip("dramatiq")
TESTS = Path(__file__).parent.parent
ACME = ["acme", None, None]
NOTHING = [None, None, None]


@pytest.fixture(scope="module")
def app(redis_url: str) -> Iterator[Any]:
    """Import the application here, and run its worker."""
    settings = {
        "CTXKIT_TEST_REDIS": redis_url,
        "CTXKIT_TEST_NAMESPACE": f"ctxkit-{uuid.uuid4().hex}",
    }
    name = "helpers.dramatiq_app"
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in settings.items():
            patch.setenv(variable, value)
        module = importlib.import_module(name)
    command = [sys.executable, "-m", "dramatiq", "--processes", "1", "--threads", "1", name]
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    environ = os.environ | settings | {"CTXKIT_TEST_WORKER": "1", "PYTHONPATH": path}
    worker = subprocess.Popen(
        command,
        env=environ | {"dramatiq_worker_timeout": "20"},
        cwd=TESTS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    yield module
    worker.terminate()
    try:
        said, _ = worker.communicate(timeout=20)
    finally:
        worker.kill()
    sys.stdout.write(said.decode())  # shown where a test has failed
    for key in module.client.scan_iter(f"{settings['CTXKIT_TEST_NAMESPACE']}*"):
        module.client.delete(key)
    module.broker.close()
    module.client.close()
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    sys.modules.pop(name)


Notes = list[list[Any]]


@pytest.fixture
def log(app: Any) -> Callable[[Callable[[Notes], Any]], Any]:
    """Return what a question finds in the notes, as soon as that is not false."""

    def read(question: Callable[[Notes], Any]) -> Any:
        end = time.monotonic() + 40
        while True:
            notes = [json.loads(each) for each in app.client.lrange(app.LOG, 0, -1)]
            if found := question(notes):
                return found
            assert time.monotonic() < end, notes
            time.sleep(0.02)

    return read


def seen(mark: str, count: int) -> Callable[[Notes], Any]:
    """Ask what actors saw."""

    def question(notes: Notes) -> Any:
        found = [each[1:] for each in notes if each[0].startswith(mark) and len(each) == 5]
        return found if len(found) >= count else None

    return question


@pytest.mark.rule("F-92")
def test_context_arrives_and_nothing_survives_into_the_next_message(app: Any, log: Any) -> None:
    with ctxkit.bind({app.TENANT: "acme", app.HERE: "view"}, request_id="0b7fd4c1"):
        app.step.send("survive.1")
        log(seen("survive.1", 1))
        app.astep.send("survive.2")
        log(seen("survive.2", 1))
    app.step.send("survive.3")
    app.astep.send("survive.4")
    found = log(seen("survive", 4))
    assert found[:2] == [[*ACME, "0b7fd4c1"]] * 2
    assert [each[:3] for each in found[2:]] == [NOTHING] * 2
    assert "0b7fd4c1" not in (found[2][3], found[3][3])


@pytest.mark.rule("F-92")
def test_retries_have_the_context_of_the_original_request(app: Any, log: Any) -> None:
    with ctxkit.bind({app.TENANT: "acme"}, request_id="0b7fd4c1"):
        app.fail.send("retry")
    assert log(seen("retry", 3)) == [[*ACME, "0b7fd4c1"]] * 3


def test_delayed_message_keeps_the_context(app: Any, log: Any) -> None:
    with ctxkit.bind({app.TENANT: "acme"}, request_id="0b7fd4c1"):
        app.step.send_with_options(args=("delayed",), delay=30)
    assert log(seen("delayed", 1)) == [[*ACME, "0b7fd4c1"]]


def test_pipeline_and_callback_of_a_group_keep_the_context(app: Any, log: Any) -> None:
    dramatiq = pytest.importorskip("dramatiq")
    with ctxkit.bind({app.TENANT: "acme"}, request_id="0b7fd4c1"):
        (app.step.message("pipe.1") | app.step.message("pipe.2")).run()
        group = dramatiq.group([app.step.message("group.1"), app.step.message("group.2")])
        group.add_completion_callback(app.step.message("group.callback"))
        group.run()
    assert log(seen("pipe", 2)) == [[*ACME, "0b7fd4c1"]] * 2
    assert log(seen("group", 3)) == [[*ACME, "0b7fd4c1"]] * 3


def test_telemetry_has_landed_before_a_message_is_acknowledged(app: Any, log: Any) -> None:
    app.step.send("land")
    notes = log(lambda notes: notes if ["land", "acknowledged"] in notes else None)
    marks = [each[:2] for each in notes]
    end = marks.index(["land", "acknowledged"])
    begin = next(i for i, each in enumerate(marks) if each[0] == "land")
    assert ["", "flushed"] in marks[begin:end]


def test_spawned_function_runs_in_the_worker(app: Any, log: Any) -> None:
    with ctxkit.bind({app.TENANT: "acme"}, request_id="0b7fd4c1"):
        message = app.charge.spawn("spawned")
    assert log(seen("spawned", 1)) == [[*ACME, "0b7fd4c1"]]
    assert message.get_result(block=True, timeout=20_000) == "charged spawned"


def test_sentry_beside_it_continues_its_trace_and_knows_the_error(app: Any, log: Any) -> None:
    with sentry_sdk.start_transaction(name="view") as transaction:
        app.fail.send_with_options(args=("traced",), max_retries=0)
    assert log(seen("traced", 1))
    trace = transaction.trace_id
    kinds = {"error", "transaction"}
    log(lambda notes: kinds <= {each[1] for each in notes if each[2:3] == [trace]})
