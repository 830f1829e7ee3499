"""Django's language, time zone, urlconf and script prefix, through every carrier.

Django's settings are set once in a process, so this runs in one of its own.
"""

from __future__ import annotations

import pytest
from helpers.follow import run_script

pytest.importorskip("django")

FOLLOWING = '''
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
import django
from django.conf import settings
settings.configure(USE_TZ=True, TIME_ZONE="UTC", LANGUAGE_CODE="en", ROOT_URLCONF=__name__)
django.setup()
from asgiref.sync import sync_to_async
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils import timezone, translation
import ctxkit

urlpatterns = []

def state():
    return (translation.get_language(), timezone.get_current_timezone_name(),
            get_urlconf(), get_script_prefix())

def change():
    """What a job does must stay in the job."""
    seen = state()
    translation.activate("it"); timezone.activate("Asia/Kolkata")
    set_urlconf("job"); set_script_prefix("/job/")
    return seen

def threaded(kind):
    def carry(job):
        seen = []
        thread = kind(lambda: seen.append(job())); thread.start(); thread.join(10)
        return seen[0]
    return carry

pool, plain = ctxkit.ThreadPoolExecutor(1), ThreadPoolExecutor(1)
carriers = {
    "Thread": threaded(lambda job: ctxkit.Thread(target=job)),
    "Timer": threaded(lambda job: ctxkit.Timer(0, job)),
    "submit": lambda job: pool.submit(job).result(10),
    "map": lambda job: list(pool.map(lambda _: job(), [1]))[0],
    "propagate": lambda job: plain.submit(ctxkit.propagate(job)).result(10),
    "capture": lambda job: plain.submit(ctxkit.capture().run, job).result(10),
}
acarriers = {
    "to_thread": ctxkit.to_thread,
    "run_in_executor": lambda job: ctxkit.run_in_executor(plain, job),
    "create_task": lambda job: ctxkit.create_task(as_coroutine(job)),
    "task and thread": lambda job: ctxkit.create_task(ctxkit.to_thread(job)),
    "sync_to_async": lambda job: sync_to_async(ctxkit.propagate(job), thread_sensitive=False)(),
}

async def as_coroutine(job):
    return job()

USERS = {"fr": "Europe/Paris", "de": "Asia/Tokyo"}

def as_user(language):
    translation.activate(language); timezone.activate(USERS[language])
    set_urlconf(language); set_script_prefix("/" + language + "/")
    return (language, USERS[language], language, "/" + language + "/")

default = state()
for name, carry in carriers.items():
    for language in USERS:
        expected = as_user(language)
        assert carry(change) == expected, (name, language)
        assert state() == expected, (name, "job changed its parent")
    with translation.override("pt"), timezone.override("Asia/Tokyo"):
        assert carry(state)[:2] == ("pt", "Asia/Tokyo"), name
    assert plain.submit(state).result(10) == default, (name, "left something on a worker")

async def request(language):
    expected = as_user(language)
    for name, carry in acarriers.items():
        for _ in range(5):
            assert await carry(change) == expected, (name, language)
            assert state() == expected, (name, "job changed its parent")
    generated = ctxkit.context.aiterate_in(__import__("contextvars").copy_context(), chunks())
    async for seen in generated:
        assert seen == expected

async def chunks():
    for _ in range(3):
        yield state()
        await asyncio.sleep(0)

async def main():
    await asyncio.gather(*(asyncio.create_task(request(language)) for language in USERS))

asyncio.run(main())
assert plain.submit(state).result(10) == default
pool.shutdown(); plain.shutdown()
print("ok")
'''


def test_django_state_follows_through_every_carrier_and_stays_with_its_owner() -> None:
    assert run_script(FOLLOWING) == "ok\n"


INSTALLED = """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
import django
from django.conf import settings
settings.configure(USE_TZ=True, TIME_ZONE="UTC", LANGUAGE_CODE="en", ROOT_URLCONF=__name__)
django.setup()
from asgiref.local import Local
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils import timezone, translation
import ctxkit
ctxkit.install()
from contextvars import copy_context

urlpatterns = []
others = Local()

def state():
    return (translation.get_language(), timezone.get_current_timezone_name(),
            get_urlconf(), get_script_prefix())

def in_thread(job):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(job())); thread.start(); thread.join(10)
    return seen[0]

async def in_loop(job):
    return await asyncio.to_thread(job)

pool, jobs = ThreadPoolExecutor(1), ThreadPool(1)
carriers = [in_thread, lambda job: pool.submit(job).result(10), jobs.apply,
            lambda job: asyncio.run(in_loop(job))]
for language, zone in {"fr": "Europe/Paris", "de": "Asia/Tokyo"}.items():
    translation.activate(language); timezone.activate(zone)
    set_urlconf(language); set_script_prefix("/" + language + "/")
    others.value = language
    for carry in carriers:
        assert carry(state) == (language, zone, language, "/" + language + "/"), carry
    # As asgiref documents it, and its own tests want it, from 3.10 on.
    stays_out = any(each.name == "asgiref.local" for each in copy_context())
    assert in_thread(lambda: getattr(others, "value", None)) == (None if stays_out else language)
    assert others.value == language
jobs.terminate(); jobs.join()
print("ok")
"""


def test_state_follows_through_the_standard_library_where_it_is_patched() -> None:
    assert run_script(INSTALLED) == "ok\n"
