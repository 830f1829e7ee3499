"""Log records that know where they were made, whichever thread writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctxkit.context import current
from ctxkit.context._hops import making

if TYPE_CHECKING:
    from logging import LogRecord


def stamp(record: LogRecord) -> None:
    """Set what the keys hold that go to logs as attributes of ``record``.

    Attributes that the record has already are kept: those of the record itself, those of
    ``extra=``, those that another stamp has set.
    """
    frame = current()
    if frame:
        known = vars(record)
        for key in making("log"):
            if key.name not in known and key.name in frame:
                known[key.name] = frame[key]
