"""Work that is written down and done by another process: what it knows of who asked for it."""

from __future__ import annotations

import pytest
from helpers.follow import run_script

DJANGO_TASK = '''
import json, threading
import django
from django.conf import settings
settings.configure(TASKS={"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}})
django.setup()
from django.tasks import default_task_backend, task
import ctxkit

TENANT = ctxkit.Key[str]("tenant", hops={"thread", "wire"})

@task
def charge(order, *, carrier):
    """What a team writes."""
    with ctxkit.bind(ctxkit.extract(carrier, trusted=True)):
        return [order, TENANT.get(None), ctxkit.get("secret")]

seen = []

def worker():
    """Do what is in the queue, as another process would: from JSON, and knowing nothing."""
    for message in queue:
        args, kwargs = json.loads(message)
        seen.append(charge.call(*args, **kwargs))

for tenant in ("acme", "globex"):
    with ctxkit.bind({TENANT: tenant}, secret="stays here"):
        charge.enqueue(7, carrier=ctxkit.inject({}))
charge.enqueue(7, carrier=ctxkit.inject({}))
queue = [json.dumps([each.args, each.kwargs]) for each in default_task_backend.results]
thread = threading.Thread(target=worker); thread.start(); thread.join(10)
assert seen == [[7, "acme", None], [7, "globex", None], [7, None, None]], seen
print("ok")
'''


def test_django_task_that_is_given_a_carrier_knows_what_its_enqueuer_knew() -> None:
    pytest.importorskip("django.tasks", reason="Tasks came with Django 6.0")
    assert run_script(DJANGO_TASK) == "ok\n"
