"""Security: who acts, how far, and who decides whether that will do.

The actor and its scope travel in the frame, and whoever is configured decides. What is
enforced, and what is not:

- A question is put for the actor of the caller, within the scope of the caller. ``using()``
  changes neither for the call that it is for.
- The scope of a call, and of what opened the frame it is in, holds for all that it calls: what
  is bound further in narrows it, and never widens it. Within one function's own body, the last
  ``bind`` counts.
- An actor goes over a wire as its id, in one text with its scope: one does not arrive without
  the other. What cannot be rebuilt in full arrives as nobody.
- ``using(actor=)`` is a question, ``bind`` is none: to bind an actor is to say who it is, as an
  authentication does. Code in this process is trusted to know.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from ctxkit.boundary.intercepting import KINDS, Interceptor, either
from ctxkit.context import MISSING, Key, current
from ctxkit.exceptions import ConfigurationError, PermissionDenied
from ctxkit.functions._scope import BAR, EVERYTHING, Scope, checked_permission, checked_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ctxkit.boundary import Call
    from ctxkit.context import Frame

__all__ = (
    "ACTOR",
    "IMPERSONATE",
    "SCOPE",
    "ActorId",
    "Authorizer",
    "Scope",
    "aidentify",
    "authorizer",
    "effective_scope",
    "identify",
    "impersonation",
    "narrowing",
    "permission",
    "set_authorizer",
)

#: Where permissions are asked for, among the interceptors.
ORDER: Final = 20
#: The permission to have a call made as somebody else, by ``using(actor=)``.
IMPERSONATE: Final = "ctxkit.impersonate"


@final
class ActorId(str):
    """Stand for an actor that came from elsewhere, by its id.

    Attributes:
        scope: How far it may go: the scope that it came with.
        found: For an authorizer to keep who that is; None before it has looked. Each arrival
            has one of its own.
    """

    __slots__ = ("found", "scope")

    scope: Scope
    found: object

    def __new__(cls, text: str, scope: Scope = EVERYTHING) -> ActorId:
        """Make one, as :data:`ACTOR` does of what has come over a wire."""
        self = super().__new__(cls, text)
        self.scope = scope
        self.found = None
        return self

    @property
    def id(self) -> str:
        """The id."""
        return str(self)

    def __reduce__(self) -> tuple[type[ActorId], tuple[str, Scope]]:
        return (ActorId, (str(self), self.scope))


class Authorizer(Protocol):
    """Decide whether an actor has a permission.

    Both methods are for one answer: a synchronous call asks :meth:`allows`, an awaited one
    :meth:`aallows`. What they raise goes to the caller, and nothing runs.

    It may have an attribute ``denial``: the class of :exc:`~ctxkit.PermissionDenied` to raise.
    """

    def allows(self, actor: Any, permission: str, call: Call, resource: Any) -> bool:
        """Return whether ``actor`` may do that.

        Args:
            actor: What is bound under :data:`ACTOR`; an :class:`ActorId` if it has come over a
                wire, to be looked up. Never None.
            permission: The name of the permission.
            call: What is about to run.
            resource: What it is about to be done to; None where the permission names nothing.

        Returns:
            True, and nothing else that is true, allows it.
        """
        ...

    async def aallows(self, actor: Any, permission: str, call: Call, resource: Any) -> bool:
        """Do what :meth:`allows` does, without holding up the event loop.

        Without one of its own, :meth:`allows` is called in a thread.
        """
        from ctxkit.propagation import to_thread  # noqa: PLC0415 - asyncio, for those who await

        return await to_thread(self.allows, actor, permission, call, resource)


_authorizer: Authorizer | None = None


def set_authorizer(authorizer: Authorizer | None, /) -> Authorizer | None:
    """Choose who decides about permissions in this process.

    Args:
        authorizer: Who decides; None for nobody, so that whatever asks for a permission fails.

    Returns:
        Who has decided before, for tests to put back.

    Raises:
        ConfigurationError: It lacks a method.
    """
    global _authorizer
    for method in ("allows", "aallows"):
        if authorizer is not None and not callable(getattr(authorizer, method, None)):
            raise ConfigurationError(
                "set_authorizer()",
                f"got {authorizer!r}, which has no {method}()",
                "Derive it from ctxkit.functions.security.Authorizer.",
            )
    before, _authorizer = _authorizer, authorizer
    return before


def authorizer() -> Authorizer | None:
    """Return who decides about permissions in this process, or None."""
    return _authorizer


def effective_scope(frame: Frame) -> Scope:
    """Return how far one may go in ``frame``: no further than whoever has called it.

    Raises:
        ConfigurationError: What is bound as a scope is none.
    """
    scope = EVERYTHING
    beneath: Frame | None = frame
    while beneath is not None:
        root = beneath.root
        scope = _limit(root, _limit(beneath, scope))
        beneath = getattr(root, "outer", None)  # of a call: the frame of its caller
    return scope


def _limit(frame: Frame, scope: Scope) -> Scope:
    """Return ``scope``, narrowed by what ``frame`` holds."""
    bound = frame.get(SCOPE.name, MISSING)
    if bound is not MISSING:
        scope &= checked_scope(f"bind({SCOPE.name}=)", bound)
    actor = frame.get(ACTOR.name)
    return scope & actor.scope if type(actor) is ActorId else scope


def permission(name: str, /, *, resource: Callable[[Call], object] | None = None) -> Interceptor:
    """Make an interceptor that lets those through whose caller has a permission.

    It asks before anything is run or a pool is entered, once for all attempts. What is denied is
    noted on OpenTelemetry's current span, where there is one. The caller's is the frame that the
    call inherits, with what interceptors further out have bound.

    Args:
        name: The permission: ``"shop.view_order"``.
        resource: Called with the call; returns what the permission is wanted for, as
            ``lambda call: call.args[0]``. Must not block. None for no particular thing.

    Raises:
        ConfigurationError: This is no name; or, at the call, no authorizer is configured.
        PermissionDenied: At the call: there is no actor, its scope does not hold the
            permission, or the authorizer says no.
    """
    checked_permission(name)

    def asking(call: Call) -> Generator[Any, Any, Any]:
        deciding, actor = _asked(call, name)
        of = None if resource is None else resource(call)
        allowed = yield either(
            lambda: deciding.allows(actor, name, call, of),
            lambda: deciding.aallows(actor, name, call, of),
        )
        if allowed is not True:
            raise _denial(call, name, "the actor does not have it")
        return (yield call)

    return Interceptor(asking, f"permission:{name}", ORDER, KINDS)


_MAY_IMPERSONATE: Final = permission(IMPERSONATE)


def impersonation(actor: object, /) -> Interceptor:
    """Make the interceptor of ``using(actor=)``: have the function act as somebody else.

    Whoever calls it has to have the permission :data:`IMPERSONATE`.
    """

    def impersonating(call: Call) -> Generator[Any, Any, Any]:
        inner = call.replace(values={**call.values, ACTOR.name: actor})
        return (yield from _MAY_IMPERSONATE.plan(inner))

    return Interceptor(impersonating, "impersonation", ORDER, KINDS)


def narrowing(scope: Scope, /) -> Interceptor:
    """Make the interceptor of ``using(scope=)``: have the function go less far than its caller.

    Raises:
        ConfigurationError: ``scope`` is no scope.
    """
    checked_scope("using(scope=)", scope)

    def narrowed(call: Call) -> Generator[Any, Any, Any]:
        met = effective_scope(current()) & scope
        return (yield call.replace(values={**call.values, SCOPE.name: met}))

    return Interceptor(narrowed, "narrowing", ORDER, KINDS)


def _asked(call: Call, name: str) -> tuple[Authorizer, object]:
    """Return who decides, and about whom, if there is anything left to decide."""
    if _authorizer is None:
        raise ConfigurationError(
            "The authorizer",
            f"is not set, and {call.name} asks for the permission {name!r}",
            'Call set_authorizer(), or in Django, add "ctxkit.django" and '
            '"django.contrib.auth" to INSTALLED_APPS.',
        )
    # Not call.frame: what interceptors further out have bound since is inherited, too.
    frame = current()
    actor: object = frame.get(ACTOR.name)
    if actor is None:
        raise _denial(call, name, "there is no actor")
    if name not in effective_scope(frame):
        raise _denial(call, name, "the scope of the actor does not hold it")
    return _authorizer, actor


def _denial(call: Call, name: str, reason: str) -> PermissionDenied:
    # Who the actor is, is nothing for third parties.
    tracing: Any = sys.modules.get("opentelemetry.trace")
    if tracing is not None:
        with suppress(Exception):  # a tracer's trouble is not the caller's
            tracing.get_current_span().add_event(
                "ctxkit.permission.denied",
                {
                    "ctxkit.function": call.name,
                    "ctxkit.permission": name,
                    "ctxkit.reason": reason,
                },
            )
    kind: type[PermissionDenied] = getattr(_authorizer, "denial", PermissionDenied)
    return kind(call.name, name, reason)


def identify(frame: Frame) -> None:
    """Find out who the actor of ``frame`` is, so that it can be sent.

    An actor that is known only when somebody asks has methods ``get()`` and ``aget()``. To send
    one that nobody has asked for is to send nobody: what is sent on the side must not query.
    """
    actor: Any = frame.get(ACTOR.name)
    if hasattr(actor, "aget"):
        actor.get()


async def aidentify(frame: Frame) -> None:
    """Do what :func:`identify` does, from a coroutine."""
    actor: Any = frame.get(ACTOR.name)
    if hasattr(actor, "aget"):
        await actor.aget()


def _written(actor: Any) -> str:
    """Return the id of an actor behind how far it may go: ``"shop.* stock.*|7"``."""
    known: object = actor
    if actor is not None and not isinstance(actor, (str, int)):
        # That of a model is pk, also if it has an id besides. A lazy one is None until known.
        known = actor.pk if hasattr(actor, "pk") else actor.id
    if known is None or known == "":
        return ""
    # Whoever writes, writes what the current frame holds.
    return f"{effective_scope(current())}{BAR}{known}"


def _read(text: str) -> ActorId | None:
    scope, _, known = text.partition(BAR)
    if not known:
        return None
    try:
        return ActorId(known, Scope(*scope.split()))
    except ConfigurationError:  # a later version may write more than this one can read
        return None


#: Who acts: what the authorizer knows it by; an id as a ``str``, or an object that has one
#: (``pk`` or ``id``). None is nobody.
ACTOR: Final = Key[Any](
    "actor", default=None, hops={"thread", "process", "wire"}, dump=_written, load=_read
)
#: How far the actor may go, a :class:`Scope`. It goes over wires with its actor.
SCOPE: Final = Key[Scope]("scope", default=EVERYTHING)
