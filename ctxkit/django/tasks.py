"""Django's tasks: each takes the context along, and running it is a crossing.

``CTXKIT = {"TASKS": True}`` with ``"ctxkit.django"`` in ``INSTALLED_APPS`` is all there is to do.
Nothing here imports Django's framework, which is there since 6.0, nor the package
``django-tasks``, on which some backends are built: both are met when they are imported.
"""

from __future__ import annotations

import sys
from functools import lru_cache, partial, update_wrapper
from typing import TYPE_CHECKING, Any, Final, final

from asgiref.sync import AsyncToSync, SyncToAsync

from ctxkit.boundary._callables import is_coroutine_function
from ctxkit.boundary.receiving import received
from ctxkit.django import conf
from ctxkit.propagation import detached, inject
from ctxkit.propagation._import_hook import after_import, forget

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.boundary import Entry

#: The keyword argument that holds the carrier, between the sending of a task and its function.
KEYWORD: Final = "__ctxkit__"

_FRAMEWORKS: Final = ("django.tasks", "django_tasks")
_VARIABLES: Final = (
    (SyncToAsync, "thread_sensitive_context"),
    (SyncToAsync, "deadlock_context"),
    (AsyncToSync, "async_single_thread_context"),
)


def install() -> None:
    """Have the context go along with each task that is made from now on, whatever its backend.

    ``CTXKIT["TASKS"]`` calls it before any models are loaded, which is before most tasks are
    made. Calling it again changes nothing.

    Raises:
        ConfigurationError: ``CTXKIT``, or an environment variable, cannot be used.

    Context:
        ``enqueue`` stores what :func:`ctxkit.inject` writes as a further keyword argument, if
        there is anything to send; the function never sees it. The function runs in a context
        of its own, which holds the frame and nothing else, in a worker and with the immediate
        backend alike. Called directly it gets what it would get in a worker.
    """
    conf.task_options()
    for name in _FRAMEWORKS:
        after_import(name, __name__, _meet)
        if name in sys.modules:
            _meet(sys.modules[name])


def uninstall() -> None:
    """Leave alone the tasks that are made from now on."""
    for name in _FRAMEWORKS:
        forget(name, __name__)
        if name in sys.modules:
            handler: Any = sys.modules[name].task_backends
            vars(handler).pop("create_connection", None)
            for backend in handler.all(initialized_only=True):
                vars(backend).pop("task_class", None)


def _meet(framework: Any) -> None:
    """Have each backend that a framework makes, in whichever thread, make our tasks."""
    handler = framework.task_backends
    if "create_connection" not in vars(handler):
        create = handler.create_connection
        handler.create_connection = lambda alias: _prepared(create(alias))
        for backend in handler.all(initialized_only=True):
            _prepared(backend)


def _prepared(backend: Any) -> Any:
    backend.task_class = _carrying(type(backend).task_class)
    return backend


class _ContextTask:
    """Be a task that takes the context along: laid over the class of a backend's tasks."""

    __slots__ = ()

    func: Callable[..., Any]

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        # Its function, and not its call(): there are workers that call the function.
        object.__setattr__(self, "func", _crossing(self.func))

    def enqueue(self, /, *args: Any, **kwargs: Any) -> Any:
        return super().enqueue(*args, **_with_carrier(kwargs))  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]

    async def aenqueue(self, /, *args: Any, **kwargs: Any) -> Any:
        return await super().aenqueue(*args, **_with_carrier(kwargs))  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


@lru_cache(maxsize=None)
def _carrying(task_class: type) -> type:
    """Return ``task_class`` with :class:`_ContextTask` laid over it."""
    namespace: dict[str, object] = {"__slots__": (), "__module__": task_class.__module__}
    if task_class.__reduce__ is not object.__reduce__:  # since Django 6.1

        def reduce(task: Any) -> tuple[Any, ...]:
            rebuild, arguments = task_class.__reduce__(task)
            return _rebuilt, (task_class, rebuild.__name__, arguments)  # type: ignore[union-attr]

        namespace["__reduce__"] = reduce
    return type(task_class.__name__, (_ContextTask, task_class), namespace)


def _rebuilt(task_class: type, rebuild: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_carrying(task_class), rebuild)(*arguments)


def _with_carrier(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Add what is to go along. What stands there already is nobody's whom we know."""
    kwargs.pop(KEYWORD, None)
    carrier: dict[str, str] = inject({})
    return kwargs | {KEYWORD: carrier} if carrier else kwargs


@lru_cache(maxsize=None)
def _crossing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` so that each call of it is a crossing; the same for the same."""
    if getattr(function, KEYWORD, False):
        return function
    name = f"{function.__module__}.{function.__qualname__}"

    async def arun(*args: Any, **kwargs: Any) -> Any:
        return await detached(_across)(_Run(name, function, args, kwargs))

    def run(*args: Any, **kwargs: Any) -> Any:
        return detached(_cross)(_Run(name, function, args, kwargs))

    crossing = arun if is_coroutine_function('CTXKIT["TASKS"]', function) else run
    setattr(crossing, KEYWORD, True)
    return update_wrapper(crossing, function)


@final
class _Run:
    """Stand for one call of a task's function, before its context is left behind."""

    __slots__ = ("_bridges", "_call", "_entry")

    def __init__(
        self, name: str, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> None:
        carrier = kwargs.pop(KEYWORD, None)
        if carrier is None:  # nobody has sent it, or there was nothing to send
            carrier = inject({})
        self._entry = received(name, carrier, conf.task_options())
        self._call = partial(function, *args, **kwargs)
        self._bridges = _bridges()

    def begin(self) -> tuple[Entry, Callable[[], Any]]:
        for put_in_place in self._bridges:
            put_in_place()
        return self._entry, self._call


def _cross(run: _Run) -> Any:
    entry, call = run.begin()
    with entry:
        return call()


async def _across(run: _Run) -> Any:
    entry, call = run.begin()
    async with entry:
        return await call()


def _bridges() -> list[Callable[[], object]]:
    """Return what puts in place again what asgiref knows about the threads that wait for us.

    It knows so by the context. Without it synchronous code that an asynchronous task calls
    would be sent to a thread that waits for the task, or not to the one that has the
    database's connections.
    """
    found: list[Callable[[], object]] = []
    for owner, name in _VARIABLES:
        variable = getattr(owner, name, None)
        value = variable and variable.get(None)
        if value is not None:
            found.append(partial(variable.set, value))
    executor = getattr(AsyncToSync.executors, "current", None)
    if executor is not None:
        found.append(partial(setattr, AsyncToSync.executors, "current", executor))
    return found
