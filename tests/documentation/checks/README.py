import os

os.environ["DJANGO_SETTINGS_MODULE"] = "project"
with open("project.py", "w") as project:
    project.write("from settings import *\nROOT_URLCONF = 'urls'\n")
with open("urls.py", "w") as urls:
    urls.write("urlpatterns = []\n")

import django
from django.core.management import call_command
from django.test import RequestFactory

django.setup()
call_command("check", fail_level="WARNING", verbosity=0)
with ctxkit.bind(request_id="r1"):
    assert report(RequestFactory().get("/")).content == b'{"rows": 3}'

import elsewhere

assert elsewhere.lambda_handler({}, None) == {"statusCode": 200}

from wsgiref.util import setup_testing_defaults

environ = {}
setup_testing_defaults(environ)
sent = []
body = elsewhere.application(environ, lambda status, headers, exc_info=None: sent.extend(headers))
assert b"".join(body) == b"hello"
assert "X-Request-ID" in dict(sent)

assert (price, asked.result(5), work.result(5)) == ("tea for acme", "tea for acme", "tea for None")
