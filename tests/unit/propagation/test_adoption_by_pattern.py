from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from contextvars import copy_context
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit import AdoptionError, ConfigurationError, Local, adopt
from ctxkit.propagation import _import_hook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


STATE = """
from threading import local
import threading

class Cache(local):
    def __init__(self):
        self.data = {}

class Sub(Cache):
    pass

_thread_locals = local()
cache = Cache()
sub = Sub()
number = 7
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write modules that can be imported for the test."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    # What other tests wait for, and what these do.
    monkeypatch.setattr(_import_hook, "_waiting", {})
    before = set(sys.modules)

    def write(name: str, source: str) -> None:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        if name.startswith(("petal", "stem")):
            del sys.modules[name]


def _adopted(module: Any) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if isinstance(value, Local) or (isinstance(value, type) and issubclass(value, Local))
    }


@pytest.mark.parametrize(
    ("pattern", "name", "adopted"),
    [
        ("petal", "*", {"Cache", "Sub", "_thread_locals", "cache", "sub"}),
        ("petal", "_thread*", {"_thread_locals"}),
        ("peta?", "[a-z]*", {"cache", "sub"}),
        ("peta[kl]", "_thread_locals", {"_thread_locals"}),
        ("petal", "number*", set()),
        ("petal.*", "*", set()),
    ],
)
@pytest.mark.parametrize("early", [True, False])
def test_pattern_takes_what_is_a_local_and_matches(
    write: Any,
    pattern: str,
    name: str,
    adopted: set[str],
    early: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    write("petal", STATE)
    if early:
        adopt(pattern, name)
        assert "petal" not in sys.modules
    module: Any = importlib.import_module("petal")
    adopt(pattern, name)
    assert _adopted(module) == adopted
    assert module.local is threading.local
    if "Cache" in adopted:
        assert issubclass(module.Sub, module.Cache)
        assert isinstance(module.sub, module.Sub)
        assert isinstance(module.cache, module.Cache)
    if "cache" in adopted:
        one, other = copy_context(), copy_context()
        one.run(lambda: module.cache.data.update(user="alice"))
        assert other.run(getattr, module.cache, "data") == {}


def test_pattern_without_a_name_takes_all_names(write: Any) -> None:
    write("petal", STATE)
    adopt("petal")
    assert _adopted(importlib.import_module("petal")) >= {"_thread_locals", "cache"}


def test_pattern_stays_in_force_for_modules_loaded_one_by_one(write: Any) -> None:
    for name in ("petal.__init__", "petal.one", "petal.deep.two", "stem"):
        write(name, STATE)
    adopt("petal.*", "_thread*")
    for name in ("petal", "petal.one", "petal.deep", "petal.deep.two", "stem"):
        module: Any = importlib.import_module(name)
        expected = {"_thread_locals"} if name in {"petal.one", "petal.deep.two"} else set()
        assert _adopted(module) == expected, name
    write("petal.late", STATE)
    assert _adopted(importlib.import_module("petal.late")) == {"_thread_locals"}


def test_class_is_taken_where_it_is_defined(write: Any) -> None:
    """To import a base to derive from it says nothing about those who own it."""
    write("stem", STATE)
    write("petal", "from stem import Cache\nclass Own(Cache): pass\nown = Own()\ncache = Cache()\n")
    adopt("petal")
    petal: Any = importlib.import_module("petal")
    stem: Any = importlib.import_module("stem")
    assert _adopted(stem) == set()
    assert petal.Cache is stem.Cache
    assert _adopted(petal) == {"Own", "own", "cache"}
    assert petal.own.data == petal.cache.data == {}


def test_pattern_takes_nothing_of_the_standard_library_django_or_asgiref(write: Any) -> None:
    theirs = threading.local()
    owner = ModuleType("django.owner_of_a_handle")
    owner.handle = theirs  # type: ignore[attr-defined]  # made for the test
    sys.modules[owner.__name__] = owner
    write(
        "petal",
        "from asyncio.events import _RunningLoop, _running_loop\n"
        "from asgiref.local import Local\n"
        "from django.owner_of_a_handle import handle\n"
        "own = type(handle)()\n"
        "loop = _RunningLoop()\n"
        "their_local = Local()\n",
    )
    pytest.importorskip("asgiref")
    try:
        adopt("petal")
        petal: Any = importlib.import_module("petal")
    finally:
        del sys.modules[owner.__name__]
    assert _adopted(petal) == {"own"}
    assert petal.handle is theirs


def test_pattern_that_matches_owners_too_leaves_them_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_import_hook, "_waiting", {})
    modules: list[Any] = [ModuleType("django.petal"), ModuleType("djangle")]
    for module in modules:
        module.handle = threading.local()
        module.Handle = type("Handle", (threading.local,), {"__module__": module.__name__})
        monkeypatch.setitem(sys.modules, module.__name__, module)
    adopt("djang*", "?andle")
    assert [_adopted(module) for module in modules] == [set(), {"handle", "Handle"}]


def test_pattern_wakes_no_lazy_object(write: Any) -> None:
    write(
        "petal",
        "class Lazy:\n"
        "    @property\n"
        "    def __class__(self): raise RuntimeError('woken')\n"
        "lazy = Lazy()\n",
    )
    adopt("petal")
    importlib.import_module("petal")


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("name", ["_thread_locals", "_thread*"])
def test_module_that_is_loaded_lazily_stays_so(write: Any, name: str, early: bool) -> None:  # noqa: FBT001
    write("petal", STATE)
    if early:
        adopt("petal", name)
    spec = importlib.util.find_spec("petal")
    assert spec
    assert spec.loader
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules["petal"] = module
    assert spec.loader
    spec.loader.exec_module(module)
    adopt("petal", name)
    write("stem", STATE)
    importlib.import_module("stem")
    adopt("stem", "cache")  # looks through every module
    assert object.__getattribute__(module, "__dict__").get("number") is None
    assert isinstance(module._thread_locals, Local)


@pytest.mark.parametrize("name", ["_thread_locals", "_thread*"])
def test_module_that_puts_another_in_its_place_is_adopted(write: Any, name: str) -> None:
    source = """
import sys, types
class Proxy(types.ModuleType):
    def __getattr__(self, name): return getattr(real, name)
def get(): return _thread_locals
real = sys.modules[__name__]
sys.modules[__name__] = Proxy(__name__)
"""
    write("petal", STATE + source)
    adopt("petal", name)
    petal: Any = importlib.import_module("petal")
    assert isinstance(petal.get(), Local)


def test_module_that_a_thread_is_importing_is_waited_for(write: Any) -> None:
    write(
        "petal",
        "import sys\nstem = sys.modules['stem_of_the_test']\nstem.begun.set()\n"
        "assert stem.go_on.wait(20)\n" + STATE,
    )
    stem: Any = ModuleType("stem_of_the_test")
    stem.begun, stem.go_on = threading.Event(), threading.Event()
    sys.modules[stem.__name__] = stem
    importing = threading.Thread(target=importlib.import_module, args=("petal",))
    importing.start()
    assert stem.begun.wait(20)
    adopting = threading.Thread(target=adopt, args=("petal", "*"))
    adopting.start()
    stem.go_on.set()
    for thread in (importing, adopting):
        thread.join(20)
        assert not thread.is_alive()
    assert "_thread_locals" in _adopted(sys.modules["petal"])


def test_class_that_cannot_be_built_anew_is_named(write: Any) -> None:
    write(
        "petal",
        "import threading\n"
        "class Stubborn(threading.local):\n"
        "    def __new__(cls): return threading.local.__new__(cls)\n"
        "stubborn = Stubborn()\n",
    )
    adopt("peta*")
    with pytest.raises(AdoptionError, match=r"'petal', 'Stubborn, stubborn'.*cannot be built anew"):
        importlib.import_module("petal")


@pytest.mark.parametrize("module", ["*", "?etal", "*.models", "[a-z]*", "**"])
def test_pattern_that_takes_in_every_package_is_refused(module: str) -> None:
    with pytest.raises(ConfigurationError, match="bound to their thread, as those of GEOS"):
        adopt(module)


@pytest.mark.parametrize("module", ["os", "asyncio.*", "asgiref.local", "django.*", "ctxkit.*"])
def test_pattern_that_names_an_owner_is_refused(module: str) -> None:
    with pytest.raises(ConfigurationError, match=f"what {module.partition('.')[0]} keeps"):
        adopt(module)


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("petal.*", "Holder.state", "of one part"),
        ("petal", "Holder.*", "of one part"),
        ("petal-*", "x", "dotted Python name or a pattern"),
        ("petal", "[", "dotted Python name or a pattern"),
        ("2*", "*", "dotted Python name or a pattern"),
        ("petal..*", "*", "dotted Python name or a pattern"),
    ],
)
def test_pattern_that_is_none_is_refused(module: str, name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        adopt(module, name)
