"""What environment and settings say about the spool."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing.budget import checked_timeout

if TYPE_CHECKING:
    from collections.abc import Mapping

SPOOL_VARIABLE: Final = "CTXKIT_SPOOL"
BYTES_VARIABLE: Final = "CTXKIT_SPOOL_MAX_BYTES"
AGE_VARIABLE: Final = "CTXKIT_SPOOL_MAX_AGE"
#: What the spool may take in all, in bytes, where nobody said otherwise.
DEFAULT_MAX_BYTES: Final = 16 * 1024 * 1024
#: After how long nobody wants it any more, in seconds, where nobody said otherwise.
DEFAULT_MAX_AGE: Final = 24 * 60 * 60.0

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"", "0", "false", "no", "off"})
_LEAST_BYTES = 4096


class Declared(NamedTuple):
    """What environment or settings say about the spool.

    Attributes:
        on: Whether there is to be one.
        directory: Where; None: in the scratch space.
        max_bytes: How much it may take.
        max_age: For how long, in seconds.
    """

    on: bool
    directory: str | None
    max_bytes: int
    max_age: float


def declared(
    spool: object = None,
    max_bytes: object = None,
    max_age: object = None,
    environ: Mapping[str, str] = os.environ,
) -> Declared:
    """Return what is said about the spool.

    Args:
        spool: True, False, or the path of a folder; None reads ``CTXKIT_SPOOL``.
        max_bytes: None reads ``CTXKIT_SPOOL_MAX_BYTES``.
        max_age: None reads ``CTXKIT_SPOOL_MAX_AGE``.
        environ: Where to read.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    source = SPOOL_VARIABLE if spool is None else "directory"
    on, directory = _chosen_place(source, environ.get(source, "") if spool is None else spool)
    source = BYTES_VARIABLE if max_bytes is None else "max_bytes"
    given = environ.get(source) or DEFAULT_MAX_BYTES if max_bytes is None else max_bytes
    size = _chosen_size(source, given)
    source = AGE_VARIABLE if max_age is None else "max_age"
    age = environ.get(source) or DEFAULT_MAX_AGE if max_age is None else max_age
    return Declared(on, directory, size, checked_timeout(source, age))


def _chosen_place(source: str, value: object) -> tuple[bool, str | None]:
    if isinstance(value, bool):
        return value, None
    text = os.fspath(cast("os.PathLike[str]", value)) if hasattr(value, "__fspath__") else value
    if isinstance(text, str):
        if text.lower() in _ON:
            return True, None
        if text.lower() in _OFF:
            return False, None
        if os.path.isabs(text):  # noqa: PTH117 - a cold start need not pay for pathlib
            return True, text
    raise ConfigurationError(
        source,
        f"must be 1, 0 or the absolute path of a folder, not {value!r}",
        "Write 1 to use the scratch space of the system.",
    )


def _chosen_size(source: str, value: object) -> int:
    try:
        size = int(value) if isinstance(value, (int, str)) else 0
    except ValueError:
        size = 0
    if size < _LEAST_BYTES:
        raise ConfigurationError(
            source,
            f"must be a number of bytes, at least {_LEAST_BYTES}, not {value!r}",
            f"Write it like {DEFAULT_MAX_BYTES}.",
        )
    return size
