from __future__ import annotations

import copy
import pickle
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest
from helpers.follow import in_plain_thread

from ctxkit import (
    ConfigurationError,
    Key,
    KeyNotBoundError,
    ThreadPoolExecutor,
    bind,
    capture,
    current,
    get,
)


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


def test_set_binds_from_here_on_in_this_context_alone() -> None:
    key = Key[str]("tenant")

    def inside() -> str:
        key.set("acme")
        return key.get()

    with bind(user="alice"):
        assert copy_context().run(inside) == "acme"
        assert key.get(None) is None
        key.set("globex")
        assert (key.get(), current()["user"]) == ("globex", "alice")
    assert key.get(None) is None


@pytest.mark.parametrize("hops", ["thread", ["thread", "moon"], None, 7, [["thread"]]], ids=repr)
def test_hops_that_are_no_set_of_known_ones_are_refused(hops: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"log, process, thread, wire"):
        Key("tenant", hops=hops)


@pytest.mark.parametrize("what", ["copy", "dump", "load"])
def test_function_of_a_key_that_cannot_be_called_is_refused(what: str) -> None:
    options: dict[str, Any] = {what: 7}
    with pytest.raises(ConfigurationError, match=rf"{what}=.*callable"):
        Key("tenant", **options)


@pytest.mark.parametrize(("given", "missing"), [("dump", "load"), ("load", "dump")])
def test_one_half_of_dump_and_load_is_refused(given: str, missing: str) -> None:
    options: dict[str, Any] = {given: str}
    with pytest.raises(ConfigurationError, match=f"Add {missing}="):
        Key("tenant", **options)


def test_name_that_is_declared_otherwise_is_refused() -> None:
    Key("declared_here", hops={"thread", "log"})
    Key("declared_here")  # one that declares nothing only reads
    Key("declared_here", hops=["log", "thread"])  # the same again: a reloaded module
    with pytest.raises(ConfigurationError, match=f"in {__name__}"):
        Key("declared_here", hops={"log"})
    with pytest.raises(ConfigurationError, match=f"in {__name__}"):
        Key("declared_here", hops={"thread", "log"}, copy=list)


def test_key_that_does_not_go_to_threads_is_left_out_there_and_nowhere_else() -> None:
    key = Key[str]("bound_to_the_thread", hops=())
    with bind({key: "outer", "tenant": "acme"}), bind(user="alice"):
        snapshot = capture()
    assert snapshot.run(lambda: (key.get(None), get("tenant"))) == ("outer", "acme")

    def there() -> tuple[object, ...]:
        frame = current()
        return key.get(None), frame.root.get(key), get("tenant"), get("user")

    assert in_plain_thread(snapshot.run, there) == (None, None, "acme", "alice")
    with bind({key: "outer"}), ThreadPoolExecutor(1) as pool:
        assert pool.submit(key.get, None).result(10) is None


def test_value_with_a_copy_is_copied_for_each_run_when_it_is_captured() -> None:
    cart = Key[list[str]]("cart", copy=list)
    with bind({cart: ["apple"]}):
        snapshot = capture()
        cart.get().append("pear")
        assert cart.get() == ["apple", "pear"]
    for _ in range(2):
        assert snapshot.run(_with_plum, cart) == ["apple", "plum"]
    for _ in range(2):
        with snapshot.apply():
            assert _with_plum(cart) == ["apple", "plum"]
    with bind({cart: ["fig"]}), ThreadPoolExecutor(1) as pool:
        assert pool.submit(_with_plum, cart).result(10) == ["fig", "plum"]
        assert cart.get() == ["fig"]


def _with_plum(cart: Key[list[str]]) -> list[str]:
    cart.get().append("plum")
    return cart.get()


def test_key_knows_the_module_that_declares_it_also_with_its_type() -> None:
    assert Key[str]("typed").module == Key("untyped").module == __name__


def test_key_that_was_pickled_or_copied_has_no_default_either() -> None:
    key = Key[str]("travelling")
    for other in (pickle.loads(pickle.dumps(key)), copy.deepcopy(key)):
        with pytest.raises(KeyNotBoundError):
            other.get()


def test_key_of_a_module_that_is_executed_again_is_declared_again() -> None:
    def declare() -> Key[list[int]]:
        return Key("declared_again", copy=partial(sorted, reverse=True))

    assert declare() == declare()
    with pytest.raises(ConfigurationError, match="declares other hops, copy"):
        Key("declared_again", copy=partial(list))
