from __future__ import annotations

import functools
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from helpers.children import in_child

import ctxkit
from ctxkit.exceptions import ConfigurationError
from ctxkit.lifecycle import run_after_restore, run_before_snapshot, run_init, run_shutdown
from ctxkit.lifecycle._occasions import OCCASIONS

if TYPE_CHECKING:
    from collections.abc import Callable

REGISTRARS: list[Callable[[Any], Any]] = [
    ctxkit.on_init,
    ctxkit.on_thaw,
    ctxkit.on_reset,
    ctxkit.on_shutdown,
    ctxkit.before_snapshot,
    ctxkit.after_restore,
]


@pytest.mark.parametrize("register", REGISTRARS)
def test_hook_is_called_like_the_function_that_it_decorates(
    register: Callable[[Any], Any],
) -> None:
    def double(number: int = 2) -> int:
        """Return twice the number."""
        return 2 * number

    hook = register(double)

    assert hook(21) == 42
    assert hook.__name__ == "double"
    assert hook.__doc__ == "Return twice the number."
    assert register.__name__ in repr(hook)


@pytest.mark.parametrize("register", REGISTRARS)
def test_hook_that_cannot_be_called_is_refused(register: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigurationError, match=rf"{register.__name__}\(\) got 7"):
        register(7)


@pytest.mark.parametrize("register", REGISTRARS)
def test_hook_that_would_have_to_be_awaited_is_refused(register: Callable[[Any], Any]) -> None:
    async def close() -> None: ...

    class Closing:
        async def __call__(self) -> None: ...

    for function in (close, functools.partial(close), Closing()):
        with pytest.raises(ConfigurationError, match="nothing would await it"):
            register(function)


def test_on_reset_refuses_a_function_whose_cache_is_meant() -> None:
    @functools.lru_cache
    def rate() -> float:
        return 1.1

    with pytest.raises(ConfigurationError, match=r"Give it its \.cache_clear"):
        ctxkit.on_reset(rate)
    ctxkit.on_reset(rate.cache_clear)


@pytest.mark.parametrize("after", [-1, "5", None, True, float("nan")])
def test_on_thaw_refuses_what_is_no_number_of_seconds(after: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"on_thaw\(after=\)"):
        ctxkit.on_thaw(after=after)


def test_hooks_run_in_the_order_that_befits_the_occasion() -> None:
    order: list[str] = []
    for name in "abc":
        for register in REGISTRARS[3:]:
            register(lambda name=name, event=register.__name__: order.append(f"{event} {name}"))

    run_before_snapshot()
    run_after_restore()
    run_shutdown()

    assert order == [
        *(f"before_snapshot {name}" for name in "cba"),
        *(f"after_restore {name}" for name in "abc"),
        *(f"on_shutdown {name}" for name in "cba"),
    ]


def test_hook_that_is_removed_is_not_called() -> None:
    calls: list[str] = []
    hook = ctxkit.before_snapshot(lambda: calls.append("removed"))
    ctxkit.before_snapshot(lambda: calls.append("kept"))

    hook.remove()
    hook.remove()
    run_before_snapshot()

    assert calls == ["kept"]


def test_hooks_around_one_that_fails_run_and_its_error_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[str] = []
    ctxkit.after_restore(lambda: calls.append("first"))

    @ctxkit.after_restore
    def reopen() -> None:
        raise ConnectionRefusedError

    ctxkit.after_restore(lambda: calls.append("last"))

    run_after_restore()

    assert calls == ["first", "last"]
    assert "ctxkit.after_restore.failed" in caplog.text
    assert "reopen" in caplog.text


def test_run_init_calls_nothing_twice() -> None:
    def serve() -> object:
        calls: list[str] = []
        ctxkit.on_init(lambda: calls.append("init"))
        run_init()
        run_init()
        return tuple(calls)

    assert in_child(serve) == ["init"]


def test_clones_of_one_snapshot_draw_different_numbers() -> None:
    """OpenTelemetry makes its ids of the module random."""
    state = random.getstate()

    def draw() -> object:
        random.setstate(state)  # a clone has it all; a fork seeds anew
        run_after_restore()
        return (random.getrandbits(128), ctxkit.environment().id)

    (first, first_id), (second, second_id) = in_child(draw), in_child(draw)

    assert first != second
    assert first_id != second_id


def test_hooks_can_be_registered_in_a_child_that_was_forked_while_they_were_locked() -> None:
    locked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        for occasion in OCCASIONS:
            occasion._lock.acquire()
        locked.set()
        assert go_on.wait(10)
        for occasion in OCCASIONS:
            occasion._lock.release()

    def register() -> object:
        ctxkit.on_shutdown(lambda: None)
        return (True,)

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(10)
    try:
        assert in_child(register, timeout=5) == [True]
    finally:
        go_on.set()
        thread.join()
