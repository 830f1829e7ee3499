"""Interceptors: one generator form, driven in both colours."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.boundary.intercepting import CHAIN, arun, run
from ctxkit.context import NO_FRAME
from ctxkit.exceptions import ConfigurationError, DuplicateName

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Drive = "Callable[..., Any]"


def _call(*args: Any, asynchronous: bool = False) -> ctxkit.Call:
    return ctxkit.Call("m:f", "call", args, {}, frame=NO_FRAME, asynchronous=asynchronous)


def _drive_sync(body: Callable[..., Any], *chain: ctxkit.Interceptor, args: Any = ()) -> Any:
    return run(chain, _call(*args), lambda call: body(*call.args))


def _drive_async(body: Callable[..., Any], *chain: ctxkit.Interceptor, args: Any = ()) -> Any:
    async def abody(call: ctxkit.Call) -> Any:
        await asyncio.sleep(0)
        return body(*call.args)

    # By hand: what asyncio makes of an error holds a cycle of its own.
    steps = arun(chain, _call(*args, asynchronous=True), abody)
    try:
        while True:
            steps.send(None)
    except StopIteration as done:
        return done.value


@pytest.fixture(params=[_drive_sync, _drive_async], ids=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param


@pytest.fixture
def clean_chain() -> Generator[None]:
    before = CHAIN.all
    yield
    CHAIN.replace(before)


def _noting(name: str, log: list[str], order: float = 50) -> ctxkit.Interceptor:
    @ctxkit.interceptor(order=order, name=name, at={"call", "http"})
    def noting(call: ctxkit.Call) -> Any:
        log.append(f"> {name}")
        try:
            return (yield call)
        finally:
            log.append(f"< {name}")

    return noting


@pytest.mark.rule("F-60")
def test_lower_order_is_outer_and_equal_order_keeps_its_own(clean_chain: None, drive: Any) -> None:
    log: list[str] = []
    ctxkit.add_interceptor(_noting("b", log))
    ctxkit.add_interceptor(_noting("c", log))
    ctxkit.add_interceptor(_noting("a", log, order=10))
    drive(lambda: log.append("body"), *CHAIN.of("call"))
    assert log == ["> a", "> b", "> c", "body", "< c", "< b", "< a"]


@pytest.mark.rule("F-60")
def test_second_interceptor_of_a_name_is_refused(clean_chain: None) -> None:
    ctxkit.add_interceptor(first := _noting("a", []))
    ctxkit.add_interceptor(first)
    with pytest.raises(DuplicateName, match="interceptor 'a'"):
        ctxkit.add_interceptor(_noting("a", []))
    ctxkit.remove_interceptor(first)
    assert first not in CHAIN.all


def test_interceptor_is_put_around_its_kinds_alone(clean_chain: None) -> None:
    ctxkit.add_interceptor(_noting("a", []))
    assert [each.name for each in CHAIN.of("http")] == ["a"]
    assert CHAIN.of("task") == ()


@pytest.mark.rule("F-62")
def test_returning_before_the_yield_leaves_the_rest_out(drive: Any) -> None:
    @ctxkit.interceptor
    def cached(call: ctxkit.Call) -> Any:
        return "cached"
        yield call

    assert drive(pytest.fail, cached) == "cached"


@pytest.mark.rule("F-63")
def test_changed_call_changes_what_the_body_gets(drive: Any) -> None:
    given = (1,)

    @ctxkit.interceptor
    def doubling(call: ctxkit.Call) -> Any:
        return (yield call.replace(args=(2 * call.args[0],)))

    assert drive(lambda number: number, doubling, args=given) == 2
    assert given == (1,)


@pytest.mark.rule("F-64")
def test_error_appears_at_the_yield_and_may_be_swallowed(drive: Any) -> None:
    error = KeyError("x")

    @ctxkit.interceptor
    def forgiving(call: ctxkit.Call) -> Any:
        try:
            return (yield call)
        except KeyError as caught:
            return "forgiven" if caught is error else "another"

    def body() -> None:
        raise error

    assert drive(body, forgiving) == "forgiven"


@pytest.mark.rule("F-05")
@pytest.mark.parametrize(
    "error", [ValueError("x"), StopIteration(1), RuntimeError("y"), KeyboardInterrupt()]
)
def test_error_that_is_not_caught_comes_out_as_it_was(drive: Any, error: BaseException) -> None:
    if drive is _drive_async and isinstance(error, StopIteration):
        pytest.skip("a coroutine cannot raise it")

    def body() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        drive(body, _noting("a", []), _noting("b", []))
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.rule("F-65")
def test_yielding_twice_runs_the_body_twice(drive: Any) -> None:
    runs: list[int] = []

    @ctxkit.interceptor
    def twice(call: ctxkit.Call) -> Any:
        first = yield call.replace(args=(1,))
        second = yield call.replace(args=(2,))
        return first, second

    assert drive(lambda number: runs.append(number) or number, twice) == (1, 2)
    assert runs == [1, 2]


@pytest.mark.rule("F-61")
def test_step_is_taken_in_the_colour_of_the_call(drive: Any) -> None:
    steps: list[str] = []

    async def asleep() -> str:
        await asyncio.sleep(0)
        return "awaited"

    @ctxkit.interceptor
    def waiting(call: ctxkit.Call) -> Any:
        steps.append((yield ctxkit.either(lambda: "blocking", asleep)))
        return (yield call)

    assert drive(lambda: 7, waiting) == 7
    assert steps == ["awaited" if drive is _drive_async else "blocking"]


def test_error_of_a_step_arrives_at_its_yield(drive: Any) -> None:
    def fail() -> None:
        raise ValueError("no")

    async def afail() -> None:
        fail()

    @ctxkit.interceptor
    def waiting(call: ctxkit.Call) -> Any:
        try:
            yield ctxkit.either(fail, afail)
        except ValueError:
            return "caught"
        return (yield call)

    assert drive(pytest.fail, waiting) == "caught"


def test_yielding_something_else_is_an_error_that_names_the_interceptor(drive: Any) -> None:
    log: list[str] = []

    @ctxkit.interceptor(name="odd")
    def odd(call: ctxkit.Call) -> Any:
        try:
            yield 7
        finally:
            log.append("cleaned up")

    with pytest.raises(ConfigurationError, match=r"interceptor odd yielded 7\. Yield the call"):
        drive(pytest.fail, odd)
    assert log == ["cleaned up"]


def test_closing_from_outside_cleans_up_without_going_on() -> None:
    log: list[str] = []

    async def forever(call: ctxkit.Call) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        steps = arun((_noting("a", log),), _call(asynchronous=True), forever)
        steps.send(None)
        steps.close()

    asyncio.run(main())
    assert log == ["> a", "< a"]


def test_error_keeps_nothing_of_the_interceptors_alive(drive: Any) -> None:
    class Big:
        pass

    def body() -> None:
        raise ValueError("x")

    @ctxkit.interceptor
    def holding(call: ctxkit.Call) -> Any:
        big = Big()
        result = yield call
        return result, big

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="x"):
            drive(body, holding)
        alive = [each for each in gc.get_objects() if type(each) is Big]
        assert alive == []
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ctxkit.interceptor(lambda call: call), "no generator function"),
        (lambda: ctxkit.interceptor(at="call")(_noting), "must be a set out of call, http, task"),
        (lambda: ctxkit.interceptor(at={"rpc"})(_noting), "must be a set out of"),
        (lambda: ctxkit.add_interceptor(7), "got 7"),
        (lambda: _call().replace(arguments=()), r"Call\.replace\(\) got arguments"),
    ],
)
def test_what_is_no_interceptor_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()
