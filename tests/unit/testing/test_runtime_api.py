from __future__ import annotations

import base64
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from helpers.demo import eventually

from ctxkit.exceptions import HostError
from ctxkit.testing import LambdaHost
from ctxkit.testing._gateway import gateway_event, read_gateway_result
from ctxkit.testing._processes import state

if TYPE_CHECKING:
    from pathlib import Path

FUNCTION = """
import os, threading, time

count = 0

def tick():
    global count
    while True:
        count += 1
        time.sleep(0.001)

threading.Thread(target=tick, daemon=True).start()

def handler(event, context):
    if event.get("fail"):
        raise ValueError("no coffee")
    if event.get("exit"):
        os._exit(7)
    if event.get("hang"):
        time.sleep(60)
    if "rawPath" in event:
        headers = {"X-Method": event["requestContext"]["http"]["method"]}
        return {"statusCode": 201, "headers": headers, "body": event["rawPath"], "cookies": ["a=1"]}
    return {
        "count": count, "pid": os.getpid(), "ppid": os.getppid(), "id": context.aws_request_id,
        "left": context.get_remaining_time_in_millis(), "mine": os.environ.get("MINE"),
    }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("awslambdaric")
    (tmp_path / "function.py").write_text(FUNCTION)
    return tmp_path


def test_function_is_frozen_between_events_and_thawed_for_the_next(folder: Path) -> None:
    with LambdaHost("function.handler", cwd=folder, env={"MINE": "yes"}) as function:
        assert function.frozen
        before = function.invoke({}, timeout=10)
        assert function.frozen
        if sys.platform == "linux":
            assert eventually(lambda: state(before.payload["pid"]) == "T")
        time.sleep(0.5)
        after = function.invoke({})
    assert after.payload["pid"] == before.payload["pid"]
    assert after.payload["count"] - before.payload["count"] < 250  # of about 500
    assert before.payload["mine"] == "yes"
    assert 9_000 < before.payload["left"] <= 10_000 < after.payload["left"]
    assert before.payload["id"] != after.payload["id"]
    times = after.times
    assert times.thawed is not None
    assert times.stopped is not None
    assert times.thawed <= times.sent <= times.complete <= times.stopped


def test_function_that_is_not_to_freeze_keeps_running(folder: Path) -> None:
    with LambdaHost("function.handler", cwd=folder, freeze=False) as function:
        first = function.invoke({})
        assert not function.frozen
        assert first.times.stopped is None
        deadline = time.monotonic() + 5
        while function.invoke({}).payload["count"] < first.payload["count"] + 20:
            assert time.monotonic() < deadline


def test_function_that_raises_is_a_failed_result_and_goes_on(folder: Path) -> None:
    with LambdaHost("function.handler", cwd=folder) as function:
        result = function.invoke({"fail": True})
        assert result.failed
        assert result.payload["errorMessage"] == "no coffee"
        assert not function.invoke({}).failed


def test_function_that_ends_its_process_is_an_error_and_gets_a_new_process(folder: Path) -> None:
    with LambdaHost("function.handler", cwd=folder) as function:
        first = function.invoke({}).payload["pid"]
        with pytest.raises(HostError, match="exit code 7"):
            function.invoke({"exit": True})
        assert function.pid is None
        assert function.invoke({}).payload["pid"] not in (None, first)


def test_interpreter_without_the_runtime_is_an_error_that_says_what_to_do(folder: Path) -> None:
    python = folder / "python"
    python.write_text("#!/bin/sh\necho python: No module named awslambdaric\nexit 1\n")
    python.chmod(0o700)
    with (
        pytest.raises(HostError, match=r"install django-ctxkit\[aws-lambda\]"),
        LambdaHost("function.handler", cwd=folder, python=str(python)),
    ):
        pass


def test_function_that_exceeds_its_timeout_is_killed(folder: Path) -> None:
    with LambdaHost("function.handler", cwd=folder) as function:
        pid = function.pid
        assert pid is not None
        with pytest.raises(TimeoutError, match=r"within 0\.3 s"):
            function.invoke({"hang": True}, timeout=0.3)
        assert function.pid is None
        assert state(pid) in ("", "Z")


def test_function_that_cannot_be_imported_is_an_error_at_start(folder: Path) -> None:
    with pytest.raises(HostError, match=r"failed to initialise.*No module named 'absent'"):
        LambdaHost("absent.handler", cwd=folder).__enter__()


def test_http_request_becomes_an_event_and_its_result_an_exchange(folder: Path) -> None:
    with LambdaHost("function.handler", cwd=folder) as function:
        exchange = function.request("POST", "/orders%20new?a=1", body=b"x")
        failed = function.request("GET", "/", headers={"X": "y"})
    assert (exchange.status, exchange.body) == (201, b"/orders new")
    assert exchange.header("X-Method") == "POST"
    assert exchange.header("set-cookie") == "a=1"
    assert failed.status == 201


def test_invoke_before_the_with_block_is_an_error() -> None:
    with pytest.raises(HostError, match="with-block"):
        LambdaHost("function.handler").invoke({})


def test_gateway_event_has_payload_format_2() -> None:
    event = gateway_event(
        "post", "/a%20b?x=1&x=2&y=", {"Cookie": "a=1; b=2", "User-Agent": "u"}, b"\xff"
    )
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == (
        "2.0",
        "/a b",
        "x=1&x=2&y=",
    )
    assert event["queryStringParameters"] == {"x": "1,2", "y": ""}
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["headers"] == {"host": "ctxkit.test", "user-agent": "u"}
    assert event["requestContext"]["http"]["method"] == "POST"
    assert (event["isBase64Encoded"], base64.b64decode(event["body"])) == (True, b"\xff")


def test_gateway_result_without_status_is_json() -> None:
    assert read_gateway_result(["a"])[::2] == (200, b'["a"]')


def test_gateway_result_in_base64_is_decoded() -> None:
    body = base64.b64encode(b"\x00").decode()
    result = read_gateway_result({"statusCode": "200", "body": body, "isBase64Encoded": True})
    assert result == (200, (), b"\x00")


def test_close_leaves_no_thread_behind(folder: Path) -> None:
    before = threading.active_count()
    with LambdaHost("function.handler", cwd=folder) as function:
        function.invoke({})
        assert threading.active_count() > before
    assert eventually(lambda: threading.active_count() <= before)


def test_function_that_ends_its_process_after_the_answer_is_replaced(folder: Path) -> None:
    """As on Lambda the client has its answer, and the next event gets a new process."""
    (folder / "leaver.py").write_text(
        "import os\n"
        "from awslambdaric.lambda_runtime_client import LambdaRuntimeClient\n"
        "LambdaRuntimeClient.wait_next_invocation_ = LambdaRuntimeClient.wait_next_invocation\n"
        "asked = []\n"
        "def leave(self):\n"
        "    asked.append(1)\n"
        "    return self.wait_next_invocation_() if len(asked) < 2 else os._exit(5)\n"
        "LambdaRuntimeClient.wait_next_invocation = leave\n"
        "def handler(event, context):\n"
        "    return os.getpid()\n"
    )
    with LambdaHost("leaver.handler", cwd=folder) as function:
        first, second = function.invoke({}), function.invoke({})
    assert first.payload != second.payload
    assert first.times.stopped is None
