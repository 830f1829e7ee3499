"""Both colours by one driver."""

from __future__ import annotations

import pytest
from helpers.calls import Drive, drive_async, drive_sync


@pytest.fixture(params=[drive_sync, drive_async], ids=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Drive:
    return request.param
