"""The spool's files: who may send which, and how often it was tried.

All is in their names, so that one rename, which only one process can win, claims a file or
puts it back: ``2f1e...-01764103200123-4711.0-2`` is its destination, when it was written and by
whom, and how often it was tried; with ``@812.9c3e...`` behind, process 812 of a machine has it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple, final
from zlib import crc32

from ctxkit.lifecycle._store import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How often a file may be answered with an error by a sink that takes others.
MOST_ATTEMPTS: Final = 5
# Of a claim by a process of which nobody can tell whether it lives.
_CLAIM_ENDS: Final = 300.0  # seconds
_MOST_FILES: Final = 2000
# One that takes more than this share of the spool would push out too many others.
_SHARE: Final = 4

_serial = count()


class _Name(NamedTuple):
    """The name of a file, taken apart."""

    destination: str
    written: str
    writer: str
    attempts: int
    claim: str

    def __str__(self) -> str:
        claim = f"@{self.claim}" if self.claim else ""
        return f"{self.destination}-{self.written}-{self.writer}-{self.attempts}{claim}"


@final
class Spool:
    """Keep what could not be sent, until it can be.

    Args:
        parent: The scratch space.
        max_bytes: How much it may take in all.
        max_age: Seconds after which nobody wants it any more.

    Attributes:
        folder: Where the files are.
        kept: How many were kept by this process.
        sent: How many were sent from here by this process.
        dropped: How many were given up by this process: refused by their sink, or tried too often.
    """

    def __init__(self, parent: str, *, max_bytes: int, max_age: float) -> None:
        self.folder: Folder = Folder(
            parent, "spool", max_bytes=max_bytes, max_files=_MOST_FILES, max_age=max_age
        )
        self.kept: int = 0
        self.sent: int = 0
        self.dropped: int = 0
        self._held: set[str] = set()

    def keep(self, destination: str, data: bytes, *, held: bool = False) -> str | None:
        """Write a file, and return its name; None if that was not possible.

        Args:
            destination: Whom it is for.
            data: What to send there.
            held: Whether this process still tries to send it by other means: others take it
                only when this one is gone.
        """
        if len(data) * _SHARE > self.folder.max_bytes:
            return None
        writer = f"{os.getpid()}.{next(_serial)}"
        claim = _claim() if held else ""
        name = str(_Name(destination, f"{time() * 1000:014.0f}", writer, 0, claim))
        if held:  # before others of our threads can see it
            self._held.add(name)
        if not self.folder.write(name, data):
            self._held.discard(name)
            return None
        self.kept += not held
        return name

    def let_go(self, name: str, *, tried: bool = False, new: bool = False) -> bool:
        """Leave a file to whoever sends next; False if it is gone.

        Args:
            name: A file that this process holds.
            tried: Whether its sink answered it with an error, which it does not do to others.
            new: Whether it was written ahead, and what it holds could not be sent after all.
        """
        parts = _taken_apart(name)
        if parts is None:
            return False
        attempts = parts.attempts + tried
        if attempts >= MOST_ATTEMPTS:
            self.give_up(name)
            return False
        left = self.folder.rename(name, str(parts._replace(attempts=attempts, claim="")))
        self._held.discard(name)
        if left:
            self.kept += new
        return left

    def done(self, name: str) -> None:
        """Remove a file that was sent."""
        if self._remove(name):
            self.sent += 1

    def forget(self, name: str) -> None:
        """Remove a file that was written ahead, and not needed."""
        self._remove(name)

    def give_up(self, name: str) -> None:
        """Remove a file that nobody can send."""
        if self._remove(name):
            self.dropped += 1

    def waiting(self, destination: str) -> list[str]:
        """Return the files for ``destination`` that this process may claim.

        Those with the fewest attempts first, so that one that is always refused does not keep
        others from their turn; then the oldest.
        """
        found: list[tuple[int, str, str]] = []
        for entry in self.folder.entries():
            parts = _taken_apart(entry.name)
            if parts is None or parts.destination != destination or entry.name in self._held:
                continue
            if not parts.claim or _is_over(parts.claim):
                found.append((parts.attempts, parts.written, entry.name))
        return [name for _, _, name in sorted(found)]

    def claim(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the names and contents of those files that no other process was quicker to take.

        Each has to be :meth:`done`, given up, or let go.
        """
        for name in names:
            parts = _taken_apart(name)
            claimed = "" if parts is None else str(parts._replace(claim=_claim()))
            if not claimed:
                continue
            self._held.add(claimed)
            data = self.folder.read(claimed) if self.folder.rename(name, claimed) else None
            if data is None:
                self._held.discard(claimed)
            else:
                yield claimed, data

    def begin_anew(self) -> None:
        """Hold nothing, in a forked child: its parent does."""
        self._held = set()

    def _remove(self, name: str) -> bool:
        """Remove a file; False if it was gone already."""
        # In this order: another thread would claim what is there and not held.
        removed = self.folder.remove(name)
        self._held.discard(name)
        return removed


def _claim() -> str:
    return f"{os.getpid()}.{_machine()}.{time():.0f}"


def _machine() -> str:
    """Return what tells whether a number of a process means the same to two of them."""
    uname = getattr(os, "uname", None)  # absent on Windows
    name = uname().nodename if uname else ""
    # The containers of a pod have one name and numbers of their own.
    with suppress(OSError):  # not Linux
        name += os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - a cold start need not pay for pathlib
    return f"{crc32(name.encode()):08x}"


def _is_over(claim: str) -> bool:
    """Whether whoever claimed a file is gone, or has had it for too long to be trusted."""
    process, machine, since = [*claim.split("."), "", ""][:3]
    if not (process.isdecimal() and since.isdecimal()):
        return True
    if abs(time() - int(since)) > _CLAIM_ENDS:  # or the clock was set back, and it would last
        return True
    if os.name != "posix" or machine != _machine():
        return False
    if int(process) == os.getpid():
        # Not one that we hold. A process had our number before us: the first of a container
        # always has the same.
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's by now, or nobody can tell
        return False
    return False


def _taken_apart(name: str) -> _Name | None:
    rest, _, claim = name.partition("@")
    parts = rest.split("-")
    if len(parts) != len(_Name._fields) - 1 or not parts[3].isdecimal():
        return None
    return _Name(parts[0], parts[1], parts[2], int(parts[3]), claim)
