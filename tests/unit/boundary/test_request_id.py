from __future__ import annotations

import re
import uuid

import pytest

from ctxkit.boundary.request_id import chosen_id

NEW = re.compile("[0-9a-f]{32}")


@pytest.mark.parametrize(
    "inbound", ["a", "A-b_c.9", "x" * 128, str(uuid.uuid4()), "01J9ZV3K8Q4B6T5R7W2N0XYZAB"]
)
def test_well_formed_id_is_taken_over(inbound: str) -> None:
    assert chosen_id(inbound, trusted=True) == (inbound, None)


@pytest.mark.parametrize("inbound", [None, ""])
def test_absent_id_is_replaced_by_a_new_one(inbound: str | None) -> None:
    request_id, refused = chosen_id(inbound, trusted=True)
    assert NEW.fullmatch(request_id)
    assert refused is None
    assert chosen_id(inbound, trusted=True)[0] != request_id


@pytest.mark.parametrize(
    ("inbound", "kept"),
    [
        ("abc\n", r"abc\n"),
        ("abc\r\nX-Evil: 1", r"abc\r\nX-Evil: 1"),
        ("a b", "a b"),
        ("a,b", "a,b"),
        ("é", r"\xe9"),
        ("\u2028", r"\u2028"),
        ("\x85", r"\x85"),
        ("\u0661", r"\u0661"),
        ("\x00\x1b[31m", r"\x00\x1b[31m"),
        ("x" * 129, "x" * 128),
        ("é" * 128, r"\xe9" * 32),
    ],
)
def test_malformed_id_is_replaced_and_kept_apart_in_harmless_form(inbound: str, kept: str) -> None:
    request_id, refused = chosen_id(inbound, trusted=True)
    assert NEW.fullmatch(request_id)
    assert refused == kept
    assert refused.isprintable()
    assert len(refused) <= 128


def test_untrusted_id_is_replaced_and_kept_apart() -> None:
    request_id, refused = chosen_id("abc", trusted=False)
    assert NEW.fullmatch(request_id)
    assert refused == "abc"
