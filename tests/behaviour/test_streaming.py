"""Streaming: only the end of a response waits, and its body runs inside its frame."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helpers.django_site_server import Site


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
