from __future__ import annotations

import pytest

from ctxkit.lifecycle._occasions import OCCASIONS


@pytest.fixture(autouse=True)
def no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the hooks of whoever else was imported."""
    for occasion in OCCASIONS:
        monkeypatch.setattr(occasion, "hooks", ())
