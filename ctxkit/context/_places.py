"""Places in the code, as reports name them. Private."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, FrameType

_PACKAGE = __name__.partition(".")[0]
_LIBRARY = str(os.__file__).rpartition(os.sep)[0] + os.sep


class Place(NamedTuple):
    """Name a place in the code.

    Attributes:
        function: The qualified name of the function, or what a boundary is called.
        file: Its file, relative to the working directory if it is below; empty for a
            boundary.
        line: The line.
        names: What was set there.
    """

    function: str
    file: str
    line: int
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})" if self.file else self.function


def place_of(code: CodeType, line: int) -> Place:
    """Return the place of a line in ``code``."""
    return Place(code.co_qualname, short(code.co_filename), line)


def told_of(frame: Mapping[str, object], *names: str) -> str:
    """Return what a frame knows under these names, as a parenthesis to follow its id.

    The client chose some of it, and a path is decoded: no line of a log may pass for another.
    """
    known = " ".join(str(frame[name]) for name in names if frame.get(name))
    return f" ({known.encode('unicode_escape').decode()})" if known else ""


#: Whether what stands in a file is nobody's own code: ours, or the standard library's. Each code
#: file of the process is asked for once.
_passed: dict[str, bool] = {}


def own_code() -> tuple[CodeType, int] | None:
    """Return the code that called ctxkit or the standard library, and the line it is at."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        passed = _passed.get(file)
        if passed is None:
            passed = _passed[file] = _is_passed(frame)
        if not passed:
            return code, frame.f_lineno
        frame = frame.f_back
    return None


def _is_passed(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    ours = str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE
    library = file.startswith((_LIBRARY, "<frozen ")) and "-packages" not in file
    return ours or library


def short(file: str) -> str:
    """Return the name of a file without what is the same for all."""
    for mark in ("site-packages" + os.sep, "dist-packages" + os.sep):
        _, found, rest = file.rpartition(mark)
        if found:
            return rest
    for home in _homes():
        if file.startswith(home):
            return file.removeprefix(home)
    return file


def _homes() -> tuple[str, ...]:
    try:
        # Not by pathlib, which is some milliseconds of each cold start.
        return os.getcwd().rstrip(os.sep) + os.sep, _LIBRARY  # noqa: PTH109
    except OSError:  # the directory is gone
        return (_LIBRARY,)
