from __future__ import annotations

import pytest

from ctxkit.lifecycle import detect

LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "shop", "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}


@pytest.mark.parametrize(
    ("environ", "name", "hold", "evidence"),
    [
        ({}, "process", "never", ""),
        ({"K_SERVICE": ""}, "process", "never", ""),
        (LAMBDA, "aws-lambda", "always", "AWS_LAMBDA_FUNCTION_NAME=shop"),
        (
            {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"},
            "aws-lambda",
            "always",
            "AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001",
        ),
        (
            {**LAMBDA, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"},
            "aws-lambda",
            "always",
            "AWS_LAMBDA_FUNCTION_NAME=shop",
        ),
        (
            {**LAMBDA, "AWS_LAMBDA_MAX_CONCURRENCY": "16"},
            "aws-lambda-managed",
            "never",
            "AWS_LAMBDA_MAX_CONCURRENCY=16",
        ),
        (
            {**LAMBDA, "AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"},
            "aws-lambda-managed",
            "never",
            "AWS_LAMBDA_INITIALIZATION_TYPE=lambda-managed-instances",
        ),
        ({**LAMBDA, "VERCEL": "1"}, "aws-lambda", "always", "AWS_LAMBDA_FUNCTION_NAME=shop"),
        ({"VERCEL": "1"}, "vercel", "always", "VERCEL=1"),
        ({"VERCEL": "1", "VERCEL_ENV": "development"}, "process", "never", ""),
        ({"K_SERVICE": "shop"}, "cloud-run", "idle", "K_SERVICE=shop"),
        (
            {"K_SERVICE": "shop", "FUNCTION_TARGET": "main"},
            "cloud-functions",
            "idle",
            "FUNCTION_TARGET=main",
        ),
        (
            {"K_SERVICE": "shop", "KUBERNETES_SERVICE_HOST": "10.0.0.1"},
            "knative",
            "idle",
            "K_SERVICE=shop",
        ),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "process", "never", ""),
        ({"CLOUD_RUN_JOB": "nightly"}, "cloud-run-job", "never", "CLOUD_RUN_JOB=nightly"),
        (
            {"FUNCTIONS_WORKER_RUNTIME": "python"},
            "azure-functions",
            "idle",
            "FUNCTIONS_WORKER_RUNTIME=python",
        ),
    ],
)
def test_detect_names_the_host_and_its_evidence(
    environ: dict[str, str], name: str, hold: str, evidence: str
) -> None:
    assert detect(environ)[:3] == (name, hold, evidence)
