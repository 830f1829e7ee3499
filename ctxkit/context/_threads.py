"""The storage of a :class:`ctxkit.Local` that keeps to its thread. Private.

Each thread has a store of its own, with variables that no other thread reads or writes. So
a context that is carried to another thread shows nothing there, whatever the thread's
ident, and what comes back, as asgiref copies values back, takes nothing away here.
"""

from __future__ import annotations

import threading

from ctxkit.context._table import Store, Table


class _ThreadStore(Store):
    """Keep the columns on one thread, and close them with it."""

    __slots__ = ()

    def __del__(self) -> None:
        self.close()


class _Home(threading.local):
    """Hold what belongs to the current thread."""

    store: _ThreadStore


class ThreadTable(Table):
    """Know one ``Local`` whose values stay on the thread that set them."""

    __slots__ = ("_home",)

    def open(self) -> None:
        """Make room for values."""
        self._home = _Home()

    def here(self) -> Store:
        """Return the store of the current thread."""
        try:
            return self._home.store
        except AttributeError:
            store = self._home.store = _ThreadStore(initialises=self.initialises)
            return store

    def close(self) -> None:
        """Let go of the values of all threads."""
        del self._home
