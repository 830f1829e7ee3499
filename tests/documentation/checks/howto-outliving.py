import os

os.environ["DJANGO_SETTINGS_MODULE"] = "ctxkit_outliving_settings"
import sys
import types

sys.modules["ctxkit_outliving_settings"] = types.SimpleNamespace(
    SECRET_KEY="only for tests",
    ROOT_URLCONF="urls_of_this",
    MIDDLEWARE=["ctxkit.django.ContextMiddleware"],
    INSTALLED_APPS=["ctxkit.django", "django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    ALLOWED_HOSTS=["*"],
    LOGGING_CONFIG=None,
)
import django

django.setup()

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.test import Client
from django.urls import path
from views import order

sys.modules["urls_of_this"] = types.SimpleNamespace(urlpatterns=[path("<name>", order)])
with connection.schema_editor() as editor:
    for model in (ContentType, Permission, Group):
        editor.create_model(model)

set_engine(engine)
engine.sent.clear()
assert Client().get("/tea").content == b"thank you"
[work] = engine.sent
assert work.args == (Group.objects.get(name="tea").pk,)
assert "request_id" in work.carrier["ctxkit-context"] or "x-request-id" in work.carrier

try:
    with transaction.atomic():
        Client().get("/milk")
        raise LookupError
except LookupError:
    pass
assert len(engine.sent) == 1
connections.close_all()
