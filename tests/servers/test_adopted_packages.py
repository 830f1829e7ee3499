"""Real packages on ``threading.local``, under requests that overlap on a real server."""

from __future__ import annotations

import json
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any

import pytest
from helpers import adopting
from helpers.servers import KINDS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = {
    "crum": "django-crum",
    "currentuser": "django-currentuser",
    "edx": "edx-django-utils",
    "global_request": "django-middleware-global-request",
    "modeltranslation": "django-modeltranslation",
    "multidb": "django-multidb-router",
}
for distribution in ("uvicorn", *PACKAGES.values()):
    if not any(distributions(name=distribution)):
        pytest.skip(f"{distribution} is not installed", allow_module_level=True)

UVICORN = next(kind for kind in KINDS if kind.name == "uvicorn-h11")
ADOPTED = " ".join(adopting.lines()[package] for package in PACKAGES.values())


def _who_is(who: str) -> dict[str, Any]:
    """Return what each package keeps of a request; one only knows whether it is alice's."""
    return {name: who == "alice" if name == "multidb" else who for name in PACKAGES}


NOBODY = {name: False if name == "multidb" else None for name in PACKAGES}


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
    answers = _overlapping(plain_site, "plain").values()
    for answer in answers:
        # The view is not on the thread of the middlewares, and both views are on one thread.
        for package in ("crum", "currentuser", "global_request"):
            assert answer["view"][package] is None
        assert answer["view"]["multidb"] is True
        assert answer["to_thread"] == NOBODY
    for package in ("edx", "modeltranslation"):
        assert len({answer["view"][package] for answer in answers}) == 1


def test_overlapping_requests_see_themselves_through_every_carrier(adopted_site: Server) -> None:
    for turn in range(10):
        for who, answers in _overlapping(adopted_site, f"turn{turn}").items():
            assert answers == dict.fromkeys(answers, _who_is(who))
            assert len(answers) == 4


def test_next_request_on_the_connection_finds_nothing_of_the_one_before(
    adopted_site: Server,
) -> None:
    with adopted_site.connect() as one, adopted_site.connect() as other:
        for who, connection in (("alice", one), ("bob", other)):
            connection.send(f"/meet?who={who}&meeting=before")
        assert [each.receive().status for each in (one, other)] == [200, 200]
        one.send("/first-look?who=carol")
        of_carol = {"crum": "carol", "currentuser": "carol", "global_request": "carol"}
        assert json.loads(one.receive().body) == {**NOBODY, **of_carol}
