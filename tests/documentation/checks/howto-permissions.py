import asyncio
import os
from wsgiref.util import setup_testing_defaults

import wsgi
from ctxkit.boundary.intercepting import CHAIN


def status(**environ):
    found = []
    setup_testing_defaults(environ)
    body = wsgi.application(environ, lambda status, *_: found.append(status))
    b"".join(body)
    return found


assert status() == ["403 Forbidden"]
assert status(HTTP_AUTHORIZATION="Bearer 5f3a") == ["200 OK"]
for each in CHAIN.all:
    ctxkit.remove_interceptor(each)

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
set_authorizer(None)

import django
from django.conf import settings

settings.SECRET_KEY = "only for tests"
settings.ALLOWED_HOSTS = ["*"]
settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
settings.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
settings.LOGGING_CONFIG = None
django.setup()

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections
from django.test import AsyncClient, Client

with connection.schema_editor() as editor:
    for model in (ContentType, Permission, Group, User):
        editor.create_model(model)
kind = ContentType.objects.create(app_label="auth", model="user")
ada, bob = (User.objects.create(username=name, password="!") for name in ("ada", "bob"))
for codename in ("view_user", "change_user"):
    ada.user_permissions.add(Permission.objects.create(content_type=kind, codename=codename))


async def statuses(user, *urls):
    client = AsyncClient()
    await client.aforce_login(user)
    found = [(await client.get(url)).status_code for url in urls]
    await sync_to_async(connections.close_all)()
    return found


for user, status in ((ada, 200), (bob, 403)):
    client = Client()
    client.force_login(user)
    assert client.get("/users/").status_code == status
    assert asyncio.run(statuses(user, "/users/", "/users/me/eve")) == [status, status]
assert Client().get("/users/").status_code == 403

from granting import make_permission

assert not bob.has_perm("ctxkit.impersonate")
bob.user_permissions.add(make_permission())
with ctxkit.bind({ACTOR: User.objects.get(username="bob")}):
    assert whoami.using(actor=ada)() == ada
connections.close_all()
