"""The request id, in and out, and what else a frame says about its request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from helpers.django_site_server import Site


def test_identity_of_a_request_is_what_its_frame_holds(site: Site) -> None:
    answer = site.get("/identity/7", headers={"X-Request-ID": "abc.DEF_1-2"})
    assert answer.headers["x-request-id"] == "abc.DEF_1-2"
    assert answer.json() == {
        "request_id": "abc.DEF_1-2",
        "client_request_id": None,
        "method": "GET",
        "path": "/identity/7",
        "route": "identity/<int:number>",
        "same_request": True,
    }


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "id;drop", "é", "%0a"])
def test_invalid_inbound_id_is_replaced_and_kept_apart(site: Site, bad: str) -> None:
    answer = site.get("/identity/7", headers={"X-Request-ID": bad})
    found = answer.json()
    assert re.fullmatch("[0-9a-f]{32}", found["request_id"])
    assert answer.headers["x-request-id"] == found["request_id"]
    assert found["client_request_id"]
    assert len(found["client_request_id"]) <= 128
    assert found["client_request_id"].isascii()


def test_missing_inbound_id_is_made(site: Site) -> None:
    first, second = site.get("/identity/7"), site.get("/identity/7")
    assert re.fullmatch("[0-9a-f]{32}", first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.json()["client_request_id"] is None
