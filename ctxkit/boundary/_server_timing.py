"""Telling the client how long its response was held: W3C's Server-Timing.

https://www.w3.org/TR/server-timing/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ctxkit.flushing.report import SinkStatus

if TYPE_CHECKING:
    from ctxkit.flushing import FlushReport

NAME: Final = "Server-Timing"

# What cannot be in a token: RFC 9110 section 5.6.2.
_ODD: Final = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


def server_timing(report: FlushReport) -> str:
    """Return the value of the header; empty if no sink had anything to do.

    One metric for the whole wait, and one for each sink, described by its status.
    """
    told = [
        f"ctxkit-flush-{_ODD.sub('-', result.sink)};dur={result.seconds * 1000:.1f};"
        f'desc="{result.status}"'
        for result in report.results
        if result.status is not SinkStatus.EMPTY
    ]
    if not told:
        return ""
    return ", ".join((f"ctxkit-flush;dur={report.seconds * 1000:.1f}", *told))
