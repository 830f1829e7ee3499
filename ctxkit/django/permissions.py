"""Django's users as actors, and their permissions as answers."""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, cast

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import get_backends, get_user_model
from django.core import exceptions as django_exceptions

from ctxkit.boundary.intercepting import Call, arun, run
from ctxkit.context import current
from ctxkit.django.holders import UserHolder
from ctxkit.exceptions import ConfigurationError, PermissionDenied
from ctxkit.functions import security

if sys.version_info >= (3, 12):
    from inspect import iscoroutinefunction
else:
    from asgiref.sync import iscoroutinefunction

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet

#: What is asked of a user and of a backend in pairs, one for each colour.
_TWINS: Final = (
    "has_perm",
    "get_all_permissions",
    "get_user_permissions",
    "get_group_permissions",
)


class DjangoPermissionDenied(PermissionDenied, django_exceptions.PermissionDenied):
    """Report a denial to Django too, which answers a request with 403.

    It is a :exc:`ctxkit.PermissionDenied` and a :exc:`django.core.exceptions.PermissionDenied`,
    so that error handlers, middlewares and REST frameworks know what it is.
    """


class DjangoAuthorizer(security.Authorizer):
    """Ask Django's users: ``user.has_perm()``, and ``user.ahas_perm()`` where it is awaited.

    Actors are users, the :class:`~ctxkit.django.UserHolder` of a request, and primary keys: one
    that came over a wire is looked up again. Anonymous and inactive users have no permission,
    whatever a backend says. With a ``resource``, the question is the one for that object, which
    the backend has to know about; Django's own says no.
    """

    denial = DjangoPermissionDenied

    def allows(self, actor: Any, permission: str, call: Call, resource: Any) -> bool:  # noqa: ARG002 - as declared
        """Ask ``user.has_perm(permission, resource)``."""
        user = _user(actor)
        return _may_act(user) and bool(user.has_perm(permission, resource))

    async def aallows(self, actor: Any, permission: str, call: Call, resource: Any) -> bool:  # noqa: ARG002 - as declared
        """Ask ``user.ahas_perm(permission, resource)``.

        A user or a backend that only ever said what ``has_perm`` is to do is asked that, in a
        thread: both colours get one answer.
        """
        user = await _auser(actor)
        if not _may_act(user):
            return False
        # Of a lazy user, as request.user is one, that of the user.
        kinds = cast("list[type]", [each.__class__ for each in (user, *get_backends())])
        if all(map(_has_twins, kinds)):
            return bool(await user.ahas_perm(permission, resource))
        return bool(await sync_to_async(user.has_perm)(permission, resource))


def install_authorizer() -> None:
    """Have Django's users decide, if there are any and nobody else was chosen.

    :class:`~ctxkit.django.ContextMiddleware` and ``"ctxkit.django"`` in ``INSTALLED_APPS`` do.
    """
    if security.authorizer() is None and apps.is_installed("django.contrib.auth"):
        security.set_authorizer(DjangoAuthorizer())


def permission_required(
    name: str, /, *, resource: Callable[[Call], object] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let those requests to a view whose user has a permission; others are answered with 403.

    ::

        from ctxkit.django.permissions import permission_required


        @permission_required("shop.view_order")
        async def order(request, number): ...

    It is :func:`ctxkit.functions.security.permission` around a view: the scope of the frame
    counts, as it does for functions. Of a class, decorate what ``as_view()`` returns.

    Args:
        name: The permission.
        resource: Called with the call, whose arguments are those of the view; returns what the
            permission is wanted for.

    Raises:
        ConfigurationError: ``name`` is no name.
    """
    chain = (security.permission(name, resource=resource),)

    def decorated(view: Callable[..., Any]) -> Callable[..., Any]:
        named: Any = view if hasattr(view, "__qualname__") else type(view)
        title = f"{named.__module__}:{named.__qualname__}"

        def asked(args: tuple[Any, ...], kwargs: dict[str, Any], *, awaited: bool) -> Call:
            return Call(
                title,
                "http",
                args,
                kwargs,
                frame=current(),
                function=view,
                asynchronous=awaited,
            )

        def answered(call: Call) -> Any:
            return view(*call.args, **call.kwargs)

        if iscoroutinefunction(view):

            @wraps(view)
            async def ainner(*args: Any, **kwargs: Any) -> Any:
                return await arun(chain, asked(args, kwargs, awaited=True), answered)

            return ainner

        @wraps(view)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return run(chain, asked(args, kwargs, awaited=False), answered)

        return inner

    return decorated


def _user(actor: Any) -> Any:
    """Return the user that ``actor`` is, or None."""
    if isinstance(actor, UserHolder):
        return actor.get()
    if not _is_key(actor):
        return actor
    return _kept(actor) or _keep(actor, _query(actor).first())


async def _auser(actor: Any) -> Any:
    if isinstance(actor, UserHolder):
        return await actor.aget()
    if not _is_key(actor):
        return actor
    return _kept(actor) or _keep(actor, await _query(actor).afirst())


def _is_key(actor: Any) -> bool:
    return isinstance(actor, (str, int)) and not isinstance(actor, bool)


def _query(key: str | int) -> QuerySet[Any]:
    """Return what finds the user with this primary key."""
    users = cast("Any", get_user_model())._default_manager  # noqa: SLF001 - as Django logs in
    try:
        return cast("QuerySet[Any]", users.filter(pk=users.model._meta.pk.to_python(key)))  # noqa: SLF001 - documented
    except django_exceptions.ValidationError:
        return cast("QuerySet[Any]", users.none())


def _kept(actor: object) -> Any:
    return actor.found if type(actor) is security.ActorId else None


def _keep(actor: object, user: Any) -> Any:
    # For as long as the message it came with is worked on, as a request keeps its user.
    if type(actor) is security.ActorId:
        actor.found = user
    return user


def _may_act(user: Any) -> bool:
    """Return whether it is somebody, of whom anything can be asked.

    Raises:
        ConfigurationError: It is no user of Django, or has no permissions.
    """
    if user is None:
        return False
    if not hasattr(user, "is_authenticated"):
        raise ConfigurationError(
            "The actor",
            f"must be a user of Django, not of type {type(user).__name__}",
            "Bind a user, its primary key, or ctxkit.django.current_user().",
        )
    if not hasattr(user, "has_perm"):
        raise ConfigurationError(
            "AUTH_USER_MODEL",
            f"is {type(user).__name__}, which has no has_perm()",
            "Derive it from PermissionsMixin.",
        )
    return bool(user.is_authenticated and user.is_active)


def _has_twins(kind: type) -> bool:
    """Return whether nothing of ``kind`` was changed for one colour alone."""
    return all(_is_twin(kind, name) for name in _TWINS)


def _is_twin(kind: type, name: str) -> bool:
    for each in kind.__mro__:
        if f"a{name}" in vars(each):
            return True
        if name in vars(each):
            return each.__module__.startswith("django.")  # which has both, further up
    return True
