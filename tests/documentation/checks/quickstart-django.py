import os

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
with open("legacy.py", "w") as legacy:
    legacy.write("import threading\n_state = threading.local()\n")

import django
from django.core.management import call_command
from django.test import Client

django.setup()
call_command("check", fail_level="WARNING", verbosity=0)

answer = Client().get("/orders/7/", headers={"X-Request-ID": "abc"})
assert answer.json() == {"order": 7, "request_id": "abc", "route": "orders/<int:number>/"}
assert answer.headers["X-Request-ID"] == "abc"

import ctxkit
import legacy

assert isinstance(legacy._state, ctxkit.Local)

import io
import logging

[handler] = logging.getLogger().handlers
said = handler.setStream(io.StringIO()) and handler.stream
Client().get("/nowhere/", headers={"X-Request-ID": "lost"})
assert said.getvalue() == "WARNING [lost] Not Found: /nowhere/\n", said.getvalue()
