"""Clones of one snapshot, simulated by fork, through the real hooks of ``snapshot_restore_py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.lambda_hosts import TESTS

from ctxkit.flushing.sinks.sentry import SentrySink
from ctxkit.testing import TelemetrySink

pytest.importorskip("awslambdaric.lambda_runtime_hooks_runner")
pytest.importorskip("snapshot_restore_py")
pytest.importorskip("sentry_sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

# What awslambdaric does for SnapStart, but for the snapshot, of which a fork is a likeness.
PROGRAM = """
import json, os, random, sys
from awslambdaric import lambda_runtime_hooks_runner as hooks
from helpers import lambda_functions as function
import snapshot_restore_py

class Context:
    aws_request_id = "r"
    def get_remaining_time_in_millis(self):
        return 10000

def sockets():
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return [link for link in links if link.startswith("socket:")]

function.handler({"n": "init"}, Context())  # connections are open, and worked with
report = {"before": len(sockets())}
hooks.run_before_snapshot()
report["snapshot"] = len(sockets())
clones = []
state = random.getstate()
for n in range(2):
    reading, writing = os.pipe()
    if not os.fork():
        random.setstate(state)  # a fork seeds anew, a restored machine does not
        hooks.run_after_restore()
        function.handler({"n": n}, Context())
        with function.tracer.start_as_current_span("id") as span:
            trace = span.get_span_context().trace_id
        os.write(writing, json.dumps({"trace": trace, "sockets": sockets()}).encode())
        os._exit(0)
    os.close(writing)
    clones.append(reading)
report["clones"] = [json.loads(os.fdopen(reading).read()) for reading in clones]
print(json.dumps(report))
"""


def _run_clones(sink: TelemetrySink, **environ: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(TESTS), *filter(None, map(os.path.abspath, sys.path))]
            ),
            "SENTRY_DSN": sink.dsn,
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.otlp_endpoint,
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9",
            "PYTHONSAFEPATH": "",
            **environ,
        },
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_clones_without_the_hooks_have_the_same_ids() -> None:
    """Or the test below would show nothing."""
    with TelemetrySink() as sink:
        first, second = _run_clones(sink)["clones"]
    assert first["trace"] == second["trace"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.skipif(
    not hasattr(SentrySink, "before_snapshot"), reason="sinks do not drop their connections yet"
)
def test_clones_of_a_snapshot_share_neither_ids_nor_sockets() -> None:
    with TelemetrySink() as sink:
        report = _run_clones(sink, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
        names = {item.name for item in sink.items}
    first, second = report["clones"]
    assert first["trace"] != second["trace"]
    assert report["before"] > report["snapshot"] == 0
    assert not set(first["sockets"]) & set(second["sockets"])
    assert {f"{kind} {n}" for kind in ("span", "event") for n in ("init", 0, 1)} <= names
