from __future__ import annotations

import pytest

from ctxkit.testing._exchange import ResponseReader


def read(method: str, *pieces: bytes) -> tuple[ResponseReader, list[bool]]:
    reader = ResponseReader(method)
    return reader, [reader.feed(piece) for piece in pieces]


def test_response_with_content_length_is_complete_at_its_last_byte() -> None:
    reader, done = read("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", b"c", b"d")
    assert done == [False, False, True]
    assert (reader.status, reader.body) == (200, b"abcd")


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4"),
        ("GET", b"HTTP/1.1 204 No Content"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0"),
    ],
)
def test_response_without_body_is_complete_at_its_headers(method: str, head: bytes) -> None:
    _, done = read(method, head + b"\r\n", b"\r\n")
    assert done == [False, True]


def test_response_in_chunks_is_complete_after_the_trailers() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = head, b"3\r\nab", b"c\r\n", b"A;x=1\r\n0123456789\r\n0\r\n", b"X-Sum: 1\r\n", b"\r\n"
    reader, done = read("GET", *pieces)
    assert done == [False, False, False, False, False, True]
    assert reader.body == b"abc0123456789"


def test_response_byte_by_byte_is_complete_exactly_at_the_last() -> None:
    raw = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    )
    reader, done = read("GET", *(raw[i : i + 1] for i in range(len(raw))))
    assert done == [False] * (len(raw) - 1) + [True]
    assert reader.body == b"ab"


def test_response_without_framing_is_complete_at_the_end_of_the_connection() -> None:
    reader, done = read("GET", b"HTTP/1.0 200 OK\r\nA: 1\r\na: 2\r\n\r\nab", b"c")
    assert done == [False, False]
    assert reader.end()
    assert reader.body == b"abc"
    assert reader.headers == (("a", "1"), ("a", "2"))


def test_response_broken_off_is_not_complete() -> None:
    reader, _ = read("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    assert not reader.end()


def test_response_that_is_no_http_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="SSH-2"):
        read("GET", b"SSH-2.0-OpenSSH\r\n\r\n")
