from __future__ import annotations

import asyncio
import atexit
import copy
import decimal
import gc
import inspect
import pickle
import sys
import types
import weakref
from _thread import get_ident
from contextvars import Context, ContextVar, copy_context
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from helpers.follow import in_plain_thread, run_script

from ctxkit import (
    ConfigurationError,
    Key,
    KeyNotBoundError,
    Snapshot,
    bind,
    capture,
    current,
    get,
)
from ctxkit.context import _arrival
from ctxkit.context.errand import Errand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

VAR: ContextVar[str] = ContextVar("var", default="unset")


def _swap(value: str) -> str:
    before = VAR.get()
    VAR.set(value)
    return before


def _with_var(value: str, f: Callable[..., Any], *args: Any) -> Any:
    context = copy_context()
    context.run(VAR.set, value)
    return context.run(f, *args)


def test_run_sees_what_was_captured_not_what_is_current() -> None:
    with bind(tenant="acme"):
        snapshot = capture()
    with bind(tenant="other"):
        assert snapshot.run(get, "tenant") == "acme"
        assert in_plain_thread(snapshot.run, get, "tenant") == "acme"


def test_each_run_has_a_copy_of_its_own() -> None:
    snapshot: Snapshot = _with_var("captured", capture)
    assert snapshot.run(_swap, "first") == "captured"
    assert snapshot.run(_swap, "second") == "captured"
    assert VAR.get() == "unset"


def test_runs_may_overlap_and_nest() -> None:
    snapshot: Snapshot = _with_var("captured", capture)
    barrier = Barrier(2, timeout=10)

    def meet() -> str:
        seen = _swap("mine")
        barrier.wait()
        return seen + VAR.get()

    other: list[Any] = []

    def nested() -> str:
        other.append(in_plain_thread(snapshot.wrap(lambda: snapshot.run(VAR.get))))
        return VAR.get()

    assert snapshot.run(nested) == "captured"
    assert other == ["captured"]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only here

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(snapshot.run, meet) for _ in range(2)]
        assert [each.result(10) for each in both] == ["capturedmine"] * 2


def test_run_raises_the_very_error() -> None:
    error = LookupError()

    def fail() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        capture().run(fail)
    assert caught.value is error


async def _coroutine(value: str) -> tuple[str, str]:
    before = _swap(value)
    await asyncio.sleep(0)
    return before, VAR.get()


def _generator(value: str) -> Iterator[str]:
    yield _swap(value)
    yield VAR.get()


async def _async_generator(value: str) -> AsyncIterator[str]:
    yield _swap(value)
    await asyncio.sleep(0)
    yield VAR.get()


class _Object:
    def method(self, value: str) -> str:
        return _swap(value)

    async def coroutine(self, value: str) -> tuple[str, str]:
        return await _coroutine(value)

    async def __call__(self, value: str) -> tuple[str, str]:
        return await _coroutine(value)


class _Plain:
    def __call__(self, value: str) -> str:
        return _swap(value)


@pytest.mark.parametrize("f", [_swap, partial(_swap), _Object().method, _Plain()])
def test_wrapped_function_of_any_shape_runs_in_the_snapshot(f: Any) -> None:
    wrapped = _with_var("captured", capture).wrap(f)
    assert [wrapped("1"), wrapped("2"), VAR.get()] == ["captured", "captured", "unset"]
    assert in_plain_thread(wrapped, "3") == "captured"


@pytest.mark.parametrize(
    "f", [_coroutine, partial(_coroutine), _Object().coroutine, _Object(), partial(_Object())]
)
def test_wrapped_coroutine_function_of_any_shape_runs_in_the_snapshot(f: Any) -> None:
    wrapped = _with_var("captured", capture).wrap(f)

    async def main() -> None:
        both = await asyncio.gather(wrapped("1"), wrapped("2"))
        assert both == [("captured", "1"), ("captured", "2")]
        assert VAR.get() == "unset"

    asyncio.run(main())
    snapshot: Snapshot = _with_var("captured", capture)
    assert asyncio.run(snapshot.run(f, "3")) == ("captured", "3")


@pytest.mark.parametrize("f", [_generator, partial(_generator)])
def test_wrapped_generator_function_runs_in_the_snapshot(f: Any) -> None:
    wrapped = _with_var("captured", capture).wrap(f)
    one, other = wrapped("1"), wrapped("2")
    assert [*map(next, (one, other, one, other)), VAR.get()] == [
        *("captured", "captured", "1", "2"),
        "unset",
    ]


@pytest.mark.parametrize("f", [_async_generator, partial(_async_generator)])
def test_wrapped_async_generator_function_runs_in_the_snapshot(f: Any) -> None:
    wrapped = _with_var("captured", capture).wrap(f)

    async def main() -> None:
        one, other = wrapped("1"), wrapped("2")
        seen = [await anext(each) for each in (one, other, one, other)]
        assert [*seen, VAR.get()] == ["captured", "captured", "1", "2", "unset"]
        await one.aclose()
        await other.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("f", [_swap, _coroutine, _generator, _async_generator])
def test_inspect_says_the_same_of_the_wrapped_as_of_the_plain(f: Any) -> None:
    for plain in (f, partial(f, "x"), types.MethodType(f, "x")):
        wrapped = capture().wrap(plain)
        for question in (
            inspect.iscoroutinefunction,
            inspect.isgeneratorfunction,
            inspect.isasyncgenfunction,
        ):
            if isinstance(plain, partial):
                assert question(wrapped.func) == question(f)  # type: ignore[attr-defined]
            else:
                assert question(wrapped) == question(plain)
        assert inspect.signature(wrapped) == inspect.signature(plain)


@pytest.mark.parametrize("f", [_coroutine, partial(_coroutine), _Object(), _Object().coroutine])
def test_wrapped_coroutine_function_carries_the_marker_of_asgiref(f: Any) -> None:
    sync = pytest.importorskip("asgiref.sync")
    assert sync.iscoroutinefunction(capture().wrap(f))


def test_function_marked_as_coroutine_function_is_driven_as_one() -> None:
    sync = pytest.importorskip("asgiref.sync")

    def plain(value: str) -> Any:
        return _coroutine(value)

    marked = sync.markcoroutinefunction(plain)
    wrapped = _with_var("captured", capture).wrap(marked)
    assert sync.iscoroutinefunction(wrapped)
    assert asyncio.run(wrapped("1")) == ("captured", "1")


def test_wrapped_keeps_name_attributes_and_identity() -> None:
    def f() -> None:
        """Say what it is."""

    f.csrf_exempt = True  # type: ignore[attr-defined]  # as Django does
    wrapped: Any = capture().wrap(f)
    assert (wrapped.__name__, wrapped.__doc__, wrapped.__module__) == (
        "f",
        "Say what it is.",
        __name__,
    )
    assert wrapped.__wrapped__ is f
    assert wrapped.csrf_exempt
    assert (wrapped == f, hash(wrapped) == hash(f), wrapped == capture().wrap(f)) == (
        True,
        True,
        True,
    )
    assert wrapped != _swap
    with pytest.raises(AttributeError):
        wrapped.nothing  # noqa: B018 - reading is what is tested


def test_wrapped_bound_method_cannot_be_taken_apart() -> None:
    wrapped = capture().wrap(_Object().method)
    assert not hasattr(wrapped, "__self__")
    assert not hasattr(wrapped, "__func__")


def test_wrapped_in_a_class_binds_like_a_function() -> None:
    class Shop:
        name = "acme"
        greet = capture().wrap(lambda self: self.name)

    assert Shop().greet() == "acme"


def test_wrapping_again_returns_the_wrapped() -> None:
    wrapped = _with_var("first", capture).wrap(VAR.get)
    assert _with_var("second", capture).wrap(wrapped) is wrapped
    assert wrapped() == "first"


def test_wrapped_callback_can_be_taken_off_by_the_plain_one() -> None:
    def bye() -> None:
        raise AssertionError

    atexit.register(capture().wrap(bye))
    atexit.unregister(bye)

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.add_done_callback(capture().wrap(_swap))
        assert future.remove_done_callback(_swap) == 1

    asyncio.run(main())


def test_snapshot_lets_go_of_its_values_when_it_is_dropped() -> None:
    class Request: ...

    request = Request()
    gone = weakref.ref(request)
    with bind(request=request):
        snapshot = capture()
    wrapped = snapshot.wrap(get)
    assert in_plain_thread(wrapped, "request") is request
    del request
    assert gone() is not None
    del snapshot, wrapped
    gc.collect()
    assert gone() is None


def test_errand_runs_once_and_lets_go() -> None:
    class Request: ...

    request = Request()
    gone = weakref.ref(request)

    def fail() -> None:
        raise LookupError

    with bind(request=request):
        errand, failing = Errand(partial(get, "request")), Errand(fail)
    assert in_plain_thread(errand) is request
    with pytest.raises(LookupError) as caught:
        failing()
    del request
    assert gone() is None, "a traceback or the errand holds it"
    del caught
    with pytest.raises(RuntimeError, match="runs once"):
        errand()


def test_errand_is_not_sent_to_another_process() -> None:
    import pickle  # noqa: PLC0415 - only here

    with pytest.raises(ConfigurationError, match="another process"):
        pickle.dumps(Errand(print))


def test_decimal_on_another_thread_has_a_context_of_its_own_that_starts_the_same() -> None:
    def child() -> int:
        before = decimal.getcontext().prec
        decimal.getcontext().prec = 5
        return before

    with decimal.localcontext() as mine:
        mine.prec = 9
        assert in_plain_thread(capture().run, child) == 9
        assert decimal.getcontext().prec == 9


def test_asgiref_local_is_seen_on_another_thread_and_not_changed_for_the_parent() -> None:
    local = pytest.importorskip("asgiref.local").Local()
    local.who = "alice"

    def child() -> str:
        before = local.who
        local.who = "bob"
        return f"{before} {local.who}"

    snapshot = capture()
    assert in_plain_thread(snapshot.run, child) == "alice bob"
    assert in_plain_thread(snapshot.run, child) == "alice bob"
    assert local.who == "alice"
    assert not in_plain_thread(hasattr, local, "who")


@pytest.fixture
def strange_asgiref(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = types.ModuleType("asgiref.local")
    module.Local = type("Local", (), {})
    package: Any = types.ModuleType("asgiref")
    package.__version__ = "3.99.0"
    monkeypatch.setitem(sys.modules, "asgiref", package)
    monkeypatch.setitem(sys.modules, "asgiref.local", module)
    monkeypatch.setattr(_arrival, "_reported", [])
    return package


def test_asgiref_of_an_unknown_shape_is_reported_once(strange_asgiref: Any) -> None:
    snapshot = capture()
    with pytest.warns(RuntimeWarning, match=r"asgiref 3\.99\.0"):
        assert in_plain_thread(snapshot.run, VAR.get) == "unset"
    in_plain_thread(snapshot.run, VAR.get)  # warnings are errors here


def test_asgiref_from_before_the_tags_is_not_reported(strange_asgiref: Any) -> None:
    strange_asgiref.__version__ = "3.8.1"
    assert in_plain_thread(capture().run, VAR.get) == "unset"


def test_asgiref_that_is_being_imported_is_not_reported(strange_asgiref: Any) -> None:
    del sys.modules["asgiref.local"].Local  # type: ignore[attr-defined]  # of the stand-in
    assert in_plain_thread(capture().run, VAR.get) == "unset"


def test_capture_in_an_empty_context_runs_in_an_empty_context() -> None:
    snapshot = Context().run(capture)
    assert _with_var("current", snapshot.run, VAR.get) == "unset"


def test_variables_of_asgiref_are_known_whenever_they_were_made() -> None:
    asgiref_local = pytest.importorskip("asgiref.local")
    early = asgiref_local.Local()
    early.name = "early"
    in_plain_thread(capture().run, int)  # they are looked for once, now at the latest
    late = asgiref_local.Local()
    late.name = "late"
    assert in_plain_thread(capture().run, lambda: (early.name, late.name)) == ("early", "late")


def test_variables_of_dead_asgiref_locals_are_let_go() -> None:
    local = pytest.importorskip("asgiref.local").Local()
    local.name = "value"
    in_plain_thread(capture().run, int)
    before = len(_arrival._variables)
    del local
    gc.collect()
    assert len(_arrival._variables) < before or not before  # none: asgiref before 3.12


def test_capture_of_keys_holds_these_and_nothing_else() -> None:
    tenant = Key[str]("tenant")

    def seen() -> tuple[object, ...]:
        return dict(current()), VAR.get(), current().deadline

    with bind({tenant: "acme"}, user="alice", secret="no"):
        VAR.set("set")
        snapshot = capture(keys=[tenant, "user", "absent"])
        VAR.set("unset")
    with bind(other="here"):
        assert snapshot.run(seen) == ({"tenant": "acme", "user": "alice"}, "unset", None)
        assert in_plain_thread(snapshot.run, seen)[0] == {"tenant": "acme", "user": "alice"}
    assert capture(keys=()).run(seen) == ({}, "unset", None)


@pytest.mark.parametrize("keys", ["tenant", ["not a name"], [7], 7, Key("alone")])
def test_capture_of_what_is_no_key_is_refused(keys: Any) -> None:
    with pytest.raises(ConfigurationError):
        capture(keys=keys)


def test_apply_lays_the_captured_values_over_the_current_ones() -> None:
    with bind(tenant="acme", user="alice"):
        snapshot = capture()
    with bind(user="bob", role="admin"):
        with snapshot.apply() as frame:
            assert dict(frame) == {"tenant": "acme", "user": "alice", "role": "admin"}
            assert current() is frame
        assert dict(current()) == {"user": "bob", "role": "admin"}
        with pytest.raises(KeyNotBoundError), snapshot.apply(clear_missing=True) as frame:
            frame["role"]
        assert dict(current()) == {"user": "bob", "role": "admin"}
    assert dict(current()) == {}


def test_apply_left_in_another_context_restores_there_and_never_raises() -> None:
    with bind(tenant="acme"):
        snapshot = capture()
    block = snapshot.apply()
    inside, outside = copy_context(), copy_context()
    inside.run(block.__enter__)
    outside.run(block.__exit__, None, None, None)
    assert outside.run(get, "tenant") is None
    assert inside.run(get, "tenant") == "acme"


def test_apply_on_another_thread_leaves_out_what_does_not_go_to_threads() -> None:
    key = Key[str]("stays_on_its_thread", hops=())

    def applied() -> dict[str, object]:
        with snapshot.apply() as frame:
            return dict(frame)

    with bind({key: "here"}, tenant="acme"):
        snapshot = capture()
    assert applied() == {"stays_on_its_thread": "here", "tenant": "acme"}
    assert in_plain_thread(applied) == {"tenant": "acme"}


def test_snapshot_of_a_thread_that_ended_is_on_another_one_wherever_it_runs() -> None:
    key = Key[str]("stays_on_its_thread_for_good", hops=())

    def take() -> tuple[Snapshot, int]:
        with bind({key: "here"}):
            return capture(), get_ident()

    for _ in range(100):
        snapshot, ident = in_plain_thread(take)
        again, seen = in_plain_thread(lambda: (get_ident(), snapshot.run(key.get, None)))  # noqa: B023 - called at once
        assert seen is None
        if again == ident:
            return
    pytest.skip("this system does not give the ident of a thread to a later one at once")


FROZEN = """
import gc
from asgiref.local import Local
early = Local()
gc.freeze()  # as servers do before they fork
import ctxkit
late = Local()
early.name, late.name = "early", "late"
with ctxkit.ThreadPoolExecutor(1) as pool:
    for _ in range(2):
        print(*pool.submit(lambda: (early.name, late.name)).result(30))
"""


def test_variables_of_asgiref_are_known_also_where_the_collector_was_frozen() -> None:
    pytest.importorskip("asgiref.local")
    assert run_script(FROZEN).split() == ["early", "late"] * 2


def test_wrapped_is_copied_like_a_function_and_not_sent_to_another_process() -> None:
    wrapped = capture().wrap(_swap)
    assert copy.copy(wrapped) is wrapped
    assert copy.deepcopy([wrapped]) == [wrapped]
    with pytest.raises(ConfigurationError, match=r"_swap.*ProcessPoolExecutor"):
        pickle.dumps(wrapped)


RELOADED = """
import importlib
import asgiref.local, ctxkit
early = asgiref.local.Local()
early.name = "early"
with ctxkit.ThreadPoolExecutor(1) as pool:
    print(pool.submit(lambda: early.name).result(30))
    importlib.reload(asgiref.local)
    late = asgiref.local.Local()
    late.name = "late"
    print(*pool.submit(lambda: (early.name, late.name)).result(30))
"""


def test_variables_of_asgiref_are_known_also_where_it_was_loaded_again() -> None:
    pytest.importorskip("asgiref.local")
    assert run_script(RELOADED).split() == ["early", "early", "late"]


def test_error_of_what_is_wrapped_does_not_keep_the_snapshot() -> None:
    def fail() -> None:
        raise LookupError

    def wrap() -> tuple[list[Callable[[], None]], weakref.ref[_Object]]:
        value = _Object()
        with bind(value=value):
            return [capture().wrap(fail)], weakref.ref(value)

    wrapped, value = wrap()
    with pytest.raises(LookupError) as caught:
        wrapped.pop()()
    gc.collect()
    assert caught.value.__traceback__ is not None
    assert value() is None


def test_executor_of_a_thread_that_waits_in_asgiref_stays_with_that_thread() -> None:
    executors = pytest.importorskip("asgiref.sync").AsyncToSync.executors
    local = pytest.importorskip("asgiref.local").Local()

    def inside() -> tuple[object, object]:
        executors.current, local.name = "of the waiting thread", "acme"
        snapshot = capture()
        return in_plain_thread(
            snapshot.run,
            lambda: (getattr(executors, "current", None), getattr(local, "name", None)),
        )

    current, name = copy_context().run(inside)
    assert name == "acme"
    if hasattr(sys.modules["asgiref.local"], "_Storage"):  # before 3.12 all of it went along
        assert current is None


def test_runs_on_one_thread_share_neither_arithmetic_nor_scopes() -> None:
    sentry_sdk = pytest.importorskip("sentry_sdk")

    def tag() -> object:
        before = dict(sentry_sdk.get_isolation_scope()._tags)
        sentry_sdk.set_tag("run", "one")
        precision, decimal.getcontext().prec = decimal.getcontext().prec, 5
        return before, precision

    def inside() -> list[object]:
        decimal.getcontext()
        snapshot = capture()
        return [snapshot.run(tag) for _ in range(2)]

    sentry_sdk.init(default_integrations=False, dsn="http://public@127.0.0.1:1/1")
    try:
        with sentry_sdk.isolation_scope():
            assert copy_context().run(inside) == [({}, 28), ({}, 28)]
    finally:
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.Scope.get_global_scope().set_client(None)
