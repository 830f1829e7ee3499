import django
from django.conf import settings

from settings import CTXKIT

settings.configure(CTXKIT=CTXKIT, INSTALLED_APPS=["ctxkit.django"])
django.setup()

from ctxkit.django import conf
from ctxkit.functions.configuring import configured

assert conf.problems() == []
assert options_of("shop.payments:charge")["retry"].initial_delay == 0.05
assert options_of("shop.reports:monthly") == {"pool": "reports", "timeout": 60.0}
assert configured.now().pools["reports"].kind == "adaptive"
