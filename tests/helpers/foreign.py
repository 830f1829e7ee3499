"""What the tests that run other people's tests have in common."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip for a user, fail where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def environment() -> dict[str, str]:
    """Return the environment of a process that runs them.

    As their own runners have it: no development mode, which some tests do not stand.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name == "PYTHONPATH" or not name.startswith(("PYTHON", "PYTEST", "COVERAGE"))
    }
