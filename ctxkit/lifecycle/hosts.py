"""The host we run in, told by the variables it sets."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Hold = Literal["always", "idle", "never"]


class Environment(NamedTuple):
    """Say where this process runs and what its host does to it between requests.

    Attributes:
        name: The host: ``"aws-lambda"``, ``"aws-lambda-managed"``, ``"vercel"``,
            ``"cloud-run"``, ``"cloud-run-job"``, ``"cloud-functions"``, ``"knative"``,
            ``"azure-functions"``, or ``"process"`` for a plain one.
        hold: Which responses have to wait for the flush there. ``"always"``: each, the host
            freezes after it. ``"idle"``: the one that leaves nothing in flight, the host
            throttles then. ``"never"``: none, the process keeps running.
        evidence: The variable that decided, as ``NAME=value``; empty for ``"process"``.
    """

    name: str
    hold: Hold
    evidence: str


def detect(environ: Mapping[str, str]) -> Environment:
    """Return the environment that ``environ`` gives evidence of; the first match decides.

    Args:
        environ: Environment variables. An empty value counts as absent.
    """
    for name, hold, variable in _matches(environ):
        value = environ.get(variable, "")
        if value:
            return Environment(name, hold, f"{variable}={value}")
    return Environment("process", "never", "")


@cache
def environment() -> Environment:
    """Return the environment of this process, detected once from its variables."""
    return detect(os.environ)


def _matches(environ: Mapping[str, str]) -> Iterator[tuple[str, Hold, str]]:
    """Yield a host, when to hold there, and the variable that is its mark."""
    # Managed Instances are Lambda functions that are never frozen.
    # https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html
    yield "aws-lambda-managed", "never", "AWS_LAMBDA_MAX_CONCURRENCY"
    start = "AWS_LAMBDA_INITIALIZATION_TYPE"
    if environ.get(start) == "lambda-managed-instances":
        yield "aws-lambda-managed", "never", start
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    yield "aws-lambda", "always", "AWS_LAMBDA_FUNCTION_NAME"
    yield "aws-lambda", "always", "AWS_LAMBDA_RUNTIME_API"
    if environ.get("VERCEL_ENV") != "development":
        yield "vercel", "always", "VERCEL"
    # https://cloud.google.com/run/docs/container-contract#env-vars
    yield "cloud-run-job", "never", "CLOUD_RUN_JOB"
    yield "cloud-functions", "idle", "FUNCTION_TARGET"
    # Knative's own variables, which Cloud Run sets too; only one of them is a pod.
    pod = environ.get("KUBERNETES_SERVICE_HOST")
    yield ("knative" if pod else "cloud-run"), "idle", "K_SERVICE"
    # https://learn.microsoft.com/azure/azure-functions/functions-app-settings
    yield "azure-functions", "idle", "FUNCTIONS_WORKER_RUNTIME"
