"""Django's users as actors: real ones, of a SQLite file."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.local import Local
from asgiref.sync import sync_to_async
from django.apps import apps
from django.core import exceptions as django_exceptions
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils.functional import SimpleLazyObject
from django.views import View

import ctxkit
from ctxkit.boundary.intercepting import arun, run
from ctxkit.django import ContextMiddleware, UserHolder
from ctxkit.django.permissions import (
    DjangoAuthorizer,
    DjangoPermissionDenied,
    install_authorizer,
    permission_required,
)
from ctxkit.exceptions import ConfigurationError, PermissionDenied
from ctxkit.functions.security import (
    ACTOR,
    SCOPE,
    Scope,
    aidentify,
    authorizer,
    identify,
    impersonation,
    permission,
    set_authorizer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALLED = ["django.contrib.contenttypes", "django.contrib.auth"]
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
VIEW = permission("auth.view_user")


@pytest.fixture(scope="module", autouse=True)
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A database with a few users, under the app registry of a project that has users."""
    file = tmp_path_factory.mktemp("permissions") / "db.sqlite3"
    configured = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": file}}
    with pytest.MonkeyPatch.context() as patch, override_settings(INSTALLED_APPS=INSTALLED):
        patch.setattr(connections, "settings", connections.configure_settings(configured))
        patch.setattr(connections, "_connections", Local(connections.thread_critical))
        _populate()
        yield
        connections.close_all()


def _populate() -> None:
    from django.contrib.auth.models import Group, Permission, User  # noqa: PLC0415 - not installed
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415 - before

    with connection.schema_editor() as editor:
        for model in (ContentType, Permission, Group, User):
            editor.create_model(model)
    for name in ("ada", "bob", "gone", "root"):
        User.objects.create(
            username=name, password="!", is_active=name != "gone", is_superuser=name == "root"
        )
    _grant("ada", "auth", "view_user")
    _grant("gone", "auth", "view_user")


def _grant(username: str, app: str, codename: str) -> None:
    from django.contrib.auth.models import Permission  # noqa: PLC0415 - as above
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415 - as above

    kind, _ = ContentType.objects.get_or_create(app_label=app, model="user")
    granted, _ = Permission.objects.get_or_create(content_type=kind, codename=codename)
    _user(username).user_permissions.add(granted)


def _user(username: str) -> Any:
    from django.contrib.auth.models import User  # noqa: PLC0415 - as above

    return User.objects.get(username=username)


class Urls:
    urlpatterns: tuple[Any, ...] = ()
    handler403: Any = staticmethod(lambda _, exception: HttpResponse(str(exception), status=403))


@pytest.fixture(autouse=True)
def site(database: None, project: None) -> Iterator[None]:
    with override_settings(
        ROOT_URLCONF=Urls,
        MIDDLEWARE=[
            "ctxkit.django.ContextMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        AUTHENTICATION_BACKENDS=[MODEL_BACKEND],
    ):
        before = set_authorizer(DjangoAuthorizer())
        yield
        set_authorizer(before)


def _call(values: dict[str, object]) -> ctxkit.Call:
    return ctxkit.Call("shop:order", "call", (), {}, frame=ctxkit.current(), values=values)


def _sync(interceptor: ctxkit.Interceptor, **values: object) -> str:
    return run((interceptor,), _call(values), lambda _: "run")


async def _in_loop(interceptor: ctxkit.Interceptor, values: dict[str, object]) -> str:
    async def body(_: ctxkit.Call) -> str:
        return "run"

    try:
        return await arun((interceptor,), _call(values), body)
    finally:
        await sync_to_async(connections.close_all)()


def _async(interceptor: ctxkit.Interceptor, **values: object) -> str:
    return asyncio.run(_in_loop(interceptor, values))


BOTH = pytest.mark.parametrize("ask", [_sync, _async])


@permission_required("auth.view_user")
def order(request: Any) -> HttpResponse:
    return HttpResponse(request.user.username)


@permission_required("auth.view_user")
async def aorder(request: Any) -> HttpResponse:
    return HttpResponse((await request.auser()).username)


class Order(View):
    def get(self, request: Any) -> HttpResponse:
        return HttpResponse(request.user.username)


class AOrder(View):
    async def get(self, request: Any) -> HttpResponse:
        return HttpResponse((await request.auser()).username)


def narrow(request: Any) -> HttpResponse:
    with ctxkit.bind({SCOPE: Scope("shop.*")}):
        return order(request)


def plain(request: Any) -> HttpResponse:
    return HttpResponse(ctxkit.inject({}).get("ctxkit-context", ""))


def deep(request: Any) -> HttpResponse:
    _sync(VIEW)
    return plain(request)


Urls.urlpatterns = (
    path("order", order),
    path("aorder", aorder),
    path("class", permission_required("auth.view_user")(Order.as_view())),
    path("aclass", permission_required("auth.view_user")(AOrder.as_view())),
    path("narrow", narrow),
    path("plain", plain),
    path("deep", deep),
)


def get(url: str, username: str | None) -> Any:
    client = Client()
    if username is not None:
        client.force_login(_user(username), MODEL_BACKEND)
    return client.get(url)


def aget(url: str, username: str | None) -> Any:
    async def asked() -> Any:
        client = AsyncClient()
        if username is not None:
            await client.aforce_login(user, MODEL_BACKEND)
        try:
            return await client.get(url)
        finally:
            await sync_to_async(connections.close_all)()

    user = None if username is None else _user(username)
    return asyncio.run(asked())


@pytest.mark.rule("F-74")
@pytest.mark.parametrize("ask", [get, aget])
@pytest.mark.parametrize("url", ["/order", "/aorder", "/class", "/aclass"])
def test_user_of_the_request_decides_and_who_may_not_gets_403(ask: Any, url: str) -> None:
    assert ask(url, "ada").content == b"ada"
    assert ask(url, "root").content == b"root"
    for username in ("bob", None):
        assert ask(url, username).status_code == 403


@pytest.mark.rule("F-72")
def test_scope_counts_for_views() -> None:
    assert get("/narrow", "ada").status_code == 403


def test_denial_deep_in_a_view_is_answered_by_the_projects_own_handler() -> None:
    response = get("/deep", "bob")
    assert response.status_code == 403
    assert response.content == (
        b"shop:order asks for the permission 'auth.view_user': the actor does not have it."
    )


@pytest.mark.parametrize("ask", [get, aget])
def test_permission_around_requests_denies_who_is_not_known_yet(ask: Any) -> None:
    ctxkit.add_interceptor(VIEW)
    try:
        assert ask("/plain", "ada").status_code == 403  # no middleware has run
    finally:
        ctxkit.remove_interceptor(VIEW)


@pytest.mark.rule("F-74")
def test_each_colour_asks_the_method_of_its_colour() -> None:
    asked: list[str] = []

    class Someone:
        is_authenticated = is_active = True

        def has_perm(self, name: str, of: object) -> bool:
            asked.append(f"has_perm {name} {of}")
            return True

        async def ahas_perm(self, name: str, of: object) -> bool:
            asked.append(f"ahas_perm {name} {of}")
            return True

    question = permission("shop.view", resource=lambda _: "it")
    with ctxkit.bind({ACTOR: Someone()}):
        _sync(question)
        _async(question)
    assert asked == ["has_perm shop.view it", "ahas_perm shop.view it"]


@BOTH
@pytest.mark.rule("F-74")
def test_anonymous_and_inactive_users_may_nothing_whatever_they_have(ask: Any) -> None:
    class Nobody:
        is_authenticated = False
        is_active = True

        def has_perm(self, *_: object) -> bool:
            return True

    class Inactive(Nobody):
        is_authenticated = True
        is_active = False

    for actor in (_user("gone"), Nobody(), Inactive(), UserHolder()):
        with ctxkit.bind({ACTOR: actor}), pytest.raises(DjangoPermissionDenied):
            ask(VIEW)


@BOTH
@pytest.mark.rule("F-74")
@pytest.mark.parametrize("backend", ["Owners", "OldOwners"])
def test_permission_for_an_object_is_what_a_backend_says(ask: Any, backend: str) -> None:
    class Thing:
        owner = "bob"

    theirs = permission("shop.view_order", resource=lambda _: Thing())
    with (
        override_settings(AUTHENTICATION_BACKENDS=[f"helpers.permission_backends.{backend}"]),
        ctxkit.bind({ACTOR: _user("bob")}),
    ):
        assert ask(theirs) == "run"
        with pytest.raises(PermissionDenied), ctxkit.bind({ACTOR: _user("ada")}):
            ask(theirs)
    with ctxkit.bind({ACTOR: _user("ada")}), pytest.raises(PermissionDenied):
        ask(permission("auth.view_user", resource=lambda _: Thing()))  # Django's own backend


@BOTH
@pytest.mark.rule("F-74")
def test_backend_that_denies_in_one_colour_denies_in_both(ask: Any) -> None:
    denying = ["helpers.permission_backends.Closed", MODEL_BACKEND]
    with (
        override_settings(AUTHENTICATION_BACKENDS=denying),
        ctxkit.bind({ACTOR: _user("ada")}),
        pytest.raises(PermissionDenied),
    ):
        ask(VIEW)


@BOTH
@pytest.mark.rule("F-74")
def test_user_model_that_decides_in_one_colour_decides_in_both(ask: Any) -> None:
    class Ordinary:
        is_authenticated = is_active = True

        def has_perm(self, *_: object) -> bool:
            return True

        async def ahas_perm(self, *_: object) -> bool:
            return True

    class Careful(Ordinary):
        def has_perm(self, *_: object) -> bool:
            return False

    for actor in (Careful(), SimpleLazyObject(Careful)):  # the latter as in request.user
        with ctxkit.bind({ACTOR: actor}), pytest.raises(PermissionDenied):
            ask(VIEW)


@BOTH
def test_actor_who_is_no_user_is_an_error(ask: Any) -> None:
    with (
        ctxkit.bind({ACTOR: object()}),
        pytest.raises(ConfigurationError, match="must be a user of Django"),
    ):
        ask(VIEW)
    with (
        ctxkit.bind({ACTOR: True}),  # no 1, the key of the first user
        pytest.raises(ConfigurationError, match="must be a user of Django"),
    ):
        ask(VIEW)

    class Bare:
        is_authenticated = True

    with (
        ctxkit.bind({ACTOR: Bare()}),
        pytest.raises(ConfigurationError, match="AUTH_USER_MODEL is Bare, which has no has_perm"),
    ):
        ask(VIEW)


@BOTH
@pytest.mark.rule("F-95")
def test_user_is_looked_up_again_where_its_id_arrives_and_once_for_a_message(ask: Any) -> None:
    with ctxkit.bind({ACTOR: _user("ada"), SCOPE: Scope("auth.*", "shop.*")}):
        headers = ctxkit.inject({})
    assert headers == {"ctxkit-context": f'v1 {{"actor":"auth.* shop.*|{_user("ada").pk}"}}'}
    with ctxkit.bind(ctxkit.extract(headers, trusted=True)):
        assert ask(VIEW) == "run"
        with pytest.raises(PermissionDenied, match="scope"):
            ask(permission("stock.reserve"))
        with CaptureQueriesContext(connection) as queries:
            assert ask(VIEW) == "run"
        assert len(queries) == 0
        assert ACTOR.get().found == _user("ada")


@BOTH
@pytest.mark.rule("F-95")
@pytest.mark.parametrize("who", ["gone", "4711", "Ada", "²", "9" * 30])
def test_id_of_nobody_who_may_act_is_denied(ask: Any, who: str) -> None:
    key = _user(who).pk if who == "gone" else who
    with ctxkit.bind({ACTOR: key}), pytest.raises(DjangoPermissionDenied):
        ask(VIEW)


@pytest.mark.rule("F-95")
def test_sending_asks_neither_the_session_nor_the_database() -> None:
    response = get("/plain", "ada")
    assert response.content == b'v1 {"request_id":"%s","actor":""}' % (
        response.headers["X-Request-ID"].encode()
    )
    assert "Vary" not in response.headers


@pytest.mark.rule("F-95")
def test_user_of_the_request_goes_before_an_actor_that_a_trusted_caller_names() -> None:
    sent = {"Ctxkit-Context": f'v1 {{"actor":"*|{_user("root").pk}"}}'}
    with override_settings(CTXKIT={"TRUST_CONTEXT": True}):
        assert Client().get("/order", headers=sent).status_code == 403


@pytest.mark.rule("F-95")
def test_user_who_was_asked_for_is_sent() -> None:
    assert f'"actor":"*|{_user("ada").pk}"' in get("/deep", "ada").content.decode()


@pytest.mark.rule("F-95")
@pytest.mark.parametrize(
    "find_out", [identify, lambda frame: asyncio.run(aidentify(frame))], ids=["sync", "async"]
)
def test_user_of_a_request_can_be_asked_for_before_it_is_sent(find_out: Any) -> None:
    user, request = _user("ada"), HttpRequest()

    async def auser() -> Any:
        vars(request)["_acached_user"] = user
        return user

    request.user = SimpleLazyObject(lambda: user)  # type: ignore[assignment]
    request.auser = auser
    with ctxkit.bind({ACTOR: UserHolder(request)}):
        assert ctxkit.inject({}) == {"ctxkit-context": 'v1 {"actor":""}'}
        find_out(ctxkit.current())
        assert ctxkit.inject({}) == {"ctxkit-context": f'v1 {{"actor":"*|{user.pk}"}}'}


@BOTH
@pytest.mark.rule("F-71")
def test_to_act_as_another_user_is_a_permission_of_django(ask: Any) -> None:
    with (
        ctxkit.bind({ACTOR: _user("bob")}),
        pytest.raises(PermissionDenied, match=r"ctxkit\.impersonate"),
    ):
        ask(impersonation(_user("ada")))
    _grant("ada", "ctxkit", "impersonate")
    with ctxkit.bind({ACTOR: _user("ada")}):
        assert ask(impersonation(_user("bob"))) == "run"


def test_denial_is_one_for_django_and_for_ctxkit_and_pickles() -> None:
    with ctxkit.bind({ACTOR: _user("bob")}), pytest.raises(PermissionDenied) as raised:
        _sync(VIEW)
    denied = pickle.loads(pickle.dumps(raised.value))
    assert type(denied) is DjangoPermissionDenied
    assert isinstance(denied, django_exceptions.PermissionDenied)
    assert (str(denied), denied.http_status) == (str(raised.value), 403)
    assert "bob" not in str(denied)


@pytest.mark.parametrize(
    "begin",
    [
        install_authorizer,
        lambda: ContextMiddleware(lambda _: HttpResponse()),
        lambda: apps.get_app_config("ctxkit").ready(),
    ],
    ids=["itself", "middleware", "app"],
)
def test_users_decide_where_there_are_users_and_nobody_else_was_chosen(begin: Any) -> None:
    set_authorizer(None)
    with override_settings(INSTALLED_APPS=["ctxkit.django"]):
        assert authorizer() is None
        begin()
        assert authorizer() is None
    with override_settings(INSTALLED_APPS=[*INSTALLED, "ctxkit.django"]):
        set_authorizer(None)
        begin()
        assert isinstance(authorizer(), DjangoAuthorizer)
        chosen = DjangoAuthorizer()
        set_authorizer(chosen)
        begin()
        assert authorizer() is chosen
