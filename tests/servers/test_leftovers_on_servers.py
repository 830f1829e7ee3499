"""What real servers start for a request is not taken for what the request started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers.demo import eventually
from helpers.served_client import Asker, new_key, own

if TYPE_CHECKING:
    from helpers.servers import Server


@pytest.fixture
def asker(server: Server) -> Asker:
    return Asker(server, "/always")


def reports(asker: Asker) -> list[str]:
    """Return what the server's log says of leftovers."""
    lines = asker.server.output().splitlines()
    return [line for line in lines if "ctxkit.leftovers" in line]


def test_requests_that_leave_nothing_are_not_reported(asker: Asker) -> None:
    before = reports(asker)
    for _ in range(3):
        key = new_key()
        with asker.server.connect() as connection:
            assert asker.ask(connection, "who", key) == own(key)
            if asker.kind.keeps_connections:
                assert asker.post_large(connection, key) == own(key)
    assert reports(asker) == before


def test_work_that_is_left_is_reported_in_the_log_of_the_server(asker: Asker) -> None:
    key = new_key()
    with asker.server.connect() as connection:
        asker.ask(connection, "outlive", key)
    try:
        assert eventually(lambda: any(f"request {key} (GET " in line for line in reports(asker)))
        [line] = [line for line in reports(asker) if key in line]
        works = {"thread '", "timer '", "job of a pool"}
        if asker.kind.protocol == "asgi":
            works.add("task '")
        assert {work for work in works if work in line} == works
        assert "helpers/served_values.py:" in line
    finally:
        asker.release(key)
