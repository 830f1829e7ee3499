"""Whatever comes over the wire: nothing raises, nothing unsafe leaves, nothing is changed."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

import pytest

from ctxkit import Key, bind, extract, inject
from ctxkit.propagation._own_header import LONGEST_HEADER, LONGEST_VALUE, WIDEST_NUMBER
from ctxkit.propagation._w3c import LONGEST_FIELD

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given  # noqa: E402 - after the skip
from hypothesis import strategies as st  # noqa: E402

WIRE = {"thread", "wire"}
NAMES = [f"property_{n}" for n in range(4)]
for _name in NAMES:
    Key[Any](_name, hops=WIRE)
Key[Any]("property_hex", hops=WIRE, dump=float.hex, load=float.fromhex)
HEADERS = ("ctxkit-context", "traceparent", "tracestate", "baggage")
PARENT = "00-12345678901234567890123456789012-1234567890123456-01"

_unsafe = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search

safe_text = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=100)
any_text = st.text(st.characters(exclude_categories=()), max_size=100)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text
dumpable = (
    st.none()
    | st.booleans()
    | st.integers(-(2**WIDEST_NUMBER) + 1, 2**WIDEST_NUMBER - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | safe_text
)
# Somewhere between noise and the real thing.
fragments = st.sampled_from(
    [
        *("v1 ", "v1", "{", "}", "[", ":", ",", '"', '"property_0"', "1e999", "NaN", "\\ud800"),
        *("00-", "-", "a" * 32, "b" * 16, "0" * 32, "01", "=", ";", " ", "\t", "\n", "\\n"),
        *(PARENT, "a=1", "k=v;p", "\x00", "\x85", "\u2028", "é", "%", "sentry-trace_id=1"),
    ]
)
noise = st.lists(fragments | any_text, max_size=12).map("".join)
objects = st.dictionaries(
    st.sampled_from(NAMES) | any_text,
    st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(any_text, inner)),
    max_size=5,
).map(lambda made: "v1 " + json.dumps(made))
text = noise | objects
values = text | st.binary(max_size=100) | text.map(lambda t: t.encode("utf-8", "surrogatepass"))
anything = values | scalars | st.lists(values, max_size=3) | st.lists(scalars, max_size=3)
names = st.sampled_from(HEADERS).flatmap(
    lambda name: st.sampled_from([name, name.title(), name.encode(), name.upper()])
)
mappings = st.dictionaries(names | any_text | st.binary(max_size=20) | st.none(), anything)
pairs = st.lists(st.tuples(names, anything) | scalars | st.lists(scalars, max_size=3))
environs = st.dictionaries(
    st.sampled_from(["HTTP_" + name.upper().replace("-", "_") for name in HEADERS]), anything
).map(lambda environ: {"REQUEST_METHOD": "GET", **environ})


@given(mappings | pairs | environs)
def test_no_carrier_raises_and_nothing_unsafe_comes_out(carrier: Any) -> None:
    received = extract(carrier, trusted=True)
    assert set(received) <= {*NAMES, "property_hex", "traceparent", "tracestate", "baggage"}
    for value in received.values():
        assert not (isinstance(value, str) and _unsafe(value))
        assert not (isinstance(value, float) and not isfinite(value))
    assert received.get("tracestate") is None or "traceparent" in received
    with bind(received):
        handed_on = inject({})
    again = extract(handed_on, trusted=True)
    assert again == received


@given(st.dictionaries(st.sampled_from([*NAMES, *HEADERS[1:]]), scalars | values | dumpable))
def test_nothing_unsafe_leaves_whatever_is_bound(bound: dict[Any, object]) -> None:
    with bind(bound):
        headers = inject({})
    for name, value in headers.items():
        assert type(value) is str
        assert value.isascii()
        assert value.isprintable()
        assert 0 < len(value) <= (LONGEST_HEADER if name == "ctxkit-context" else LONGEST_FIELD)


@given(st.dictionaries(st.sampled_from(NAMES), dumpable))
def test_dumpable_values_come_out_as_they_went_in(bound: dict[Any, object]) -> None:
    with bind(bound):
        received = extract(inject({}), trusted=True)
    assert received == bound
    assert {name: type(value) for name, value in received.items()} == {
        name: type(value) for name, value in bound.items()
    }


@given(st.floats(allow_nan=False))
def test_values_cross_by_dump_and_load(value: float) -> None:
    with bind(property_hex=value):
        assert extract(inject({}), trusted=True) == {"property_hex": value}


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=5000))
def test_text_crosses_whole_or_not_at_all(text: str) -> None:
    with bind(property_0=text):
        headers = inject({})
    received = extract(headers, trusted=True)
    assert received in ({}, {"property_0": text})
    if not received:
        escaped = json.dumps(text)
        assert len(text) > LONGEST_VALUE or len(escaped) > LONGEST_HEADER - 20


@given(mappings)
def test_inject_adds_to_any_carrier_without_touching_what_is_not_its_own(carrier: Any) -> None:
    before = dict(carrier)
    with bind(property_0="x", traceparent=PARENT, tracestate="a=1", baggage="k=v"):
        inject(carrier)
    ours = {
        name for name in {*before, *carrier} if isinstance(name, str) and name.lower() in HEADERS
    }
    kept = {name: value for name, value in before.items() if name not in ours}
    assert {name: value for name, value in carrier.items() if name not in ours} == kept
    assert carrier["ctxkit-context"] == 'v1 {"property_0":"x"}'
