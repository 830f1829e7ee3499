from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from helpers.children import in_child

import ctxkit
from ctxkit.exceptions import ConfigurationError
from ctxkit.lifecycle import end_lifespan, run_before_snapshot, run_shutdown, warming_async
from ctxkit.lifecycle._occasions import SHUTDOWN, SNAPSHOT, THAW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ctxkit.lifecycle import AsyncWarm


@pytest.fixture(autouse=True)
def own_hooks(no_hooks: None) -> None:
    """Register what a first import registers."""
    THAW.add(warming_async._doubt_all)
    SNAPSHOT.add(warming_async.close_warm_loops)
    SHUTDOWN.add(warming_async.close_warm_loops)
    warming_async._OPEN.clear()


class Client:
    """A client that knows what has been done to it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = False

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.closed = True


@pytest.fixture
def made() -> list[Client]:
    """Every client that was made."""
    return []


@pytest.fixture
def client(made: list[Client]) -> AsyncWarm[Client]:
    @ctxkit.warm(close=Client.aclose)
    async def client() -> Client:
        await asyncio.sleep(0)
        made.append(Client())
        return made[-1]

    return client


@pytest.fixture
def generated(made: list[Client]) -> AsyncWarm[Client]:
    @ctxkit.warm
    async def client() -> AsyncIterator[Client]:
        await asyncio.sleep(0)
        made.append(Client())
        try:
            yield made[-1]
        finally:
            await made[-1].aclose()

    return client


def test_warm_coroutine_is_run_once_in_a_loop(
    client: AsyncWarm[Client], made: list[Client]
) -> None:
    async def use() -> None:
        assert repr(client).startswith("<cold ")
        got = await asyncio.gather(*(client() for _ in range(10)), client(), client())
        assert got == made * 12
        assert await client() is made[0]
        assert repr(client).startswith("<warm ")

    asyncio.run(use())

    assert len(made) == 1


@pytest.mark.parametrize("form", ["client", "generated"])
def test_warm_resource_of_a_loop_is_closed_with_it(
    form: str, made: list[Client], request: pytest.FixtureRequest
) -> None:
    client: AsyncWarm[Client] = request.getfixturevalue(form)

    async def use() -> Client:
        return await client()

    first, second = asyncio.run(use()), asyncio.run(use())

    assert first is not second
    assert [each.closed for each in made] == [True, True]
    assert first.loop is not second.loop


def test_warm_resource_of_a_loop_that_stops_between_invocations_is_kept(
    client: AsyncWarm[Client], made: list[Client]
) -> None:
    """As Mangum runs it."""
    loop = asyncio.new_event_loop()
    try:
        first = loop.run_until_complete(client())
        assert loop.run_until_complete(client()) is first
        assert not first.closed

        run_shutdown()
        assert first.closed
        assert loop.run_until_complete(client()) is not first
        run_before_snapshot()
        assert [each.closed for each in made] == [True, True]
    finally:
        loop.close()


def test_warm_resource_keeps_no_loop_that_is_closed() -> None:
    @ctxkit.warm
    async def client() -> Client:
        return Client()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(client())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    kept = weakref.ref(loop)
    del loop

    asyncio.run(client())
    gc.collect()

    assert kept() is None


def test_warm_coroutine_that_fails_is_tried_again() -> None:
    answers: list[Any] = [OSError("refused"), "connected"]

    @ctxkit.warm
    async def connection() -> str:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return str(answer)

    async def use() -> str:
        with pytest.raises(OSError, match="refused"):
            await connection()
        return await connection()

    assert asyncio.run(use()) == "connected"


def test_warm_coroutine_that_needs_itself_says_so() -> None:
    @ctxkit.warm
    async def own() -> object:
        return await own()

    with pytest.raises(ConfigurationError, match="asks for itself"):
        asyncio.run(asyncio.wait_for(own(), 10))


def test_warm_coroutines_that_need_each_other_say_so_to_two_tasks() -> None:
    @ctxkit.warm
    async def first() -> object:
        await asyncio.sleep(0)
        return await second()

    @ctxkit.warm
    async def second() -> object:
        await asyncio.sleep(0)
        return await first()

    async def ask() -> list[BaseException | object]:
        both = asyncio.gather(first(), second(), return_exceptions=True)
        return await asyncio.wait_for(both, 10)

    assert ["asks for itself" in str(error) for error in asyncio.run(ask())] == [True, True]


def test_warm_resource_whose_check_was_not_waited_for_is_checked_after_the_next_freeze() -> None:
    checks: list[int] = []
    checked = asyncio.Event()

    async def check(_: object) -> None:
        await asyncio.sleep(0)
        checks.append(len(checks))
        checked.set()

    @ctxkit.warm(check=check)
    async def own() -> int:
        return 1

    async def main() -> None:
        await own()
        own.doubt(60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(own(), 0)
        asking = asyncio.ensure_future(own())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await checked.wait()
        await asyncio.sleep(0)
        own.doubt(60)
        await own()

    asyncio.run(main())
    assert checks == [0, 1]


def test_warm_coroutine_whose_first_user_is_cancelled_goes_on_for_the_others(
    made: list[Client], client: AsyncWarm[Client]
) -> None:
    async def use() -> None:
        first = asyncio.create_task(client())
        second = asyncio.create_task(client())
        await asyncio.sleep(0)
        first.cancel()
        assert await second is made[0]
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(use())

    assert len(made) == 1


@pytest.mark.parametrize("verdict", [False, OSError("gone")])
@pytest.mark.parametrize("awaited", [True, False])
def test_warm_resource_that_fails_its_check_after_a_thaw_is_made_anew(
    made: list[Client], verdict: object, *, awaited: bool
) -> None:
    checks: list[Client] = []

    def answer(client: Client) -> object:
        checks.append(client)
        if client is made[0]:
            if isinstance(verdict, OSError):
                raise verdict
            return verdict
        return True

    async def aanswer(client: Client) -> object:
        await asyncio.sleep(0)
        return answer(client)

    @ctxkit.warm(check=aanswer if awaited else answer, close=Client.aclose)
    async def client() -> Client:
        made.append(Client())
        return made[-1]

    async def use() -> None:
        await client()
        THAW.run(9.0)
        await client()
        assert checks == []

        THAW.run(60.0)
        got = await asyncio.gather(*(client() for _ in range(5)))

        assert got == [made[1]] * 5
        assert made[0].closed
        assert checks == [made[0]]
        THAW.run(60.0)
        assert await client() is made[1]
        assert checks == made

    asyncio.run(use())


def test_warm_resource_is_closed_by_hand(
    client: AsyncWarm[Client], generated: AsyncWarm[Client], made: list[Client]
) -> None:
    async def use() -> None:
        await client()
        await generated()
        await client.aclose()
        await generated.aclose()
        await client.aclose()
        assert [each.closed for each in made] == [True, True]
        assert await client() is made[2]

    asyncio.run(use())


def test_warm_resource_that_is_closed_while_it_is_made_is_not_made() -> None:
    @ctxkit.warm
    async def never() -> None:
        await asyncio.Event().wait()

    async def use() -> None:
        user = asyncio.create_task(never())
        await asyncio.sleep(0)
        await asyncio.wait_for(never.aclose(), 10)
        with pytest.raises(asyncio.CancelledError):
            await user

    asyncio.run(use())


def test_warm_resource_whose_closing_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @ctxkit.warm
    async def resource() -> AsyncIterator[int]:
        yield 1
        raise OSError("gone already")

    @ctxkit.warm
    async def double() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def use() -> None:
        await resource()
        await double()
        await resource.aclose()
        await double.aclose()

    asyncio.run(use())

    assert caplog.text.count("ctxkit.warm.failed") == 2
    assert "gone already" in caplog.text
    assert "has yielded a second time" in caplog.text


def test_client_that_cancels_something_of_its_own_cancels_nobody_elses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def cancelled(_: object) -> None:
        own = asyncio.ensure_future(asyncio.sleep(60))
        own.cancel()
        await own

    made: list[int] = []

    @ctxkit.warm(check=cancelled, close=cancelled)
    async def client() -> int:
        made.append(len(made))
        return made[-1]

    ended: list[int] = []

    async def main() -> None:
        await client()
        client.doubt(60)
        assert await client() == 1
        SHUTDOWN.add(lambda: ended.append(1))
        await end_lifespan()

    asyncio.run(main())
    assert made == [0, 1]
    assert ended == [1]
    assert [record.getMessage()[:18] for record in caplog.records] == ["ctxkit.warm.failed"] * 2


def test_lifespan_whose_end_is_cancelled_shuts_down_all_the_same() -> None:
    ended: list[int] = []

    async def close(_: object) -> None:
        await asyncio.sleep(60)

    @ctxkit.warm(close=close)
    async def client() -> int:
        return 1

    async def main() -> None:
        await client()
        SHUTDOWN.add(lambda: ended.append(1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(end_lifespan(), 0.01)
        assert ended == [1]

    asyncio.run(main())


def test_warm_generator_without_a_yield_says_so() -> None:
    @ctxkit.warm
    async def empty() -> AsyncIterator[int]:
        return
        yield

    with pytest.raises(ConfigurationError, match="has yielded nothing"):
        asyncio.run(empty())


def test_warm_coroutine_belongs_to_no_request() -> None:
    @ctxkit.warm
    async def seen() -> object:
        return ctxkit.get("tenant", None)

    async def use() -> object:
        with ctxkit.bind(tenant="acme"):
            return await seen()

    assert asyncio.run(use()) is None


def test_warm_resource_in_a_forked_child_is_another_and_the_parents_stays_open(
    client: AsyncWarm[Client], made: list[Client]
) -> None:
    loop = asyncio.new_event_loop()
    try:
        mine = loop.run_until_complete(client())

        def use() -> object:
            theirs = asyncio.run(client())
            run_shutdown()
            return (theirs is not mine, mine.closed, theirs.closed)

        assert in_child(use) == [True, False, True]
        assert loop.run_until_complete(client()) is mine
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def test_lifespan_that_ends_closes_what_is_warm_in_its_loop(
    client: AsyncWarm[Client], generated: AsyncWarm[Client]
) -> None:
    async def serve() -> None:
        resources = [await client(), await generated()]
        await end_lifespan()
        assert [each.closed for each in resources] == [True, True]

    asyncio.run(serve())


def test_warm_coroutine_outside_of_asyncio_says_so(client: AsyncWarm[Client]) -> None:
    coroutine = client()

    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)
