"""The bare Django project under a real server, once per protocol.

``CTXKIT_TEST_PROTOCOL`` (``wsgi`` or ``asgi``) chooses one; without it, both are run.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers.django_site_server import Site

_NEEDED = ("django", "gunicorn", "uvicorn", "sentry_sdk", "opentelemetry")
if any(importlib.util.find_spec(name) is None for name in _NEEDED):
    collect_ignore_glob = ["test_*.py"]

PROTOCOLS = [os.environ.get("CTXKIT_TEST_PROTOCOL", "wsgi"), "asgi"]
if "CTXKIT_TEST_PROTOCOL" in os.environ:
    del PROTOCOLS[1:]


@pytest.fixture(scope="session", params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def site(protocol: str) -> Iterator[Site]:
    from helpers.django_site_server import Site  # noqa: PLC0415 - needs the demo extra

    with Site(protocol) as running:
        yield running
