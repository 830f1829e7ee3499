"""OpenTelemetry in the same process: it has the word, and reads what we write."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest
from helpers.follow import run_script

pytest.importorskip("opentelemetry.trace")

from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ctxkit import bind, extract, inject
from ctxkit.propagation import _left_out
from ctxkit.propagation._w3c import LONGEST_FIELD, TRACESTATE_MEMBERS

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given  # noqa: E402 - after the skip
from hypothesis import strategies as st  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS = "00-12345678901234567890123456789012-1234567890123456-01"
THEIRS = f"00-{7:032x}-{8:016x}-01"
FOREIGN = "00-22345678901234567890123456789012-2234567890123456-00"
SPAN = NonRecordingSpan(
    SpanContext(
        7, 8, is_remote=False, trace_flags=TraceFlags(1), trace_state=TraceState([("o", "1")])
    )
)

TRACE = TraceContextTextMapPropagator()
BAGGAGE = W3CBaggagePropagator()


@pytest.fixture(autouse=True)
def _standard_propagators() -> Iterator[None]:
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([TRACE, BAGGAGE]))
    yield
    propagate.set_global_textmap(before)
    _left_out._last.clear()


@pytest.fixture
def within() -> Iterator[Callable[[Context], None]]:
    tokens = []
    yield lambda context: tokens.append(attach(context))
    for token in reversed(tokens):
        detach(token)


@pytest.fixture(autouse=True)
def _handed_on() -> Iterator[None]:
    with bind(traceparent=OURS, tracestate="ours=1", baggage="a=1,sentry-x=1"):
        yield


def test_current_span_goes_before_what_was_handed_on(within: Callable[[Context], None]) -> None:
    within(trace.set_span_in_context(SPAN, Context()))
    assert inject({}) == {"traceparent": THEIRS, "tracestate": "o=1"}


def test_baggage_of_opentelemetry_goes_before_what_was_handed_on(
    within: Callable[[Context], None],
) -> None:
    within(baggage.set_baggage("sentry-b", "1 2", Context()))
    assert inject({}) == {
        "traceparent": OURS,
        "tracestate": "ours=1",
        "baggage": "sentry-b=1+2",
    }


def test_without_a_span_what_was_extracted_is_handed_on() -> None:
    assert inject({}, keys=["traceparent", "tracestate"]) == {
        "traceparent": OURS,
        "tracestate": "ours=1",
    }


def test_traceparent_of_a_client_span_is_left_alone(within: Callable[[Context], None]) -> None:
    within(trace.set_span_in_context(SPAN, Context()))
    there = {"Traceparent": FOREIGN, "Tracestate": "x=1"}
    assert inject({**there}) == there


def test_baggage_is_merged_with_what_is_there(within: Callable[[Context], None]) -> None:
    within(baggage.set_baggage("b", "1", baggage.set_baggage("x", "2", Context())))
    assert inject({"baggage": "x=1,y=2"})["baggage"] == "x=1,y=2,b=1"


def test_propagators_that_were_switched_off_stay_off(within: Callable[[Context], None]) -> None:
    propagate.set_global_textmap(CompositePropagator([]))
    within(trace.set_span_in_context(SPAN, Context()))
    assert inject({}) == {}


class _Single(TextMapPropagator):
    """Stands for B3 and its like, with a header of its own."""

    @property
    def fields(self) -> set[str]:
        return {"b3"}

    def __init__(self, value: Any) -> None:
        self.value = value

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Context:
        return context or Context()

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        if isinstance(self.value, Exception):
            raise self.value
        carrier["b3"] = self.value


def test_other_propagators_are_heard(within: Callable[[Context], None]) -> None:
    propagate.set_global_textmap(_Single("7-8-1"))
    within(trace.set_span_in_context(SPAN, Context()))
    assert inject({}) == {"b3": "7-8-1"}
    assert inject({"B3": "x"}) == {"B3": "x"}
    foreign = {"traceparent": FOREIGN, "tracestate": "x=1"}
    assert inject({**foreign}) == foreign
    assert inject({}, keys=["baggage"]) == {}


@pytest.mark.parametrize("value", ["a\nb", "é", 7, b"x"])
def test_what_is_no_header_is_not_taken_from_a_propagator(
    value: object, within: Callable[[Context], None]
) -> None:
    propagate.set_global_textmap(_Single(value))
    within(trace.set_span_in_context(SPAN, Context()))
    assert inject({}) == {}


def test_propagator_that_raises_does_not_break_the_call(
    within: Callable[[Context], None], caplog: pytest.LogCaptureFixture
) -> None:
    propagate.set_global_textmap(_Single(RuntimeError("SECRET")))
    within(trace.set_span_in_context(SPAN, Context()))
    assert inject({"a": "b"}) == {"a": "b"}
    assert caplog.messages == [
        "ctxkit.inject.left_out: opentelemetry: its propagators raised RuntimeError"
    ]


SDK_ALONE = """
import sys, ctxkit
from opentelemetry import trace
span = trace.NonRecordingSpan(trace.SpanContext(7, 8, False, trace.TraceFlags(1)))
assert "opentelemetry.propagate" not in sys.modules
assert ctxkit.inject({}) == {}
assert "opentelemetry.propagate" not in sys.modules
with trace.use_span(span):
    print(ctxkit.inject({})["traceparent"])
"""


def test_span_is_told_also_where_nothing_propagated_before() -> None:
    assert run_script(SDK_ALONE) == f"{THEIRS}\n"


def _by_them(headers: dict[str, str]) -> dict[str, str]:
    out: dict[str, str] = {}
    TRACE.inject(out, TRACE.extract(headers, Context()))
    return out


def _by_us(headers: dict[str, str]) -> dict[str, str]:
    with bind(traceparent="", tracestate="", baggage=""), bind(extract(headers, trusted=True)):
        return inject({})


# Where we differ, on purpose: theirs takes a newline at the end ($ in its pattern) and control
# characters in what a later version appends; it keeps all flags of a later version.
hexadecimal = st.text("0123456789abcdef", min_size=32, max_size=32)
parents = st.builds(
    "{}{}-{}-{}-{}{}".format,
    st.sampled_from(["", " ", "\t", "x"]),
    st.sampled_from(["00", "00", "01", "cc", "ff", "0", "FF", "zz"]),
    hexadecimal | st.sampled_from(["0" * 32, "A" * 32, "a" * 31]),
    hexadecimal.map(lambda text: text[:16]) | st.sampled_from(["0" * 16, "a" * 17]),
    st.sampled_from(["00", "01", "03", "1", "0g", "ff"]),
    st.sampled_from(["", "", " ", "-", "-x", "-x y ", "x"]),
)


@given(parents)
def test_parsers_of_traceparent_agree(parent: str) -> None:
    theirs = _by_them({"traceparent": parent}).get("traceparent")
    if theirs is not None and not parent.lstrip().startswith("00"):
        theirs = f"{theirs[:-2]}{int(theirs[-2:], 16) & 1:02x}"
    assert _by_us({"traceparent": parent}).get("traceparent") == theirs


# They know the keys of level 1, and discard a list with a key that comes twice, or with more
# than 8192 characters, which we shorten.
state_keys = st.from_regex(
    r"[a-z][a-z0-9_\-*/]{0,20}|[a-z0-9][a-z0-9_\-*/]{0,20}@[a-z][a-z0-9_\-*/]{0,13}", fullmatch=True
)
state_values = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters=",="),
    min_size=1,
    max_size=200,
)
blank = st.sampled_from(["", "", "", " ", "\t ", ","])
valid_members = st.lists(
    st.tuples(state_keys, state_values), max_size=TRACESTATE_MEMBERS + 2, unique_by=lambda m: m[0]
).map(lambda members: [f"{key}={value}" for key, value in members])
odd_members = st.lists(st.text("ab=A@\x00é 1", max_size=6), max_size=3, unique=True)


@given(valid_members, odd_members, blank)
def test_parsers_of_tracestate_agree(valid: list[str], odd: list[str], blank: str) -> None:
    state = f"{blank},".join([*valid, *odd])
    keys = [member.strip(" \t").partition("=")[0] for member in state.split(",")]
    hypothesis.assume(len({*filter(None, keys)}) == len([*filter(None, keys)]))
    hypothesis.assume(all(re.match("[a-z]", key) or "@" in key for key in keys if key))
    hypothesis.assume(all(not re.search("@$|@.*@|@[^a-z]", key) for key in keys))
    hypothesis.assume(len(state) <= LONGEST_FIELD)
    headers = {"traceparent": OURS, "tracestate": state}
    assert _by_us(headers) == _by_them(headers)


# They decode, keep the last of several members with one key, take up to 180 members, and leave
# the blanks in front of a property.
def _read_by_them(header: str) -> dict[str, str]:
    members = baggage.get_all(BAGGAGE.extract({"baggage": header}, Context()))
    return {key: _unblanked(str(value)) for key, value in members.items()}


def _read_by_us(header: str) -> dict[str, str]:
    """Return our baggage, decoded their way."""
    members = (member.partition("=") for member in header.split(",") if member)
    return {
        unquote_plus(key).strip(): _unblanked(unquote_plus(value).strip())
        for key, _, value in members
    }


def _unblanked(value: str) -> str:
    return re.sub("[ \t]*;[ \t]*", ";", value)


baggage_keys = st.from_regex(r"[A-Za-z0-9!#$&'*+.^_`|~\-]{1,20}", fullmatch=True)
baggage_texts = st.text('ab1%2=:/?é" \\\x00', max_size=8)
baggages = st.lists(
    st.builds(
        "{}{}={}{}{}".format,
        baggage_keys | st.text('ab é"', max_size=3),
        st.sampled_from(["", " "]),
        st.sampled_from(["", "\t"]),
        baggage_texts | st.from_regex(r"[A-Za-z0-9]{0,9}", fullmatch=True),
        st.sampled_from(["", "", ";p", ";p=1", ";p q", ";", ";=1"]),
    )
    | st.sampled_from(["", " ", "x"]),
    max_size=20,
).map(",".join)  # fmt: skip


@pytest.mark.skipif(
    tuple(map(int, version("opentelemetry-api").split(".")[:2])) < (1, 40),
    reason="an earlier OpenTelemetry refuses an empty value with a tab behind it",
)
@given(baggages)
def test_parsers_of_baggage_agree(header: str) -> None:
    received = str(extract({"baggage": header}, trusted=True).get("baggage", ""))
    assert _read_by_us(received) == _read_by_them(header)
    assert _read_by_them(received) == _read_by_them(header)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=50),
        max_size=20,
    )
)
def test_baggage_that_they_write_is_handed_on_unchanged(members: dict[str, str]) -> None:
    context = Context()
    for key, value in members.items():
        context = baggage.set_baggage(key, value, context)
    written: dict[str, str] = {}
    BAGGAGE.inject(written, context)
    hypothesis.assume(len(written.get("baggage", "")) <= LONGEST_FIELD)
    assert extract(written, trusted=True) == written


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255), valid_members)
def test_trace_that_they_write_is_handed_on_unchanged(
    trace_id: int, span_id: int, flags: int, members: list[str]
) -> None:
    state = TraceState.from_header([",".join(members)])
    span = NonRecordingSpan(
        SpanContext(
            trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags), trace_state=state
        )
    )
    written: dict[str, str] = {}
    TRACE.inject(written, trace.set_span_in_context(span, Context()))
    hypothesis.assume(len(written.get("tracestate", "")) <= LONGEST_FIELD)
    assert _by_us(written) == written
