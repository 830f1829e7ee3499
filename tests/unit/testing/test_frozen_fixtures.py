"""The pytest fixtures that give a test a host which freezes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import ctxkit
from ctxkit.exceptions import ConfigurationError
from ctxkit.testing._fixtures import _argv, _path_of

pytest_plugins = ["pytester"]

SHOP = """
import os, sentry_sdk, ctxkit

sentry_sdk.init(default_integrations=False)  # SENTRY_DSN says where to

@ctxkit.flush_before_return
def handler(event, context):
    sentry_sdk.capture_message(f"order {event['order']}")
    return {"folder": os.getcwd(), "mine": os.environ.get("MINE")}

def record(environ, start_response):
    sentry_sdk.capture_message(f"asked for {environ['PATH_INFO']}")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

app = ctxkit.WSGIMiddleware(record)
"""

LAMBDA = """
def test_my_handler_lands(frozen_lambda, telemetry_sink):
    function = frozen_lambda("shop.handler")
    result = function.invoke({"order": 7})
    assert [item.name for item in telemetry_sink.landed(result)] == ["order 7"]

def test_options(frozen_lambda, tmp_path):
    (tmp_path / "other.py").write_text("def handler(event, context): return 'other'")
    function = frozen_lambda("other.handler", cwd=tmp_path, env={"SENTRY_DSN": None})
    assert function.invoke({}).payload == "other"

def test_function(frozen_lambda):
    import shop
    function = frozen_lambda(shop.handler, env={"MINE": "yes"})
    assert function.invoke({"order": 8}).payload["mine"] == "yes"
"""

SERVER = """
import sys, pytest
from ctxkit.exceptions import HostError

COMMAND = "gunicorn --no-control-socket shop:app --bind 127.0.0.1:{port}"

def test_my_site_lands(frozen_server, telemetry_sink):
    site = frozen_server(COMMAND)
    response = site.request("GET", "/orders")
    assert [item.name for item in telemetry_sink.landed(response)] == ["asked for /orders"]

def test_argv(frozen_server, tmp_path):
    argv = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
    site = frozen_server(argv, cwd=tmp_path, env={"CTXKIT_FLUSH_MODE": None})
    assert site.request("HEAD", "/").status == 200

def test_failure(frozen_server):
    with pytest.raises(HostError, match="no_such_server"):
        frozen_server("no_such_server --port {port}")

def test_sink_that_hangs(frozen_server, telemetry_sink):
    telemetry_sink.behaviour = "hang"
    site = frozen_server(COMMAND, env={"CTXKIT_FLUSH_TIMEOUT": "0.3"})
    assert 0.3 < site.request("GET", "/").times.latency < 5
"""


@pytest.mark.parametrize(
    ("needed", "tests", "passed"),
    [
        ("awslambdaric", LAMBDA, 3),
        ("gunicorn", SERVER, 4),
    ],
    ids=["lambda", "server"],
)
def test_hosts_of_a_user_s_tests_freeze_and_send_to_the_test_s_sink(
    needed: str, tests: str, passed: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(needed)
    pytest.importorskip("sentry_sdk")
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\npythonpath = ['.']")
    pytester.makeconftest('pytest_plugins = ["ctxkit.testing.plugin"]')
    pytester.makepyfile(shop=SHOP, test_shop=tests)
    paths = [str(Path(ctxkit.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.delenv("PYTHONDEVMODE", raising=False)  # it makes many processes take long
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=passed)


def test_command_is_run_by_this_interpreter_if_it_is_a_text() -> None:
    assert _argv("gunicorn 'a b'") == [sys.executable, "-m", "gunicorn", "a b"]
    assert _argv(("serve", "a b")) == ["serve", "a b"]


@pytest.mark.parametrize("command", ["", " ", ()])
def test_empty_command_is_a_configuration_error(command: Any) -> None:
    with pytest.raises(ConfigurationError, match="empty command"):
        _argv(command)


def test_handler_may_be_the_function_itself() -> None:
    assert _path_of(ctxkit.flush) == "ctxkit.flushing.engine.flush"


@pytest.mark.parametrize("handler", ["handler", "", ".handler", "shop.", lambda: None, 7])
def test_handler_that_no_module_has_is_a_configuration_error(handler: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"like \"shop\.handler\""):
        _path_of(handler)
