"""Interceptors: advice around calls and requests, one generator form for both colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final, overload

from ctxkit.boundary._callables import is_generator_function
from ctxkit.exceptions import ConfigurationError, DuplicateName

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Generator, Mapping

    from ctxkit.context import Deadline, Frame

    Plan = Generator["Call | Either", Any, Any]
    Body = Callable[["Call"], Any]
    AsyncBody = Callable[["Call"], Awaitable[Any]]

#: What interceptors are put around: calls of functions, requests, tasks of a queue.
KINDS: Final = frozenset(("call", "http", "task"))
#: Where interceptors are that do not say.
USUAL_ORDER: Final = 50

_NOTHING: Final[Mapping[str, Any]] = {}


@final
class Call:
    """Tell an interceptor what is about to run. Immutable; :meth:`replace` makes another.

    Args:
        name: The name of the function, or of what is crossed.
        kind: ``"call"``, ``"http"`` or ``"task"``.
        args: The positional arguments: those of the function; of a request, what its protocol
            hands an application.
        kwargs: The keyword arguments.
        function: The function; None for a request.
        options: What was chosen for this call, under the names of :func:`ctxkit.function`.
        frame: The frame of the caller.
        values: What is laid over that in the frame of the function.
        deadline: When it has to be over; None where nobody said.
        asynchronous: Whether it is awaited.
    """

    __slots__ = (
        "args",
        "asynchronous",
        "deadline",
        "frame",
        "function",
        "kind",
        "kwargs",
        "name",
        "options",
        "values",
    )

    def __init__(  # noqa: PLR0913 - each of the later ones has a default
        self,
        name: str,
        kind: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        frame: Frame,
        function: Callable[..., Any] | None = None,
        options: Mapping[str, Any] = _NOTHING,
        values: Mapping[str, object] = _NOTHING,
        deadline: Deadline | None = None,
        asynchronous: bool = False,
    ) -> None:
        self.name: str = name
        self.kind: str = kind
        self.args: tuple[Any, ...] = args
        self.kwargs: Mapping[str, Any] = kwargs
        self.function: Callable[..., Any] | None = function
        self.options: Mapping[str, Any] = options
        self.frame: Frame = frame
        self.values: Mapping[str, object] = values
        self.deadline: Deadline | None = deadline
        self.asynchronous: bool = asynchronous

    def replace(self, **changes: Any) -> Call:
        """Return a call that differs in what is named: ``call.replace(args=(2,))``.

        Raises:
            ConfigurationError: There is no such attribute.
        """
        fields = {name: getattr(self, name) for name in self.__slots__}
        unknown = changes.keys() - fields.keys()
        if unknown:
            raise ConfigurationError(
                "Call.replace()",
                f"got {', '.join(sorted(unknown))}",
                f"Known are {', '.join(fields)}.",
            )
        fields.update(changes)
        return Call(**fields)

    def __repr__(self) -> str:
        # No arguments: they may be secrets.
        return f"<Call {self.name} ({self.kind})>"


@final
class Either:
    """Be a step that is taken in the colour of the call; made by :func:`either`."""

    __slots__ = ("asynchronous", "synchronous")

    def __init__(
        self, synchronous: Callable[[], Any], asynchronous: Callable[[], Awaitable[Any]]
    ) -> None:
        self.synchronous: Callable[[], Any] = synchronous
        self.asynchronous: Callable[[], Awaitable[Any]] = asynchronous


def either(synchronous: Callable[[], Any], asynchronous: Callable[[], Awaitable[Any]], /) -> Either:
    """Let an interceptor wait, whichever colour the call has.

    ::

        @ctxkit.interceptor(order=15)
        def slowly(call):
            yield ctxkit.either(lambda: time.sleep(0.1), lambda: asyncio.sleep(0.1))
            return (yield call)

    Args:
        synchronous: Called where the call is synchronous.
        asynchronous: Called, and what it returns awaited, where the call is awaited.

    Returns:
        What to yield. What the one that was called returns or raises arrives at the yield.
    """
    return Either(synchronous, asynchronous)


@final
class Interceptor:
    """Be what :func:`interceptor` makes of a generator function.

    Attributes:
        name: Its name, unique among those of the process.
        order: The lower, the further out.
        at: The kinds of calls that it is put around.
    """

    __slots__ = ("at", "name", "order", "plan")

    def __init__(
        self, plan: Callable[[Call], Plan], name: str, order: float, at: frozenset[str]
    ) -> None:
        self.plan: Callable[[Call], Plan] = plan
        self.name: str = name
        self.order: float = order
        self.at: frozenset[str] = at

    def __call__(self, call: Call) -> Plan:
        """Return the generator, for tests that drive it themselves."""
        return self.plan(call)

    def __repr__(self) -> str:
        return f"<Interceptor {self.name} ({self.order:g})>"


@overload
def interceptor(plan: Callable[[Call], Plan], /) -> Interceptor: ...
@overload
def interceptor(
    *, order: float = ..., name: str | None = ..., at: Collection[str] = ...
) -> Callable[[Callable[[Call], Plan]], Interceptor]: ...
def interceptor(
    plan: Callable[[Call], Plan] | None = None,
    /,
    *,
    order: float = USUAL_ORDER,
    name: str | None = None,
    at: Collection[str] = ("call",),
) -> Any:
    """Make an interceptor of a generator function, to be put around calls and requests.

    ::

        @ctxkit.interceptor
        def timing(call):
            begun = time.perf_counter()
            try:
                return (yield call)
            finally:
                print(call.name, time.perf_counter() - begun)

    It is called with the :class:`Call` and goes on by yielding it: what is further in runs,
    and its result or its error arrives at the yield. Yielding ``call.replace(...)`` changes
    what runs, yielding once more runs it again, returning before any yield leaves it out. What
    the generator returns is what the caller gets; an error that it does not catch goes on
    untouched. To wait, it yields :func:`either`.

    Args:
        plan: The generator function.
        order: The lower, the further out; those of equal order keep theirs. Built in are
            tracing at 10, permission 20, what is required 25, validation 30, the timeout 40,
            retries 60, the pool 70.
        name: Its name; None for ``module:qualname`` of the function.
        at: What it is put around: ``"call"``, calls of functions; ``"http"``, requests;
            ``"task"``, tasks of a queue.

    Raises:
        ConfigurationError: It is no generator function, or ``at`` holds something else.

    Context:
        It runs in the context of the caller: what it binds around the yield is seen further in.
    """
    kinds = _checked_kinds(at)

    def made(plan: Callable[[Call], Plan]) -> Interceptor:
        if not is_generator_function(plan):
            raise ConfigurationError(
                "interceptor", f"got {plan!r}, no generator function", "Have it `yield call`."
            )
        title = name or f"{plan.__module__}:{plan.__qualname__}"
        return Interceptor(plan, title, order, kinds)

    return made if plan is None else made(plan)


def _checked_kinds(at: Any) -> frozenset[str]:
    if isinstance(at, (frozenset, set, list, tuple)) and at and KINDS.issuperset(at):  # pyright: ignore[reportUnknownArgumentType]
        return frozenset(at)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise ConfigurationError(
        "interceptor(at=)",
        f"must be a set out of {', '.join(sorted(KINDS))}, not {at!r}",
        'Write it like at={"call", "http"}.',
    )


@final
class Chain:
    """Hold the interceptors of the process. There is one, :data:`CHAIN`.

    Attributes:
        all: All of them, as they were added. Replaced as a whole, never changed: who runs
            through it goes on with what was there when it began.
        generation: Another object whenever something has changed that chains are made of.
    """

    __slots__ = ("_made", "all", "generation")

    def __init__(self) -> None:
        self.all: tuple[Interceptor, ...] = ()
        self.generation: object = object()
        self._made: dict[str, tuple[Interceptor, ...]] = {}

    def replace(self, interceptors: tuple[Interceptor, ...]) -> None:
        """Have these instead of those."""
        self.all = interceptors
        self.changed()

    def changed(self) -> None:
        """Have every chain made anew, at its next use."""
        self._made = {}
        self.generation = object()

    def of(self, kind: str, *others: Interceptor) -> tuple[Interceptor, ...]:
        """Return what is to be put around a call of this kind, the outermost first."""
        made = self._made
        if others or kind not in made:
            chosen = [each for each in (*self.all, *others) if kind in each.at]
            chain = tuple(sorted(chosen, key=_order))
            if others:
                return chain
            made[kind] = chain
        return made[kind]


def _order(interceptor: Interceptor) -> float:
    return interceptor.order


CHAIN: Final = Chain()


def add_interceptor(interceptor: Interceptor, /) -> None:
    """Put an interceptor around everything of its kinds in this process.

    Args:
        interceptor: What :func:`interceptor` has made. Adding it a second time does nothing.

    Raises:
        DuplicateName: Another one has its name.
        ConfigurationError: It is none.

    Safety:
        May be called at any time; calls that have begun go on without it.
    """
    checked_interceptor("add_interceptor()", interceptor)
    if interceptor in CHAIN.all:
        return
    if any(each.name == interceptor.name for each in CHAIN.all):
        raise DuplicateName("interceptor", interceptor.name)
    CHAIN.replace((*CHAIN.all, interceptor))


def remove_interceptor(interceptor: Interceptor, /) -> None:
    """Take off what :func:`add_interceptor` has put on. Calls that have begun go on with it."""
    CHAIN.replace(tuple(each for each in CHAIN.all if each is not interceptor))


def checked_interceptor(setting: str, value: object) -> Interceptor:
    """Return ``value`` if it is an interceptor.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(value, Interceptor):
        return value
    raise ConfigurationError(
        setting, f"got {value!r}", "Put @ctxkit.interceptor on a generator function, and give that."
    )


def run(chain: tuple[Interceptor, ...], call: Call, body: Body, place: int = 0) -> Any:
    """Run ``body`` with the call through the interceptors from ``place`` on."""
    if place == len(chain):
        return body(call)
    plan = _Running(chain[place], call)
    try:
        while (step := plan.step()) is not None:
            try:
                if type(step) is Call:
                    plan.value = run(chain, step, body, place + 1)
                else:
                    plan.value = step.synchronous()
            except BaseException as raised:  # noqa: BLE001 - it goes on into the interceptor
                plan.error = raised
        return plan.result()
    finally:
        plan.error = plan.value = None  # the traceback of the one holds this frame


async def arun(chain: tuple[Interceptor, ...], call: Call, body: AsyncBody, place: int = 0) -> Any:
    """Do what :func:`run` does for what is awaited."""
    if place == len(chain):
        return await body(call)
    plan = _Running(chain[place], call)
    try:
        while (step := plan.step()) is not None:
            try:
                if type(step) is Call:
                    plan.value = await arun(chain, step, body, place + 1)
                else:
                    plan.value = await step.asynchronous()
            except GeneratorExit:
                plan.close()  # closed from outside: nothing can be awaited any more
                raise
            except BaseException as raised:  # noqa: BLE001 - it goes on into the interceptor
                plan.error = raised
        return plan.result()
    finally:
        plan.error = plan.value = None  # as above


@final
class _Running:
    """Step through one interceptor: what both drivers share.

    Attributes:
        value: What the last step has brought, for the interceptor to get.
        error: What it has raised instead.
    """

    __slots__ = ("_interceptor", "_plan", "error", "value")

    def __init__(self, interceptor: Interceptor, call: Call) -> None:
        self._interceptor = interceptor
        self._plan = interceptor.plan(call)
        self.value: Any = None
        self.error: BaseException | None = None

    def step(self) -> Call | Either | None:
        """Return what the interceptor wants to be done next; None where it has returned."""
        value, error = self.value, self.error
        self.value = self.error = None
        try:
            step = self._plan.send(value) if error is None else self._plan.throw(error)
        except StopIteration as done:
            self.value = done.value
            return None
        except RuntimeError as wrapped:
            # PEP 479: what goes through is made another one. It is raised by result().
            if not (isinstance(error, StopIteration) and wrapped.__cause__ is error):
                raise
            self.error = error
            return None
        finally:
            value = error = None  # as above
        if type(step) is Call or type(step) is Either:
            return step
        self._plan.close()
        raise ConfigurationError(
            f"interceptor {self._interceptor.name}",
            f"yielded {step!r}",
            "Yield the call, or either(...).",
        )

    def result(self) -> Any:
        """Return what the interceptor has returned."""
        if self.error is not None:
            raise self.error
        return self.value

    def close(self) -> None:
        """Have the interceptor clean up, and not go on."""
        self._plan.close()
