"""The boundary of one's own entry points: a block, an async block, a decorator."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.boundary.holding import IN_FLIGHT
from ctxkit.context import NO_FRAME

if TYPE_CHECKING:
    from helpers.timeline import RecordingSink

ID = ctxkit.Key[str]("request_id")


def crossed(kind: str, work: Any, name: str = "nightly", **options: Any) -> Any:
    """Run ``work`` in an invocation of each kind; return what it returned."""
    if kind == "block":
        with ctxkit.invocation(name, **options):
            return work()
    if kind == "function":
        return ctxkit.invocation(name, **options)(work)()

    async def awork() -> Any:
        await asyncio.sleep(0)
        return work()

    async def main() -> Any:
        if kind == "coroutine":
            return await ctxkit.invocation(name, **options)(awork)()
        async with ctxkit.invocation(name, **options):
            return await awork()

    return asyncio.run(main())


EACH = pytest.mark.parametrize("kind", ["block", "function", "async block", "coroutine"])


@EACH
def test_frame_is_a_root_of_its_own_and_gone_afterwards(kind: str) -> None:
    def work() -> dict[str, Any]:
        frame = ctxkit.current()
        assert frame.root is frame
        return dict(frame)

    seen = crossed(kind, work, tenant="acme")
    assert re.fullmatch("[0-9a-f]{32}", seen.pop("request_id"))
    assert seen == {"invocation": "nightly", "protocol": "invocation", "tenant": "acme"}
    assert ctxkit.current() is NO_FRAME


@EACH
def test_what_is_bound_around_it_is_inherited(kind: str) -> None:
    with ctxkit.bind(tenant="acme", request_id="outer"):
        seen = crossed(kind, lambda: dict(ctxkit.current()), request_id="inner")
        assert ctxkit.get("request_id") == "outer"
    assert (seen["tenant"], seen["request_id"]) == ("acme", "inner")


@EACH
@pytest.mark.parametrize("mode", ["always", "never", "idle"])
def test_it_flushes_at_its_end_as_the_mode_says(
    kind: str, mode: str, sink: RecordingSink, timeline: list[object]
) -> None:
    crossed(kind, lambda: timeline.append("work"), mode=mode, timeout=1.5)
    assert timeline == (["work"] if mode == "never" else ["work", "flush"])
    assert all(timeout <= 1.5 for timeout in sink.timeouts)


def test_one_of_several_in_idle_mode_does_not_wait(
    sink: RecordingSink, timeline: list[object]
) -> None:
    with ctxkit.invocation("a", mode="idle"):
        with ctxkit.invocation("b", mode="idle"):
            pass
        assert timeline == []
    assert timeline == ["flush"]
    IN_FLIGHT.enter(None)
    assert IN_FLIGHT.leave()


@EACH
def test_mode_comes_from_the_environment(
    kind: str, sink: RecordingSink, timeline: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTXKIT_FLUSH_MODE", "always")
    crossed(kind, lambda: None)
    assert timeline == ["flush"]


@EACH
@pytest.mark.parametrize("error", [KeyError("no coffee"), SystemExit(3), asyncio.CancelledError()])
def test_errors_come_out_as_they_were(
    kind: str, error: BaseException, sink: RecordingSink, timeline: list[object]
) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        crossed(kind, work, mode="always")
    assert caught.value is error or isinstance(error, asyncio.CancelledError)
    assert timeline == ["flush"]
    assert ctxkit.current() is NO_FRAME


def test_each_call_of_a_function_is_an_invocation_of_its_own() -> None:
    @ctxkit.invocation("consumer", tenant="acme")
    def consume(message: str, *, twice: bool = False) -> tuple[object, ...]:
        """Consume it."""
        inner = consume(message) if twice else None
        return message, ctxkit.get("request_id"), inner

    message, outer_id, (_, inner_id, _) = consume("x", twice=True)
    assert message == "x"
    assert outer_id != inner_id
    assert consume.__doc__ == "Consume it."
    assert list(inspect.signature(consume).parameters) == ["message", "twice"]


def test_method_is_decorated_as_a_function() -> None:
    class Consumer:
        @ctxkit.invocation("consumer")
        def consume(self, message: str) -> tuple[object, object]:
            return self, ctxkit.get("invocation")

        @ctxkit.invocation("shared")
        @classmethod
        def share(cls) -> tuple[object, object]:
            return cls, ctxkit.get("invocation")

    consumer = Consumer()
    assert consumer.consume("x") == (consumer, "consumer")
    assert consumer.share() == (Consumer, "shared")


def test_coroutine_function_stays_one() -> None:
    async def consume() -> None: ...

    assert inspect.iscoroutinefunction(ctxkit.invocation("x")(consume))
    assert inspect.iscoroutinefunction(ctxkit.invocation("x")(functools.partial(consume)))


def test_values_are_taken_by_key_and_by_name() -> None:
    with ctxkit.invocation("x", {ID: "abc", "tenant": "acme"}, user=7) as frame:
        assert frame[ID] == "abc"
        assert (frame["tenant"], frame["user"]) == ("acme", 7)


def test_block_is_used_once_at_a_time() -> None:
    entry = ctxkit.invocation("x")
    with entry, pytest.raises(RuntimeError, match="entered already"), entry:
        pass
    with entry:
        assert ctxkit.get("invocation") == "x"
    with pytest.raises(RuntimeError, match="was not entered"):
        entry.__exit__(None, None, None)


def test_generator_that_is_closed_in_its_block_flushes_without_waiting(
    sink: RecordingSink, timeline: list[object]
) -> None:
    async def rows() -> Any:
        async with ctxkit.invocation("rows", mode="always"):
            yield 1

    async def main() -> None:
        steps = rows()
        await anext(steps)
        await steps.aclose()

    asyncio.run(main())
    assert sink.flushing.wait(10)
    assert ctxkit.current() is NO_FRAME


def test_block_left_in_another_context_restores_what_it_can() -> None:
    entry = ctxkit.invocation("x")
    context = ctxkit.capture()
    context.run(entry.__enter__)
    entry.__exit__(None, None, None)
    assert ctxkit.current() is NO_FRAME


@pytest.mark.parametrize("name", ["", None, 7])
def test_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(ctxkit.ConfigurationError, match=r"^invocation\(\) got .* for a name"):
        ctxkit.invocation(name)


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, 7, b"x"])
def test_id_that_is_not_well_formed_is_refused(request_id: Any) -> None:
    with pytest.raises(ctxkit.ConfigurationError, match=r"^request_id is "):
        ctxkit.invocation("x", request_id=request_id)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "sometimes"}, "^mode must be one of auto, always"),
        ({"timeout": -1}, "^timeout must be a number of seconds"),
        ({"leftovers": "kill"}, "^leftovers must be one of warn"),
    ],
)
def test_option_that_cannot_be_used_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ctxkit.ConfigurationError, match=message):
        ctxkit.invocation("x", **options)


def test_value_that_is_no_identifier_is_refused() -> None:
    with pytest.raises(ctxkit.ConfigurationError):
        ctxkit.invocation("x", {"not a name": 1})


def _rows() -> Any:
    yield 1


async def _arows() -> Any:
    yield 1


@pytest.mark.parametrize("function", [_rows, _arows, int, None])
def test_what_cannot_be_decorated_is_refused(function: Any) -> None:
    with pytest.raises(ctxkit.ConfigurationError, match=r"^invocation got "):
        ctxkit.invocation("x")(function)
