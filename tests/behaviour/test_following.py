"""Follow and forget: overlapping requests never see each other's values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from helpers.django_site_server import Answer, Connection, Site

ZONES = {"fr": "Europe/Paris", "de": "Asia/Tokyo"}


def _knowledge(who: str, mark: str) -> dict[str, str]:
    return {
        "request_id": mark,
        "who": who,
        "request": who,
        "language": who,
        "zone": ZONES[who],
        "local": who,
        "adopted": who,
    }


def _ask(connection: Connection, path: str, who: str, mark: str, meeting: str) -> Answer:
    connection.send(
        f"{path}?who={who}&meeting={meeting}", headers={"X-Request-ID": f"{who}-{mark}"}
    )
    return connection.receive()


@pytest.mark.parametrize("path", ["/overlap", "/aoverlap"])
def test_overlapping_requests_see_only_their_own_values_through_every_carrier(
    site: Site, path: str
) -> None:
    with site.connect() as one, site.connect() as two, ThreadPoolExecutor(2) as clients:
        for turn in range(3):
            mark = f"{path.strip('/')}-{turn}"
            # Who comes on which connection changes, so that one's leftover is the other's.
            pair = [("fr", one), ("de", two)] if turn % 2 else [("de", one), ("fr", two)]
            asked = {
                who: clients.submit(_ask, connection, path, who, mark, mark)
                for who, connection in pair
            }
            for who, future in asked.items():
                answer = future.result(30)
                assert answer.status == 200
                for phase in answer.json().values():
                    for carrier, seen in phase.items():
                        assert seen == _knowledge(who, f"{who}-{mark}"), carrier


def test_next_request_on_the_connection_finds_nothing_of_the_one_before(site: Site) -> None:
    with site.connect() as one, site.connect() as two, ThreadPoolExecutor(2) as clients:
        asked = [
            clients.submit(_ask, connection, "/overlap", who, "left", "left")
            for who, connection in (("fr", one), ("de", two))
        ]
        assert [future.result(30).status for future in asked] == [200, 200]
        for connection in (one, two):
            connection.send("/leftover", headers={"X-Request-ID": "clean"})
            assert connection.receive().json() == {
                "request_id": "clean",
                "who": None,
                "language": "en-us",
                "zone": "America/Chicago",
                "local": None,
                "adopted": None,
            }


def test_pipelined_requests_have_their_own_ids(site: Site) -> None:
    paths = [f"/identity/{number}" for number in range(5)]
    with site.connect() as connection:
        connection.send(*paths)
        answers = [connection.receive() for _ in paths]
    found = [answer.json() for answer in answers]
    assert [each["path"] for each in found] == paths
    assert len({each["request_id"] for each in found}) == len(paths)
    assert [each["request_id"] for each in found] == [
        answer.headers["x-request-id"] for answer in answers
    ]
