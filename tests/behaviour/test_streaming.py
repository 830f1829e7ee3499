"""Streaming: only the end of a response waits, and its body runs inside its frame."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from helpers.django_site_server import Connection, Site

ZONES = {"fr": "Europe/Paris", "de": "Asia/Tokyo", None: "America/Chicago"}


def _path(site: Site) -> str:
    # The other kind of body is collected by Django as a whole before its first chunk leaves.
    return "/astream" if site.protocol == "asgi" else "/stream"


def test_stream_passes_each_chunk_at_once_and_holds_the_end(site: Site) -> None:
    path, name = _path(site), "held"
    with site.connect() as connection:
        connection.send(f"{path}/{name}", headers={"X-Request-ID": name})
        answer = connection.receive_head()
        assert connection.receive_chunk(answer)
        # The body goes on only now: had the chunk been held, it would never have come.
        assert answer.chunks[0][1] == f"first {name}\n".encode()
        site.get(f"/release/{name}")
        while connection.receive_chunk(answer):
            pass
    complete = answer.chunks[-1][0]
    assert answer.chunks[1][1] == f"last {name}\n".encode()
    [record] = [item for item in site.sink.items if item.name == f"stream over {name}"]
    assert record.data["attributes"]["request_id"] == name
    assert record.acknowledged <= complete


def test_stream_left_by_its_client_is_closed_in_its_frame_and_flushed(site: Site) -> None:
    path, name = _path(site), "gone"
    with site.connect() as connection:
        connection.send(f"{path}/{name}", headers={"X-Request-ID": name})
        answer = connection.receive_head()
        assert connection.receive_chunk(answer)
    site.get(f"/release/{name}")
    [record] = site.sink.wait_for(lambda item: item.name == f"stream over {name}", timeout=20)
    assert record.data["attributes"]["request_id"] == name
    deadline = time.monotonic() + 10
    while name not in site.get("/closed").json()["closed"]:
        assert time.monotonic() < deadline
    assert site.get("/closed").json()["closed"].count(name) == 1


def _seen(name: str, who: str | None) -> dict[str, str | None]:
    return {
        "request_id": name,
        "who": who,
        "request": "reader",
        "language": who or "en-us",
        "zone": ZONES[who],
        "local": who,
        "adopted": who,
    }


def _assert_nothing_is_left_on(connection: Connection) -> None:
    connection.send("/leftover", headers={"X-Request-ID": "clean"})
    left = _seen("clean", None)
    del left["request"]
    assert connection.receive().json() == left


def _seen_at_the_end(site: Site, name: str, who: str) -> dict[str, str | None]:
    # Before 6.1, Django closes its response outside of the task that the view ran in.
    same_task = site.protocol == "wsgi" or django.VERSION >= (6, 1)
    return _seen(name, who if same_task else None)


def test_parts_and_ends_of_a_stream_see_their_request_and_leave_nothing(site: Site) -> None:
    path = "/aparted" if site.protocol == "asgi" else "/parted"
    with site.connect() as connection:
        for turn in range(3):
            name = f"parted-{turn}"
            connection.send(f"{path}?who=reader", headers={"X-Request-ID": name})
            lines = connection.receive().body.splitlines()
            assert [json.loads(line) for line in lines] == [
                _seen(name, who) for who in ("fr", "de", "fr")
            ]
            _assert_nothing_is_left_on(connection)
            assert site.get(f"/ends/{name}/3").json() == {
                "body": _seen(name, "de"),
                "resource closer": _seen_at_the_end(site, name, "de"),
                "request_finished": _seen_at_the_end(site, name, "de"),
            }
    for _ in range(6):
        with site.connect() as connection:
            _assert_nothing_is_left_on(connection)


def test_file_that_the_server_sends_is_closed_in_its_request_and_leaves_nothing(
    site: Site,
) -> None:
    with site.connect() as connection:
        for turn in range(3):
            name = f"parted-file-{turn}"
            connection.send("/parted-file?who=reader", headers={"X-Request-ID": name})
            assert b"def parted_file" in connection.receive().body
            _assert_nothing_is_left_on(connection)
            end = _seen_at_the_end(site, name, "fr")
            assert site.get(f"/ends/{name}/2").json() == {
                "resource closer": end,
                "request_finished": end,
            }
    for _ in range(6):
        with site.connect() as connection:
            _assert_nothing_is_left_on(connection)
