from __future__ import annotations

import importlib
import sys
import threading
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

import pytest
from helpers.follow import in_plain_thread, run_script

from ctxkit import AdoptionError, ConfigurationError, Local, adopt
from ctxkit.propagation import _import_hook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

THIRD = '''
import threading
from threading import local

plain = local()
executed = []

class Base(threading.local):
    shared = "class"

    def greet(self):
        return "base"

def decorated(f):
    def inner(*args):
        return f(*args)
    return inner

class Cache(Base):
    """Say what it is."""

    def __init__(self, first=1, *, second=2):
        super().__init__()
        executed.append(threading.get_ident())
        self.data = {}
        self.arguments = first, second

    def greet(self):
        return "cache " + super().greet()

    @decorated
    def deep(self):
        return super().greet(), __class__

    @property
    def home(self):
        return __class__

    @classmethod
    def make(cls):
        return cls(super().__name__ if False else 3)

    @staticmethod
    def who():
        return __class__

cache = Cache(7, second=8)
other_cache = Cache()

class Holder:
    storage = local()

def set_user(user):
    plain.user = user

def get_user():
    return getattr(plain, "user", None)
'''
FRIEND = "from third_party import plain as theirs, cache, Cache\n"


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two modules that can be imported and are not yet."""
    (tmp_path / "third_party.py").write_text(THIRD)
    (tmp_path / "third_friend.py").write_text(FRIEND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield "third_party"
    for name in ("third_party", "third_friend"):
        sys.modules.pop(name, None)
        _import_hook.forget(name)


def _imported() -> tuple[Any, Any]:
    return importlib.import_module("third_party"), importlib.import_module("third_friend")


def test_without_adoption_tasks_of_one_thread_see_each_other(third: str) -> None:
    module, _ = _imported()
    copy_context().run(module.set_user, "alice")
    assert module.get_user() == "alice"


@pytest.mark.parametrize("early", [True, False])
def test_instance_is_replaced_everywhere(third: str, early: bool) -> None:  # noqa: FBT001 - a parameter of the test
    if early:
        adopt(third, "plain")
        assert third not in sys.modules
    module, friend = _imported()
    adopt(third, "plain")
    assert isinstance(module.plain, Local)
    assert friend.theirs is module.plain
    one, other = copy_context(), copy_context()
    one.run(module.set_user, "alice")
    other.run(module.set_user, "bob")
    assert [one.run(module.get_user), other.run(module.get_user), module.get_user()] == [
        "alice",
        "bob",
        None,
    ]


@pytest.mark.parametrize("early", [True, False])
def test_instance_of_a_subclass_starts_anew_in_each_context(third: str, early: bool) -> None:  # noqa: FBT001
    if early:
        adopt(third, "cache")
    module, friend = _imported()
    adopt(third, "cache")
    assert friend.cache is module.cache
    assert isinstance(module.cache, Local)
    one, other = copy_context(), copy_context()
    assert one.run(getattr, module.cache, "arguments") == (7, 8)
    assert one.run(getattr, module.cache, "data") is not other.run(getattr, module.cache, "data"), (
        "what __init__ makes at the import must not be shared by all requests"
    )
    one.run(lambda: module.cache.data.update(user="alice"))
    for context in (other, copy_context(), Context()):
        assert context.run(getattr, module.cache, "data") == {}


def test_adopted_subclass_keeps_its_methods_and_super(third: str) -> None:
    module, _ = _imported()
    old = module.Cache()
    adopt(third, "cache")
    cache = module.cache
    kind = cache.__class__
    assert (cache.greet(), cache.deep(), cache.home, cache.who(), cache.shared) == (
        "cache base",
        ("base", kind),
        kind,
        kind,
        "class",
    )
    assert (kind.__name__, kind.__module__, kind.__doc__) == (
        "Cache",
        "third_party",
        "Say what it is.",
    )
    assert (old.greet(), old.deep(), old.home) == ("cache base", ("base", type(old)), type(old))
    assert module.other_cache.greet() == "cache base"


@pytest.mark.parametrize("early", [True, False])
def test_subclass_is_replaced_with_its_instances(third: str, early: bool) -> None:  # noqa: FBT001
    if early:
        adopt(third, "Cache")
    module, friend = _imported()
    adopt(third, "Cache")
    assert issubclass(module.Cache, Local)
    assert friend.Cache is module.Cache
    for instance in (module.cache, module.other_cache, module.Cache(5), module.Cache.make()):
        assert isinstance(instance, module.Cache)
        assert instance.greet() == "cache base"
    assert friend.cache is module.cache
    assert (module.cache.arguments, module.other_cache.arguments) == ((7, 8), (1, 2))
    assert in_plain_thread(getattr, module.cache, "arguments") == (7, 8)


def test_attribute_of_a_class_is_adopted_by_its_dotted_name(third: str) -> None:
    adopt(third, "Holder.storage")
    module, _ = _imported()
    assert isinstance(module.Holder.storage, Local)


def test_adopting_again_changes_nothing(third: str) -> None:
    module, _ = _imported()
    adopt(third, "plain")
    adopt(third, "Cache")
    first = (module.plain, module.Cache, module.cache)
    for name in ("plain", "Cache", "cache"):
        adopt(third, name)
    assert (module.plain, module.Cache, module.cache) == first


def test_hook_is_one_and_leaves_no_trace_on_the_module(
    third: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever other tests wait for.
    monkeypatch.setattr(_import_hook, "_waiting", {})
    before = [finder for finder in sys.meta_path if finder is not _import_hook._finder]
    monkeypatch.setattr(sys, "meta_path", before[:])
    for name in ("plain", "plain", "cache", "Holder.storage", "o*", "o*"):
        adopt(third, name)
    assert len(sys.meta_path) == len(before) + 1
    module, _ = _imported()
    taken = (module.plain, module.cache, module.Holder.storage, module.other_cache)
    assert all(isinstance(each, Local) for each in taken)
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__.loader is module.__loader__
    _import_hook.forget(third)
    assert sys.meta_path == [_import_hook._finder, *before], "to take it out races with imports"
    assert not isinstance(importlib.reload(module).plain, Local)


@pytest.mark.parametrize("name", ["plain", "*"])
@pytest.mark.parametrize("early", [True, False])
def test_module_that_is_executed_again_is_adopted_again(third: str, name: str, early: bool) -> None:  # noqa: FBT001
    if early:
        adopt(third, name)
    module, _ = _imported()
    adopt(third, name)
    first = module.plain
    importlib.reload(module)
    assert isinstance(module.plain, Local)
    assert module.plain is not first
    del sys.modules[third]
    module = importlib.import_module(third)
    assert isinstance(module.plain, Local)


def test_import_that_failed_is_adopted_when_it_succeeds(third: str, tmp_path: Path) -> None:
    adopt(third, "plain")
    (tmp_path / "third_party.py").write_text(f"{THIRD}\nraise RuntimeError('once')\n")
    with pytest.raises(RuntimeError, match="once"):
        importlib.import_module(third)
    (tmp_path / "third_party.py").write_text(THIRD)
    importlib.invalidate_caches()
    assert isinstance(importlib.import_module(third).plain, Local)


def test_one_that_is_refused_takes_no_other_with_it(third: str) -> None:
    adopt(third, "nothing")
    adopt(third, "plain")
    with pytest.raises(AdoptionError, match="no 'nothing' in 'third_party'\\. "):
        importlib.import_module(third)
    assert isinstance(importlib.import_module(third).plain, Local)


def test_threads_that_adopt_at_once_get_one_local(third: str) -> None:
    barrier = threading.Barrier(8, timeout=10)
    seen: list[Any] = []

    def work() -> None:
        barrier.wait()
        adopt(third, "plain")
        seen.append(importlib.import_module(third).plain)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(seen) == 8
    assert {id(each) for each in seen} == {id(sys.modules[third].plain)}  # type: ignore[attr-defined]  # the module of the test
    assert isinstance(seen[0], Local)


def test_threads_that_adopt_this_and_that_agree(third: str) -> None:
    module, friend = _imported()
    names = ["plain", "cache", "Cache", "Base", "*", "other_*"] * 2
    barrier = threading.Barrier(len(names), timeout=10)

    def work(name: str) -> None:
        barrier.wait()
        adopt(third, name)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (friend.theirs, friend.cache, friend.Cache) == (
        module.plain,
        module.cache,
        module.Cache,
    )
    assert isinstance(module.cache, module.Cache)
    assert isinstance(module.other_cache, module.Cache)
    assert issubclass(module.Cache, module.Base)
    assert issubclass(module.Base, Local)


@pytest.mark.parametrize("name", ["executed", "set_user", "Holder", "local", "nothing", "Cache.no"])
def test_anything_else_is_refused(third: str, name: str) -> None:
    _imported()
    with pytest.raises(AdoptionError, match=rf"adopt\('third_party', '{name}'\)") as caught:
        adopt(third, name)
    assert isinstance(caught.value, TypeError)


def test_anything_else_is_refused_at_the_import(third: str) -> None:
    adopt(third, "nothing")
    with pytest.raises(AdoptionError, match="no 'nothing'"):
        importlib.import_module(third)
    assert third not in sys.modules
    importlib.import_module(third)


@pytest.mark.parametrize(
    ("module", "name"),
    [("", "x"), ("a b", "x"), ("a", ""), ("a", "x y"), ("a.", "x"), ("a", 7), (None, "x")],
)
def test_names_that_are_none_are_refused(module: Any, name: Any) -> None:
    with pytest.raises(ConfigurationError, match="dotted Python name"):
        adopt(module, name)


def test_module_that_never_comes_is_not_asked_for() -> None:
    before = set(sys.modules)
    adopt("ctxkit_no_such_module.inside", "x")
    assert set(sys.modules) == before
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("ctxkit_no_such_module.inside")
    _import_hook.forget("ctxkit_no_such_module.inside")


def test_adopting_from_inside_the_import_waits_for_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import ctxkit\nctxkit.adopt(__name__, 'later')\n"
    (tmp_path / "self_adopting.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AdoptionError, match="import is still under way"):
        importlib.import_module("self_adopting")


SUBPROCESS = """
import sys, ctxkit
ctxkit.adopt("crum", "_thread_locals")
assert "crum" not in sys.modules and "django" not in sys.modules
import crum
print(type(crum._thread_locals).__mro__[1].__name__)
"""


def test_real_package_is_adopted_before_its_import() -> None:
    pytest.importorskip("crum")
    assert run_script(SUBPROCESS) == "Local\n"
