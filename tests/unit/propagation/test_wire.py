"""Our own header, out of a frame and into one."""

from __future__ import annotations

import logging
import sys
from collections import UserDict
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit import ConfigurationError, Key, bind, current, extract, get, inject
from ctxkit.boundary import METHOD, PATH, PROTOCOL, REQUEST_ID
from ctxkit.context import Lazy
from ctxkit.propagation import _left_out
from ctxkit.propagation._own_header import LONGEST_HEADER, LONGEST_VALUE, MOST_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

WIRE = {"thread", "wire"}
TENANT = Key[Any]("wired_tenant", hops=WIRE)
PLAN = Key[Any]("wired_plan", hops=WIRE)
STAYS = Key[str]("wired_not_at_all")


def _dump_number(value: int) -> str:
    return f"{value:x}"


def _load_number(text: str) -> int:
    return int(text, 16)


NUMBER = Key[Any]("wired_number", hops=WIRE, dump=_dump_number, load=_load_number)


def _unhex(text: str) -> str:
    return bytes.fromhex(text).decode("utf-8", "surrogatepass")


def _hex(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").hex()


HEXED = Key[str]("wired_hexed", hops=WIRE, dump=_hex, load=_unhex)
MANY = [Key[Any](f"wired_{n}", hops=WIRE) for n in range(MOST_KEYS + 6)]


@pytest.fixture(autouse=True)
def _nothing_was_said() -> Iterator[None]:
    _left_out._last.clear()
    yield
    _left_out._last.clear()


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    listener = _Listener()
    logger = logging.getLogger("ctxkit.propagation")
    logger.addHandler(listener)
    yield listener.lines
    logger.removeHandler(listener)


def _sent(**values: object) -> dict[str, Any]:
    with bind(**values):
        return inject({})


def _received(header: object, name: str = "ctxkit-context") -> dict[Any, object]:
    return extract({name: header}, trusted=True)


@pytest.mark.rule("F-90")
def test_inject_writes_bound_keys_that_declare_the_wire_and_nothing_else() -> None:
    headers = _sent(wired_tenant="acme", wired_not_at_all="x", undeclared="y")
    assert headers == {"ctxkit-context": 'v1 {"wired_tenant":"acme"}'}


def test_inject_of_nothing_writes_nothing() -> None:
    assert inject({}) == {}


def test_inject_returns_the_carrier_itself() -> None:
    carrier = UserDict({"Accept": "*/*"})
    with bind(wired_tenant="acme"):
        assert inject(carrier) is carrier
    assert carrier["Accept"] == "*/*"
    assert "ctxkit-context" in carrier


class Plan(StrEnum):
    PRO = "pro"


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    "value",
    [
        *("", "acme", 'a"\\b', "é € 😀", "x" * LONGEST_VALUE),
        *(0, -7, 2**128 - 1, True, False, None, 0.1, -0.0, 1e308, 5e-324, Plan.PRO, Level.HIGH),
    ],
)
def test_scalar_comes_out_as_it_went_in(value: object) -> None:
    received = extract(_sent(wired_tenant=value), trusted=True)
    assert received == {"wired_tenant": value}
    assert type(received["wired_tenant"]) in {str, int, float, bool, type(None)}


def test_value_crosses_by_dump_and_load() -> None:
    headers = _sent(wired_number=255)
    assert headers["ctxkit-context"] == 'v1 {"wired_number":"ff"}'
    assert extract(headers, trusted=True) == {"wired_number": 255}


def test_value_that_is_computed_is_computed_for_the_wire() -> None:
    assert "acme" in _sent(wired_tenant=Lazy(lambda _: "acme"))["ctxkit-context"]


@pytest.mark.rule("F-90")
def test_extracted_values_can_be_bound() -> None:
    with bind(extract(_sent(wired_tenant="acme"), trusted=True)):
        assert TENANT.get() == "acme"


class _Proxy:
    """Says that it is a string, as Django's lazy objects do."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return str


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("x" * (LONGEST_VALUE + 1), f"longer than {LONGEST_VALUE}"),
        ("SECRET\n", "control characters"),
        ("SECRET\x85", "control characters"),
        ("SECRET\u2028", "control characters"),
        ("SECRET\ud800", "control characters"),
        ("SECRET\x7f", "control characters"),
        ("€" * 1024, "are full"),
        (2**128, "128 bits"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (["SECRET"], "dump="),
        ({"a": "SECRET"}, "dump="),
        (b"SECRET", "dump="),
        pytest.param(_Proxy(), "dump=", id="proxy"),
    ],
)
def test_value_that_cannot_cross_is_left_out_and_only_its_key_is_said(
    value: object, why: str, said: list[str]
) -> None:
    headers = _sent(wired_tenant=value, wired_plan="pro")
    assert headers == {"ctxkit-context": 'v1 {"wired_plan":"pro"}'}
    [line] = said
    assert line.startswith("ctxkit.inject.left_out: wired_tenant: ")
    assert why in line
    assert "SECRET" not in line


def test_dump_that_raises_or_returns_no_text_leaves_its_value_out(said: list[str]) -> None:
    def broken(value: object) -> Any:
        if value == "raise":
            raise RuntimeError("SECRET")
        return 7

    Key[Any]("wired_broken", hops=WIRE, dump=broken, load=str)
    assert _sent(wired_broken="raise") == _sent(wired_broken="return") == {}
    assert [line.partition(": ")[2] for line in said] == [
        "wired_broken: dump() raised RuntimeError",
        "wired_broken: dump() returned no str",
    ]


def test_header_has_a_size_and_what_still_fits_is_sent(said: list[str]) -> None:
    values = {key.name: "x" * 1000 for key in MANY[:5]}
    headers = _sent(**values, wired_plan="pro")
    assert len(headers["ctxkit-context"]) <= LONGEST_HEADER
    received = extract(headers, trusted=True)
    assert "wired_plan" in received
    assert len(received) == 5
    assert len(said) == 1
    assert "are full" in said[0]


def test_header_can_be_filled_to_the_last_character() -> None:
    empty = len(_sent(wired_0="", wired_1="", wired_2="", wired_3="", wired_4="")["ctxkit-context"])
    room = LONGEST_HEADER - empty
    full = {f"wired_{n}": "x" * LONGEST_VALUE for n in range(3)}
    full |= {"wired_3": "x" * 900, "wired_4": "x" * (room - 3 * LONGEST_VALUE - 900)}
    headers = _sent(**full)
    assert len(headers["ctxkit-context"]) == LONGEST_HEADER
    assert extract(headers, trusted=True) == full
    full["wired_4"] += "x"
    assert extract(_sent(**full), trusted=True).keys() == full.keys() - {"wired_4"}


def test_header_has_a_number_of_keys() -> None:
    headers = _sent(**{key.name: 1 for key in MANY})
    assert len(extract(headers, trusted=True)) == MOST_KEYS


def test_keys_limit_what_is_sent() -> None:
    with bind(wired_tenant="acme", wired_plan="pro"):
        assert inject({}, keys=[PLAN]) == {"ctxkit-context": 'v1 {"wired_plan":"pro"}'}
        assert inject({}, keys={"wired_tenant"}) == {"ctxkit-context": 'v1 {"wired_tenant":"acme"}'}
        assert inject({}, keys=()) == {}


@pytest.mark.parametrize("key", [STAYS, "wired_not_at_all", METHOD, PATH, PROTOCOL, "unheard_of"])
def test_key_that_does_not_declare_the_wire_cannot_be_asked_for(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="Declare it: Key"):
        inject({}, keys=[key])


def test_keys_as_a_string_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Write \['wired_tenant'\]"):
        inject({}, keys="wired_tenant")


@pytest.mark.parametrize("carrier", [None, "", b"", 7, [], (), MappingProxyType({}), object()])
def test_inject_into_what_is_no_mutable_mapping_is_a_configuration_error(carrier: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"inject\(carrier\) must be a mutable mapping"):
        inject(carrier)


def test_header_of_somebody_else_is_replaced_whatever_its_case() -> None:
    forged = {"Ctxkit-Context": 'v1 {"wired_tenant":"evil"}', "CTXKIT-CONTEXT": "x", "other": "1"}
    with bind(wired_tenant="acme"):
        assert inject({**forged}) == {
            "other": "1",
            "ctxkit-context": 'v1 {"wired_tenant":"acme"}',
        }
    assert inject({**forged}) == {"other": "1"}


def test_names_that_are_no_strings_do_not_disturb() -> None:
    carrier: dict[Any, Any] = {b"x": 1, 7: 2, None: 3}
    with bind(wired_tenant="acme"):
        assert len(inject(carrier)) == 4


def test_untrusted_carrier_gives_nothing() -> None:
    headers = _sent(wired_tenant="acme")
    headers["traceparent"] = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    assert extract(headers) == extract(headers, trusted=False) == {}


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("carrier", [None, "x", b"x", bytearray(b"x"), 7, object()])
def test_extract_of_what_holds_no_headers_is_a_configuration_error(
    carrier: object,
    trusted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    with pytest.raises(ConfigurationError, match=r"extract\(carrier\) must hold headers"):
        extract(carrier, trusted=trusted)


HEADER = 'v1 {"wired_tenant":"acme"}'


@pytest.mark.parametrize(
    "carrier",
    [
        {"ctxkit-context": HEADER},
        {"Ctxkit-Context": HEADER.encode()},
        {b"CTXKIT-CONTEXT": HEADER},
        {"ctxkit-context": [HEADER], 7: 8, None: None},
        [(b"host", b"x"), (b"ctxkit-context", HEADER.encode())],
        (("ctxkit-context", (HEADER.encode(),)), "odd", None, (1, 2, 3), 7),
        iter([["ctxkit-context", f" {HEADER}\t"]]),
        {"REQUEST_METHOD": "GET", "HTTP_CTXKIT_CONTEXT": HEADER},
        UserDict({"ctxkit-context": HEADER}),
    ],
)
def test_extract_reads_every_kind_of_carrier(carrier: object) -> None:
    assert extract(carrier, trusted=True) == {"wired_tenant": "acme"}


def test_variables_of_the_server_are_no_headers() -> None:
    environ = {"REQUEST_METHOD": "GET", "ctxkit-context": HEADER, "CTXKIT_CONTEXT": HEADER}
    assert extract(environ, trusted=True) == {}


@pytest.mark.rule("F-90")
def test_only_keys_that_declare_the_wire_are_taken(said: list[str]) -> None:
    names = ("method", "path", "protocol", "wired_not_at_all", "traceparent", "é", "", "unheard")
    members = ",".join(f'"{name}":"x"' for name in names)
    header = f"v1 {{{members}}}".encode("ascii", "backslashreplace").decode()
    assert _received(header.replace("\\xe9", "\\u00e9")) == {}
    assert said == []


@pytest.mark.rule("F-90")
@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("", "not of version v1"),
        ("v1", "not JSON"),
        ("v1 ", "not JSON"),
        ('{"wired_tenant":"acme"}', "not of version v1"),
        ('v2 {"wired_tenant":"acme"}', "not of version v1"),
        ('v1{"wired_tenant":"acme"}', "not of version v1"),
        ('v1 {"wired_tenant":"acme"', "not JSON"),
        ('v1 {"wired_tenant":"acme"} x', "not JSON"),
        (f"{HEADER}, {HEADER}", "not JSON"),
        ('v1 ["wired_tenant"]', "not a JSON object"),
        ('v1 "wired_tenant"', "not a JSON object"),
        ("v1 null", "not a JSON object"),
        ('v1 {"wired_tenant":NaN}', "not JSON"),
        ('v1 {"wired_tenant":-Infinity}', "not JSON"),
        ("v1 " + "[" * 4000, "not JSON"),
        ("v1 " + '{"a":' * 800, "not JSON"),
        ('v1 {"wired_tenant":"a","wired_tenant":"b"}', "a name comes twice"),
        ('v1 {"wired_tenant":"a","wired_tenan\\u0074":"b"}', "a name comes twice"),
        ('v1 {"wired_tenant":"é"}', "not printable ASCII"),
        ('v1 {"wired_tenant":"a\tb"}', "not printable ASCII"),
        ('v1 {"wired_tenant":"a\x7f"}', "not printable ASCII"),
        ('v1 {"wired_tenant":"a"}\n', "not printable ASCII"),
        ("v1 {" + " " * LONGEST_HEADER + "}", f"longer than {LONGEST_HEADER}"),
        ("v1 {" + ",".join(f'"{n}":0' for n in range(MOST_KEYS + 1)) + "}", "more than 64 keys"),
        (7, "more than one, or no text"),
        (None, "more than one, or no text"),
        ([], "more than one, or no text"),
        ([HEADER, HEADER], "more than one, or no text"),
        ({"a": HEADER}, "more than one, or no text"),
    ],
)
def test_malformed_header_is_refused_as_a_whole(header: object, why: str, said: list[str]) -> None:
    assert _received(header) == {}
    [line] = said
    assert line.startswith(f"ctxkit.extract.left_out: ctxkit-context: {why}")


def test_header_in_two_cases_is_refused() -> None:
    assert extract({"ctxkit-context": HEADER, "Ctxkit-Context": HEADER}, trusted=True) == {}


@pytest.mark.rule("F-90")
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('"SECRET\\n"', "control characters"),
        ('"SECRET\\u0085"', "control characters"),
        ('"SECRET\\u2029"', "control characters"),
        ('"SECRET\\u0000"', "control characters"),
        ('"SECRET\\ud800"', "control characters"),
        ('"SECRET\\udc80\\ud800"', "control characters"),
        (f'"{"x" * (LONGEST_VALUE + 1)}"', "longer than"),
        ("1e999", "finite"),
        ("-1e999", "finite"),
        ("9" * 40, "bits"),
        ('["SECRET"]', "neither str"),
        ('{"SECRET":1}', "neither str"),
    ],
)
def test_value_that_breaks_a_limit_is_left_out_and_only_its_key_is_said(
    value: str, why: str, said: list[str]
) -> None:
    received = _received(f'v1 {{"wired_plan":"pro","wired_tenant":{value}}}')
    assert received == {"wired_plan": "pro"}
    [line] = said
    assert line.startswith("ctxkit.extract.left_out: wired_tenant: ")
    assert why in line
    assert "SECRET" not in line


@pytest.mark.parametrize("value", ['"SECRET"', "7", "null", '["1"]'])
def test_load_that_refuses_leaves_its_value_out(value: str, said: list[str]) -> None:
    assert _received(f'v1 {{"wired_number":{value}}}') == {}
    assert len(said) == 1
    assert "wired_number" in said[0]
    assert "SECRET" not in said[0]


@pytest.mark.parametrize("hidden", ["a\nb", "a\u2028", "\x85", "\ud800"])
def test_loaded_text_is_looked_at_as_well(hidden: str) -> None:
    assert _received(f'v1 {{"wired_hexed":"{_hex(hidden)}"}}') == {}
    assert _sent(wired_hexed=hidden) == {}
    assert extract(_sent(wired_hexed="aé"), trusted=True) == {"wired_hexed": "aé"}


def test_number_beyond_pythons_own_limit_is_no_error() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert _received('v1 {"wired_tenant":' + "9" * 700 + "}") == {}
    finally:
        sys.set_int_max_str_digits(before)


def test_same_fault_is_said_once_a_minute(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(_left_out, "monotonic", lambda: now[0])
    for _ in range(3):
        _received("v2 {}")
    _sent(wired_tenant=[], wired_plan=[])
    _sent(wired_tenant=[], wired_plan=[])
    assert len(said) == 2
    now[0] += 61
    _received("v2 {}")
    assert len(said) == 3


def test_request_id_crosses_and_is_checked_like_one_of_a_client() -> None:
    assert extract(_sent(request_id="r-1"), trusted=True) == {"request_id": "r-1"}
    assert extract(_sent(request_id="not an id"), trusted=True) == {}
    assert _received('v1 {"request_id":"a b"}') == {}
    assert REQUEST_ID.hops == {"thread", "process", "log", "wire"}
    assert METHOD.hops == PATH.hops == PROTOCOL.hops == {"thread"}


def test_inject_and_extract_leave_the_frame_alone() -> None:
    with bind(wired_tenant="acme") as frame:
        extract(inject({}), trusted=True)
        assert current() is frame
    assert get("wired_tenant") is None
