from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit import Retry
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions import configure, configured, override
from ctxkit.functions.spawning import add_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ctxkit.boundary.intercepting import Call, Plan

seen: list[object] = []


@ctxkit.interceptor
def look(call: Call) -> Plan:
    seen.append(call.options.get("engine"))
    return (yield call)


@ctxkit.function(name="shop:plain", interceptors=[look])
def plain() -> str:
    return "plain"


@ctxkit.function(name="shop:charge", engine="decorated", interceptors=[look])
def charge(amount: int) -> int:
    return amount


@ctxkit.function(name="shop:refund", engine="decorated", interceptors=[look])
async def refund(amount: int) -> int:
    return amount


@ctxkit.function(name="shop:fail")
def fail() -> None:
    seen.append("failed")
    raise KeyError


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:
    with override({}):
        seen.clear()
        yield


def _engine(name: str, engine: object) -> dict[str, Any]:
    return {"functions": {name: {"engine": engine}}}


@pytest.mark.rule("F-04")
def test_option_is_that_of_using_else_of_settings_else_of_the_decorator_else_the_default() -> None:
    assert (plain(), charge(1)) == ("plain", 1)
    assert seen == [None, "decorated"]
    configure(_engine("shop:*", "configured"))
    plain()
    charge(1)
    charge.using(engine="used")(1)
    assert seen[2:] == ["configured", "configured", "used"]


@pytest.mark.rule("F-04")
def test_option_of_a_coroutine_function_is_looked_up_likewise() -> None:
    with override(_engine("shop:refund", "configured")):
        assert asyncio.run(refund(1)) == 1
        assert asyncio.run(refund.using(engine="used")(1)) == 1
    assert asyncio.run(refund(1)) == 1
    assert seen == ["configured", "used", "decorated"]


@pytest.mark.rule("F-04")
def test_retry_of_using_takes_the_place_of_the_whole_policy_that_is_configured() -> None:
    pytest.importorskip("stamina")
    policy = {"max_attempts": 4, "initial_delay": "0s", "on": "KeyError"}
    with override({"functions": {"shop:fail": {"retry": policy}}}):
        seen.clear()
        with pytest.raises(KeyError):
            fail()
        assert len(seen) == 4
        with pytest.raises(KeyError):
            fail.using(retry=Retry(3, initial_delay=0.0))()  # on= is its own, too
        assert len(seen) == 5
    with pytest.raises(KeyError):
        fail()
    assert len(seen) == 6


def test_timeout_that_is_configured_is_one() -> None:
    @ctxkit.function(name="shop:remaining", timeout=50.0)
    def remaining() -> float | None:
        return ctxkit.remaining()

    with override({"functions": {"shop:remaining": {"timeout": "2s"}}}):
        assert 1.0 < (remaining() or 0) <= 2.0
        assert 8.0 < (remaining.using(timeout=9.0)() or 0) <= 9.0
    with override({"functions": {"shop:remaining": {"timeout": False}}}):
        assert remaining() is None
    assert 40.0 < (remaining() or 0) <= 50.0


def test_pool_of_a_function_may_be_configured_after_it_was_decorated() -> None:
    @ctxkit.function(name="shop:pooled", pool="bank")
    def pooled() -> int:
        return configured.pool("bank").stats().busy

    with pytest.raises(ConfigurationError, match="bank"):
        pooled()
    for workers in (1, 2):
        with override({"pools": {"bank": {"workers": workers}}}):
            assert pooled() == 1
            assert configured.pool("bank").stats()[:3] == (workers, 0, 0)


def test_work_is_sent_to_the_engine_that_is_configured() -> None:
    class Engine:
        name = "test_configured"

        def send(self, work: Any) -> str:
            return f"{self.name} has {work.name}"

        async def asend(self, work: Any) -> str:
            return self.send(work)

    add_engine(Engine())
    with override(_engine("shop:charge", "test_configured")):
        assert charge.spawn(1) == "test_configured has shop:charge"
        assert asyncio.run(charge.using({}).aspawn(1)) == "test_configured has shop:charge"


def test_settings_take_away_what_the_decorator_says() -> None:
    with override(_engine("shop:charge", engine=False)):
        charge(1)
    charge(1)
    assert seen == [None, "decorated"]


def test_change_holds_for_functions_that_were_bound_before() -> None:
    bound = charge.using({"tenant": "acme"})
    for engine in ("one", "two"):
        configure(_engine("shop:charge", engine))
        bound(1)
    assert seen == ["one", "two"]


def test_change_during_a_call_does_not_affect_it() -> None:
    @ctxkit.function(name="shop:change", interceptors=[look])
    def change() -> None:
        configure(_engine("shop:change", "later"))

    change()
    change()
    assert seen == [None, "later"]


@pytest.mark.rule("F-03")
def test_function_that_is_configured_is_imported_at_its_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_shop.py").write_text(
        "import ctxkit\n"
        "@ctxkit.function(engine='decorated')\n"
        "def charge(amount):\n"
        "    return amount\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "named_shop", raising=False)
    configure(_engine("named_shop:charge", "configured"))
    assert "named_shop" not in sys.modules
    assert ctxkit.call("named_shop:charge", 3) == 3
    unit = sys.modules.pop("named_shop").charge.__ctxkit_unit__
    assert unit.options["engine"] == "configured"
