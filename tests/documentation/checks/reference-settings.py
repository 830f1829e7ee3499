import django
from django.conf import settings

from settings import CTXKIT

settings.configure(
    CTXKIT=CTXKIT,
    MIDDLEWARE=["ctxkit.django.ContextMiddleware"],
    INSTALLED_APPS=["ctxkit.django"],
    ROOT_URLCONF="settings",
)
django.setup()

from ctxkit.django import conf

assert set(CTXKIT) == {setting.key for setting in conf.SETTINGS}
assert [repr(value).replace("'", '"') for value in CTXKIT.values()] == [
    setting.default for setting in conf.SETTINGS
]
assert conf.problems() == []
