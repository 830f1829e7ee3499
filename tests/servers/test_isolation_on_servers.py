"""What requests see of each other on real servers, whatever these do with contexts.

What the servers do, without ctxkit: test_leaks_of_servers.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers import servers
from helpers.served_client import PARTS, Asker, new_key, own

if TYPE_CHECKING:
    from helpers.servers import Server


@pytest.fixture(params=["never", "always"])
def asker(request: pytest.FixtureRequest, server: Server) -> Asker:
    return Asker(server, f"/{request.param}")


def only(asker: Asker, protocol: str) -> None:
    if asker.kind.protocol != protocol:
        pytest.skip(f"this is {protocol.upper()}'s")


def only_kept_connections(asker: Asker) -> None:
    if not asker.kind.keeps_connections:
        pytest.skip("the server keeps no connection")


def test_kept_connection_carries_nothing_from_request_to_request(asker: Asker) -> None:
    only_kept_connections(asker)
    with asker.server.connect() as connection:
        for large in (True, False, False, True, False):
            key = new_key()
            ask = asker.post_large if large else lambda *args: asker.ask(args[0], "who", args[1])
            assert ask(connection, key) == own(key)


def test_pipelined_requests_see_nothing_of_each_other(asker: Asker) -> None:
    only_kept_connections(asker)
    keys = [new_key() for _ in range(4)]
    with asker.server.connect() as connection:
        assert asker.pipeline(connection, keys) == [own(key) for key in keys]


def test_new_connections_see_nothing_of_each_other(asker: Asker) -> None:
    asker.assert_nothing_is_found()


def test_overlapping_requests_see_only_their_own_through_every_carrier(asker: Asker) -> None:
    if not asker.kind.overlapping:
        pytest.skip("the server runs one request at a time")
    carriers = {"here", "Thread", "Timer", "ThreadPoolExecutor"}
    if asker.kind.protocol == "asgi":
        carriers |= {"to_thread", "run_in_executor", "create_task"}
    for _ in range(3):
        room, *keys = new_key(), new_key(), new_key()
        with asker.server.connect() as first, asker.server.connect() as second:
            pairs = list(zip((first, second), keys, strict=True))
            for connection, key in pairs:
                asker.send(connection, "carriers", key, room)
            for connection, key in pairs:
                seen = asker.told(connection.receive())
                assert seen == {carrier: own(key, 0) for carrier in carriers}


def assert_parts_see_their_own(asker: Asker, body: str) -> None:
    for _ in range(3):
        key = new_key()
        with asker.server.connect() as connection:
            response = asker.send(connection, body, key).receive()
            assert response.status == 200, asker.server.output()
            parts = [json.loads(line) for line in response.body.splitlines()]
            assert parts == [own(key, left) for left in (None, *range(PARTS))]
            if response.headers.get("connection") != "close" and asker.kind.keeps_connections:
                following = new_key()
                assert asker.ask(connection, "who", following) == own(following)
        ends = {"close": own(key, PARTS)}
        if asker.kind.protocol == "asgi":
            ends["after the last event"] = own(key, "close")
        assert asker.notes(key, len(ends)) == ends
    asker.assert_nothing_is_found()


@pytest.mark.parametrize("body", ["iterable", "generator"])
def test_parts_of_a_body_see_their_request_and_leave_nothing(asker: Asker, body: str) -> None:
    assert_parts_see_their_own(asker, body)


def test_file_that_is_read_by_the_server_sees_its_request_and_leaves_nothing(asker: Asker) -> None:
    only(asker, "wsgi")
    assert_parts_see_their_own(asker, "file")


def test_file_that_the_kernel_sends_is_closed_in_its_request(asker: Asker) -> None:
    only(asker, "wsgi")
    content = Path(servers.__file__).with_name("served_wsgi.py").read_bytes()
    for _ in range(3):
        key = new_key()
        with asker.server.connect() as connection:
            response = asker.send(connection, "kernel", key).receive()
        assert (response.status, response.body) == (200, content)
        assert asker.notes(key, 1) == {"close": own(key, 0)}
    asker.assert_nothing_is_found()


def test_body_that_its_client_left_is_closed_in_its_request(asker: Asker) -> None:
    key = new_key()
    with asker.server.connect() as connection:
        response = asker.send(connection, "abandoned", key).headers()
        assert json.loads(connection.first_line(response)) == own(key)
    asker.release(key)
    assert asker.notes(key, 1)["close"] == own(key, 1)
    asker.assert_nothing_is_found()


def test_work_that_outlives_its_request_sees_that_one_and_gives_nothing_away(asker: Asker) -> None:
    works = {"Thread", "Timer", "ThreadPoolExecutor"}
    if asker.kind.protocol == "asgi":
        works |= {"asyncio.create_task", "create_task", "to_thread"}
        works |= {"done callback", "call_later"}
    key = new_key()
    with asker.server.connect() as connection:
        assert asker.ask(connection, "outlive", key) == own(key)
        if not asker.kind.keeps_connections:
            connection.close()
        asker.assert_nothing_is_found(connection)
        asker.release(key)
        assert asker.notes(key, len(works)) == {work: own(key, 0) for work in works}
        asker.assert_nothing_is_found(connection)


def test_connections_of_websockets_see_their_own_messages_alone(asker: Asker) -> None:
    only(asker, "asgi")
    from websockets.sync.client import connect  # noqa: PLC0415 - not wherever a server is

    def opened(key: str) -> Any:
        address = f"ws://127.0.0.1:{asker.server.port}{asker.prefix}/?{key}"
        return connect(address, additional_headers={"X-Request-ID": key}, proxy=None)

    one, other, later = new_key(), new_key(), new_key()
    with opened(one) as first, opened(other) as second:
        pairs = ((first, one), (second, other))
        for connection, key in pairs:
            assert json.loads(connection.recv()) == own(key)
        for turn in range(3):
            for connection, key in pairs:
                connection.send("what do you see?")
                assert json.loads(connection.recv()) == own(key, turn)
    with opened(later) as third:
        assert json.loads(third.recv()) == own(later)
    for key, left in ((one, 3), (other, 3), (later, 0)):
        assert asker.notes(key, 1) == {"disconnect": own(key, left)}
    asker.assert_nothing_is_found()
