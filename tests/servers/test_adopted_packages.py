"""Real packages on ``threading.local``, under requests that overlap on a real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from helpers.servers import KINDS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("uvicorn")
pytest.importorskip("crum")
pytest.importorskip("edx_django_utils")

UVICORN = next(kind for kind in KINDS if kind.name == "uvicorn-h11")
# An instance of threading.local, and one of a subclass with an __init__.
ADOPTED = "crum._thread_locals edx_django_utils.cache.utils._REQUEST_CACHE"


def _site(adopted: str, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("adopted")
    return Server(UVICORN, "helpers.adopted_site:application", folder, {"ADOPTED": adopted})


@pytest.fixture(scope="module")
def adopted_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _site(ADOPTED, tmp_path_factory) as running:
        yield running


@pytest.fixture(scope="module")
def plain_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _site("", tmp_path_factory) as running:
        yield running


def _overlapping(site: Server, meeting: str) -> dict[str, Any]:
    with site.connect() as one, site.connect() as other:
        asked = {"alice": one, "bob": other}
        for who, connection in asked.items():
            connection.send(f"/meet?who={who}&meeting={meeting}")
        responses = {who: connection.receive() for who, connection in asked.items()}
    assert {response.status for response in responses.values()} == {200}, site.output()
    return {who: json.loads(response.body) for who, response in responses.items()}


def test_overlapping_requests_are_mistaken_for_each_other_without_adoption(
    plain_site: Server,
) -> None:
    answers = _overlapping(plain_site, "plain")
    # The view is not on the thread of crum's middleware, and both views are on one thread.
    assert [answer["view"]["crum"] for answer in answers.values()] == [None, None]
    assert len({answer["view"]["edx"] for answer in answers.values()}) == 1
    for answer in answers.values():
        assert answer["to_thread"] == {"crum": None, "edx": None}


def test_overlapping_requests_see_themselves_through_every_carrier(adopted_site: Server) -> None:
    for turn in range(10):
        for who, answers in _overlapping(adopted_site, f"turn{turn}").items():
            assert answers == {carrier: {"crum": who, "edx": who} for carrier in answers}


def test_next_request_on_the_connection_finds_nothing_of_the_one_before(
    adopted_site: Server,
) -> None:
    with adopted_site.connect() as one, adopted_site.connect() as other:
        for who, connection in (("alice", one), ("bob", other)):
            connection.send(f"/meet?who={who}&meeting=before")
        assert [each.receive().status for each in (one, other)] == [200, 200]
        one.send("/first-look?who=carol")
        assert json.loads(one.receive().body) == {"crum": "carol", "edx": None}
