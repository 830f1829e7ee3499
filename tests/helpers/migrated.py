"""Run the programs of the page about migrating as servers would, requests that overlap too."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from contextlib import suppress
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from helpers.asgi import HTTP
from helpers.wsgi import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

USERS = {"1": "alice", "2": "bob"}


class Site:
    """The Django project of the current folder."""

    def __init__(self, **settings: Any) -> None:
        import django  # noqa: PLC0415 - some of the programs do without
        from django.conf import settings as configured  # noqa: PLC0415

        page = __import__("settings")
        declared = {name: value for name, value in vars(page).items() if name.isupper()}
        usual = {"ALLOWED_HOSTS": ["*"], "ROOT_URLCONF": "urls", "SECRET_KEY": "x", "USE_TZ": True}
        configured.configure(**usual, **settings, **declared)
        django.setup()
        from django.core.asgi import get_asgi_application  # noqa: PLC0415 - wants the settings
        from django.core.wsgi import get_wsgi_application  # noqa: PLC0415

        self.wsgi, self.asgi = get_wsgi_application(), get_asgi_application()

    def get(self, path: str, **headers: str) -> Any:
        """Ask over WSGI, in this thread."""
        named = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        exchange = Exchange(PATH_INFO=path, **named)(self.wsgi)
        found = {name.lower(): value for name, value in exchange.headers}
        return SimpleNamespace(headers=found, json=json.loads(exchange.body))

    def aget(self, path: str, *headers: dict[str, str]) -> list[Any]:
        """Ask over ASGI, as often as there are headers, all at once."""
        return aget(self.asgi, path, *headers)


def aget(app: Any, path: str, *headers: dict[str, str]) -> list[Any]:
    """Ask an ASGI application, as often as there are headers, all at once."""

    async def main() -> list[Any]:
        return await asyncio.gather(*(_aget_one(app, path, named) for named in headers))

    return asyncio.run(main())


async def _aget_one(app: Any, path: str, headers: dict[str, str]) -> Any:
    events: list[Any] = []
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        return requests.pop() if requests else await asyncio.Event().wait()

    async def send(event: Any) -> None:
        events.append(event)

    fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    with suppress(LookupError):  # that of the program, which a server would log
        await app(
            HTTP | {"path": path, "raw_path": path.encode(), "headers": fields}, receive, send
        )
    start, *bodies = events
    body = b"".join(event.get("body", b"") for event in bodies)
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    well = start["status"] == HTTPStatus.OK
    return SimpleNamespace(
        status=start["status"], headers=found, json=json.loads(body) if well else None
    )


def logged(name: str, during: Callable[[], object]) -> list[str]:
    """Return the lines that the console of a logger gets meanwhile."""
    [handler] = logging.getLogger(name).handlers
    stream = io.StringIO()
    before = handler.setStream(stream)  # type: ignore[attr-defined]
    try:
        during()
    finally:
        handler.setStream(before)  # type: ignore[attr-defined]
    return stream.getvalue().splitlines()


def login(number: str) -> str:
    """Return the cookie of somebody who is logged in. Users are in no database here."""
    from django.contrib import auth  # noqa: PLC0415 - wants the settings
    from django.contrib.sessions.backends.signed_cookies import SessionStore  # noqa: PLC0415

    session = SessionStore()
    session[auth.SESSION_KEY] = number
    session[auth.BACKEND_SESSION_KEY] = "helpers.migrated_users.Backend"
    session[auth.HASH_SESSION_KEY] = user(number).get_session_auth_hash()
    session.save()
    return f"sessionid={session.session_key}"


def user(number: str) -> Any:
    from django.contrib.auth.models import User  # noqa: PLC0415 - wants the apps

    return User(pk=int(number), username=USERS[number], password="unusable")
