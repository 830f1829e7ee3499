"""Functions: plain functions whose calls are boundaries."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import pickle
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.exceptions import (
    ConfigurationError,
    DuplicateName,
    FunctionNotFound,
    InvalidTarget,
    KeyNotBoundError,
)

if TYPE_CHECKING:
    from pathlib import Path

TENANT = ctxkit.Key[str]("tenant_of_functions")
THEIRS: contextvars.ContextVar[int] = contextvars.ContextVar("theirs", default=0)


@ctxkit.function
def seen(order: int, *, rush: bool = False) -> tuple[Any, ...]:
    """Tell what is seen."""
    return ctxkit.get("tenant"), order, rush


@ctxkit.function
async def aseen(order: int, *, rush: bool = False) -> tuple[Any, ...]:
    """Tell what is seen."""
    await asyncio.sleep(0)
    return ctxkit.get("tenant"), order, rush


def awaited(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def called(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function of either colour to its end."""
    result = function(*args, **kwargs)
    return awaited(result) if inspect.iscoroutine(result) else result


@pytest.fixture(params=["sync", "async", "async that never waits"])
def made(request: pytest.FixtureRequest) -> Any:
    """Return what makes a function of ctxkit whose body is a plain callable."""

    def make(body: Any, **options: Any) -> Any:
        def synchronous(*args: Any) -> Any:
            return body(*args)

        async def asynchronous(*args: Any) -> Any:
            if request.param == "async":
                await asyncio.sleep(0)
            return body(*args)

        chosen = synchronous if request.param == "sync" else asynchronous
        return ctxkit.function(**options)(chosen)

    return make


@pytest.mark.rule("F-01")
@pytest.mark.parametrize("function", [seen, aseen])
def test_function_is_a_plain_function_with_its_own_signature(function: Any) -> None:
    original = function.__wrapped__
    assert inspect.isfunction(function)
    assert inspect.signature(function) == inspect.signature(original)
    assert function.__name__ == original.__name__
    assert function.__module__ == __name__
    assert function.__doc__ == "Tell what is seen."
    assert inspect.iscoroutinefunction(function) == inspect.iscoroutinefunction(original)


@pytest.mark.rule("F-01")
def test_function_pickles_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pickled.py").write_text("import ctxkit\n@ctxkit.function\ndef f(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    from pickled import f  # type: ignore[import-not-found]  # noqa: PLC0415 - made right now

    assert pickle.loads(pickle.dumps(f)) is f


@pytest.mark.rule("F-02")
def test_second_function_of_a_name_is_refused_and_a_reload_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import ctxkit\n@ctxkit.function(name='shop:taken')\ndef f(): return 1\n"
    (tmp_path / "takes.py").write_text(source)
    (tmp_path / "takes_too.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("takes")
    del sys.modules["takes"]
    __import__("takes")
    with pytest.raises(DuplicateName, match="There is a function 'shop:taken' already"):
        __import__("takes_too")
    assert ctxkit.call("shop:taken") == 1


@pytest.mark.rule("F-03")
def test_function_is_imported_by_its_name_at_its_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named.py").write_text(
        "import ctxkit\n@ctxkit.function\ndef double(x): return 2 * x\n"
        "def plain(): pass\nclass Shop:\n"
        "    @staticmethod\n    @ctxkit.function\n    def price(x): return x + 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "named" not in sys.modules
    assert ctxkit.call("named:double", 4) == 8
    assert ctxkit.call("named:Shop.price", 4) == 5
    with pytest.raises(FunctionNotFound, match="it was not made a function of ctxkit"):
        ctxkit.call("named:plain")
    with pytest.raises(FunctionNotFound, match="named has no 'missing'"):
        ctxkit.call("named:missing")
    with pytest.raises(LookupError, match="there is no module 'nowhere'"):
        ctxkit.call("nowhere:f")


@pytest.mark.rule("F-03")
@pytest.mark.parametrize("target", ["", "x", ":x", "x:", "a b:c", "a.b", "os:..path", 7, None])
def test_what_is_no_name_is_refused(target: Any) -> None:
    with pytest.raises(InvalidTarget, match="cannot be called"):
        ctxkit.call(target)


@pytest.mark.rule("F-03")
def test_missing_module_that_the_module_itself_imports_is_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_inside.py").write_text("import not_there_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        ctxkit.call("broken_inside:f")


@pytest.mark.rule("F-05")
def test_error_of_the_body_comes_out_as_it_was(made: Any) -> None:
    error = ValueError("mine")

    def body() -> None:
        raise error

    for options in ({}, {"interceptors": [_passing()]}):
        with pytest.raises(ValueError, match="mine") as caught:
            called(made(body, **options))
        assert caught.value is error
        assert error.__cause__ is None
        assert error.__context__ is None


def _passing() -> ctxkit.Interceptor:
    @ctxkit.interceptor(name="passing")
    def passing(call: ctxkit.Call) -> Any:
        return (yield call)

    return passing


@pytest.mark.rule("F-06")
def test_what_was_decorated_runs_without_a_frame() -> None:
    assert seen.__wrapped__(1) == (None, 1, False)  # type: ignore[attr-defined]

    @ctxkit.function
    def frame() -> ctxkit.Frame:
        return ctxkit.current()

    with ctxkit.bind(tenant="acme") as outer:
        assert frame.__wrapped__() is outer  # type: ignore[attr-defined]
        assert frame() is not outer


@pytest.mark.rule("F-10")
def test_call_has_a_frame_of_its_own_over_that_of_its_caller(made: Any) -> None:
    def body() -> Any:
        return ctxkit.current()

    with ctxkit.bind(tenant="acme") as outer:
        frame = called(made(body))
        assert frame is not outer
        assert frame.outer is outer
        assert frame.root is frame
        assert dict(frame) == {"tenant": "acme"}
        assert ctxkit.current() is outer

    def failing() -> None:
        raise KeyError

    with ctxkit.bind(tenant="acme") as outer:
        with pytest.raises(KeyError):
            called(made(failing))
        assert ctxkit.current() is outer


@pytest.mark.rule("F-11")
def test_values_are_seen_three_calls_below_unless_they_stay_in_their_thread(made: Any) -> None:
    ctxkit.Key[str]("raw_request", hops=())
    inner = ctxkit.function(lambda: (ctxkit.get("tenant"), ctxkit.get("raw_request")))
    middle = ctxkit.function(inner)
    with ctxkit.bind(tenant="acme", raw_request="GET /"):
        assert ctxkit.get("raw_request") == "GET /"
        assert called(made(middle)) == ("acme", None)


@pytest.mark.rule("F-12")
def test_using_lays_values_over_those_of_the_caller(made: Any) -> None:
    function = made(lambda: dict(ctxkit.current()))
    with ctxkit.bind(k=1, j=1):
        assert called(function.using({"k": 2})) == {"k": 2, "j": 1}
        assert called(function.using({TENANT: "x"}).using({"k": 3})) == {
            "k": 3,
            "j": 1,
            TENANT.name: "x",
        }
        assert called(function.using({})) == called(function) == {"k": 1, "j": 1}
        assert ctxkit.get("k") == 1


@pytest.mark.rule("F-13")
def test_no_context_variable_that_is_set_below_is_seen_above(made: Any) -> None:
    def body() -> Any:
        THEIRS.set(7)
        ctxkit.Key[str]("set_below").set("x")
        return THEIRS.get()

    assert called(made(body)) == 7
    assert THEIRS.get() == 0
    assert "set_below" not in ctxkit.current()


@pytest.mark.rule("F-13")
def test_coroutine_runs_in_the_task_of_its_caller() -> None:
    @ctxkit.function
    async def task() -> Any:
        await asyncio.sleep(0)
        THEIRS.set(7)
        await asyncio.sleep(0)
        assert THEIRS.get() == 7
        return asyncio.current_task()

    async def main() -> None:
        assert await task() is asyncio.current_task()
        assert THEIRS.get() == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await waits()

    @ctxkit.function
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    awaited(main())


@pytest.mark.rule("F-17")
def test_value_that_declares_a_copy_is_copied_for_each_call(made: Any) -> None:
    basket = ctxkit.Key[list[int]]("basket_of_functions", copy=list)

    def body() -> list[int]:
        basket.get().append(1)
        return basket.get()

    with ctxkit.bind({basket: [0]}):
        assert called(made(body)) == [0, 1]
        assert basket.get() == [0]


def test_value_that_is_looked_up_at_each_reading_goes_down_as_that() -> None:
    from ctxkit.context import Lazy  # noqa: PLC0415 - for boundaries alone

    reads: list[int] = []
    with ctxkit.bind(route=Lazy(lambda frame: reads.append(1) or len(reads))):
        assert ctxkit.function(lambda: (ctxkit.get("route"), ctxkit.get("route")))() == (1, 2)


@pytest.mark.rule("F-66")
def test_interceptor_that_is_added_meanwhile_does_not_touch_a_call_that_runs() -> None:
    log: list[str] = []

    @ctxkit.interceptor(name="added meanwhile")
    def noting(call: ctxkit.Call) -> Any:
        log.append(call.name)
        return (yield call)

    @ctxkit.function
    def adding() -> None:
        ctxkit.add_interceptor(noting)

    try:
        adding()
        assert log == []
        seen(1)
        assert log == [f"{__name__}:seen"]
    finally:
        ctxkit.remove_interceptor(noting)
    seen(1)
    assert len(log) == 1


@pytest.mark.rule("F-63")
def test_interceptor_changes_arguments_values_and_result() -> None:
    @ctxkit.interceptor
    def changing(call: ctxkit.Call) -> Any:
        changed = call.replace(args=(2,), values={**call.values, "tenant": "theirs"})
        return [(yield changed)]

    function = ctxkit.function(interceptors=[changing])(seen.__wrapped__)  # type: ignore[attr-defined]
    with ctxkit.bind(tenant="ours"):
        assert function(1) == [("theirs", 2, False)]


@pytest.mark.rule("F-62")
def test_call_that_is_left_out_opens_no_frame(made: Any) -> None:
    @ctxkit.interceptor
    def cached(call: ctxkit.Call) -> Any:
        return "cached", ctxkit.current()
        yield call

    with ctxkit.bind(tenant="acme") as outer:
        assert called(made(pytest.fail, interceptors=[cached])) == ("cached", outer)


@pytest.mark.rule("F-65")
def test_each_run_of_the_body_has_a_frame_of_its_own(made: Any) -> None:
    @ctxkit.interceptor
    def twice(call: ctxkit.Call) -> Any:
        return (yield call), (yield call)

    first, second = called(made(ctxkit.current, interceptors=[twice]))
    assert first is not second


@pytest.mark.rule("F-04")
def test_option_of_using_replaces_that_of_the_function_as_a_whole() -> None:
    @ctxkit.interceptor
    def marking(call: ctxkit.Call) -> Any:
        return "marked", (yield call)

    function = ctxkit.function(interceptors=[marking])(lambda: 1)
    assert function() == ("marked", 1)
    assert function.using(interceptors=None)() == 1


def test_method_is_called_with_its_object() -> None:
    class Shop:
        tax = 2

        @ctxkit.function
        def price(self, order: int) -> Any:
            return ctxkit.get("tenant"), order * self.tax

        @classmethod
        @ctxkit.function
        def open(cls) -> Any:
            return cls

    with ctxkit.bind(tenant="acme"):
        assert Shop().price(4) == ("acme", 8)
    assert Shop.price.using({"tenant": "x"})(Shop(), 4) == ("x", 8)
    assert Shop.open() is Shop


def test_function_that_returns_awaitables_and_says_so_is_awaited() -> None:
    async def answer() -> Any:
        await asyncio.sleep(0)
        return ctxkit.get("tenant")

    def marked() -> Any:
        return answer()

    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(marked)
    else:
        from asyncio import coroutines  # noqa: PLC0415 - as asgiref does there

        marked._is_coroutine = coroutines._is_coroutine  # type: ignore[attr-defined]
    function = ctxkit.function(marked)
    with ctxkit.bind(tenant="acme"):
        assert awaited(function()) == "acme"


def test_call_and_acall_reach_functions_of_either_colour() -> None:
    with ctxkit.bind(tenant="acme"):
        assert ctxkit.call(seen, 1, rush=True) == ("acme", 1, True)
        assert ctxkit.call(aseen, 2) == ("acme", 2, False)

        async def main() -> None:
            assert await ctxkit.acall(aseen, 3) == ("acme", 3, False)
            assert await ctxkit.acall(seen, 4) == ("acme", 4, False)
            assert await ctxkit.acall(f"{__name__}:seen", 5) == ("acme", 5, False)
            with pytest.raises(RuntimeError, match=r"an event loop runs in this thread"):
                ctxkit.call(aseen, 6)

        awaited(main())


def test_call_and_acall_call_what_they_are_given() -> None:
    class Shop:
        tax = 2

        @ctxkit.function
        def price(self, order: int) -> int:
            return order * self.tax

        @classmethod
        @ctxkit.function
        async def open(cls) -> Any:
            return cls

    calls: list[int] = []
    cached = functools.cache(ctxkit.function(lambda: calls.append(1)))
    assert ctxkit.call(Shop().price, 4) == awaited(ctxkit.acall(Shop().price, 4)) == 8
    assert ctxkit.call(Shop.open) is awaited(ctxkit.acall(Shop.open)) is Shop
    ctxkit.call(cached)
    awaited(ctxkit.acall(cached))
    assert calls == [1]


def test_calls_that_are_nested_deeply_find_what_the_outermost_frame_remembers() -> None:
    from ctxkit.context.frame import CallFrame  # noqa: PLC0415 - here alone

    with ctxkit.invocation("x", leftovers="warn") as outermost:
        frame: ctxkit.Frame = outermost
        for _ in range(2 * sys.getrecursionlimit()):
            frame = CallFrame.over(frame, {}, None)
        assert frame.children is outermost.children is not None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ctxkit.function(type("C", (), {})), ConfigurationError, "which is a class"),
        (lambda: ctxkit.function(7), ConfigurationError, "cannot be called"),  # type: ignore[call-overload]
        (lambda: ctxkit.function(_generates), ConfigurationError, "generator function"),
        (lambda: ctxkit.function(staticmethod(len)), ConfigurationError, "Put @staticmethod above"),
        (lambda: ctxkit.function(interceptors=[7])(len), ConfigurationError, "interceptors= got 7"),  # type: ignore[list-item]
        (lambda: seen.using(colour=1), ConfigurationError, "got colour. Known options are"),
        (lambda: seen.using({"no name": 1}), ConfigurationError, "no name"),
        (lambda: ctxkit.call(len, []), InvalidTarget, "Give a function"),
    ],
)
def test_what_cannot_be_a_function_is_refused(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def _generates() -> Any:
    yield 1


def test_callable_without_a_name_needs_one() -> None:
    double = functools.partial(lambda number, factor: number * factor, factor=2)
    with pytest.raises(ConfigurationError, match=r"which has no name\. Give it one"):
        ctxkit.function(double)
    assert ctxkit.function(name="shop:double_of_two")(double)(4) == 8
    assert ctxkit.call("shop:double_of_two", 4) == 8


def test_frame_of_a_call_is_forgotten_when_it_returns(made: Any) -> None:
    frames: list[weakref.ref[ctxkit.Frame]] = []

    def body() -> None:
        frames.append(weakref.ref(ctxkit.current()))

    gc.collect()
    gc.disable()
    try:
        function = made(body)
        called(function)
        called(function.using({"k": 1}))
        if not inspect.iscoroutinefunction(function):  # asyncio.run() leaves cycles of its own
            assert [frame() for frame in frames] == [None, None]
        gc.collect()
        assert [frame() for frame in frames] == [None, None]
    finally:
        gc.enable()


def test_value_that_is_not_bound_is_an_error_below_as_above() -> None:
    with pytest.raises(KeyNotBoundError):
        ctxkit.function(TENANT.get)()


def test_invocation_inside_of_a_call_counts_if_nothing_is_around_that() -> None:
    @ctxkit.function
    def polls() -> int:
        before = ctxkit.environment().invocations
        with ctxkit.invocation("polled"):
            return ctxkit.environment().invocations - before

    assert polls() == 1
    with ctxkit.invocation("outer"):
        assert polls() == 0


@pytest.mark.rule("F-B1")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_call_of_a_function_around_which_there_is_nothing_runs_no_code_of_ours_but_one_wrapper(
    *, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Keys of other tests declare copies, which are made by code of ours.
    monkeypatch.setattr("ctxkit.functions.crossing.HELD_UP", {})
    # What it takes is measured by the benchmarks; this is what keeps it short.
    calls: list[str] = []

    def noting(frame: Any, event: str, _: Any) -> None:
        module = str(frame.f_globals.get("__name__"))
        if event == "call" and module.startswith("ctxkit"):
            calls.append(frame.f_code.co_name)

    def nothing() -> None: ...

    async def anothing() -> None: ...

    tested: Any = ctxkit.function(anothing if asynchronous else nothing)
    called(tested)  # chains are made at the first use
    sys.setprofile(noting)
    try:
        awaitable = tested()
        if awaitable is not None:
            with pytest.raises(StopIteration):
                awaitable.send(None)
    finally:
        sys.setprofile(None)
    assert calls == ["call"]
