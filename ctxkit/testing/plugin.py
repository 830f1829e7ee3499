"""Fixtures for pytest: hosts that freeze, a backend for telemetry, and tests that leave nothing.

Name it in the ``conftest.py`` at the root of the tests::

    pytest_plugins = ["ctxkit.testing.plugin"]
"""

from __future__ import annotations

from contextlib import ExitStack
from contextvars import copy_context
from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

import pytest

from ctxkit.context import current
from ctxkit.context.stepping import run_coroutine_in
from ctxkit.propagation import LeakWatch, left_behind
from ctxkit.testing._fixtures import FrozenLambdas, FrozenServers
from ctxkit.testing.sink import TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ctxkit.propagation import Leak

_LEAKS: Final = "context_leaks"
_FRESH: Final = "fresh_context"
_ALLOWED: Final = "allow_context_leaks"
#: inspect.CO_COROUTINE.
_COROUTINE: Final = 0x80

#: What sees the whole test, and what sees its body alone.
_watches = pytest.StashKey[LeakWatch]()
_bodies = pytest.StashKey[LeakWatch]()
_failed = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option ``context_leaks``: watch each test."""
    parser.addini(_LEAKS, "fail each test that leaves a ctxkit frame behind", "bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker ``allow_context_leaks``: not this test."""
    config.addinivalue_line("markers", f"{_ALLOWED}: do not fail for frames that are left behind")


@pytest.fixture
def context_leaks(request: pytest.FixtureRequest) -> Generator[LeakWatch, None, None]:
    """Fail the test if a frame that was bound during it is still held, or current, at its end.

    Returns:
        The :class:`ctxkit.LeakWatch` of the test: ``context_leaks.leaks()`` tells meanwhile.
    """
    before = ref(current())
    with LeakWatch() as watch:
        request.node.stash[_watches] = watch
        yield watch
    # Of what fixtures bound, pytest itself may hold the frame that they gave to the test.
    if current() is not before() and not request.node.stash.get(_failed, False):
        _fail(request.node, left_behind())


@pytest.fixture(autouse=True)
def _watch_each_test(request: pytest.FixtureRequest) -> None:
    marked = request.node.get_closest_marker(_ALLOWED) is not None
    if request.config.getini(_LEAKS) and not marked:
        request.getfixturevalue(_LEAKS)


@pytest.fixture
def fresh_context() -> None:
    """Run the test's own body in a copy of the context that its fixtures have set up.

    What it sets, in any ``ContextVar``, is gone when it returns. For ``def`` and ``async
    def`` tests, the latter with pytest-asyncio or anyio.
    """


@pytest.fixture
def telemetry_sink() -> Generator[TelemetrySink, None, None]:
    """Receive what Sentry and OpenTelemetry send in this test, and say when it landed.

    Returns:
        A :class:`ctxkit.testing.TelemetrySink` that runs.
    """
    with TelemetrySink() as sink:
        yield sink


@pytest.fixture
def frozen_server(
    request: pytest.FixtureRequest, telemetry_sink: TelemetrySink
) -> Generator[FrozenServers, None, None]:
    """Start a real server that is frozen as soon as each response is complete.

    Returns:
        A function: ``frozen_server("uvicorn shop:app --port {port}")`` returns a
        :class:`ctxkit.testing.FreezingServer` that accepts connections, was started in the
        root of the tests, and sends to ``telemetry_sink``.
    """
    with ExitStack() as stack:
        yield FrozenServers(telemetry_sink, request.config.rootpath, stack)


@pytest.fixture
def frozen_lambda(
    request: pytest.FixtureRequest, telemetry_sink: TelemetrySink
) -> Generator[FrozenLambdas, None, None]:
    """Run a Lambda function in the real runtime, frozen between its events.

    Returns:
        A function: ``frozen_lambda("shop.handler")`` returns a
        :class:`ctxkit.testing.LambdaHost` that waits for an event, was started in the root
        of the tests, and sends to ``telemetry_sink``.
    """
    with ExitStack() as stack:
        yield FrozenLambdas(telemetry_sink, request.config.rootpath, stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Look for leaks while the fixtures of the test, an event loop perhaps, still live."""
    if _watches not in item.stash:
        return (yield)
    body = item.stash[_bodies] = LeakWatch()
    try:
        with body:
            result = yield
    except BaseException:
        item.stash[_failed] = True  # its traceback holds what the test had
        raise
    _look(item)
    return result


def _look(item: pytest.Item) -> None:
    """Fail if something holds a frame of the body, or one of a fixture that was left."""
    body = item.stash[_bodies]
    body.stop()
    _fail(item, [*dict.fromkeys([*body.leaks(), *item.stash[_watches].leaks()])])


def _fail(item: pytest.Item, leaks: list[Leak]) -> None:
    if leaks:
        item.stash[_failed] = True
        lines = "\n".join(f"- {leak}" for leak in leaks)
        sentence = f"The test left behind what should be forgotten:\n{lines}"
        pytest.fail(sentence, pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Give the body of the test a context of its own, if it asks for one."""
    body = pyfuncitem.obj
    if _is_coroutine(body) and _watches in pyfuncitem.stash:
        pyfuncitem.obj = _then_look(pyfuncitem)
    if _FRESH in pyfuncitem.fixturenames:
        pyfuncitem.obj = _in_copy(pyfuncitem.obj)
    try:
        return (yield)
    finally:
        pyfuncitem.obj = body


def _then_look(item: pytest.Function) -> Callable[..., Any]:
    """Return the body with a look before its loop ends, which cancels what the test left.

    For anyio; pytest-asyncio has made a plain function of the test by now, and keeps the
    loop until later.
    """
    body = item.obj

    @wraps(body)
    async def looked(*args: Any, **kwargs: Any) -> None:
        await body(*args, **kwargs)
        _look(item)

    return looked


def _in_copy(body: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``body`` as a function of its kind that runs in a copy of its caller's context."""

    @wraps(body)
    async def stepped(*args: Any, **kwargs: Any) -> Any:
        context = copy_context()
        return await run_coroutine_in(context, context.run(body, *args, **kwargs))

    @wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        return copy_context().run(body, *args, **kwargs)

    return stepped if _is_coroutine(body) else run


def _is_coroutine(body: Any) -> bool:
    code = getattr(body, "__code__", None)  # methods have one, too
    return code is not None and bool(code.co_flags & _COROUTINE)
