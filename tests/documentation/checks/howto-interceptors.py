import os
import sys
import types
from wsgiref.util import setup_testing_defaults

import shop_wsgi


def answer(**environ):
    told = {}
    setup_testing_defaults(environ)
    body = shop_wsgi.application(
        environ, lambda status, headers, *_: told.update(headers, status=status)
    )
    return told["status"], b"".join(body), told.get("Retry-After")


for each in (interceptors.span(), interceptors.metrics(), interceptors.log()):
    assert "call" in each.at
ctxkit.add_interceptor(shop_wsgi.opening_hours)
assert answer()[:2] == ("200 OK", b"welcome")
assert answer(HTTP_X_HOUR="3") == (
    "503 Service Unavailable",
    b"503 Service Unavailable\n",
    "3600",
)
ctxkit.remove_interceptor(shop_wsgi.opening_hours)

for factory in (interceptors.span, interceptors.metrics, interceptors.log):
    assert factory(at={"http"}).at == {"http"}
for made in (
    interceptors.timeout(1, at={"http"}),
    interceptors.requires("tenant", at={"http"}),
    interceptors.limit(ctxkit.Pool.static(2), at={"http"}),
):
    assert made.at == {"http"}
for factory in (interceptors.retry, interceptors.circuit_breaker, interceptors.flush):
    try:
        factory(at={"http"})
    except ctxkit.ConfigurationError:
        pass
    else:
        raise AssertionError(factory)

sys.modules["ctxkit_site"] = types.SimpleNamespace(
    SECRET_KEY="only for tests",
    ROOT_URLCONF="ctxkit_urls",
    MIDDLEWARE=["ctxkit.django.ContextMiddleware"],
    ALLOWED_HOSTS=["*"],
    LOGGING_CONFIG=None,
)
os.environ["DJANGO_SETTINGS_MODULE"] = "ctxkit_site"
import django

django.setup()

import shop_requests
from django.http import HttpResponse
from django.test import Client
from django.urls import path


def view(request):
    if request.headers.get("X-Tenant") == "busy":
        raise ctxkit.PoolFull("images", 3)
    return HttpResponse(f"{ctxkit.get('tenant')} {ctxkit.get('path')}")


sys.modules["ctxkit_urls"] = types.SimpleNamespace(urlpatterns=[path("tea", view)])
ctxkit.add_interceptor(shop_requests.tenants)
response = Client().get("/tea", headers={"X-Tenant": "acme"})
assert (response.content, response["X-Served-For"]) == (b"acme /tea", "acme")
assert Client().get("/tea", headers={"X-Tenant": "busy"}).status_code == 503
