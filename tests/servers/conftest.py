from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers.servers import KINDS, Kind, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", params=KINDS, ids=lambda kind: kind.name)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Run each server that is installed, once: every response is held, unless its path says no."""
    kind: Kind = request.param
    if not kind.available:
        pytest.skip(f"{kind.name} is not installed")
    folder = tmp_path_factory.mktemp(kind.name)
    environ = {
        "CTXKIT_FLUSH_MODE": "always",
        "CTXKIT_FLUSH_TIMEOUT": "15",
        "SERVED_LOG": str(folder / "landed.txt"),
    }
    (folder / "landed.txt").touch()
    with Server(kind, f"helpers.served:{kind.protocol}", folder, environ) as running:
        yield running
