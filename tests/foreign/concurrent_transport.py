"""A pytest plugin: what the Sentry SDK sends with its own transport goes out through ours."""

from __future__ import annotations


def pytest_configure() -> None:
    """Put it in place once their ``tests/__init__.py`` is loaded, which wants to be first."""
    import sentry_sdk.transport  # noqa: PLC0415

    from ctxkit.contrib.sentry import ConcurrentTransport  # noqa: PLC0415

    sentry_sdk.transport.HttpTransport = ConcurrentTransport
