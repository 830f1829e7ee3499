from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ctxkit.exceptions import HostError
from ctxkit.testing import LambdaHost

if TYPE_CHECKING:
    from pathlib import Path

# It registers an extension that works for a while after each answer.
FUNCTION = """
import http.client, json, os, signal, sys, threading, time

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
ROOT = "/2020-01-01/extension"
WORK = float(os.environ.get("WORK", "0.2"))
seen = []

def ask(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(API)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, ROOT + path, body and json.dumps(body), headers)
    answer = connection.getresponse()
    told = json.loads(answer.read() or b"{}")
    identifier = answer.getheader("Lambda-Extension-Identifier")
    connection.close()
    return answer.status, told.get("errorType"), identifier, told

def register(name="mine", events=("INVOKE",)):
    return ask("POST", "/register", {"events": list(events)}, Lambda_Extension_Name=name)

REGISTERED = register() if os.environ.get("EXTEND", "1") == "1" else None

def live():
    while True:
        event = ask("GET", "/event/next", Lambda_Extension_Identifier=REGISTERED[2])[3]
        time.sleep(WORK)
        seen.append(event["requestId"])

if REGISTERED and WORK >= 0:
    threading.Thread(target=live, daemon=True).start()

if os.environ.get("LEAVE"):
    code = os.environ["LEAVE"]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(int(code)) if code != "stay" else None)

def handler(event, context):
    if event.get("late"):
        return register("late")[:2]
    if event.get("sleep"):
        time.sleep(event["sleep"])
    return {"seen": list(seen), "id": context.aws_request_id, "pid": os.getpid()}

REFUSED = [
    ask("POST", "/register", {"events": ["INVOKE"]})[:2],
    register("other", ["SHUTDOWN"])[:2],
    register("other", ["SLEEP"])[:2],
    register()[:2] if REGISTERED else None,
    ask("GET", "/event/next")[:2],
    ask("GET", "/event/next", Lambda_Extension_Identifier="x")[:2],
]

def refused(event, context):
    return REFUSED
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("awslambdaric")
    (tmp_path / "function.py").write_text(FUNCTION)
    return tmp_path


def test_function_is_frozen_only_when_its_extension_is_back_too(folder: Path) -> None:
    with LambdaHost("function.handler", cwd=folder) as function:
        assert function.extensions == ("mine",)
        first = function.invoke({})
        assert first.times.latency < 0.2
        assert first.times.stopped is not None
        assert first.times.stopped - first.times.sent >= 0.2
        assert function.frozen
        assert function.invoke({}).payload["seen"] == [first.payload["id"]]


def test_extension_that_does_not_come_back_costs_the_timeout_and_then_the_process(
    folder: Path,
) -> None:
    with LambdaHost("function.handler", cwd=folder, env={"WORK": "60"}) as function:
        started = time.monotonic()
        first = function.invoke({}, timeout=0.5)
        assert 0.4 < time.monotonic() - started < 10
        assert first.times.stopped is None
        assert function.pid is None
        assert function.invoke({}, timeout=0.5).payload["pid"] != first.payload["pid"]


def test_extension_that_never_asks_for_an_event_is_an_error_at_start(folder: Path) -> None:
    host = LambdaHost("function.handler", cwd=folder, env={"WORK": "-1"}, init_timeout=1)
    with pytest.raises(HostError, match="did not ask for an event in time"):
        host.__enter__()


def test_registration_is_refused_as_lambda_does(folder: Path) -> None:
    with LambdaHost("function.refused", cwd=folder) as function:
        assert function.invoke({}).payload == [
            [403, "Extension.InvalidExtensionName"],
            [403, "Extension.InvalidEventType"],
            [403, "Extension.InvalidEventType"],
            [403, "Extension.AlreadyRegistered"],
            [403, "Extension.MissingExtensionIdentifier"],
            [403, "Extension.UnknownExtensionIdentifier"],
        ]


def test_registration_after_the_first_event_is_refused(folder: Path) -> None:
    with LambdaHost("function.handler", cwd=folder) as function:
        assert function.invoke({"late": True}).payload == [403, "Extension.RegistrationClosed"]


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"EXTEND": "0", "LEAVE": "3"}, -9),  # no extension: no SIGTERM
        ({"LEAVE": "3"}, 3),
        ({"LEAVE": "stay"}, -9),
        ({}, -15),
    ],
)
def test_shutdown_gives_a_moment_to_who_has_an_extension(
    folder: Path, environ: dict[str, str], code: int
) -> None:
    # Before 3.12 the runtime waits in C code, where no handler runs.
    environ = {**environ, "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13"}
    with LambdaHost("function.handler", cwd=folder, env=environ) as function:
        first = function.invoke({}).payload["pid"]
        assert function.shutdown(grace=0.5 if code == -9 else 10) == code
        assert function.pid is None
        assert function.shutdown() is None
        assert function.invoke({}).payload["pid"] != first


def test_snap_start_restores_the_process_before_its_first_event(folder: Path) -> None:
    pytest.importorskip("snapshot_restore_py")
    (folder / "hooked.py").write_text(
        "import snapshot_restore_py\n"
        "told = []\n"
        "snapshot_restore_py.register_before_snapshot(told.append, 'before')\n"
        "snapshot_restore_py.register_after_restore(told.append, 'after')\n"
        "def handler(event, context):\n"
        "    return told\n"
    )
    with LambdaHost("hooked.handler", cwd=folder, snap_start=True) as function:
        assert function.frozen
        assert function.invoke({}).payload == ["before", "after"]


def test_restore_that_fails_is_an_error_at_start(folder: Path) -> None:
    pytest.importorskip("snapshot_restore_py")
    (folder / "hooked.py").write_text(
        "import snapshot_restore_py\n"
        "snapshot_restore_py.register_after_restore(lambda: 1 / 0)\n"
        "handler = print\n"
    )
    with pytest.raises(HostError, match=r"failed to initialise.*ZeroDivisionError"):
        LambdaHost("hooked.handler", cwd=folder, snap_start=True).__enter__()


def test_managed_instance_takes_several_events_at_once_and_is_never_frozen(folder: Path) -> None:
    pytest.importorskip("awslambdaric.lambda_multi_concurrent_utils")
    host = LambdaHost("function.handler", cwd=folder, env={"EXTEND": "0"}, concurrency=2)
    with host as function, ThreadPoolExecutor(2) as pool:
        results = list(pool.map(function.invoke, [{"sleep": 0.5}] * 2))
        assert not function.frozen
    assert len({result.payload["pid"] for result in results}) == 2
    assert max(r.times.sent for r in results) < min(r.times.complete for r in results)


def test_close_ends_the_polls_of_extensions(folder: Path) -> None:
    before = threading.active_count()
    with LambdaHost("function.handler", cwd=folder, env={"WORK": "0"}) as function:
        function.invoke({})
    deadline = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
