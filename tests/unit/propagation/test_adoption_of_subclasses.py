"""What packages build on ``threading.local`` works on a ``Local`` as it did."""

from __future__ import annotations

import copy
import gc
import importlib
import pickle
import sys
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest
from helpers.follow import in_plain_thread

from ctxkit import Local, adopt
from ctxkit.propagation import _import_hook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Write modules, and import the last."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    # What other tests wait for, and what these do.
    monkeypatch.setattr(_import_hook, "_waiting", {})
    names: list[str] = []

    def load(**sources: str) -> Any:
        for name, source in sources.items():
            tmp_path.joinpath(f"{name}.py").write_text(f"import threading\n{source}")
            names.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(names[-1])

    yield load
    for name in names:
        sys.modules.pop(name, None)


def test_init_is_run_anew_in_each_context_with_the_first_arguments(load: Any) -> None:
    module = load(
        petal="class State(threading.local):\n"
        "    runs = []\n"
        "    def __init__(self, first, *, second):\n"
        "        self.runs.append((first, second))\n"
        "        self.items = [first, second]\n"
        "state = State(1, second=2)\n"
    )
    adopt("petal", "state")
    assert module.State.runs == [(1, 2)], "nothing is run before it is used"
    one, other = copy_context(), copy_context()
    one.run(lambda: module.state.items.append(3))
    assert one.run(lambda: module.state.items) == [1, 2, 3]
    assert other.run(lambda: module.state.items) == [1, 2]
    assert in_plain_thread(lambda: module.state.items) == [1, 2]


@pytest.mark.parametrize("name", ["state", "*"])
def test_arguments_survive_the_thread_that_gave_them(load: Any, name: str) -> None:
    module = load(
        petal="class State(threading.local):\n"
        "    def __init__(self, **given): self.given = given\n"
        "def make():\n"
        "    global state\n"
        "    state = State(user='alice')\n"
        "thread = threading.Thread(target=make)\nthread.start()\nthread.join()\n"
    )
    gc.collect()
    adopt("petal", name)
    assert module.state.given == {"user": "alice"}


def test_slots_keep_their_values_and_are_not_taken_for_arguments(load: Any) -> None:
    module = load(
        petal="class State(threading.local):\n"
        "    __slots__ = ('lock', 'pair', 'options', 'unset', '__hidden')\n"
        "    def __init__(self, *given, **named):\n"
        "        self.given = given, named\n"
        "        self.__hidden = 7\n"
        "    def hidden(self): return self.__hidden\n"
        "state = State(1)\n"
        "state.lock, state.pair, state.options = threading.Lock(), (8, 9), {'a': 1}\n"
    )
    lock = module.state.lock
    adopt("petal", "state")
    state = module.state
    assert isinstance(state, Local)
    assert state.given == ((1,), {})
    assert (state.lock, state.pair, state.options) == (lock, (8, 9), {"a": 1})
    assert not hasattr(state, "unset")
    state.pair = None
    assert in_plain_thread(lambda: (state.pair, state.given, state.hidden())) == (
        None,
        ((1,), {}),
        7,
    ), "slots belong to no thread and to no context"


def test_class_that_its_methods_name_takes_its_place_as_well(load: Any) -> None:
    module = load(
        petal="class Base(threading.local):\n"
        "    def __init__(self):\n"
        "        super(Base, self).__init__()\n"
        "        self.made = [self.__class__]\n"
        "class State(Base):\n"
        "    def who(self): return [isinstance(self, each) for each in (State, Base)]\n"
        "state, other = State(), Base()\n"
    )
    adopt("petal", "state")
    assert isinstance(module.state, Local)
    assert module.state.made == [module.State]
    assert module.state.who() == [True, True]
    assert isinstance(module.other, module.Base)
    assert module.other.made == [module.Base]


@pytest.mark.parametrize("early", [True, False])
def test_subclasses_of_other_modules_follow_their_base(load: Any, early: bool) -> None:  # noqa: FBT001 - a parameter of the test
    if early:
        adopt("stem", "Base")
    module = load(
        stem="class Base(threading.local):\n    def greet(self): return [__class__]\n",
        petal="from stem import Base\n"
        "class State(Base):\n"
        "    def greet(self): return [__class__, *super().greet(), *Base.greet(self)]\n"
        "state = State()\n",
    )
    adopt("stem", "Base")
    assert issubclass(module.State, Local)
    assert isinstance(module.state, module.State)
    assert module.state.greet() == [module.State, module.Base, module.Base]
    assert sys.modules["stem"].Base is module.Base


def test_classes_adopted_one_after_the_other_stay_related(load: Any) -> None:
    module = load(
        petal="class Base(threading.local): pass\nclass State(Base): pass\nstate = State()\n"
    )
    for name in ("state", "State", "Base"):
        adopt("petal", name)
    assert isinstance(module.state, module.State)
    assert issubclass(module.State, module.Base)
    assert issubclass(module.Base, Local)


def test_descriptors_and_defaults_of_a_class_work(load: Any) -> None:
    module = load(
        petal="from functools import cached_property, lru_cache\n"
        "class Base(threading.local):\n"
        "    shared = {}\n"
        "    mode = None\n"
        "    @property\n"
        "    def user(self): return self.__dict__.get('_user', 'nobody')\n"
        "    @user.setter\n"
        "    def user(self, value): self._user = value\n"
        "    @user.deleter\n"
        "    def user(self): del self._user\n"
        "    def name(self): return 'base'\n"
        "    def __getattr__(self, name):\n"
        "        if name.startswith('made_'): return name\n"
        "        raise AttributeError(name)\n"
        "class State(Base):\n"
        "    @cached_property\n"
        "    def once(self): return [super().name(), self.user]\n"
        "    @staticmethod\n"
        "    @lru_cache\n"
        "    def double(n): return 2 * n\n"
        "state = State()\n"
    )
    adopt("petal", "state")
    state = module.state
    state.user = "alice"
    assert (state.user, state.once, state.made_up, state.double(4)) == (
        "alice",
        ["base", "alice"],
        "made_up",
        8,
    )
    assert state.once is state.once
    assert in_plain_thread(lambda: (state.user, state.once)) == ("nobody", ["base", "nobody"])
    del state.user
    assert state.user == "nobody"
    state.shared["key"] = state.mode = 1
    assert in_plain_thread(lambda: (state.shared, state.mode)) == ({"key": 1}, None)
    with pytest.raises(AttributeError, match="nothing"):
        _ = state.nothing


def test_dict_of_a_local_is_used_as_packages_do(load: Any) -> None:
    module = load(petal="state = threading.local()\n")
    adopt("petal", "state")
    state = module.state
    state.__dict__.update(user="alice", number=1)
    assert vars(state).get("user") == "alice"
    assert state.__dict__.pop("number") == 1
    assert state.__dict__.setdefault("items", []) == []
    assert in_plain_thread(lambda: dict(state.__dict__)) == {}
    state.__dict__.clear()
    assert not hasattr(state, "user")
    setattr(state, "app.models:Order", True)
    delattr(state, "app.models:Order")
    with pytest.raises(AttributeError):
        delattr(state, "app.models:Order")
    with pytest.raises(AttributeError):
        state.__dict__ = {}


@pytest.mark.parametrize("refused", [copy.copy, copy.deepcopy, pickle.dumps])
def test_adopted_local_is_neither_copied_nor_pickled(load: Any, refused: Any) -> None:
    module = load(petal="class State(threading.local): pass\nstate = State()\n")
    with pytest.raises(TypeError, match="pickle"):
        refused(module.state)
    adopt("petal", "state")
    with pytest.raises(TypeError, match="pickle"):
        refused(module.state)


def test_pure_python_twin_is_adopted_too(load: Any) -> None:
    module = load(
        petal="from _threading_local import local\n"
        "class State(local):\n"
        "    def __init__(self, first, *, second=2): self.given = first, second\n"
        "plain, state = local(), State(1, second=3)\n"
    )
    adopt("petal", "*")
    assert isinstance(module.plain, Local)
    assert issubclass(module.State, Local)
    assert module.state.given == (1, 3)
    copy_context().run(setattr, module.plain, "user", "alice")
    assert not hasattr(module.plain, "user")


def test_local_from_before_threading_was_patched_is_adopted_too(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load(petal="state = threading.local()\n")
    monkeypatch.setattr(threading, "local", type("Patched", (), {}))
    adopt("petal", "state")
    assert isinstance(module.state, Local)


def test_nested_class_keeps_its_qualified_name(load: Any) -> None:
    module = load(
        petal="class Holder:\n"
        "    class State(threading.local): pass\n"
        "    state = State()\n"
        "    def __init__(self): self.own = threading.local()\n"
        "holder = Holder()\n"
    )
    adopt("petal", "Holder.state")
    adopt("petal", "holder.own")
    assert isinstance(module.Holder.state, Local)
    assert module.Holder.state.__class__.__qualname__ == "Holder.State"
    assert isinstance(module.holder.own, Local)
