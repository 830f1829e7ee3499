from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import sys
import threading
import weakref
from contextvars import Context, copy_context
from typing import Any

import pytest
from helpers.follow import in_plain_thread

from ctxkit import Local, capture


class Value: ...


def test_attribute_never_set_raises_and_names_itself() -> None:
    local = Local()
    with pytest.raises(AttributeError, match="'Local' object has no attribute 'x'") as never:
        local.x  # noqa: B018 - reading is what is tested
    assert (never.value.name, never.value.obj) == ("x", local)
    local.x = 1
    del local.x
    with pytest.raises(AttributeError, match="'Local' object has no attribute 'x'") as deleted:
        local.x  # noqa: B018
    assert (deleted.value.name, deleted.value.obj) == ("x", local)
    with pytest.raises(AttributeError, match="'x'"):
        del local.x
    with pytest.raises(AttributeError, match="'y'"):
        del local.y


def test_plain_thread_sees_nothing_and_changes_nothing() -> None:
    local = Local()
    local.x = 1

    def other() -> bool:
        seen = hasattr(local, "x")
        local.x = 2
        return seen

    assert in_plain_thread(other) is False
    assert local.x == 1


def test_copied_context_sees_the_value_and_keeps_its_own_writes() -> None:
    local = Local()
    local.x, local.y = "parent", "parent"
    one, other = copy_context(), copy_context()

    def write(value: str) -> tuple[str, bool]:
        before = local.x
        local.x = value
        del local.y
        return before, hasattr(local, "y")

    assert one.run(write, "one") == ("parent", False)
    assert other.run(write, "other") == ("parent", False)
    assert (one.run(getattr, local, "x"), other.run(getattr, local, "x")) == ("one", "other")
    assert (local.x, local.y) == ("parent", "parent")
    local.x = "later"
    assert one.run(getattr, local, "x") == "one"


def test_tasks_see_the_value_and_keep_their_own() -> None:
    local = Local()

    async def task(name: str) -> str:
        before = local.x
        local.x = name
        await asyncio.sleep(0)
        return f"{before} {local.x}"

    async def main() -> list[str]:
        local.x = "main"
        seen = await asyncio.gather(task("a"), task("b"))
        return [*seen, local.x]

    assert asyncio.run(main()) == ["main a", "main b", "main"]


def test_value_follows_into_a_thread_through_a_snapshot() -> None:
    local = Local()
    local.x = 1
    assert in_plain_thread(capture().run, getattr, local, "x") == 1


def test_dict_shows_and_changes_what_is_set_in_this_context() -> None:
    local = Local()
    local.x = 1
    names = local.__dict__
    assert names == {"x": 1}
    assert vars(local) == {"x": 1}
    local.y = 2
    assert names == {"x": 1, "y": 2}
    names.update(z=3)
    assert (local.z, names.pop("x"), hasattr(local, "x")) == (3, 1, False)
    assert (len(names), sorted(names), "x" in names, repr(names)) == (
        2,
        ["y", "z"],
        False,
        "{'y': 2, 'z': 3}",
    )
    assert names.setdefault("y", 9) == 2
    with pytest.raises(KeyError):
        names["x"]
    with pytest.raises(KeyError):
        del names["x"]
    with pytest.raises(KeyError):
        del names["never"]
    assert in_plain_thread(dict, names) == {}
    names.clear()
    assert vars(local) == {}
    assert {**vars(local), "other": 1} == {"other": 1}


def test_dict_is_neither_replaced_nor_deleted() -> None:
    local = Local()
    with pytest.raises(AttributeError, match="'Local' object attribute '__dict__' is read-only"):
        local.__dict__ = {}
    with pytest.raises(AttributeError, match="'Local' object attribute '__dict__' is read-only"):
        del local.__dict__


def test_arguments_are_for_classes_with_an_init() -> None:
    with pytest.raises(TypeError, match="arguments are not supported"):
        Local(1)
    with pytest.raises(TypeError, match="arguments are not supported"):
        Local(a=1)

    class Bare(Local):
        pass

    with pytest.raises(TypeError, match="arguments are not supported"):
        Bare(1)


class Counting(Local):
    """A subclass with everything that a subclass may have."""

    shared: Any = "class"
    runs: list[str] = []  # noqa: RUF012 - shared by all instances on purpose

    def __init__(self, start: int, *, step: int = 1) -> None:
        super().__init__()
        self.runs.append(threading.current_thread().name)
        self.count = start
        self.__dict__.update(step=step)

    def add(self) -> int:
        self.count += self.step
        return self.count

    @property
    def double(self) -> int:
        return self.count * 2

    @double.setter
    def double(self, value: int) -> None:
        self.count = value // 2


@pytest.fixture(autouse=True)
def _forget_runs() -> None:
    Counting.runs.clear()


def test_init_runs_with_its_arguments_again_in_each_context_without_a_value() -> None:
    local = Counting(5, step=2)
    assert len(Counting.runs) == 1
    assert [local.add(), local.add()] == [7, 9]
    assert in_plain_thread(local.add) == 7
    assert Context().run(local.add) == 7
    assert len(Counting.runs) == 3
    assert copy_context().run(local.add) == 11
    assert len(Counting.runs) == 3, "a copied context has a value"
    assert local.count == 9


@pytest.mark.parametrize(
    "use",
    [
        lambda local: local.count,
        lambda local: local.conditional,
        lambda local: setattr(local, "count", 1),
        lambda local: setattr(local, "fresh", 1),
        lambda local: delattr(local, "count"),
        lambda local: local.__dict__,
    ],
)
def test_init_runs_once_at_whatever_use_is_the_first(use: Any) -> None:
    class Conditional(Counting):
        def __init__(self) -> None:
            super().__init__(0)
            if len(self.runs) > 1:
                self.conditional = True

    local = Conditional()

    def first_and_second() -> tuple[int, int]:
        use(local)
        after_first = len(Counting.runs)
        local.step  # noqa: B018 - the second use
        return after_first, len(Counting.runs)

    assert in_plain_thread(first_and_second) == (2, 2)


def test_init_that_fails_leaves_nothing_and_runs_again() -> None:
    class Failing(Local):
        attempts = 0

        def __init__(self) -> None:
            self.half = True
            Failing.attempts += 1
            if Failing.attempts % 2 == 0:
                raise LookupError

    local = Failing()

    def twice() -> bool:
        with pytest.raises(LookupError):
            local.half  # noqa: B018
        return local.half

    Failing.attempts = 1
    assert in_plain_thread(twice) is True


def test_init_that_fails_takes_back_what_it_set() -> None:
    class Failing(Local):
        attempts = 0

        def __init__(self) -> None:
            Failing.attempts += 1
            if Failing.attempts == 2:
                self.half = True
                raise LookupError
            self.whole = True

    local = Failing()

    def twice() -> dict[str, object]:
        with pytest.raises(LookupError):
            local.whole  # noqa: B018
        return dict(vars(local))

    assert in_plain_thread(twice) == {"whole": True}


def test_subclass_keeps_its_class_attributes_properties_and_methods() -> None:
    local = Counting(5)
    assert local.shared == "class"
    local.shared = "mine"
    assert (local.shared, in_plain_thread(getattr, local, "shared")) == ("mine", "class")
    del local.shared
    assert local.shared == "class"
    local.double = 20
    assert (local.count, local.double) == (10, 20)
    local.add = lambda: "mine"  # type: ignore[method-assign,assignment,return-value]  # as on any object
    assert local.add() == "mine"
    assert in_plain_thread(lambda: local.add()) == 6  # noqa: PLW0108 - read it in that thread
    assert "double" not in local.__dict__


def test_subclass_is_what_its_instances_say_they_are() -> None:
    local = Counting(5)
    assert isinstance(local, Counting)
    assert local.__class__ is Counting
    assert "Counting object at" in repr(local)
    assert type(local)(7).count == 7


def test_subclass_with_getattr_of_its_own_is_asked_last() -> None:
    class Answering(Local):
        def __init__(self) -> None:
            self.x = 1

        def __getattr__(self, name: str) -> str:
            return f"no {name}"

    local = Answering()
    assert (local.x, local.y) == (1, "no y")
    assert in_plain_thread(lambda: (local.y, local.x)) == ("no y", 1)


def test_subclass_with_setattr_of_its_own_may_pass_on() -> None:
    class Shouting(Local):
        def __setattr__(self, name: str, value: str) -> None:
            super().__setattr__(name, value.upper())

    local = Shouting()
    local.x = "x"
    assert local.x == "X"


def test_slots_of_a_subclass_are_shared_by_all_contexts() -> None:
    class Slotted(Local):
        __slots__ = ("shared",)

    local = Slotted()
    local.shared = 1
    local.own = 2  # type: ignore[attr-defined]  # that is the point
    assert in_plain_thread(lambda: (local.shared, hasattr(local, "own"))) == (1, False)


def test_value_dies_with_the_local() -> None:
    value = Value()
    gone = weakref.ref(value)
    local = Local()
    local.x = value
    del value, local
    assert gone() is None


def test_value_that_holds_the_local_dies_with_it() -> None:
    value: Any = Value()
    gone = weakref.ref(value)
    value.local = Local()
    value.local.x = value
    del value
    gc.collect()
    assert gone() is None


def test_value_dies_with_the_context() -> None:
    local = Local()
    value = Value()
    gone = weakref.ref(value)
    context = copy_context()
    context.run(setattr, local, "x", value)
    del value
    assert gone() is not None
    del context
    assert gone() is None
    assert not hasattr(local, "x")


def test_value_dies_when_it_is_replaced_or_deleted() -> None:
    local = Local()
    for forget in (lambda: setattr(local, "x", None), lambda: delattr(local, "x")):
        value = Value()
        gone = weakref.ref(value)
        local.x = value
        del value
        assert gone() is not None
        forget()
        assert gone() is None


def test_values_of_a_dropped_local_are_not_found_in_another() -> None:
    # A dropped Local's ContextVar serves again, in contexts that still hold its last value.
    for _ in range(100):
        first = Counting(1)
        first.x = "left"
        context = copy_context()
        del first
        second = Local()
        assert not hasattr(second, "x")
        assert not context.run(hasattr, second, "x")
        third = Counting(2)
        assert context.run(getattr, third, "count") == 2
        del second, third


def test_values_of_a_local_dropped_in_a_cycle_are_not_found_in_another() -> None:
    for _ in range(10):
        value: Any = Value()
        value.local = Counting(1)
        value.local.x = value
        del value
        gc.collect()
        other = Counting(2)
        assert (in_plain_thread(getattr, other, "count"), other.count) == (2, 2)
        assert Context().run(lambda other=other: other.count) == 2


def test_dropped_locals_leave_nothing_in_a_context() -> None:
    def make() -> None:
        Local().x = 1

    make()
    before = len(copy_context())
    for _ in range(100):
        make()
    assert len(copy_context()) <= before + 1


def test_finaliser_of_a_subclass_still_sees_its_values() -> None:
    seen: list[int] = []

    class Closing(Local):
        def __del__(self) -> None:
            seen.append(self.x)

    local = Closing()
    local.x = 1
    del local
    assert seen == [1]


def test_finaliser_in_a_cycle_still_sees_its_values() -> None:
    seen: list[object] = []

    class Closing(Local):
        def __del__(self) -> None:
            seen.append((self.x, sorted(vars(self))))

    local = Closing()
    local.x = 1
    local.myself = local
    del local
    gc.collect()
    assert seen == [(1, ["myself", "x"])]


def test_finaliser_in_a_cycle_may_set_and_delete() -> None:
    seen: list[object] = []
    refs: list[weakref.ref[Value]] = []

    class Closing(Local):
        def __del__(self) -> None:
            for number in range(3):
                self.x = number
            del self.y
            self.z = value = Value()
            refs.append(weakref.ref(value))
            seen.append((self.x, hasattr(self, "y"), self.z is value))

    local = Closing()
    local.x, local.y = Value(), Value()
    refs += [weakref.ref(local.x), weakref.ref(local.y)]
    local.myself = local
    del local
    gc.collect()
    assert seen == [(2, False, True)]
    assert [ref() for ref in refs] == [None, None, None]


def test_values_die_with_a_local_whose_finaliser_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: failures.append(report.exc_type))

    class Failing(Local):
        def __del__(self) -> None:
            raise LookupError

    local = Failing()
    value = Value()
    gone = weakref.ref(value)
    local.x = value
    del value, local
    assert gone() is None
    assert failures == [LookupError]


def test_setting_what_is_there_leaves_the_context_as_it_was() -> None:
    local = Local()
    local.x = value = Value()
    before = copy_context()
    local.x = value
    assert copy_context() == before
    local.x = Value()
    assert copy_context() != before


def test_value_equal_to_the_one_before_takes_its_place() -> None:
    local = Local()
    local.x, local.y = [1], None
    replacement = [1]
    local.x, local.y = replacement, 0
    assert local.x is replacement
    assert local.y == 0


def test_cells_that_a_context_keeps_of_dropped_locals_lead_to_no_value() -> None:
    long_lived = Context()
    for number in range(100):
        local = Local()
        assert not long_lived.run(hasattr, local, "x"), number
        long_lived.run(setattr, local, "x", number)
        assert long_lived.run(getattr, local, "x") == number
    assert len(long_lived) <= 2


def test_local_is_neither_pickled_nor_copied() -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle 'Local' object"):
            attempt(Local())


def test_local_can_be_referred_to_weakly() -> None:
    local = Local()
    assert weakref.ref(local)() is local


def test_threads_that_declare_attributes_at_once_lose_none() -> None:
    local = Local()
    barrier = threading.Barrier(8, timeout=10)
    wrong: list[object] = []

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(200):
            setattr(local, f"name{turn}", (number, turn))
        wrong.extend(
            name for turn in range(200) if getattr(local, name := f"name{turn}") != (number, turn)
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []


def test_dict_of_a_local_is_copied_and_joined_like_a_dict() -> None:
    local = Local()
    local.x = 1
    names: Any = vars(local)
    assert names.copy() == {"x": 1}
    assert (names | {"x": 2, "y": 3}, {"x": 2, "y": 3} | names) == (
        {"x": 2, "y": 3},
        {"x": 1, "y": 3},
    )
    names |= {"y": 3}
    assert local.y == 3
