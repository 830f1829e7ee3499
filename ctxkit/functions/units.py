"""Units: what is known of each function, and functions with further values or other options."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, final

from ctxkit.boundary._callables import is_coroutine_function, is_native_coroutine_function
from ctxkit.boundary.intercepting import CHAIN, Call, arun, run
from ctxkit.context import NO_FRAME, Key
from ctxkit.context._current import CURRENT
from ctxkit.context.key import checked_name
from ctxkit.functions._configured import options_of
from ctxkit.functions.crossing import across, aquick, cross, quick
from ctxkit.functions.naming import name_of
from ctxkit.functions.stages import ACTING, chain_of, checked_options, laid_over

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from ctxkit.boundary.intercepting import Interceptor

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

_NO_VALUES: Final[Mapping[str | Key[Any], object]] = {}


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

    def options_now(self) -> Mapping[str, Any]:
        """Return what holds for it, after a look at what is configured."""
        self.chain()
        return self.options

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
        call = self.told(options, values, args, kwargs, asynchronous=self.asynchronous)
        return arun(chain, call, across) if self.asynchronous else run(chain, call, cross)

    def told(
        self,
        options: Mapping[str, Any],
        values: Mapping[str, object],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        asynchronous: bool,
    ) -> Call:
        """Return what interceptors are told of a call that is made here and now."""
        return Call(
            self.name,
            "call",
            args,
            kwargs,
            frame=CURRENT.get(NO_FRAME),
            function=self.function,
            options=options,
            values=values,
            asynchronous=asynchronous,
        )

    def using(
        self, values: Mapping[str | Key[Any], object] = _NO_VALUES, /, **options: Any
    ) -> Bound[Any, Any]:
        """Return it with further values, or with other options."""
        bound: Bound[Any, Any] = Bound(self, {}, {})
        return bound.using(values, **options)

    def start(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and do not wait: see :meth:`Bound.start`."""
        from ctxkit.functions.starting import start  # noqa: PLC0415 - few programs start anything

        return start(self, self.wrapper, self.options_now(), args, kwargs)

    def spawn(self, *args: Any, **kwargs: Any) -> Any:
        """Hand it to an engine: see :meth:`Bound.spawn`."""
        from ctxkit.functions.spawning import spawn  # noqa: PLC0415 - as above

        return spawn(self, self.options_now(), _NO_NAMED, args, kwargs)

    async def aspawn(self, *args: Any, **kwargs: Any) -> Any:
        """Do the same, without blocking the event loop."""
        from ctxkit.functions.spawning import aspawn  # noqa: PLC0415 - as above

        return await aspawn(self, self.options_now(), _NO_NAMED, args, kwargs)

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

    __slots__ = ("_chain", "_generation", "_laid", "_options", "_unit", "_values")

    def __init__(
        self, unit: Unit, values: Mapping[str, object], options: Mapping[str, Any]
    ) -> None:
        self._unit = unit
        self._values = values
        self._options = options
        self._laid: Mapping[str, Any] = options
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
            self._laid = {**self._unit.options_now(), **self._options}
            self._chain = chain_of(self._laid)
            self._generation = generation
        return self._chain

    def options(self) -> Mapping[str, Any]:
        """Return what holds for its calls."""
        self.chain()
        return self._laid

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

        return start(self._unit, self, self.options(), args, kwargs)

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
            ConfigurationError: An argument cannot be sent, the engine was not set up, the
                function is one that nobody finds by its name, or ``using()`` chose a timeout,
                retries, a pool, validation or interceptors, which hold where it runs and are
                those of the function.

        Context:
            Permissions and what is required are asked here, and again where it runs.

        Safety:
            Blocks for as long as a broker takes; await :meth:`aspawn` in a coroutine.
        """
        from ctxkit.functions.spawning import refuse_unsent, spawn  # noqa: PLC0415 - as above

        refuse_unsent(self._options)
        return spawn(self._unit, self.options(), self._values, args, kwargs)

    async def aspawn(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Do what :meth:`spawn` does, without blocking the event loop."""
        from ctxkit.functions.spawning import aspawn, refuse_unsent  # noqa: PLC0415 - as above

        refuse_unsent(self._options)
        return await aspawn(self._unit, self.options(), self._values, args, kwargs)

    def __repr__(self) -> str:
        chosen = (*self._values, *self._options)  # no values: they may be secrets
        return f"<{self._unit!r} using {', '.join(chosen) or 'nothing'}>"


def _awaiting(function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return awaiting
