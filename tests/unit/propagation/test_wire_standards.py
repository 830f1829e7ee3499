"""W3C's headers: what is taken, what is handed on, what becomes of those that are there."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.follow import run_script

from ctxkit import bind, extract, inject
from ctxkit.propagation import BAGGAGE, TRACEPARENT, TRACESTATE, _left_out
from ctxkit.propagation._w3c import (
    BAGGAGE_MEMBERS,
    HUGE,
    LONGEST_FIELD,
    valid_baggage,
    valid_traceparent,
    valid_tracestate,
)

PARENT = "00-12345678901234567890123456789012-1234567890123456-01"
OTHER = "00-22345678901234567890123456789012-2234567890123456-00"


@pytest.fixture(autouse=True)
def _nothing_was_said() -> None:
    _left_out._last.clear()


# The cases of W3C's own test suite, and some more.
@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (PARENT, PARENT),
        (f" {PARENT}\t", PARENT),
        (PARENT[:-2] + "ff", PARENT[:-2] + "ff"),
        ("cc" + PARENT[2:], PARENT),
        ("cc" + PARENT[2:-2] + "fe", PARENT[:-2] + "00"),
        ("cc" + PARENT[2:] + "-what-the-future-brings", PARENT),
        ("cc" + PARENT[2:] + "-", PARENT),
        ("cc" + PARENT[2:] + ".what", None),
        ("cc" + PARENT[2:] + "-a\n", None),
        ("ff" + PARENT[2:], None),
        (PARENT + "-", None),
        (PARENT + "-00", None),
        (PARENT + ".", None),
        (PARENT + "\n", None),
        (PARENT + "\x85", None),
        (PARENT[:-1], None),
        (PARENT + "1", None),
        (".0" + PARENT[2:], None),
        ("0" + PARENT, None),
        (PARENT[1:], None),
        (PARENT.replace("9", "A"), None),
        (PARENT.replace("9", "g"), None),
        ("00-" + "0" * 32 + PARENT[35:], None),
        (PARENT[:36] + "0" * 16 + "-01", None),
        ("00-" + "0" * 31 + "1" + PARENT[35:], "00-" + "0" * 31 + "1" + PARENT[35:]),
        (PARENT.replace("1", "\u0661"), None),
        (f"{PARENT},{PARENT}", None),
        ("", None),
        ("cc" + PARENT[2:] + "-" + "x" * HUGE, None),
    ],
)
def test_traceparent_is_taken_by_the_letter(text: str, taken: str | None) -> None:
    assert valid_traceparent(text) == taken


_32 = ",".join(f"bar{n:02}={n}" for n in range(32))


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"),
        (",foo=1,, ,", "foo=1"),
        ("", ""),
        (" \t", ""),
        ("foo=1,foo=2", "foo=1,foo=2"),
        (_32, _32),
        (_32 + ",bar32=1", ""),
        ("z" * 256 + "=" + "v" * 256, "z" * 256 + "=" + "v" * 256),
        ("z" * 257 + "=1", ""),
        ("z=" + "v" * 257, ""),
        ("1a-_*/@z=1", "1a-_*/@z=1"),
        ("t61rcWkgMzE=1", ""),
        ("foo =1", ""),
        ("@foo=1", ""),
        ("foo.bar=1", ""),
        ("foo", ""),
        ("foo=", ""),
        ("foo=a=b", ""),
        ("foo=a b", "foo=a b"),
        ("foo=\x1f", ""),
        ("foo=\x7f", ""),
        ("foo=é", ""),
        ("foo=1\n", ""),
        ("," * 179 + "foo=1", "foo=1"),
        ("," * 180 + "foo=1", ""),
        ("foo=1,bar=\x85", ""),
    ],
)
def test_tracestate_is_taken_whole_or_not_at_all(text: str, taken: str) -> None:
    assert valid_tracestate(text) == taken


def test_tracestate_that_is_too_long_loses_long_members_first_and_then_the_last() -> None:
    long = [f"l{n:02}{'k' * 39}={'x' * 256}" for n in range(28)]
    short = ["a=1", "b=2", "c=3"]
    text = ",".join([*short[:1], *long, *short[1:]])
    kept = valid_tracestate(text).split(",")
    assert [member for member in kept if member[0] != "l"] == short
    assert kept == [short[0], *long[: len(kept) - 3], *short[1:]]
    assert len(",".join(kept)) <= LONGEST_FIELD < len(",".join(kept)) + 305


def test_tracestate_beyond_reason_is_not_read() -> None:
    assert valid_tracestate("a=1," + " " * HUGE) == ""


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("a=1,b=2", "a=1,b=2"),
        (
            "key1=value1;property1;property2, key2 = value2, key3=value3; property3=value4",
            "key1=value1;property1;property2,key2=value2,key3=value3;property3=value4",
        ),
        ("a=", "a="),
        ("a==b=", "a==b="),
        ("a=1,a=2", "a=1,a=2"),
        ("a=%C3%A9%ff%", "a=%C3%A9%ff%"),
        (",a=1,,", "a=1"),
        ("a=1;,b=2", "b=2"),
        ("a=1;p=q=r", "a=1;p=q=r"),
        ("a;b=1,c=3", "c=3"),
        ("a,b=2", "b=2"),
        ("=1,b=2", "b=2"),
        ("a b=1,b=2", "b=2"),
        ("a=1 2,b=2", "b=2"),
        ('a="1",b=2', "b=2"),
        ("a=\\,b=2", "b=2"),
        ("a=é,b=2", "b=2"),
        ("é=1,b=2", "b=2"),
        ("a=1\n,b=2", "b=2"),
        ("a=\x00;\x85,b=2", "b=2"),
        ("a\t=\t1\t;\tp\t,b=2", "a=1;p,b=2"),
        ("a = 1 ; p = q ;r ,b=2", "a=1;p=q;r,b=2"),
        ("," * 178 + "a=1,b=2", "a=1,b=2"),
        ("," * 179 + "a=1,b=2", "a=1"),
        ("", ""),
    ],
)
def test_baggage_keeps_its_valid_members(text: str, taken: str) -> None:
    assert valid_baggage(text) == taken


def test_baggage_beyond_the_limits_loses_members_and_never_a_part_of_one() -> None:
    many = [f"k{n}={n}" for n in range(BAGGAGE_MEMBERS + 10)]
    assert valid_baggage(",".join(many)).split(",") == many[:BAGGAGE_MEMBERS]
    assert valid_baggage(f"a={'x' * 8000},b={'y' * 300},c=1") == f"a={'x' * 8000},c=1"
    assert valid_baggage("a=" + "x" * (LONGEST_FIELD - 2)) == "a=" + "x" * (LONGEST_FIELD - 2)
    assert valid_baggage("a=" + "x" * (LONGEST_FIELD - 1)) == ""
    assert valid_baggage("a=1," + " " * HUGE) == ""


def test_trace_is_extracted_and_handed_on_as_it_came() -> None:
    inbound = {"traceparent": PARENT, "tracestate": "foo=1,bar=2", "baggage": "a=1;p,b=%20"}
    received = extract(inbound, trusted=True)
    assert received == inbound
    with bind(received):
        assert (TRACEPARENT.get(), TRACESTATE.get()) == (PARENT, "foo=1,bar=2")
        assert BAGGAGE.get() == "a=1;p,b=%20"
        assert inject({}) == inbound


def test_fields_in_parts_are_joined_in_their_order() -> None:
    headers = [
        (b"tracestate", b"foo=1,bar=2"),
        (b"traceparent", PARENT.encode()),
        (b"TraceState", b""),
        (b"tracestate", b"baz=3"),
        (b"baggage", b"a=1"),
        (b"baggage", b"b=2"),
    ]
    received = extract(headers, trusted=True)
    assert received["tracestate"] == "foo=1,bar=2,baz=3"
    assert received["baggage"] == "a=1,b=2"


@pytest.mark.parametrize("parent", ["", "x", PARENT.upper().replace("0", "A"), 7, [PARENT, PARENT]])
def test_tracestate_is_dropped_with_its_traceparent(
    parent: object, caplog: pytest.LogCaptureFixture
) -> None:
    received = extract({"traceparent": parent, "tracestate": "a=1"}, trusted=True)
    assert received == {}
    assert caplog.messages == ["ctxkit.extract.left_out: traceparent: invalid"]
    assert extract({"tracestate": "a=1"}, trusted=True) == {}


def test_tracestate_that_is_invalid_spares_its_traceparent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    received = extract({"traceparent": PARENT, "tracestate": "SECRET=1"}, trusted=True)
    assert received == {"traceparent": PARENT, "tracestate": ""}
    [line] = caplog.messages
    assert "tracestate" in line
    assert "SECRET" not in line


def test_tracestate_of_an_outer_frame_does_not_join_another_traceparent() -> None:
    with (
        bind(traceparent=OTHER, tracestate="outer=1"),
        bind(extract({"traceparent": PARENT}, trusted=True)),
    ):
        assert inject({}) == {"traceparent": PARENT}


@pytest.mark.parametrize("name", ["tracestate", "baggage"])
def test_field_beyond_reason_is_named(name: str, caplog: pytest.LogCaptureFixture) -> None:
    extract({"traceparent": PARENT, name: "a=1," * HUGE}, trusted=True)
    assert caplog.messages == [f"ctxkit.extract.left_out: {name}: longer than {HUGE} characters"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("traceparent", f"{PARENT}\r\nX-Evil: 1"), ("traceparent", 7), ("baggage", "a=1\nb"),
     ("baggage", b"a=1"), ("tracestate", "a=1\n")],
)  # fmt: skip
def test_what_code_bound_by_hand_is_checked_before_it_leaves(name: str, value: object) -> None:
    with bind({name: value}):
        assert inject({}) == {}


def test_traceparent_that_is_there_wins_with_its_tracestate() -> None:
    with bind(traceparent=PARENT, tracestate="ours=1"):
        theirs = {"TraceParent": OTHER, "tracestate": "theirs=1"}
        assert inject({**theirs}) == theirs
        assert inject({"traceparent": OTHER}) == {"traceparent": OTHER}


def test_tracestate_without_its_traceparent_gives_way() -> None:
    with bind(traceparent=PARENT):
        assert inject({"Tracestate": "stale=1"}) == {"traceparent": PARENT}
    with bind(traceparent=PARENT, tracestate="ours=1"):
        expected = {"traceparent": PARENT, "tracestate": "ours=1"}
        assert inject({"Tracestate": "stale=1"}) == expected


@pytest.mark.parametrize(
    ("present", "ours", "merged"),
    [
        ("x=1", "a=1,b=2", "x=1,a=1,b=2"),
        ("a=9;p", "a=1,b=2", "a=9;p,b=2"),
        (" x = 1 , ", "a=1", "x = 1,a=1"),
        ("", "a=1", "a=1"),
        ("junk", "a=1", "junk,a=1"),
        ("x=1\n", "a=1", "x=1\n"),
        (b"x=1", "a=1", b"x=1"),
        (None, "a=1", None),
        ("x=1", "a=1,a=2", "x=1,a=1,a=2"),
        ("x=" + "y" * 8186, "a=1", "x=" + "y" * 8186 + ",a=1"),
        ("x=" + "y" * 8187, "a=1", "x=" + "y" * 8187),
        ("x=" + "y" * 8180, "bcdefghijk=1,a=1", "x=" + "y" * 8180 + ",a=1"),
        ("sentry-trace_id=1", "sentry-sampled=1,a=1", "sentry-trace_id=1,a=1"),
    ],
)
def test_baggage_that_is_there_is_kept_and_added_to(present: Any, ours: str, merged: Any) -> None:
    with bind(baggage=ours):
        [value] = inject({"Baggage": present}).values()
    assert value == merged


def test_baggage_never_gets_more_members_than_there_may_be() -> None:
    present = ",".join(f"k{n}=1" for n in range(BAGGAGE_MEMBERS - 1))
    with bind(baggage="a=1,b=2"):
        assert inject({"baggage": present})["baggage"] == f"{present},a=1"


def test_keys_limit_the_standard_headers_too() -> None:
    with bind(traceparent=PARENT, tracestate="a=1", baggage="b=1"):
        assert inject({}, keys=()) == {}
        assert inject({}, keys=[TRACEPARENT]) == {"traceparent": PARENT}
        assert set(inject({}, keys=[TRACEPARENT, TRACESTATE])) == {"traceparent", "tracestate"}
        assert inject({}, keys=[BAGGAGE]) == {"baggage": "b=1"}
        assert inject({}, keys=[TRACESTATE]) == {}


ALONE = f"""
import sys, ctxkit
with ctxkit.bind(traceparent={PARENT!r}, baggage="a=1,sentry-sampled=1"):
    print(ctxkit.inject({{}}))
    assert not {{"opentelemetry", "sentry_sdk", "logging"}} & set(sys.modules)
    import types
    sys.modules["sentry_sdk"] = types.ModuleType("sentry_sdk")
    print(ctxkit.inject({{}}, keys=["baggage"]))
"""


def test_sentrys_members_are_handed_on_only_where_sentry_is_not_in_use() -> None:
    first, second = run_script(ALONE).splitlines()
    assert first == str({"traceparent": PARENT, "baggage": "a=1,sentry-sampled=1"})
    assert second == str({"baggage": "a=1"})
