from __future__ import annotations

import asyncio
import sys
from functools import wraps
from inspect import iscoroutinefunction
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.boundary.hosting import HOST, meet_host

if TYPE_CHECKING:
    from collections.abc import Callable


async def work(event: Any, context: Any) -> Any:
    """Work."""
    await asyncio.sleep(0)
    return event, id(asyncio.get_running_loop())


def configured(monkeypatch: pytest.MonkeyPatch, handler: Callable[..., Any]) -> None:
    """Have Lambda call ``shop/web.handler``."""
    module: Any = ModuleType("shop.web")
    module.handler = handler
    monkeypatch.setitem(sys.modules, "shop.web", module)
    monkeypatch.setenv("_HANDLER", "shop/web.handler")


@pytest.fixture
def decorated(client: Any) -> Callable[..., Any]:
    HOST.restart()
    meet_host()
    return ctxkit.flush_before_return(work)


def test_coroutine_function_that_lambda_calls_runs_in_one_loop(
    monkeypatch: pytest.MonkeyPatch, decorated: Callable[..., Any]
) -> None:
    configured(monkeypatch, decorated)
    (first, loop), (second, same) = decorated(1, None), decorated(2, None)
    assert (first, second, loop) == (1, 2, same)


def test_coroutine_function_inside_of_wrappers_runs_too(
    monkeypatch: pytest.MonkeyPatch, decorated: Callable[..., Any]
) -> None:
    @wraps(decorated)
    def outer(*args: Any) -> Any:
        return decorated(*args)

    configured(monkeypatch, outer)
    assert outer(1, None)[0] == 1


def test_coroutine_function_that_a_handler_calls_gives_it_a_coroutine(
    monkeypatch: pytest.MonkeyPatch, decorated: Callable[..., Any]
) -> None:
    configured(monkeypatch, lambda event, context: asyncio.run(decorated(event, context)))
    assert asyncio.run(decorated(1, None))[0] == 1


def test_coroutine_function_is_awaited_where_a_loop_runs(
    monkeypatch: pytest.MonkeyPatch, decorated: Callable[..., Any]
) -> None:
    configured(monkeypatch, decorated)

    async def inside() -> Any:
        return await decorated(1, None)

    assert asyncio.run(inside())[0] == 1


def test_coroutine_function_keeps_its_looks(decorated: Callable[..., Any]) -> None:
    assert (decorated.__name__, decorated.__doc__) == ("work", "Work.")
    if sys.version_info >= (3, 12):
        assert iscoroutinefunction(decorated)
