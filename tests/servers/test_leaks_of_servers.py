"""What requests see of each other without ctxkit: that the tests of isolation can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from helpers.leaks import LARGE_BODY, LEAKS, PIPELINING, THREAD, Way
from helpers.served_client import HOLDERS, Asker, new_key
from helpers.servers import KINDS, Server

if TYPE_CHECKING:
    from collections.abc import Callable

# More than any of the servers has threads, however many processors there are.
MANY = 40


def over_new_connections(asker: Asker) -> list[Any]:
    return [asker.who(new_key()) for _ in range(MANY)]


def after_a_large_body(asker: Asker) -> list[Any]:
    with asker.server.connect() as connection:
        asker.post_large(connection, new_key())
        return [asker.ask(connection, "who", new_key())]


def when_pipelined(asker: Asker) -> list[Any]:
    with asker.server.connect() as connection:
        return asker.pipeline(connection, [new_key() for _ in range(4)])


SEEN: dict[Way, Callable[[Asker], list[Any]]] = {
    THREAD: over_new_connections,
    LARGE_BODY: after_a_large_body,
    PIPELINING: when_pipelined,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_server_without_the_boundary_hands_values_on_as_it_is_said_to(
    kind: Any, tmp_path: Any
) -> None:
    ways = [way for way in LEAKS[kind.name] if way.open]
    if not ways:
        pytest.skip("nothing is said of this server")
    if not kind.available:
        pytest.skip(f"{kind.name} is not installed")
    app = f"helpers.served_{kind.protocol}:app"
    environ = {"SERVED_LOG": str(tmp_path / "landed.txt")}
    with Server(kind, app, tmp_path, environ) as server:
        for way in ways:
            seen = SEEN[way](Asker(server))
            for holder in HOLDERS:
                assert any(each[holder] for each in seen), (way.name, holder)
