"""A Django project whose tasks are run by a real worker: of `django-tasks-db` or `django-tasks-rq`.

    python -m helpers.django_tasks_site send|work

What tasks saw is written to a file.
"""

from __future__ import annotations

import json
import os
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["CTXKIT_TEST_FOLDER"])
KIND = os.environ["CTXKIT_TEST_BACKEND"]
NAME = "helpers.django_tasks_site"

BACKENDS = {"db": "django_tasks_db.DatabaseBackend", "rq": "django_tasks_rq.RQBackend"}

if __name__ == "__main__":  # under the name that workers look tasks up by
    sys.modules[NAME] = sys.modules[__name__]
    __name__ = NAME  # of the functions below, too

    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="only for tests",
        USE_TZ=True,
        INSTALLED_APPS=["ctxkit.django", {"db": "django_tasks_db", "rq": "django_rq"}[KIND]],
        MIDDLEWARE=["ctxkit.django.ContextMiddleware"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": FOLDER / "db.sqlite3",
                "OPTIONS": {"transaction_mode": "IMMEDIATE"},
            }
        },
        TASKS={"default": {"BACKEND": BACKENDS[KIND], "QUEUES": ["default"]}},
        RQ_QUEUES={"default": {"URL": os.environ.get("CTXKIT_TEST_REDIS", "")}},
        CTXKIT={"TASKS": True},
    )
    django.setup()

from django.core.management import call_command  # noqa: E402 - after the settings
from django.tasks import TaskContext, task  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402

import ctxkit  # noqa: E402
from ctxkit.flushing import add_sink  # noqa: E402
from ctxkit.functions import set_engine  # noqa: E402

TENANT = ctxkit.Key[str]("site_tenant", hops={"thread", "wire"})
HERE = ctxkit.Key[str]("site_here")
FOREIGN: ContextVar[str | None] = ContextVar("foreign", default=None)


def note(*what: object) -> None:
    with (FOLDER / "notes").open("a") as notes:
        notes.write(json.dumps(what) + "\n")


def look(mark: str) -> str:
    note(mark, TENANT.get(None), HERE.get(None), FOREIGN.get(), ctxkit.get("request_id"))
    ctxkit.bind({TENANT: "left", HERE: "left"}).__enter__()
    FOREIGN.set("left")
    return mark


@task
def step(mark: str, **kwargs: Any) -> Any:
    return [look(mark), kwargs]


@task
async def astep(mark: str) -> str:
    return look(mark)


@task(takes_context=True)
def step_with_context(context: TaskContext, mark: str) -> str:
    assert context.attempt == 1
    return look(mark)


@task
def fail(mark: str) -> None:
    look(mark)
    raise LookupError(mark)


@ctxkit.function
def charge(mark: str) -> str:
    return look(mark)


class NotedSink:
    """Stand for an exporter that always has something to send."""

    name = "noted"

    def pending(self) -> int | None:
        return None

    def flush(self, timeout: float) -> bool:
        note("flushed")
        return True


def finished(sender: Any, task_result: Any, **_: Any) -> None:
    note("finished", str(task_result.status))


def send() -> None:
    """Enqueue everything, and print what was stored with the first and the last."""
    if KIND == "db":
        call_command("migrate", verbosity=0)
    set_engine("django")
    FOREIGN.set("sender")
    with ctxkit.bind({TENANT: "acme", HERE: "view"}, request_id="0b7fd4c1"):
        first = step.enqueue("step", colour="red")
        astep.enqueue("astep")
        step_with_context.enqueue("context")
        fail.enqueue("fail")
        charge.spawn("spawned")
    last = step.enqueue("alone")
    (FOLDER / "ids").write_text(json.dumps([first.id, last.id]))
    sys.stdout.write(json.dumps([first.kwargs, last.kwargs]))


def work() -> None:
    """Run a worker until there is nothing to do, and print what became of the first."""
    add_sink(NotedSink())
    # django-tasks-rq sends the signals of the package django-tasks.
    signals = {"db": "django.tasks.signals", "rq": "django_tasks.signals"}[KIND]
    import_string(f"{signals}.task_finished").connect(finished)
    if KIND == "db":
        call_command("db_worker", batch=True, interval=0, startup_delay=False, verbosity=0)
    else:
        job = {"job_class": "django_tasks_rq.Job", "burst": True}
        call_command("rqworker", "default", verbosity=0, **job)
    ids = json.loads((FOLDER / "ids").read_text())
    sys.stdout.write(json.dumps([step.get_result(each).return_value for each in ids]))


if __name__ == NAME and sys.argv[1:] in (["send"], ["work"]):
    {"send": send, "work": work}[sys.argv[1]]()
