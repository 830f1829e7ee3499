import importlib
import os

import django
from django.conf import settings

from settings import CTXKIT, INSTALLED_APPS

settings.configure(
    CTXKIT=CTXKIT,
    INSTALLED_APPS=INSTALLED_APPS,
    MIDDLEWARE=["ctxkit.django.ContextMiddleware"],
)
django.setup()

from ctxkit.django import conf

assert conf.problems() == []
assert conf.adoptions() == [
    ("crum", "_thread_locals"),
    ("django_lifecycle.mixins", "_bypass_state._state"),
    ("edx_django_utils.*", "*"),
]

os.mkdir("legacy")
with open("legacy/__init__.py", "w") as legacy:
    legacy.write(
        "import threading\n_state, _thread_locals = threading.local(), threading.local()\n"
    )
with open("legacy/deep.py", "w") as legacy:
    legacy.write(
        "from legacy import _state\nimport threading\n_thread_locals = threading.local()\n"
    )
importlib.invalidate_caches()

import legacy.deep

assert isinstance(legacy._state, ctxkit.Local)
assert legacy.deep._state is legacy._state
assert isinstance(legacy.deep._thread_locals, ctxkit.Local)
assert not isinstance(legacy._thread_locals, ctxkit.Local)
