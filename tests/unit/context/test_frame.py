from __future__ import annotations

import gc
import pickle
import weakref
from contextvars import Context, copy_context

import pytest

from ctxkit import ConfigurationError, Frame, Key, KeyNotBoundError, bind, current, get
from ctxkit.context import NO_FRAME, Deadline, Lazy
from ctxkit.context._current import CURRENT


def test_current_outside_of_everything_is_the_empty_frame() -> None:
    assert Context().run(current) is NO_FRAME
    assert len(NO_FRAME) == 0


def test_bind_shows_values_inside_and_takes_them_back() -> None:
    with bind(tenant="acme") as outer:
        assert current() is outer
        with bind({Key("user"): 7}, tenant="other"):
            assert dict(current()) == {"tenant": "other", "user": 7}
        assert dict(current()) == {"tenant": "acme"}
    assert get("tenant") is None


def test_bind_left_by_an_exception_takes_its_values_back() -> None:
    with pytest.raises(ZeroDivisionError), bind(tenant="acme"):
        raise ZeroDivisionError
    assert get("tenant") is None


def test_bind_entered_twice_is_refused() -> None:
    bound = bind(tenant="acme")
    with bound, pytest.raises(RuntimeError, match="entered before"):
        bound.__enter__()
    assert get("tenant") is None


@pytest.mark.parametrize("name", ["two words", "", 7])
def test_bind_with_a_bad_name_is_refused_and_binds_nothing(name: object) -> None:
    with pytest.raises(ConfigurationError):
        bind({name: 1}, tenant="acme")  # type: ignore[dict-item]  # that is the point
    assert get("tenant") is None


def test_bind_left_in_another_context_restores_there_and_does_not_raise() -> None:
    bound = bind(tenant="acme")
    with bind(tenant="before"):
        bound.__enter__()
        elsewhere = copy_context()
        elsewhere.run(bound.__exit__, None, None, None)
        assert elsewhere.run(get, "tenant") == "before"


def test_bind_left_in_another_context_with_another_frame_on_top_leaves_that_alone() -> None:
    bound = bind(tenant="acme")
    copy_context().run(bound.__enter__)
    with bind(tenant="mine"):
        bound.__exit__(None, None, None)
        assert get("tenant") == "mine"


def test_bind_keeps_the_root_and_the_deadline_beneath() -> None:
    root = Frame({"tenant": "acme"}, deadline=Deadline.after(60))

    def inside() -> None:
        CURRENT.set(root)
        with bind(user=7) as outer, bind() as inner:
            assert (outer.root, outer.deadline) == (root, root.deadline)
            assert (inner.root, inner.deadline) == (root, root.deadline)
            assert dict(inner) == {"tenant": "acme", "user": 7}
        assert dict(root) == {"tenant": "acme"}

    Context().run(inside)
    with bind(user=7) as frame:
        assert (frame.root, frame.deadline) == (NO_FRAME, None)


def test_bind_left_leaves_its_frame_to_nobody() -> None:
    with bind(tenant="acme") as frame:
        gone = weakref.ref(frame)
        del frame
        assert gone() is not None
    gc.disable()
    try:
        assert gone() is None
    finally:
        gc.enable()


def test_bind_leaves_the_mapping_it_was_given_alone() -> None:
    values: dict[str | Key[object], object] = {"tenant": "acme"}
    with bind(values, user=7), bind(values) as frame:
        assert dict(frame) == {"tenant": "acme", "user": 7}
    assert values == {"tenant": "acme"}


def test_bind_left_before_it_is_entered_does_nothing() -> None:
    bound = bind(tenant="acme")
    bound.__exit__(None, None, None)
    assert get("tenant") is None
    with bound:
        assert get("tenant") == "acme"


def test_bind_left_twice_is_left_once() -> None:
    bound = bind(tenant="acme")
    with bind(tenant="outer"):
        bound.__enter__()
        bound.__exit__(None, None, None)
        with bind(tenant="later"):
            bound.__exit__(None, None, None)
            assert get("tenant") == "later"


def test_frame_bound_in_a_copied_context_is_not_seen_by_the_original() -> None:
    with bind(tenant="acme"):
        copy_context().run(lambda: bind(tenant="other").__enter__())
        assert get("tenant") == "acme"


def test_get_returns_the_default_where_nothing_is_bound() -> None:
    assert get("tenant") is None
    assert get("tenant", "own") == "own"
    assert get(Key("tenant", default="public")) == "public"
    assert get(Key("tenant", default="public"), "own") == "own"


def test_get_with_a_key_bound_to_none_returns_none() -> None:
    with bind(tenant=None):
        assert get(Key("tenant", default="public")) is None


def test_frame_is_a_read_only_mapping() -> None:
    frame = Frame({"tenant": "acme"})
    assert (frame["tenant"], frame[Key("tenant")], Key("tenant") in frame) == (
        "acme",
        "acme",
        True,
    )
    assert (list(frame), len(frame), "user" in frame) == (["tenant"], 1, False)
    with pytest.raises(KeyNotBoundError):
        frame["user"]
    with pytest.raises(TypeError):
        frame["tenant"] = "other"  # type: ignore[index]  # that is the point


def test_frames_are_equal_by_identity_and_compare_no_values() -> None:
    class Untouchable:
        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment]  # nor hash it

    one, other = Frame({"user": Untouchable()}), Frame({"user": Untouchable()})
    assert one != other
    assert one == one  # noqa: PLR0124 - the comparison is what is tested
    assert hash(one) != hash(other)


def test_extended_keeps_root_and_deadline_and_leaves_the_frame_alone() -> None:
    root = Frame({"tenant": "acme"}, deadline=Deadline.after(60))
    frame = root.extended({"user": 7})
    assert (dict(root), dict(frame)) == ({"tenant": "acme"}, {"tenant": "acme", "user": 7})
    assert (frame.root, frame.deadline, root.root) == (root, root.deadline, root)


def test_lazy_value_is_resolved_at_each_read_and_not_before() -> None:
    routes = iter(["first", "second", "third"])
    with bind(route=Lazy(lambda _: next(routes))) as frame:
        assert (get("route"), frame["route"], frame.get("route")) == ("first", "second", "third")


def test_repr_names_values_and_does_not_show_them() -> None:
    assert repr(Frame({"password": "secret"})) == "<Frame password>"
    assert repr(NO_FRAME) == "<Frame empty>"


def test_configuration_error_pickles_with_its_data() -> None:
    error = pickle.loads(pickle.dumps(ConfigurationError("timeout=", "is -1", "Write 2.")))
    assert (error.setting, error.problem, error.fix) == ("timeout=", "is -1", "Write 2.")
    assert str(error) == "timeout= is -1. Write 2."
