"""Django's tasks: each takes the context along, and running it is a crossing.

``CTXKIT = {"TASKS": True}`` with ``"ctxkit.django"`` in ``INSTALLED_APPS`` is all there is to do.
Nothing here imports Django's framework, which is there since 6.0, nor the package
``django-tasks``, on which some backends are built: both are met when they are imported.
"""

from __future__ import annotations

import sys
from functools import cache, update_wrapper
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.boundary._callables import is_coroutine_function
from ctxkit.boundary.intercepting import CHAIN, Call, arun, run
from ctxkit.boundary.receiving import bridges, received
from ctxkit.context import bind, current
from ctxkit.django import conf
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions.spawning import add_engine
from ctxkit.propagation import detached, extract, inject
from ctxkit.propagation._import_hook import after_import, forget

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.boundary import Entry
    from ctxkit.functions import Work

#: The keyword argument that holds the carrier, between the sending of a task and its function.
KEYWORD: Final = "__ctxkit__"

_FRAMEWORKS: Final = ("django.tasks", "django_tasks")


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
    add_engine(_ENGINE)
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
            handler.__dict__.pop("create_connection", None)
            for backend in handler.all(initialized_only=True):
                backend.__dict__.pop("task_class", None)


def _meet(framework: Any) -> None:
    """Have each backend that a framework makes, in whichever thread, make our tasks."""
    handler = framework.task_backends
    if "create_connection" not in vars(handler):
        create = handler.create_connection

        def create_connection(alias: str) -> Any:
            return _prepared(create(alias))

        handler.create_connection = create_connection
        for backend in handler.all(initialized_only=True):
            _prepared(backend)


def _prepared(backend: Any) -> Any:
    backend.task_class = _carrying(backend.__class__.task_class)
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


@cache
def _carrying(task_class: Any) -> Any:
    """Return ``task_class`` with :class:`_ContextTask` laid over it."""
    namespace: dict[str, object] = {"__slots__": (), "__module__": task_class.__module__}
    if task_class.__reduce__ is not object.__reduce__:  # since Django 6.1

        def reduce(task: Any) -> tuple[Any, ...]:
            rebuild, arguments = task_class.__reduce__(task)
            return _rebuilt, (task_class, rebuild.__name__, arguments)

        namespace["__reduce__"] = reduce
    return type(task_class.__name__, (_ContextTask, task_class), namespace)


def _rebuilt(task_class: Any, rebuild: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_carrying(task_class), rebuild)(*arguments)


def _with_carrier(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Add what is to go along. What stands there already is nobody's whom we know."""
    kwargs.pop(KEYWORD, None)
    carrier: dict[str, str] = inject({})
    return kwargs | {KEYWORD: carrier} if carrier else kwargs


def crosses(function: Callable[..., Any]) -> Callable[..., Any]:
    """Say of a function that it crosses the boundary by itself."""
    setattr(function, KEYWORD, True)
    return function


def cross_spawned(name: str, kwargs: dict[str, Any], function: Callable[..., Any]) -> Any:
    """Call ``function`` as the task of what was spawned, under its name.

    Args:
        name: The name of what was spawned.
        kwargs: What came with the task beside its arguments.
        function: What to call, without arguments.
    """
    return detached(_cross)(_Run(name, function, (), kwargs))


@cache
def _crossing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` so that each call of it is a crossing; the same for the same."""
    if getattr(function, KEYWORD, False):
        return function
    name = f"{function.__module__}.{function.__qualname__}"

    async def across(*args: Any, **kwargs: Any) -> Any:
        return await detached(_across)(_Run(name, function, args, kwargs))

    def cross(*args: Any, **kwargs: Any) -> Any:
        return detached(_cross)(_Run(name, function, args, kwargs))

    asynchronous = is_coroutine_function('CTXKIT["TASKS"]', function)
    return crosses(update_wrapper(across if asynchronous else cross, function))


@final
class _Run:
    """Stand for one call of a task's function, before its context is left behind."""

    __slots__ = ("_args", "_bridges", "_function", "_kwargs", "_name", "entry")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        direct: dict[str, str] = {}
        carrier: object = kwargs.pop(KEYWORD, None)
        if carrier is None:  # nobody has sent it, or there was nothing to send
            carrier = inject(direct)
        self.entry: Entry = received(name, carrier, conf.task_options())
        self._name, self._function, self._args, self._kwargs = name, function, args, kwargs
        self._bridges = bridges()

    def begin(self) -> Entry:
        for put_in_place in self._bridges:
            put_in_place()
        return self.entry

    def call(self, *, asynchronous: bool) -> Call:
        """Say what is called, in the frame."""
        return Call(
            self._name,
            "task",
            self._args,
            self._kwargs,
            frame=current(),
            function=self._function,
            asynchronous=asynchronous,
        )


def _cross(task: _Run) -> Any:
    with task.begin():
        chain = CHAIN.of("task") if CHAIN.all else ()
        return run(chain, task.call(asynchronous=False), _body)


async def _across(task: _Run) -> Any:
    async with task.begin():
        chain = CHAIN.of("task") if CHAIN.all else ()
        return await arun(chain, task.call(asynchronous=True), _body)


def _body(call: Any) -> Any:
    return call.function(*call.args, **call.kwargs)


@final
class TasksEngine:
    """Run what is spawned as tasks of Django's framework.

    ``set_engine("django")`` chooses one with the defaults of tasks; for others there is
    ``set_engine(TasksEngine(queue_name="slow"))``.

    Args:
        backend: The backend of the tasks, by its alias in ``TASKS``; None for the default.
        queue_name: Their queue; None for the default.
        priority: Their priority; None for the default.

    Context:
        What is spawned is one task, with the carrier of the call. Its result is that of the
        task, where JSON knows it.

    Safety:
        Nothing is imported before something is spawned. As any task it is sent at once: use
        ``transaction.on_commit`` for what is to wait for the database.
    """

    name: str = "django"

    def __init__(
        self,
        *,
        backend: str | None = None,
        queue_name: str | None = None,
        priority: int | None = None,
    ) -> None:
        self._choice: dict[str, Any] = {
            "backend": backend,
            "queue_name": queue_name,
            "priority": priority,
        }

    def send(self, work: Work) -> Any:
        """Enqueue the work; its arguments have to be what JSON knows.

        Raises:
            ConfigurationError: Tasks do not take the context along here.
        """
        task = self._task()
        with bind(extract(work.carrier, trusted=True)):
            return task.enqueue(work.name, [*work.args], work.kwargs)

    async def asend(self, work: Work) -> Any:
        """Do the same without blocking the event loop."""
        task = self._task()
        with bind(extract(work.carrier, trusted=True)):
            return await task.aenqueue(work.name, [*work.args], work.kwargs)

    def _task(self) -> Any:
        from ctxkit.django.spawned import run_spawned  # noqa: PLC0415 - a task is made by settings

        if not isinstance(run_spawned, _ContextTask):
            raise ConfigurationError(
                'CTXKIT["TASKS"]',
                "is not on, so that tasks would run without context",
                'Write CTXKIT = {"TASKS": True}.',
            )
        return run_spawned.using(**self._choice)


_ENGINE: Final = TasksEngine()
