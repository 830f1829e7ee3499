from __future__ import annotations

import pytest
from helpers.brokers import VARIABLES, url_of


@pytest.fixture(scope="module", params=list(VARIABLES))
def broker_url(request: pytest.FixtureRequest) -> str:
    """Run a module over each broker."""
    return url_of(request.param)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """Name the Redis, for results."""
    return url_of("redis")
