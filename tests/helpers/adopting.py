"""What the page on adopting says, read out of it, so that it and the tests cannot part."""

from __future__ import annotations

import re

from helpers.project import ROOT

PAGE = ROOT / "docs/howto/adopting.md"
_ROW = re.compile(r"^\| `(?P<package>[\w-]+)` \|[^|]*\| `\"(?P<line>[^\"]+)\"` \|", re.MULTILINE)


def lines() -> dict[str, str]:
    """Return the line of each package that the page tells to adopt."""
    table = PAGE.read_text().partition("<!-- tested -->")[2].partition("<!-- end -->")[0]
    return {match["package"]: match["line"] for match in _ROW.finditer(table)}
