"""Small files in scratch space: private, whole or absent, bounded, shared by processes.

A scratch space is often ``/tmp``, which other users may write to: the folder is made with
mode 0700 and used only while it is our own and no symbolic link, and files are never opened
through one. A file is written under another name and moved to its own, so that a crash
leaves the old one or none; a checksum tells what a full disk or a power cut made of it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from time import monotonic, time
from typing import TYPE_CHECKING, Final, NamedTuple, final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Magic, when it expires (0.0: never), length, checksum.
_HEAD: Final = Struct(">8sdQ16s")
_MAGIC: Final = b"ctxkit\x001"
_UNFINISHED: Final = ".new"
# Of a write that a crash cut short, after which nobody is going to finish it.
_ABANDONED: Final = 60.0  # seconds
# For how long the size of the folder is reckoned, not counted: others may write to it too.
_RECKONED: Final = 10.0  # seconds

# Absent on Windows, which has neither modes nor such links in its temporary folder.
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
_owner: Final = getattr(os, "geteuid", None)


class Entry(NamedTuple):
    """Describe a file of a folder.

    Attributes:
        written: When, in seconds of the wall clock.
        name: The name of the file.
        size: Its size in bytes, its head included.
    """

    written: float
    name: str
    size: int


class UnsafeFolderError(OSError):
    """Report a folder that others could read or write to. Private: it is logged, not raised."""


@final
class Folder:
    """Keep small files in a folder of our own.

    Nothing here raises on account of the disk: what could not be done is told by the
    result, counted in :attr:`troubles`, and logged once for each kind.

    Args:
        parent: An existing folder, or one whose parent exists: ``/tmp``.
        name: What to call ours, below one that has the user's number in its name.
        max_bytes: How much all files may take; the oldest go first.
        max_files: How many there may be; the oldest go first.
        max_age: Seconds after which a file goes.
        spare: The share of all that is freed at once where room is needed: to find the oldest
            takes a look at every file.

    Safety:
        Any number of threads and processes may use one folder. Locks are not held while a
        file is read or written, so it is usable in a forked child at once.
    """

    def __init__(  # noqa: PLR0913 - a folder has so many limits
        self,
        parent: str,
        name: str,
        *,
        max_bytes: int,
        max_files: int,
        max_age: float,
        spare: float = 0.0,
    ) -> None:
        self.parent: Path = Path(os.path.realpath(parent))
        self.base: Path = self.parent / f"ctxkit-{_owner() if _owner else 'files'}"
        self.path: Path = self.base / name
        self.max_bytes = max_bytes
        self.max_files = max_files
        self.max_age = max_age
        self.spare = spare
        self.troubles: int = 0
        self._told: set[str] = set()
        self._reckoned = -_RECKONED
        self._bytes = 0
        self._files = 0

    def write(self, name: str, data: bytes, expires: float = 0.0) -> bool:
        """Write a file whole, in place of one of that name.

        Args:
            name: Its name.
            data: What it is to hold.
            expires: When it stops counting, in seconds of the wall clock; 0.0: never.

        Returns:
            Whether it is there now.
        """
        size = _HEAD.size + len(data)
        if size > self.max_bytes:
            return False
        head = _HEAD.pack(_MAGIC, expires, len(data), _sum(expires, data))
        # By chance: each container has a process 1, and a crash may have left a file of its.
        unfinished = self.path / f".{os.urandom(8).hex()}{_UNFINISHED}"
        try:
            self._make()
            self._make_room(size)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY
            opened = os.open(unfinished, flags, 0o600)
            try:
                with os.fdopen(opened, "wb") as file:
                    file.write(head)
                    file.write(data)
                unfinished.replace(self.path / name)
            except BaseException:
                with suppress(OSError):
                    unfinished.unlink()
                raise
        except OSError as error:
            self._tell("write", error)
            return False
        self._bytes += size
        self._files += 1
        return True

    def read(self, name: str) -> bytes | None:
        """Return what a file holds; None if there is none, or none that is whole and in time.

        A file that is not whole, or out of time, is removed.
        """
        try:
            self._check()
            path = self.path / name
            with os.fdopen(os.open(path, os.O_RDONLY | _NO_LINK | _BINARY), "rb") as file:
                about = os.fstat(file.fileno())
                _refuse_foreign(path, about, stat.S_ISREG)
                content = file.read(self.max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell("read", error)
            return None
        data = _opened(content)
        if data is None or _age(about.st_mtime) > self.max_age:
            self.remove(name)
            return None
        return data

    def rename(self, name: str, new: str) -> bool:
        """Give a file another name; False if it is gone: of several who try, one succeeds."""
        try:
            (self.path / name).rename(self.path / new)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._tell("rename", error)
            return False
        return True

    def remove(self, name: str) -> bool:
        """Remove a file; False if it was gone already."""
        try:
            (self.path / name).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._tell("remove", error)
            return False
        return True

    def entries(self) -> list[Entry]:
        """Return the files that are there, the oldest first. What is too old is removed."""
        try:
            self._check()
            found = sorted(self._look())
        except FileNotFoundError:
            found = []
        except OSError as error:
            self._tell("list", error)
            found = []
        self._reckoned = monotonic()
        self._bytes = sum(entry.size for entry in found)
        self._files = len(found)
        return found

    def _look(self) -> Iterable[Entry]:
        with os.scandir(self.path) as listing:
            for each in listing:
                try:
                    about = each.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                unfinished = each.name.endswith(_UNFINISHED)
                if not stat.S_ISREG(about.st_mode):
                    continue
                if _age(about.st_mtime) > (_ABANDONED if unfinished else self.max_age):
                    self.remove(each.name)
                elif not unfinished:
                    yield Entry(about.st_mtime, each.name, about.st_size)

    def _make_room(self, size: int) -> None:
        """Remove the oldest files until one of ``size`` fits in."""
        if monotonic() - self._reckoned < _RECKONED and self._has_room(size):
            return
        entries = self.entries()
        if self._has_room(size):
            return
        for entry in entries:
            if self._has_room(size, self.spare):
                return
            self.remove(entry.name)
            self._bytes -= entry.size
            self._files -= 1

    def _has_room(self, size: int, spare: float = 0.0) -> bool:
        full = 1 - spare
        return self._bytes + size <= self.max_bytes * full and self._files < self.max_files * full

    def _make(self) -> None:
        """Make the folder if it is not there; refuse one that is not ours alone."""
        for path in (self.base, self.path):
            with suppress(FileExistsError):
                # Not makedirs(): whoever names a folder that is not there mistyped it.
                path.mkdir(0o700)
        self._check()

    def _check(self) -> None:
        above = self.parent.stat()
        if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX and _owner:
            raise UnsafeFolderError(f"{self.parent}: anybody may rename what is in it")
        for path in (self.base, self.path):
            _refuse_foreign(path, path.lstat(), stat.S_ISDIR)

    def _tell(self, what: str, error: OSError) -> None:
        """Count a trouble; log the first of its kind."""
        self.troubles += 1
        kind = f"{what} {type(error).__name__} {error.errno}"
        if kind not in self._told:
            self._told.add(kind)
            import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

            logging.getLogger("ctxkit").warning(
                "ctxkit.scratch.trouble: cannot %s in %s: %s", what, self.path, error
            )


def scratch_directory() -> str:
    """Return where this environment has room for files that may vanish: ``/tmp`` on most."""
    import tempfile  # noqa: PLC0415 - brings in random and shutil

    try:
        return tempfile.gettempdir()
    except OSError:  # no folder that can be written to: whoever tries to will tell
        return os.sep


def digest(*parts: str) -> str:
    """Return a name for ``parts`` that gives none of them away."""
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _sum(expires: float, data: bytes) -> bytes:
    checksum = blake2b(repr(expires).encode(), digest_size=16)
    checksum.update(data)
    return checksum.digest()


def _opened(content: bytes) -> bytes | None:
    """Return the data of a file's content; None if it is not whole, or out of time."""
    if len(content) < _HEAD.size:
        return None
    magic, expires, length, checksum = _HEAD.unpack_from(content)
    data = content[_HEAD.size :]
    if magic != _MAGIC or length != len(data) or checksum != _sum(expires, data):
        return None
    return None if expires and expires <= time() else data


def _age(written: float) -> float:
    """Return the seconds since; none for what a clock that was wrong dates into the future."""
    return max(0.0, time() - written)


def _refuse_foreign(path: Path, about: os.stat_result, kind: object) -> None:
    if not callable(kind) or not kind(about.st_mode):
        raise UnsafeFolderError(f"{path}: not what it should be, or a symbolic link")
    if _owner is None:
        return
    if about.st_uid != _owner():
        raise UnsafeFolderError(f"{path}: belongs to user {about.st_uid}")
    if about.st_mode & 0o077:
        raise UnsafeFolderError(f"{path}: others have access, mode {about.st_mode & 0o777:o}")
