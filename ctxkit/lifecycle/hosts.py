"""The host we run in, told by the variables it sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Hold = Literal["always", "idle", "never"]

#: How Lambda came to start this environment.
INIT_TYPE_VARIABLE: Final = "AWS_LAMBDA_INITIALIZATION_TYPE"

# What says more about a host than that it is one, in the order of the hosts below.
_MARKS: Final = (
    INIT_TYPE_VARIABLE,
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_EXEC_WRAPPER",
    "AWS_LWA_PORT",
    "AWS_LWA_INVOKE_MODE",
    "AWS_EXECUTION_ENV",
    "AWS_SAM_LOCAL",
    "VERCEL",
    "VERCEL_ENV",
    "CLOUD_RUN_JOB",
    "CLOUD_RUN_EXECUTION",
    "CLOUD_RUN_TIMEOUT_SECONDS",
    "FUNCTION_TARGET",
    "FUNCTION_SIGNATURE_TYPE",
    "K_SERVICE",
    "K_REVISION",
    "KUBERNETES_SERVICE_HOST",
    "FUNCTIONS_WORKER_RUNTIME",
    "CONTAINER_APP_JOB_NAME",
    "CONTAINER_APP_NAME",
    "CONTAINER_APP_REVISION",
    "WEBSITE_INSTANCE_ID",
)


class Host(NamedTuple):
    """Say what runs this process, and what it does to it between requests.

    Attributes:
        name: ``"aws-lambda"``, ``"aws-lambda-managed"``, ``"vercel"``, ``"cloud-run"``,
            ``"cloud-run-job"``, ``"cloud-functions"``, ``"knative"``,
            ``"azure-functions"``, ``"azure-container-apps"``, or ``"process"`` for a plain
            one.
        hold: Which responses have to wait for the flush there. ``"always"``: each, the host
            freezes after it. ``"idle"``: the one that leaves nothing in flight, the host
            throttles then. ``"never"``: none, the process keeps running.
        evidence: The variable that decided, as ``NAME=value``; empty for ``"process"``.
        init_type: How Lambda came to start this environment: ``"on-demand"``,
            ``"provisioned-concurrency"``, ``"snap-start"``, ``"lambda-managed-instances"``
            or what it will call others; empty where it does not say, and elsewhere.
    """

    name: str
    hold: Hold
    evidence: str
    init_type: str = ""


def detect(environ: Mapping[str, str]) -> Host:
    """Return the host that ``environ`` gives evidence of; the first match decides.

    Args:
        environ: Environment variables. An empty value counts as absent.
    """
    for name, hold, variable in _matches(environ):
        value = environ.get(variable, "")
        if value:
            init_type = environ.get(INIT_TYPE_VARIABLE, "") if name.startswith("aws-") else ""
            return Host(name, hold, f"{variable}={value}", init_type)
    return Host("process", "never", "")


def marks(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what of ``environ`` speaks of a host, as ``NAME=value``, deciding or not."""
    return tuple(f"{name}={environ[name]}" for name in _MARKS if environ.get(name))


def _matches(environ: Mapping[str, str]) -> Iterator[tuple[str, Hold, str]]:
    """Yield a host, when to hold there, and the variable that is its mark."""
    # Managed Instances are Lambda functions that are never frozen.
    # https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html
    yield "aws-lambda-managed", "never", "AWS_LAMBDA_MAX_CONCURRENCY"
    if environ.get(INIT_TYPE_VARIABLE) == "lambda-managed-instances":
        yield "aws-lambda-managed", "never", INIT_TYPE_VARIABLE
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
    # https://learn.microsoft.com/azure/container-apps/environment-variables
    yield "azure-container-apps", "never", "CONTAINER_APP_NAME"
    yield "azure-container-apps", "never", "CONTAINER_APP_JOB_NAME"
