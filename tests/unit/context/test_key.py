from __future__ import annotations

import pickle

import pytest

from ctxkit import ConfigurationError, Key, KeyNotBoundError, bind


def test_get_unbound_with_default_of_the_key_returns_it() -> None:
    assert Key("tenant", default="public").get() == "public"


def test_get_unbound_with_own_default_goes_before_the_keys() -> None:
    assert Key("tenant", default="public").get("own") == "own"
    assert Key("tenant", default="public").get(None) is None


def test_get_bound_goes_before_every_default() -> None:
    key = Key[str]("tenant", default="public")
    with bind({key: "acme"}):
        assert key.get() == "acme"
        assert key.get("own") == "acme"


def test_get_bound_to_none_returns_none() -> None:
    with bind(tenant=None):
        assert Key[object]("tenant", default="public").get() is None


def test_get_unbound_without_default_raises_lookup_error() -> None:
    with pytest.raises(LookupError, match=r"'tenant' is not bound .* ctxkit\.bind\(tenant="):
        Key("tenant").get()


def test_key_not_bound_error_pickles_with_its_data() -> None:
    error = pickle.loads(pickle.dumps(KeyNotBoundError("tenant")))
    assert (type(error), error.name, str(error)) == (
        KeyNotBoundError,
        "tenant",
        str(KeyNotBoundError("tenant")),
    )


@pytest.mark.parametrize("name", ["", "two words", "7up", "a-b", "a.b", None, 7, b"tenant"])
def test_name_that_is_no_identifier_is_refused(name: object) -> None:
    with pytest.raises(ConfigurationError, match="identifier"):
        Key(name)  # type: ignore[arg-type]  # that is the point


def test_keys_of_one_name_are_equal_and_bind_the_same_value() -> None:
    assert Key("tenant") == Key("tenant", default="public")
    assert len({Key("tenant"), Key("tenant")}) == 1
    assert Key("tenant") != Key("user")
    assert Key("tenant") != "tenant"
    with bind({Key("tenant"): "acme"}):
        assert Key("tenant").get() == "acme"


def test_repr_names_key_and_default() -> None:
    assert repr(Key("tenant")) == "Key('tenant')"
    assert repr(Key("tenant", default=None)) == "Key('tenant', default=None)"
