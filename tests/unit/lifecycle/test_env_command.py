from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    marks = ("AWS_", "CLOUD_RUN_", "FUNCTION", "K_", "KUBERNETES_", "CTXKIT_", "VERCEL")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(marks)}
    return subprocess.run(
        [sys.executable, "-m", "ctxkit.cli", "env", *arguments],
        env={**clean, **variables},
        capture_output=True,
        timeout=30,
        text=True,
        check=False,
    )


def test_env_names_the_host_and_the_evidence_for_it() -> None:
    done = run(
        AWS_LAMBDA_FUNCTION_NAME="shop",
        AWS_LAMBDA_INITIALIZATION_TYPE="on-demand",
        CTXKIT_FLUSH_TIMEOUT="0.5",
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "host        aws-lambda",
        "told by     AWS_LAMBDA_FUNCTION_NAME=shop",
        "init type   on-demand",
        "held there  always",
        "held here   always",
        "budget      0.5",
        "evidence    AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
        "evidence    AWS_LAMBDA_FUNCTION_NAME=shop",
    ]


def test_env_of_a_plain_process_says_that_nothing_told() -> None:
    done = run(CTXKIT_FLUSH_MODE="idle")

    assert done.stdout.splitlines() == [
        "host        process",
        "told by     nothing",
        "held there  never",
        "held here   idle",
        "budget      2.0",
    ]


def test_env_as_json_is_json() -> None:
    told = json.loads(run("--json", K_SERVICE="shop").stdout)

    assert told == {
        "host": "cloud-run",
        "told_by": "K_SERVICE=shop",
        "init_type": "",
        "held_there": "idle",
        "held_here": "idle",
        "budget": 2.0,
        "evidence": ["K_SERVICE=shop"],
    }


@pytest.mark.parametrize("variable", ["CTXKIT_FLUSH_MODE", "CTXKIT_FLUSH_TIMEOUT"])
def test_env_with_a_variable_that_cannot_be_used_says_so(variable: str) -> None:
    done = run(**{variable: "often"})

    assert done.returncode == 2
    assert done.stderr.startswith(f"ctxkit env: {variable} must be")
