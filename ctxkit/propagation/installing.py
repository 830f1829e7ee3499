"""One switch, by which the standard library's own threads and pools carry the context."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ctxkit.exceptions import ConfigurationError, MissingDependencyError
from ctxkit.propagation import _patched_pools as pools
from ctxkit.propagation._import_hook import after_import, is_under_way
from ctxkit.propagation._infrastructure import Judge
from ctxkit.propagation._patched_threads import ThreadPatches
from ctxkit.propagation._patching import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

#: What is replaced in each module, once it was imported: the owner, the name, and by what.
_REPLACED: dict[str, list[tuple[str, str, Callable[..., Any]]]] = {
    "asyncio": [("threads", "to_thread", pools.make_to_thread)],
    "concurrent.futures._base": [("Future", "add_done_callback", pools.make_add_done_callback)],
    "concurrent.futures.process": [
        ("ProcessPoolExecutor", "submit", pools.make_submit_to_process),
    ],
    "concurrent.futures.thread": [("ThreadPoolExecutor", "submit", pools.make_submit)],
    "logging": [("Logger", "makeRecord", pools.make_make_record)],
    "multiprocessing.pool": [
        ("ThreadPool", "apply_async", pools.make_apply_async),
        ("ThreadPool", "imap", pools.make_imap),
        ("ThreadPool", "imap_unordered", pools.make_imap),
        ("ThreadPool", "map", pools.make_map_now),
        ("ThreadPool", "map_async", pools.make_map_async),
        ("ThreadPool", "starmap", pools.make_map_now),
        ("ThreadPool", "starmap_async", pools.make_map_async),
    ],
}
if sys.version_info >= (3, 14):
    _REPLACED["concurrent.futures.thread"].append(("ThreadPoolExecutor", "map", pools.make_map))
    _REPLACED["concurrent.futures.process"].append(("ProcessPoolExecutor", "map", pools.make_map))

_lock = threading.RLock()


def install(
    *,
    exclude: Iterable[str | Callable[[threading.Thread], bool]] = (),
    gevent: bool = False,
) -> None:
    """Let the standard library's own threads and pools carry the context.

    Call it once, where the process starts. From then on these do by themselves what
    ctxkit's carriers do: ``threading.Thread`` and whatever derives from it, ``Timer``
    above all; ``concurrent.futures.ThreadPoolExecutor``, and so ``loop.run_in_executor``;
    ``Future.add_done_callback`` of such pools; ``multiprocessing.pool.ThreadPool``;
    ``asyncio.to_thread``. Pools of processes and interpreters carry what keys declare, and
    ``logging`` sets the keys that go to logs on each record when it is made.

    Args:
        exclude: Threads that serve everybody, and start with an empty context, in addition
            to the ones that are known. A string names the code that they run, as a module
            or as something in one: ``"acme.metrics"``, ``"acme.metrics.Pump.run"``. A
            function is given the ``Thread`` and returns whether it is one.
        gevent: Let the greenlets that gevent spawns start with the context, too.

    Raises:
        ConfigurationError: An argument is something else.
        MissingDependencyError: ``gevent`` is asked for and not installed.

    Context:
        Captured when the work is handed over: at ``start``, ``submit``, ``map``,
        ``add_done_callback``. What a thread, a job or a callback sets is its own. An
        uncaught error reaches ``threading.excepthook`` in the thread's context. A
        ``Thread(context=)`` of the caller's choice goes before all that. Plain threads keep
        what is documented as local to them: decimal's arithmetic, and asgiref's ``Local``
        values but for Django's language, time zone, urlconf and script prefix. Workers of pools
        and the threads of loggers, exporters and servers start empty, whoever starts them,
        also with ``-X thread_inherit_context=1`` and on free-threaded Python. Jobs
        for other processes and interpreters run in an empty context with what keys declare;
        functions that only interpreters take, since they cannot be pickled, go alone.

    Safety:
        From any thread, any number of times; the arguments of the last call hold. Modules
        that were not imported yet are patched when they are. Threads, workers and
        callbacks that are under way stay as they are. Sentry and OpenTelemetry may patch
        the same classes before or after.
    """
    judge = Judge(_checked(exclude))
    if gevent not in (True, False):
        raise ConfigurationError(
            "install(gevent=)", f"must be a bool, not {gevent!r}", "Write True or False."
        )
    greenlets = _greenlets() if gevent else None
    with _lock:
        _installation.put_on(judge, greenlets)
    for module in _REPLACED:
        if is_under_way(sys.modules.get(module)):
            # Wait for the thread that is at it, without the lock: it may wait for that.
            _installation.imported(import_module(module))


def uninstall() -> None:
    """Give the standard library its own threads and pools back.

    Context:
        What was handed over before keeps the context it was handed over with.

    Safety:
        From any thread, any number of times. A patch that another library has patched
        since stays in its place and does nothing; another :func:`install` wakes it.
    """
    with _lock:
        _installation.take_off()


def is_installed() -> bool:
    """Tell whether :func:`install` was called, and :func:`uninstall` not since."""
    return _installation.on


class _Installation:
    """Keep all the patches of the process, and know whether they are wanted."""

    def __init__(self) -> None:
        self.on = False
        self._threads = ThreadPatches()
        self._patches: dict[tuple[str, str, str], Patch] = {}
        self._greenlets: Any = None

    def put_on(self, judge: Judge, greenlets: Any) -> None:
        """Put every patch on, those of modules to come when they come."""
        self._threads.judge = judge
        self._take_off_greenlets()
        if greenlets is not None:
            self._greenlets = greenlets
            greenlets.put_on()
        if self.on:
            return
        self.on = True
        self._threads.put_on()
        for name in _REPLACED:
            # First, or one that is imported meanwhile is missed; and to be told of a reload.
            after_import(name, __name__, self.imported)
            module = sys.modules.get(name)
            if module is not None and not is_under_way(module):
                self._patch(module)

    def take_off(self) -> None:
        """Take every patch off."""
        self.on = False
        self._take_off_greenlets()
        for patch in self._patches.values():
            patch.take_off()
        self._threads.take_off()

    def imported(self, module: ModuleType) -> None:
        """Patch a module that was executed just now, if that is wanted."""
        with _lock:
            if self.on:
                self._patch(module)

    def _patch(self, module: ModuleType) -> None:
        for owner, name, make in _REPLACED[module.__name__]:
            place, holder = (module.__name__, owner, name), getattr(module, owner)
            patch = self._patches.get(place)
            if patch is None or patch.owner is not holder:  # the latter of a reloaded module
                # asyncio binds to_thread twice; elsewhere the module has no such name.
                patch = self._patches[place] = Patch(holder, name, make, module)
            patch.put_on()

    def _take_off_greenlets(self) -> None:
        if self._greenlets is not None:
            self._greenlets.take_off()
            self._greenlets = None


_installation = _Installation()


def _checked(exclude: Any) -> list[Any]:
    well = not isinstance(exclude, str) and hasattr(exclude, "__iter__")
    found: list[Any] = list(exclude) if well else []
    for each in found:
        named = isinstance(each, str) and all(part.isidentifier() for part in each.split("."))
        well = well and (named or (callable(each) and not isinstance(each, str)))
    if well:
        return found
    raise ConfigurationError(
        "install(exclude=)",
        f"must hold dotted names and functions, not {exclude!r}",
        'Write it like exclude=["acme.metrics"].',
    )


def _greenlets() -> Any:
    try:
        from ctxkit.propagation import _gevent  # noqa: PLC0415 - only where it is asked for
    except ImportError as error:
        raise MissingDependencyError("gevent", "gevent") from error
    return _gevent
