"""The environment and warm resources in workers of real servers, from their start to their end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from helpers.demo import eventually

from ctxkit.testing import FreezingServer

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
        "invocations": environment.invocations, "cold": environment.cold, "id": environment.id,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]

app = ctxkit.WSGIMiddleware(page, mode="always")
"""


APPLICATION = """
import ctxkit

def note(event):
    with open("events.txt", "a") as log:
        log.write(event + "\\n")

ctxkit.on_init(lambda: note("init"))
ctxkit.on_shutdown(lambda: note("shutdown"))

@ctxkit.warm
async def client():
    note("open")
    try:
        yield 7
    finally:
        note("closed")

@ctxkit.warm(close=lambda _: note("pool closed"))
def pool():
    return 8

async def page(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    body = str([await client(), pool()]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

app = ctxkit.ASGIMiddleware(page, mode="never")
"""


@pytest.mark.parametrize("hooks", [(), ("--py-call-uwsgi-fork-hooks",)])
def test_worker_of_uwsgi_begins_for_itself(tmp_path: Path, hooks: tuple[str, ...]) -> None:
    program = shutil.which("uwsgi", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("uwsgi is not installed")
    (tmp_path / "site_of_ours.py").write_text(SITE)
    argv = [program, "--http-socket", "127.0.0.1:{port}", "--wsgi", "site_of_ours:app"]
    argv += ["--master", "--processes", "1", "--enable-threads", "--pythonpath", str(tmp_path)]
    argv += ["--home", sys.prefix, *hooks]
    with FreezingServer(argv, cwd=tmp_path) as server:
        first, second = (json.loads(server.request("GET", "/").body) for _ in range(2))

    assert first["pid"] != first["master"]
    assert first["client"] == second["client"] == first["pid"]
    assert first["inits"] == second["inits"] == [first["pid"]]
    assert [each["invocations"] for each in (first, second)] == [1, 2]
    assert [each["cold"] for each in (first, second)] == [True, False]
    assert first["id"] == second["id"]


@pytest.mark.parametrize(
    "command",
    [
        "uvicorn --port {port}",
        "hypercorn --bind 127.0.0.1:{port}",
        "granian --interface asgi --port {port}",
    ],
    ids=lambda command: command.split()[0],
)
def test_worker_that_is_told_to_end_closes_what_is_warm(tmp_path: Path, command: str) -> None:
    name, *options = command.split()
    pytest.importorskip(name)
    (tmp_path / "site_of_ours.py").write_text(APPLICATION)
    argv = [sys.executable, "-m", name, *options, "site_of_ours:app"]
    events = tmp_path / "events.txt"
    variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}

    with FreezingServer(argv, cwd=tmp_path, env=variables, freeze=False) as server:
        for _ in range(2):
            assert server.request("GET", "/").body == b"[7, 8]"
        assert events.read_text().split("\n") == ["init", "open", ""]
        os.kill(server.pid, signal.SIGTERM)
        assert eventually(lambda: "shutdown" in events.read_text())

    told = events.read_text().splitlines()
    assert told[:3] == ["init", "open", "closed"]
    assert "pool closed" in told
    assert told.count("closed") == told.count("pool closed") == 1
