"""Tasks of Django's framework, and a backend that hands them to a worker of its own."""

from __future__ import annotations

import json
import threading
from contextvars import ContextVar
from typing import Any

from asgiref.sync import sync_to_async
from django.tasks import TaskContext, task
from django.tasks.backends.dummy import DummyBackend

import ctxkit

TENANT = ctxkit.Key[str]("tasks_tenant", hops={"thread", "wire"})
HERE = ctxkit.Key[str]("tasks_here")
FOREIGN: ContextVar[str | None] = ContextVar("foreign", default=None)

Seen = list[Any]


def seen() -> Seen:
    return [TENANT.get(None), HERE.get(None), FOREIGN.get()]


def leave_everything_set() -> None:
    ctxkit.bind({TENANT: "left", HERE: "left"}).__enter__()
    FOREIGN.set("left")


class Queue(DummyBackend):  # type: ignore[misc,unused-ignore]
    """Keep tasks as text; ``work`` runs them as a worker would, or by their functions alone."""

    def work(self, *, by_function: bool = False) -> list[Any]:
        returned: list[Any] = []
        while self.results:
            result = self.results.pop(0)
            args, kwargs = json.loads(json.dumps([result.args, result.kwargs]))
            if result.task.takes_context:
                args.insert(0, TaskContext(task_result=result))
            run = result.task.func if by_function else result.task.call
            returned.append(run(*args, **kwargs))
        return returned


@task
def look(*args: Any, **kwargs: Any) -> Any:
    found = [*seen(), list(args), kwargs]
    leave_everything_set()
    return found


@task
async def alook(*args: Any, **kwargs: Any) -> Any:
    found = [*seen(), list(args), kwargs]
    leave_everything_set()
    return found


@task(takes_context=True)
def look_with_context(context: TaskContext, *args: Any, **kwargs: Any) -> Any:
    found = [*seen(), list(args), kwargs]
    assert isinstance(context, TaskContext)
    assert context.attempt in (0, 1)
    leave_everything_set()
    return found


@task
def fail() -> None:
    leave_everything_set()
    raise LookupError("no such order")


@task
def describe() -> dict[str, Any]:
    return dict(ctxkit.current())


#: What the last task that was to leave something behind has left.
LEFT: list[object] = []


@task
def leave_thread_running() -> None:
    thread = ctxkit.Thread(target=lambda: LEFT.append("thread"))
    thread.start()
    LEFT.append("returned")


@task
async def ahop() -> Any:
    found = [*await sync_to_async(seen)(), await sync_to_async(threading.get_ident)()]
    leave_everything_set()
    return found
