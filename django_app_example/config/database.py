"""Read ``DATABASE_URL``: ``sqlite:////tmp/shop.sqlite3`` or ``postgres://user:pw@host:5432/shop``."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

# One writer at a time is SQLite's rule: ask for the lock at BEGIN and wait for it, rather than
# fail when a transaction turns from reading to writing.
_SQLITE_OPTIONS = {
    "init_command": "PRAGMA journal_mode=WAL",
    "timeout": 10,
    "transaction_mode": "IMMEDIATE",
}


def database(url: str) -> dict[str, Any]:
    """Return the entry of ``DATABASES`` that ``url`` describes.

    Raises:
        ValueError: The scheme is neither ``sqlite`` nor ``postgres``/``postgresql``.
    """
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": path or ":memory:",
            "OPTIONS": _SQLITE_OPTIONS,
        }
    if parts.scheme in {"postgres", "postgresql"}:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": path,
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": parts.port or "",
        }
    message = f"DATABASE_URL must start with sqlite:// or postgres://, not {parts.scheme}://"
    raise ValueError(message)
