"""Watching: who set what, switched on and off again; and what is left set."""

from __future__ import annotations

import contextlib
import gc
import sys
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest
from helpers.follow import in_plain_thread

import ctxkit
from ctxkit import Key, LeakWatch, bind, left_behind
from ctxkit.context import NO_FRAME
from ctxkit.context._places import Place, short
from ctxkit.context.frame import _Bound
from ctxkit.propagation._tracing import TRACING

LEFT: ContextVar[str] = ContextVar("LEFT")


def of_bind() -> tuple[object, ...]:
    depth = sys.get_coroutine_origin_tracking_depth()
    return (vars(_Bound)["__enter__"], vars(_Bound)["__exit__"], vars(Key)["set"], depth)


def test_everything_is_as_before_once_nobody_watches() -> None:
    before = of_bind()
    with LeakWatch():
        assert of_bind() != before
        with LeakWatch():
            pass
        assert of_bind() != before
    assert of_bind() == before
    assert not TRACING.on


def test_depth_that_somebody_else_has_set_stays() -> None:
    watch = LeakWatch()
    found: list[int] = []

    def stop_elsewhere() -> None:
        sys.set_coroutine_origin_tracking_depth(10)  # as asyncio's debug mode does
        watch.stop()
        found.append(sys.get_coroutine_origin_tracking_depth())

    depth = sys.get_coroutine_origin_tracking_depth()
    try:
        with watch:
            in_plain_thread(stop_elsewhere)
            sys.set_coroutine_origin_tracking_depth(10)
        with LeakWatch():
            pass
        assert [*found, sys.get_coroutine_origin_tracking_depth()] == [10, 10]
    finally:
        sys.set_coroutine_origin_tracking_depth(depth)


def test_watch_that_is_left_by_an_exception_watches_no_longer() -> None:
    with contextlib.suppress(ZeroDivisionError), LeakWatch():
        raise ZeroDivisionError
    assert not TRACING.on


def test_shell_of_a_stranger_over_ours_stays() -> None:
    before = vars(_Bound)["__enter__"]
    with LeakWatch():
        ours = vars(_Bound)["__enter__"]

        def theirs(self: _Bound) -> object:
            return ours(self)

        _Bound.__enter__ = theirs  # type: ignore[method-assign]  # what others do
    try:
        assert vars(_Bound)["__enter__"] is theirs
        with bind(tenant="acme"):  # and ours in it does no harm
            assert ctxkit.get("tenant") == "acme"
    finally:
        _Bound.__enter__ = before  # type: ignore[method-assign]


def test_frame_is_the_same_and_binding_works_while_watched() -> None:
    with LeakWatch():
        with bind(tenant="acme") as frame:
            assert ctxkit.current() is frame
            with pytest.raises(RuntimeError, match="entered before"):
                frame_again(bind(user=1))
        assert ctxkit.current() is NO_FRAME


def frame_again(bound: Any) -> None:
    with bound, bound:
        pass


def test_place_is_the_function_that_binds_through_an_exit_stack_too() -> None:
    with LeakWatch(), contextlib.ExitStack() as stack:
        frame = stack.enter_context(bind(tenant="acme"))
        [place] = TRACING.places(frame)
    assert place.function == "test_place_is_the_function_that_binds_through_an_exit_stack_too"
    assert str(place) == f"{place.function} ({place.file}:{place.line})"


def test_place_is_the_function_that_sets_a_key() -> None:
    tenant = Key[str]("tenant")

    def request() -> object:
        tenant.set("acme")
        return ctxkit.capture()

    with LeakWatch() as watch, bind(user=1):
        snapshot = request()
    [leak] = watch.leaks()
    assert leak.keys == ("user", "tenant")
    assert leak.set_at[1].names == ("tenant",)
    assert leak.set_at[1].function.endswith("<locals>.request")
    del snapshot


def test_frame_bound_before_is_not_known() -> None:
    with bind(tenant="acme") as frame, LeakWatch() as watch:
        assert TRACING.places(frame) == ()
        snapshot = ctxkit.capture()
    assert watch.leaks() == []
    [leak] = ctxkit.find_leaks(frame)
    assert leak.set_at == ()
    assert "(set:" not in str(leak)
    del snapshot


def test_files_are_named_by_what_is_not_the_same_for_all() -> None:
    assert short(contextlib.__file__) == "contextlib.py"
    assert short(pytest.__file__) == "pytest/__init__.py"
    assert short("/elsewhere/shop/views.py") == "/elsewhere/shop/views.py"
    assert str(Place("the boundary", "", 0)) == "the boundary"


def test_nothing_is_left_behind_outside_of_everything() -> None:
    assert Context().run(left_behind) == []
    assert Context().run(lambda: left_behind(copy_context())) == []


def test_frame_that_is_still_bound_is_left_behind() -> None:
    def request() -> list[ctxkit.Leak]:
        with LeakWatch():
            bind(tenant="acme").__enter__()
            return left_behind()

    [leak] = Context().run(request)
    assert (leak.keys, leak.kind) == (("tenant",), "context")
    assert "current context of Thread" in leak.holder
    assert "request (" in str(leak)


def test_frame_from_before_and_one_that_was_left_are_not_left_behind() -> None:
    with bind(tenant="acme"):
        before = copy_context()
        with bind(user=1):
            pass
        assert left_behind(before) == []


def test_variable_that_was_set_since_is_left_behind_by_its_name() -> None:
    def request() -> list[ctxkit.Leak]:
        before = copy_context()
        LEFT.set("secret")
        assert left_behind() == []
        return left_behind(before)

    [leak] = Context().run(request)
    assert leak.keys == ("LEFT",)
    assert "as the ContextVar 'LEFT'" in leak.holder
    assert "secret" not in str(leak)


def test_garbage_is_no_leak() -> None:
    gc.disable()
    try:
        with LeakWatch() as watch:
            with bind(tenant="acme") as frame:
                cycle: list[object] = [frame]
                cycle.append(cycle)
            del frame, cycle
            assert watch.leaks() == []
    finally:
        gc.enable()


def test_watch_tells_of_ended_frames_only_until_it_is_over() -> None:
    with LeakWatch() as watch:
        with bind(tenant="acme"):
            snapshot = ctxkit.capture()
            assert watch.leaks() == []
        [leak] = watch.leaks()
        assert leak.keys == ("tenant",)
        watch.stop()
        with bind(user=1):
            later = ctxkit.capture()
        [leak] = watch.leaks()
        assert leak.keys == ("tenant",)
    del snapshot, later
