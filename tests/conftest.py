from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    folder = os.environ.get("CTXKIT_RULE_RESULTS")
    if folder:
        from helpers.rules import Recorder  # noqa: PLC0415 - where tox asks for it alone

        config.pluginmanager.register(Recorder(Path(folder)), "ctxkit-rules")
