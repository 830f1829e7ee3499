from __future__ import annotations

import pytest

pytest.importorskip("django")

from ctxkit.boundary.hosting import HOST
from ctxkit.django import ContextMiddleware
from ctxkit.exceptions import ConfigurationError


def test_wrong_lambda_mode_is_told_when_the_handler_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The middleware is all that a project on AWS Lambda has of ctxkit."""
    monkeypatch.setenv("CTXKIT_LAMBDA_MODE", "often")
    HOST.restart()
    with pytest.raises(ConfigurationError, match="CTXKIT_LAMBDA_MODE must be one of"):
        ContextMiddleware(lambda request: request)
