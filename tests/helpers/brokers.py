"""The Redis and the RabbitMQ that `.ci/brokers` starts, for the tests of task queues."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The variable that names each broker, in the words of `.ci/brokers url`.
VARIABLES: Final[Mapping[str, str]] = {"redis": "REDIS_URL", "rabbitmq": "AMQP_URL"}

#: The longest wait in seconds for a broker that is still starting: CI does so beside all else.
PATIENCE: Final = 20.0 if os.environ.get("CI") else 5.0


def url_of(broker: str) -> str:
    """Return the URL of a broker that answers.

    Where none is named the test is skipped; in CI, and where the named one does not answer, it
    fails.
    """
    variable = VARIABLES[broker]
    url = os.environ.get(variable)
    if not url:
        told = f"no {variable}: export $(bash .ci/brokers start)"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    wait_for(url)
    return url


def wait_for(url: str, patience: float = PATIENCE) -> None:
    """Wait until something answers at a URL."""
    where = urlsplit(url)
    end = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection((where.hostname or "", where.port or 0), timeout=5):
                return
        except OSError as error:
            if time.monotonic() > end:
                pytest.fail(f"nothing at {where.hostname}:{where.port} in {patience} s: {error}")
        time.sleep(0.1)
