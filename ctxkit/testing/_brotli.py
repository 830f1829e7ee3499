"""Undo brotli, which the Sentry SDK chooses where it is installed. Its one importer."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ctxkit.exceptions import MissingDependencyError

try:
    _brotli: Any = import_module("brotli")  # it has no types
except ImportError as error:
    raise MissingDependencyError("brotli", "demo") from error


def decompress(body: bytes) -> bytes:
    """Return the body as it was before compression.

    Raises:
        ValueError: The body is not brotli.
    """
    try:
        return bytes(_brotli.decompress(body))
    except _brotli.error as error:
        raise ValueError(f"not brotli: {error}") from error
