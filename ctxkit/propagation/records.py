"""Log records that know where they were made, whichever thread writes them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ctxkit.context import current
from ctxkit.context._hops import making

if TYPE_CHECKING:
    from logging import LogRecord


def stamp(record: LogRecord) -> None:
    """Set what the keys hold that go to logs as attributes of ``record``.

    What the record has already is kept: its own attributes and methods, those of ``extra=``,
    those that another stamp has set. A value that cannot be computed is left out: logging
    must not fail for it.
    """
    frame = current()
    if frame:
        for key in making("log"):
            if key.name in frame and not hasattr(record, key.name):
                with suppress(Exception):
                    setattr(record, key.name, frame[key])
