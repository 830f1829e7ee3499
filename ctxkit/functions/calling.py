"""Functions: callable units whose calls inherit the frame and the lifetime of their caller."""

from __future__ import annotations

from functools import update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    final,
    overload,
)

from ctxkit.boundary._callables import is_coroutine_function, is_native_coroutine_function
from ctxkit.boundary.intercepting import CHAIN, Call, arun, run
from ctxkit.context import NO_FRAME, Key
from ctxkit.context._current import CURRENT
from ctxkit.context.key import checked_name
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions._configured import options_of
from ctxkit.functions.crossing import across, aquick, cross, quick
from ctxkit.functions.naming import name_of, register, unit_of
from ctxkit.functions.stages import ACTING, chain_of, checked_options, laid_over

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from ctxkit.boundary.intercepting import Interceptor

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_NO_VALUES: Final[Mapping[str | Key[Any], object]] = {}


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


@final
class Unit:
    """Know everything about one function.

    Attributes:
        asynchronous: Whether a call of it is awaited.
        function: What was decorated; a coroutine function where it is asynchronous.
        name: What it is called.
        options: What holds for it: chosen where it was decorated, or configured by its name.
        quick: The generation of interceptors for which there is nothing around it.
        wrapper: What has taken its place.
    """

    __slots__ = (
        "_chain",
        "_declared",
        "_generation",
        "asynchronous",
        "function",
        "name",
        "options",
        "quick",
        "wrapper",
    )

    def __init__(
        self, function: Callable[..., Any], name: str | None, options: Mapping[str, Any]
    ) -> None:
        self.asynchronous: bool = is_coroutine_function("function", function)
        self.function: Callable[..., Any] = function
        self.name: str = name_of(function) if name is None else name
        self._declared = options
        self.quick: object = None
        self._chain: tuple[Interceptor, ...] = ()
        self._generation: object = None
        self.chain()  # what cannot be used is to be told now
        if self.asynchronous:
            if not is_native_coroutine_function(function):
                self.function = update_wrapper(_awaiting(function), function)
            wrapper = aquick(self.function, self._acall, self, CHAIN)
        else:
            wrapper = quick(function, self._call, self, CHAIN)
        self.wrapper: Any = update_wrapper(wrapper, function)
        wrapper.__ctxkit_unit__ = self
        wrapper.using = self.using
        wrapper.start = self.start
        wrapper.spawn = self.spawn
        wrapper.aspawn = self.aspawn

    def chain(self) -> tuple[Interceptor, ...]:
        """Return what is around it, the outermost first."""
        if self._generation is not CHAIN.generation:
            generation = CHAIN.generation
            self.options: Mapping[str, Any] = {**self._declared, **options_of(self.name)}
            self._chain = chain_of(self.options)
            self.quick = None if self._chain else generation
            self._generation = generation
        return self._chain

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.call(self.chain(), self.options, _NO_NAMED, args, kwargs)

    async def _acall(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await self.call(self.chain(), self.options, _NO_NAMED, args, kwargs)

    def call(
        self,
        chain: tuple[Interceptor, ...],
        options: Mapping[str, Any],
        values: Mapping[str, object],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call it through ``chain``; where it is asynchronous, return what is to be awaited."""
        call = Call(
            self.name,
            "call",
            args,
            kwargs,
            frame=CURRENT.get(NO_FRAME),
            function=self.function,
            options=options,
            values=values,
            asynchronous=self.asynchronous,
        )
        return arun(chain, call, across) if self.asynchronous else run(chain, call, cross)

    def using(
        self, values: Mapping[str | Key[Any], object] = _NO_VALUES, /, **options: Any
    ) -> Bound[Any, Any]:
        """Return it with further values, or with other options."""
        bound: Bound[Any, Any] = Bound(self, {}, {})
        return bound.using(values, **options)

    def start(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and do not wait: see :meth:`Bound.start`."""
        from ctxkit.functions.starting import start  # noqa: PLC0415 - few programs start anything

        return start(self, self.wrapper, args, kwargs)

    def spawn(self, *args: Any, **kwargs: Any) -> Any:
        """Hand it to an engine: see :meth:`Bound.spawn`."""
        bound: Bound[Any, Any] = Bound(self, {}, {})
        return bound.spawn(*args, **kwargs)

    async def aspawn(self, *args: Any, **kwargs: Any) -> Any:
        """Do the same, without blocking the event loop."""
        bound: Bound[Any, Any] = Bound(self, {}, {})
        return await bound.aspawn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<function {self.name}>"


_NO_NAMED: Final[Mapping[str, object]] = {}


@final
class Bound(Generic[P, R_co]):
    """Be a function with further values, or with other options; immutable.

    What ``function.using()`` returns::

        @ctxkit.function
        def price(order):
            return ctxkit.get("currency")


        assert price.using({"currency": "EUR"})(7) == "EUR"
        assert ctxkit.get("currency") is None

    Safety:
        Of a method it takes the object as its first argument: ``Shop.price.using(...)(shop)``.
    """

    __slots__ = ("_chain", "_generation", "_options", "_unit", "_values")

    def __init__(
        self, unit: Unit, values: Mapping[str, object], options: Mapping[str, Any]
    ) -> None:
        self._unit = unit
        self._values = values
        self._options = options
        self._chain: tuple[Interceptor, ...] = ()
        self._generation: object = None

    def using(
        self, values: Mapping[str | Key[Any], object] = _NO_VALUES, /, **options: Any
    ) -> Bound[P, R_co]:
        """Return another one, with further values, or with other options than this.

        Args:
            values: Names or keys, and what the function finds under them. They are laid over
                those of its caller.
            options: As for :func:`ctxkit.function`; each replaces the one of that name as a
                whole, ``None`` takes it away. Further, ``actor`` is who acts in it, for which
                its caller needs the permission ``ctxkit.impersonate``, and ``scope`` narrows
                what the actor may do; the same holds where ``values`` has them.

        Raises:
            ConfigurationError: An option or a name cannot be used.
        """
        named = dict(self._values)
        for key, value in values.items():
            named[key.name if isinstance(key, Key) else checked_name(key)] = value
        acting = {option: named.pop(option) for option in ACTING if option in named}
        given = checked_options("using()", {**acting, **options})
        bound: Bound[P, R_co] = Bound(self._unit, named, laid_over(self._options, given))
        bound.chain()  # what cannot be used is to be told now
        return bound

    def chain(self) -> tuple[Interceptor, ...]:
        """Return what is around it, the outermost first."""
        if self._generation is not CHAIN.generation:
            generation = CHAIN.generation
            self._chain = chain_of(self.options())
            self._generation = generation
        return self._chain

    def options(self) -> Mapping[str, Any]:
        """Return what holds for its calls."""
        self._unit.chain()  # looks at what is configured
        return {**self._unit.options, **self._options}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function; of a coroutine function, return what is to be awaited."""
        unit = self._unit
        return unit.call(self.chain(), self.options(), self._values, args, kwargs)  # type: ignore[no-any-return]

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the function, and do not wait.

        Returns:
            Where an event loop runs, an :class:`asyncio.Task`; anywhere else, a
            :class:`concurrent.futures.Future` of a thread. ``cancel()`` stops the work: a
            coroutine at its ``await``, a ``def`` function at its next
            :func:`ctxkit.checkpoint`; before its begin it never begins.

        Raises:
            FrameClosed: The call or request of this frame is over.

        Context:
            Captured now. It ends with the call or request that started it, which cancels it at
            its end, and waits. One that has failed, and whose result nobody asked for, is logged.
        """
        from ctxkit.functions.starting import start  # noqa: PLC0415 - as above

        return start(self._unit, self, args, kwargs)

    def spawn(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Hand the call to an engine, to run outside of this request, and after it.

        It takes along what goes on wires, and nothing of the lifetime: it is not cancelled with
        its caller, and has no deadline but its own.

        Returns:
            A handle of the engine's own: of the embedded one a future, of Celery an
            ``AsyncResult``.

        Raises:
            EngineUnavailable: The embedded engine cannot run here: the host stops the process
                between requests.
            PoolFull: The embedded engine has too much to do.
            PermissionDenied: The actor of the caller may not call it.
            ConfigurationError: An argument cannot be sent, the engine was not set up, or the
                function is one that nobody finds by its name.

        Context:
            Permissions and what is required are asked here, and again where it runs.

        Safety:
            Blocks for as long as a broker takes; await :meth:`aspawn` in a coroutine.
        """
        from ctxkit.functions.spawning import spawn  # noqa: PLC0415 - as above

        return spawn(self._unit, self.options(), self._values, args, kwargs)

    async def aspawn(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Do what :meth:`spawn` does, without blocking the event loop."""
        from ctxkit.functions.spawning import aspawn  # noqa: PLC0415 - as above

        return await aspawn(self._unit, self.options(), self._values, args, kwargs)

    def __repr__(self) -> str:
        chosen = (*self._values, *self._options)  # no values: they may be secrets
        return f"<{self._unit!r} using {', '.join(chosen) or 'nothing'}>"


def _awaiting(function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return awaiting


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
    if not unit.asynchronous:
        return unit.wrapper(*args, **kwargs)
    from ctxkit.functions.bridging import run_coroutine  # noqa: PLC0415 - brings asyncio

    return run_coroutine(unit.name, unit.wrapper, args, kwargs)


async def acall(target: Callable[P, R] | str, /, *args: Any, **kwargs: Any) -> Any:
    """Call a function, or one that is known by its name, and await its result.

    As :func:`call`, but a ``def`` function runs in a thread. If the awaiting is cancelled, so is
    the function, at its next :func:`ctxkit.checkpoint`; that is waited for.
    """
    unit = unit_of(target)
    if unit.asynchronous:
        return await unit.wrapper(*args, **kwargs)
    from ctxkit.functions.starting import in_thread  # noqa: PLC0415 - brings asyncio

    return await in_thread(unit, unit.wrapper, args, kwargs)
