"""The environment in real servers and the real Lambda runtime, which are really frozen."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit.testing import FreezingServer, LambdaHost

if TYPE_CHECKING:
    from pathlib import Path

FREEZE = 1.0  # seconds; from half of one on, the resources below are doubted

FUNCTION = """
import itertools, ctxkit

numbers = itertools.count(1)
thaws, cache = [], []
ctxkit.on_reset(cache.clear)
ctxkit.on_thaw(after=0.5)(thaws.append)

@ctxkit.warm(check=lambda number: number > 1, after=0.5)
def client():
    return next(numbers)

@ctxkit.flush_before_return
def handler(event, context):
    environment = ctxkit.environment()
    cache.append(event)
    return {
        "host": environment.name,
        "init_type": environment.init_type,
        "phase": environment.phase,
        "invocations": environment.invocations,
        "cold": environment.cold,
        "cold_start": ctxkit.get("cold_start"),
        "gap": environment.freeze_gap,
        "thaws": thaws,
        "cached": len(cache),
        "client": client(),
    }
"""

MANGUM = """
import itertools, json, ctxkit, mangum

numbers = itertools.count(1)
ended = []
ctxkit.on_shutdown(lambda: ended.append(1))

@ctxkit.warm
async def client():
    yield next(numbers)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    environment = ctxkit.environment()
    told = [await client(), len(ended), environment.invocations]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})

handler = mangum.Mangum(ctxkit.ASGIMiddleware(app))
"""

SITE = """
import json, os, ctxkit

inits = []
ctxkit.on_init(lambda: inits.append(os.getpid()))

@ctxkit.warm
def client():
    return os.getpid()

master = client()  # made in the process that forks the workers

def page(environ, start_response):
    environment = ctxkit.environment()
    told = {
        "pid": os.getpid(), "master": master, "inits": inits, "client": client(),
        "invocations": environment.invocations, "cold": environment.cold,
        "gap": environment.freeze_gap,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]

app = ctxkit.WSGIMiddleware(page, mode="always")
"""


INITIALISED = """
import threading, ctxkit

@ctxkit.on_init
def prepare():
    print("prepared in", threading.current_thread().name, ctxkit.environment().phase, flush=True)

@ctxkit.flush_before_return
def handler(event, context):
    return threading.current_thread().name
"""


@pytest.mark.parametrize("runtime", ["AWS_Lambda_python3.11", "AWS_Lambda_python3.13"])
def test_lambda_is_prepared_while_it_initialises_in_the_thread_that_serves(
    tmp_path: Path, runtime: str
) -> None:
    """From 3.12 on the runtime asks for events in another thread."""
    pytest.importorskip("awslambdaric")
    (tmp_path / "function.py").write_text(INITIALISED)
    variables = {"AWS_EXECUTION_ENV": runtime}
    with LambdaHost("function.handler", cwd=tmp_path, env=variables) as host:
        assert "prepared in MainThread init" in host.output()
        assert [host.invoke({}).payload for _ in range(2)] == ["MainThread"] * 2
        assert host.output().count("prepared") == 1


def test_lambda_environment_is_cold_once_and_knows_how_long_it_was_frozen(tmp_path: Path) -> None:
    pytest.importorskip("awslambdaric")
    (tmp_path / "function.py").write_text(FUNCTION)
    variables = {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}
    with LambdaHost("function.handler", cwd=tmp_path, env=variables) as host:
        first = host.invoke({}).payload
        time.sleep(FREEZE)
        second = host.invoke({}).payload
        third = host.invoke({}).payload

    assert (first["host"], first["init_type"]) == ("aws-lambda", "on-demand")
    told = [
        (each["phase"], each["invocations"], each["cold"], each["cold_start"], each["cached"])
        for each in (first, second, third)
    ]
    assert told == [
        ("invoke", 1, True, True, 1),
        ("invoke", 2, False, False, 1),
        ("invoke", 3, False, False, 1),
    ]
    assert first["gap"] == 0.0
    assert second["gap"] > FREEZE / 2
    assert second["thaws"] == [second["gap"]]
    assert [each["client"] for each in (first, second, third)] == [1, 2, 2]


def test_lambda_environment_goes_on_where_mangum_ends_a_lifespan_each_time(
    tmp_path: Path,
) -> None:
    pytest.importorskip("awslambdaric")
    pytest.importorskip("mangum")
    (tmp_path / "function.py").write_text(MANGUM)
    with LambdaHost("function.handler", cwd=tmp_path) as host:
        told = [json.loads(host.request("GET", "/").body) for _ in range(2)]

    assert told == [[1, 0, 1], [1, 0, 2]]


def test_worker_that_was_forked_begins_for_itself_and_knows_of_its_freeze(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "site_of_ours.py").write_text(SITE)
    argv = [sys.executable, "-m", "gunicorn", "site_of_ours:app", "--bind", "127.0.0.1:{port}"]

    def ask(server: FreezingServer) -> Any:
        return json.loads(server.request("GET", "/").body)

    variables = {"PYTHONSAFEPATH": None}
    with FreezingServer([*argv, "--preload"], cwd=tmp_path, env=variables) as server:
        first = ask(server)
        time.sleep(FREEZE)
        second = ask(server)

    assert first["pid"] != first["master"]
    assert first["client"] == second["client"] == first["pid"]
    assert first["inits"] == second["inits"] == [first["pid"]]
    assert (first["invocations"], first["cold"], first["gap"]) == (1, True, 0.0)
    assert (second["invocations"], second["cold"]) == (2, False)
    assert second["gap"] > FREEZE / 2
