"""Functions: callable units whose calls inherit the frame and the lifetime of their caller."""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from ctxkit.exceptions import ConfigurationError
from ctxkit.functions.naming import register, registered, unit_of
from ctxkit.functions.units import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ctxkit.boundary.intercepting import Interceptor
    from ctxkit.context import Key
    from ctxkit.functions.units import Bound

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Function(Protocol[P, R_co]):
    """Be a function of ctxkit: a plain function, and what :func:`function` has put on it."""

    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call it, in a frame of its own over the current one."""
        ...

    @overload
    def __get__(self, instance: None, owner: type, /) -> Function[P, R_co]: ...
    @overload
    def __get__(
        self: Function[Concatenate[S, Q], R_co], instance: S, owner: type | None = ..., /
    ) -> Callable[Q, R_co]: ...

    def using(
        self, values: Mapping[str | Key[Any], object] = ..., /, **options: Any
    ) -> Bound[P, R_co]:
        """Return the function with further values, or with other options."""
        ...

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call it, and do not wait: see :meth:`Bound.start`."""
        ...

    def spawn(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Hand it to an engine, to run after this request: see :meth:`Bound.spawn`."""
        ...

    async def aspawn(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Do the same, without blocking the event loop."""
        ...


@overload
def function(function: Callable[P, R], /) -> Function[P, R]: ...
@overload
def function(
    *,
    name: str | None = ...,
    timeout: float | None = ...,
    retry: Any = ...,
    pool: Any = ...,
    permission: str | None = ...,
    requires: Collection[str | Key[Any]] = ...,
    validate: bool = ...,
    interceptors: Collection[Interceptor] = ...,
    engine: Any = ...,
) -> Callable[[Callable[P, R]], Function[P, R]]: ...
def function(  # noqa: PLR0913 - each has a default
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | None = None,
    retry: Any = None,
    pool: Any = None,
    permission: str | None = None,
    requires: Collection[str | Key[Any]] = (),
    validate: bool = False,
    interceptors: Collection[Interceptor] = (),
    engine: Any = None,
) -> Any:
    """Make a function a unit whose calls are boundaries; a decorator, with arguments or without.

    ::

        @ctxkit.function
        def price(order):
            return ctxkit.get("tenant"), order


        with ctxkit.bind(tenant="acme"):
            assert price(7) == ("acme", 7)

    Each call has a frame of its own, with the values and the deadline of its caller's: nothing
    that it binds, and no ``ContextVar`` that it sets, is seen by the caller. It ends with its
    caller, and what it starts ends with it.

    Args:
        function: A ``def`` or an ``async def`` function.
        name: What it is called; None for ``"module:qualname"``.
        timeout: The longest a call may take, in seconds, retries included; never longer than
            its caller has. A coroutine is cancelled then, a ``def`` function stops at its next
            :func:`ctxkit.checkpoint`.
        retry: A :class:`ctxkit.Retry`, or the number of attempts in all; None for one.
        pool: A :class:`ctxkit.Pool`, or the name of one: how many may run at once.
        permission: What the actor of the caller has to be allowed.
        requires: Names or keys that have to be bound in the frame of the caller.
        validate: Whether pydantic checks the arguments and the result by their annotations.
        interceptors: What is put around its calls alone.
        engine: Who runs what is spawned; None for the default.

    Returns:
        A plain function of the same colour, signature and name, which also has ``using()``,
        ``start()`` and ``spawn()``: see :class:`ctxkit.functions.Bound`. What was decorated is
        its ``__wrapped__``, which runs without any of this.

    Raises:
        ConfigurationError: It is a class, a generator function or not callable, or an option
            cannot be used.
        DuplicateName: Another function is called so.

    Context:
        Runs in a copy of the current context, in the thread and task of its caller. Values whose
        key does not go to threads stay behind, and those that declare a ``copy`` are copied:
        what a function sees does not depend on where it runs.

    Safety:
        Errors of the body are passed on untouched.
    """
    given = {
        "timeout": timeout,
        "retry": retry,
        "pool": pool,
        "permission": permission,
        "requires": tuple(requires) or None,
        "validate": validate or None,
        "interceptors": tuple(interceptors) or None,
        "engine": engine,
    }
    given = {option: value for option, value in given.items() if value is not None}

    def made(function: Any) -> Any:
        if isinstance(function, (staticmethod, classmethod)):
            kind = "staticmethod" if isinstance(function, staticmethod) else "classmethod"
            raise ConfigurationError("function", f"got a {kind}", f"Put @{kind} above it.")
        return register(Unit(function, name, given)).wrapper

    return made if function is None else made(function)


def call(target: Callable[P, R] | str, /, *args: Any, **kwargs: Any) -> Any:
    """Call a function, or one that is known by its name, from synchronous code.

    Args:
        target: A function of ctxkit, or its name, ``"package.module:name"``, which is imported
            at its first call.
        args: Its arguments.
        kwargs: Its keyword arguments.

    Returns:
        Its result; also that of a coroutine function, which gets an event loop of its own, or
        asgiref's where that is in use.

    Raises:
        FunctionNotFound: There is no function of that name.
        InvalidTarget: ``target`` is neither a function of ctxkit nor such a name.
        RuntimeError: It is a coroutine function, and an event loop runs here: await
            :func:`ctxkit.acall` instead.
    """
    unit = unit_of(target)
    function: Any = unit.wrapper if isinstance(target, str) else target  # it may be a method
    if not unit.asynchronous:
        return function(*args, **kwargs)
    from ctxkit.functions.bridging import run_coroutine  # noqa: PLC0415 - brings asyncio

    return run_coroutine(unit.name, function, args, kwargs)


def call_sent(name: object, /, *args: Any, **kwargs: Any) -> Any:
    """Call the function of a name that came in a message; for the worker's side of an engine.

    As :func:`ctxkit.call`, but nothing is imported for it: who can write to a broker could
    otherwise have a worker import any module. The worker has to have imported the function's.

    Raises:
        FunctionNotFound: This process has imported no such function.
    """
    return call(registered(name).wrapper, *args, **kwargs)


async def acall(target: Callable[P, R] | str, /, *args: Any, **kwargs: Any) -> Any:
    """Call a function, or one that is known by its name, and await its result.

    As :func:`call`, but a ``def`` function runs in a thread. If the awaiting is cancelled, so is
    the function, at its next :func:`ctxkit.checkpoint`; that is waited for.
    """
    unit = unit_of(target)
    function: Any = unit.wrapper if isinstance(target, str) else target
    if unit.asynchronous:
        return await function(*args, **kwargs)
    from ctxkit.functions.starting import in_thread  # noqa: PLC0415 - brings asyncio

    timeout: float | None = unit.options_now().get("timeout") or None
    return await in_thread(unit, function, args, kwargs, timeout)
