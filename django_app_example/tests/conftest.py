"""What the shop's tests share: the shop through each protocol, in process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import AsyncClient, Client
from django.test.utils import setup_databases, setup_test_environment, teardown_databases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpResponse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()


@pytest.fixture(scope="session")
def database() -> Iterator[None]:
    """Give all tests a test database, as ``manage.py test`` does."""
    setup_test_environment()
    before = setup_databases(verbosity=0, interactive=False)
    yield
    teardown_databases(before, verbosity=0)


@pytest.fixture
def db(database: None) -> Iterator[None]:
    """Undo what the test writes."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@dataclass
class Browser:
    """Ask the shop through ``protocol``, with Django's own test clients."""

    protocol: str

    def get(self, path: str, **headers: str) -> HttpResponse:
        return self._request("GET", path, None, headers)

    def post(self, path: str, data: Any, content_type: str = "", **headers: str) -> HttpResponse:
        options = {"content_type": content_type} if content_type else {}
        return self._request("POST", path, data, headers, **options)

    def text(self, path: str, **headers: str) -> str:
        """Get ``path``, and read its body to the end even if it is streamed."""
        response = self.get(path, **headers)
        if not response.streaming:
            return response.content.decode()
        if not response.is_async:
            return b"".join(response.streaming_content).decode()

        async def drain() -> bytes:
            return b"".join([chunk async for chunk in response.streaming_content])

        return async_to_sync(drain)().decode()

    def _request(
        self, method: str, path: str, data: Any, headers: dict[str, str], **options: Any
    ) -> HttpResponse:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        arguments = {"data": data, "headers": headers, **options}
        if self.protocol == "wsgi":
            client = Client(raise_request_exception=False)
            return getattr(client, method.lower())(path, **arguments)
        aclient = AsyncClient(raise_request_exception=False)
        return async_to_sync(getattr(aclient, method.lower()))(path, **arguments)


@pytest.fixture(params=["wsgi", "asgi"])
def browser(request: pytest.FixtureRequest, db: None) -> Browser:
    return Browser(request.param)
