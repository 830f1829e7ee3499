"""A cache in scratch space: it outlives the process, and not the machine."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from math import isfinite
from time import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast, overload

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")
D = TypeVar("D")

_MAX_BYTES: Final = 64 * 1024 * 1024
_MOST_FILES: Final = 4096
_SPARE: Final = 1 / 16
_EVER: Final = 10 * 365 * 24 * 60 * 60.0  # seconds; no scratch space lives as long
_MISSING: Final = object()


class ScratchCache(Generic[T]):
    """Keep values in the scratch space of the environment, for the next warm start.

    Where a host keeps an environment between requests, it keeps ``/tmp`` too: what took long
    to fetch or to compute is there for the next process of the same environment, and for
    all processes that share it. Like any cache it may lose a value at any time, never a part
    of one::

        import json
        import ctxkit

        rates = ctxkit.ScratchCache("rates", dumps=json.dumps, loads=json.loads)

        assert rates.get_or_create("EUR", lambda: {"USD": 1.08}, ttl=600) == {"USD": 1.08}
        assert rates.get("EUR") == {"USD": 1.08}

    Args:
        name: What the values are: letters, digits, ``_`` and ``-``. Caches of one name and
            directory are one.
        dumps: Makes bytes or a string of a value. None: values are bytes.
        loads: Makes a value of the bytes again; given if and only if ``dumps`` is.
        ttl: Seconds for which a value counts, where :meth:`set` says nothing. None: for ever.
        max_bytes: How much all values may take. The oldest go first; one that is bigger than
            all may be is not kept.
        directory: An existing folder; in it, one of our own is made, with mode 0700. None:
            the scratch space of the system, ``/tmp`` on most.

    Raises:
        ConfigurationError: An argument cannot be used.

    Context:
        ``factory``, ``dumps`` and ``loads`` run in the caller's thread and context.

    Safety:
        Any number of threads and processes may use one cache at once. It reads and writes
        files, so it blocks for as long as the disk does. Values are never pickled. A disk
        that is full, or a folder that others may write to, makes it a cache that keeps
        nothing; that is logged once as ``ctxkit.scratch.trouble``.
    """

    @overload
    def __init__(
        self: ScratchCache[bytes],
        name: str,
        *,
        ttl: float | None = None,
        max_bytes: int = _MAX_BYTES,
        directory: str | os.PathLike[str] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        name: str,
        *,
        dumps: Callable[[T], bytes | str],
        loads: Callable[[bytes], T],
        ttl: float | None = None,
        max_bytes: int = _MAX_BYTES,
        directory: str | os.PathLike[str] | None = None,
    ) -> None: ...

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        name: str,
        *,
        dumps: Callable[[T], bytes | str] | None = None,
        loads: Callable[[bytes], T] | None = None,
        ttl: float | None = None,
        max_bytes: int = _MAX_BYTES,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        from ctxkit.lifecycle import _store  # noqa: PLC0415 - a cold start may do without

        if not name.isascii() or not name.replace("_", "").replace("-", "").isalnum():
            raise ConfigurationError(
                "name", f"must be letters, digits, _ and -, not {name!r}", 'Write it like "rates".'
            )
        if (dumps is None) is not (loads is None):
            raise ConfigurationError(
                "dumps", "and loads belong together", "Give both, or neither to keep bytes."
            )
        self._dumps = dumps
        self._loads = loads
        self._ttl = _checked_ttl(ttl)
        self._file_of = _store.digest
        self._folder = _store.Folder(
            _store.scratch_directory() if directory is None else os.fspath(directory),
            f"cache-{name}",
            max_bytes=max_bytes,
            max_files=_MOST_FILES,
            max_age=_EVER,
            spare=_SPARE,
        )
        self._begin_anew()

    @overload
    def get(self, key: str) -> T | None: ...

    @overload
    def get(self, key: str, default: D) -> T | D: ...

    def get(self, key: str, default: object = None) -> object:
        """Return the value of ``key``, or ``default`` where there is none that still counts.

        A value that ``loads`` does not understand, of an earlier release perhaps, is none.
        """
        data = self._folder.read(self._file_of(key))
        if data is None:
            return default
        if self._loads is None:
            return data
        try:
            return self._loads(data)
        except Exception:  # noqa: BLE001 - what it raises is its own; a cache may lose a value
            return default

    def set(self, key: str, value: T, *, ttl: float | None = None) -> bool:
        """Keep ``value`` under ``key``.

        Args:
            key: Any text.
            value: What ``dumps`` takes; bytes without.
            ttl: Seconds for which it counts. None: as the cache was told.

        Returns:
            Whether it is kept. False where the disk is full or the value too big.

        Raises:
            ConfigurationError: ``value`` is not of that kind, or ``ttl`` no time.
        """
        lasting = self._ttl if ttl is None else _checked_ttl(ttl)
        data: object = value if self._dumps is None else self._dumps(value)
        if isinstance(data, str) and self._dumps is not None:
            data = data.encode()
        if not isinstance(data, bytes):
            what = "was given" if self._dumps is None else "has a dumps that returned"
            raise ConfigurationError(
                f"set({key!r})",
                f"{what} a {type(data).__name__}, and can only keep bytes",
                "Give the cache dumps= and loads=, such as json.dumps and json.loads.",
            )
        expires = 0.0 if lasting is None else time() + lasting
        return self._folder.write(self._file_of(key), data, expires)

    def delete(self, key: str) -> bool:
        """Forget the value of ``key``; False if there is none."""
        return self._folder.remove(self._file_of(key))

    def clear(self) -> None:
        """Forget all values."""
        for entry in self._folder.entries():
            self._folder.remove(entry.name)

    def get_or_create(self, key: str, factory: Callable[[], T], *, ttl: float | None = None) -> T:
        """Return the value of ``key``; have ``factory`` make it where there is none.

        Args:
            key: Any text.
            factory: Called without arguments, by one thread of this process at a time for
                each key; the others wait for it and take what it made.
            ttl: As for :meth:`set`.

        Returns:
            The value that is kept, or that ``factory`` made, kept or not.

        Raises:
            Exception: What ``factory`` raises; the next caller tries again.
        """
        found = self.get(key, _MISSING)
        if found is not _MISSING:
            return cast("T", found)
        if os.getpid() != self._pid:  # a forked child: its parent's threads hold the locks
            self._begin_anew()
        with self._turn(key):
            found = self.get(key, _MISSING)
            if found is not _MISSING:
                return cast("T", found)
            value = factory()
            self.set(key, value, ttl=ttl)
            return value

    @contextmanager
    def _turn(self, key: str) -> Generator[None]:
        """Let one thread at a time create the value of ``key``."""
        turns, lock = self._turns, self._lock
        with lock:
            turn, waiting = turns.get(key) or (threading.RLock(), 0)
            turns[key] = (turn, waiting + 1)
        try:
            with turn:
                yield
        finally:
            with lock:
                turn, waiting = turns[key]
                if waiting > 1:
                    turns[key] = (turn, waiting - 1)
                else:
                    del turns[key]

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._turns: dict[str, tuple[threading.RLock, int]] = {}


def _checked_ttl(ttl: float | None) -> float | None:
    if ttl is None or (isfinite(ttl) and ttl > 0):
        return ttl
    raise ConfigurationError(
        "ttl", f"must be a number of seconds above zero, not {ttl!r}", "None means for ever."
    )
