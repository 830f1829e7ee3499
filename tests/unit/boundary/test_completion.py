from __future__ import annotations

from itertools import accumulate

import pytest

from ctxkit.boundary.completion import Completion, announced_length

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given  # noqa: E402 - after the skip
from hypothesis import strategies as st  # noqa: E402


def completes_at_headers(method: str, status: int, *lengths: bytes) -> bool:
    headers = [(b"Content-Length", length) for length in lengths]
    return Completion().at_headers(method, status, headers, b"content-length")


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 101), ("POST", 199)]
)
def test_headers_of_a_response_without_content_complete_it(method: str, status: int) -> None:
    assert completes_at_headers(method, status)
    assert completes_at_headers(method, status, b"10")


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 200), ("POST", 200), ("GET", 205), ("GET", 404), ("head", 200)]
)
def test_headers_without_length_do_not_complete(method: str, status: int) -> None:
    assert not completes_at_headers(method, status)
    assert not completes_at_headers(method, status, b"10")


def test_length_zero_completes_at_headers() -> None:
    assert completes_at_headers("GET", 200, b"0")


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1.0", b"ten", b"5, 5", b" 5", "²".encode()])
def test_unusable_length_counts_as_none(value: bytes) -> None:
    assert announced_length([(b"content-length", value)], b"content-length") is None


def test_unicode_digits_are_no_length() -> None:
    assert announced_length([("Content-Length", "²")], "content-length") is None
    assert announced_length([("Content-Length", "\u0665")], "content-length") is None


def test_smallest_of_several_lengths_counts() -> None:
    headers = [("Content-Length", "7"), ("X", "1"), ("content-length", "5")]
    assert announced_length(headers, "content-length") == 5


def test_unframed_content_never_completes_by_itself() -> None:
    completion = Completion()
    completion.at_headers("GET", 200, [], "content-length")
    assert not any(completion.at_part(10**9) for _ in range(3))


def test_new_headers_begin_anew() -> None:
    completion = Completion()
    completion.at_headers("GET", 200, [("Content-Length", "3")], "content-length")
    assert completion.at_part(3)
    completion.at_headers("GET", 500, [("Content-Length", "5")], "content-length")
    assert not completion.at_part(3)
    assert completion.at_part(2)


@given(sizes=st.lists(st.integers(0, 50), min_size=1), excess=st.integers(0, 5))
def test_the_part_that_fills_the_length_completes_and_none_before(
    sizes: list[int], excess: int
) -> None:
    length = max(1, sum(sizes) - excess)
    completion = Completion()
    assert not completion.at_headers(
        "GET", 200, [("Content-Length", str(length))], "content-length"
    )
    expected = [total >= length for total in accumulate(sizes)]
    assert [completion.at_part(size) for size in sizes] == expected
