from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ctxkit.exceptions import ConfigurationError
from ctxkit.functions import (
    Retry,
    configure,
    configure_from,
    configured,
    options_of,
    override,
)
from ctxkit.functions._configured import Configuration, Configured
from ctxkit.functions.configuring import missing_functions, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHARGE = "shop.orders:charge"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with override({}):
        yield


def _functions(**options: object) -> dict[str, Any]:
    return {"functions": {CHARGE: options}}


# What is said, and what comes of it


def test_options_are_checked_values() -> None:
    configure(
        {
            "pools": {"db": {"workers": 4}},
            "functions": {
                CHARGE: {
                    "timeout": "1.5m",
                    "retry": {"max_attempts": 5, "initial_delay": "50ms"},
                    "pool": "db",
                    "engine": "celery",
                }
            },
        }
    )
    assert options_of(CHARGE) == {
        "timeout": 90.0,
        "retry": Retry(5, initial_delay=0.05),
        "pool": "db",
        "engine": "celery",
    }
    assert options_of("shop.orders:refund") == {}


def test_number_of_attempts_is_a_retry() -> None:
    configure(_functions(retry=4))
    assert options_of(CHARGE) == {"retry": Retry(4)}


@pytest.mark.parametrize("off", [False, None])
def test_option_can_be_taken_away(off: object) -> None:
    configure(_functions(timeout=off, retry=off, pool=off))
    assert options_of(CHARGE) == {"timeout": None, "retry": None, "pool": None}


@pytest.mark.rule("F-04")
def test_options_of_a_function_are_laid_over_those_of_its_module_one_by_one() -> None:
    configure(
        {
            "functions": {
                CHARGE: {"timeout": "1s", "retry": {"max_attempts": 2}},
                "shop.orders:*": {"timeout": "9s", "retry": {"jitter": 0}, "engine": "celery"},
                "shop:*": {"engine": "dramatiq"},
            }
        }
    )
    assert options_of(CHARGE) == {"timeout": 1.0, "retry": Retry(2), "engine": "celery"}
    assert options_of("shop.orders:refund") == {
        "timeout": 9.0,
        "retry": Retry(jitter=0),
        "engine": "celery",
    }
    assert options_of("shop.basket:add") == {}


@pytest.mark.rule("F-03")
def test_function_that_is_named_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text("raise SystemExit('imported')")
    (tmp_path / "ctxkit.toml").write_text('[functions."named:charge"]\ntimeout = "2s"\n')
    program = (
        "import sys\n"
        "from ctxkit.functions import options_of\n"
        "assert options_of('named:charge') == {'timeout': 2.0}\n"
        "assert 'named' not in sys.modules\n"
        "heavy = {'asyncio', 'inspect', 'dataclasses', 'logging', 'json', 'difflib', 'random'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"CTXKIT_CONFIG": str(tmp_path / "ctxkit.toml"), "PYTHONPATH": _paths(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def _paths(folder: Path) -> str:
    return ":".join([str(folder), *sys.path])


def test_toml_is_not_imported_without_a_file() -> None:
    program = (
        "import sys\n"
        "from ctxkit.functions import configure, options_of\n"
        "assert options_of('named:charge') == {}\n"
        "configure({'functions': {'named:charge': {'timeout': '2s'}}})\n"
        "assert 'tomllib' not in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": ":".join(sys.path)}, check=True
    )


# Mistakes


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ([], "The configuration must be a table, not []. Write {} for an empty one."),
        ({"function": {}}, "function is not known. Did you mean functions?"),
        ({"functions": []}, "functions must be a table, not []. Write {} for an empty one."),
        ({"pools": {"db": 4}}, "pools.db must be a table, not 4. Write {} for an empty one."),
        ({"functions": {7: {}}}, "functions.7 is not a text. Write its name in quotes."),
        ({"functions": {CHARGE: 3}}, 'functions."shop.orders:charge" must be a table, not 3. '),
        (
            _functions(timout="2s"),
            'functions."shop.orders:charge".timout is not known. Did you mean timeout?',
        ),
        (
            _functions(permission="x"),
            (
                'functions."shop.orders:charge".permission is not known. Known are timeout, retry, '
                "pool, engine."
            ),
        ),
        (
            _functions(timeout="0s"),
            (
                'functions."shop.orders:charge".timeout leaves no time at all. '
                "Write a longer one, or false for no timeout."
            ),
        ),
        (
            _functions(timeout=True),
            'functions."shop.orders:charge".timeout must be a number and its unit, one of ',
        ),
        (
            _functions(retry={"initial_delay": "1d"}),
            'functions."shop.orders:charge".retry.initial_delay must be a number and its unit',
        ),
        (
            _functions(retry=0),
            'functions."shop.orders:charge".retry must be a number of attempts, 1 or more, or a',
        ),
        (_functions(pool=3), 'functions."shop.orders:charge".pool must be a name, not 3. Write it'),
        (_functions(pool=""), "functions.\"shop.orders:charge\".pool must be a name, not ''"),
        (
            _functions(pool="db"),
            (
                "functions.\"shop.orders:charge\".pool names the pool 'db', which is not "
                "configured. Write a table for it: pools.db."
            ),
        ),
        (
            {"pools": {"Database": {}}, **_functions(pool="datbase")},
            (
                "functions.\"shop.orders:charge\".pool names the pool 'datbase', which is not "
                "configured. Did you mean Database?"
            ),
        ),
        (
            _functions(engine=["x"]),
            'functions."shop.orders:charge".engine must be a name, not [\'x',
        ),
    ],
)
def test_mistake_is_named_with_its_place_and_what_to_write(declared: Any, said: str) -> None:
    version = configured.version
    with pytest.raises(ConfigurationError) as caught:
        configure(declared)
    assert str(caught.value).startswith(said)
    assert configured.version == version


@pytest.mark.rule("F-37")
@pytest.mark.parametrize("value", [2, 0.5, "2"])
def test_timeout_needs_its_unit(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r'charge"\.timeout must have a unit, but is'):
        configure(_functions(timeout=value))


@pytest.mark.parametrize(
    "name",
    ["charge", "shop.orders.charge", ":charge", "shop:", "a:b:c", "a b:c", "*:*", "", "shop.*:x"],
)
def test_name_of_a_function_has_two_parts(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the name of a function") as caught:
        configure({"functions": {name: {}}})
    assert caught.value.setting.startswith("functions.")
    assert '"package.module:*" for all of a module' in caught.value.fix


def test_mistakes_are_all_named_at_once() -> None:
    declared = {
        "pool": {},
        "pools": {"base": {"workers": 0, "bufer": 3}},
        "functions": {CHARGE: {"timeout": 5, "pool": "bass"}, "refund": {"retry": "often"}},
    }
    with pytest.raises(ConfigurationError) as caught:
        configure(declared)
    assert str(caught.value).splitlines() == [
        "The configuration has 7 mistakes. Mend each:",
        "- pool is not known. Did you mean pools?",
        "- pools.base.workers must be a whole number, 1 or more, not 0. Write it like 8.",
        "- pools.base.bufer is not known. Did you mean buffer?",
        (
            '- functions."shop.orders:charge".timeout must have a unit, but is 5. '
            'Write "5s" for seconds, "5ms" for milliseconds.'
        ),
        (
            "- functions.refund is not the name of a function. Write it like "
            '"package.module:name", or "package.module:*" for all of a module.'
        ),
        (
            "- functions.refund.retry must be a number of attempts, 1 or more, or a table, not "
            "'often'. Write 3, or {max_attempts = 3, initial_delay = \"100ms\"}."
        ),
        (
            "- functions.\"shop.orders:charge\".pool names the pool 'bass', which is not "
            "configured. Did you mean base?"
        ),
    ]


# Files


def test_file_that_the_environment_names_is_read_at_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ctxkit.toml"
    monkeypatch.setenv("CTXKIT_CONFIG", str(path))
    fresh = Configured(configured._source)
    fresh.change(_from_environment())
    with pytest.raises(ConfigurationError) as caught:
        fresh.now()
    assert str(caught.value) == (
        f"CTXKIT_CONFIG names {str(path)!r}, which cannot be read: No such file or directory. "
        "Write the path of a TOML file."
    )
    path.write_text('[pools.db]\nworkers = 4\n[functions."shop.orders:charge"]\npool = "db"\n')
    assert fresh.now().options_of(CHARGE) == {"pool": "db"}
    path.unlink()
    assert fresh.now().options_of(CHARGE) == {"pool": "db"}


def _from_environment() -> Any:
    from ctxkit.functions._configured import read_environment  # noqa: PLC0415 - here alone

    return read_environment


def test_file_can_be_a_project_s(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project]\nname = "shop"\n[tool.ctxkit.functions."shop.orders:charge"]\ntimeout = "2s"\n'
    )
    configure_from(path)
    assert options_of(CHARGE) == {"timeout": 2.0}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("ctxkit.toml", "[functions", "{path} is no TOML: "),
        ("ctxkit.toml", "timeout = 2", "ctxkit.toml: timeout is not known. "),
        (
            "other.toml",
            '[functions."a:b"]\ntimeout = 2',
            'other.toml: functions."a:b".timeout must have a unit',
        ),
        ("two.toml", "[a]\n[b]", "two.toml has 2 mistakes. Mend each:\n- two.toml: a is not known"),
        ("pyproject.toml", "", "pyproject.toml: tool.ctxkit is not there. Write a table [tool.c"),
        ("pyproject.toml", "tool = 3", "pyproject.toml: tool.ctxkit is not there. "),
        ("pyproject.toml", "[tool.ctxkit.x]", "pyproject.toml: tool.ctxkit.x is not known. "),
        ("pyproject.toml", "tool.ctxkit = 3", "pyproject.toml: tool.ctxkit must be a table, not 3"),
    ],
)
def test_mistake_in_a_file_is_named_with_the_file(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        configure_from(path)
    assert str(caught.value).startswith(said.format(path=path))


def test_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ctxkit.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is no TOML: "):
        configure_from(path)


# Changes


def test_version_is_another_one_after_each_change() -> None:
    seen = [configured.version]
    configure({})
    seen.append(configured.version)
    with override(_functions(timeout="1s")):
        seen.append(configured.version)
    seen.append(configured.version)
    assert len({*seen}) == 4


def test_override_is_undone_whatever_happens_within() -> None:
    configure(_functions(timeout="1s"))

    def use() -> None:
        with override(_functions(timeout="2s")):
            assert options_of(CHARGE) == {"timeout": 2.0}
            with override({}):
                assert options_of(CHARGE) == {}
            configure(_functions(timeout="3s"))
            assert options_of(CHARGE) == {"timeout": 3.0}
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert options_of(CHARGE) == {"timeout": 1.0}


def test_override_with_a_mistake_changes_nothing() -> None:
    version = configured.version
    with pytest.raises(ConfigurationError), override(_functions(timeout=1)):
        pytest.fail("is not entered")
    assert configured.version == version


def test_change_while_another_source_is_being_read_is_not_lost() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Configuration:
        begun.set()
        assert go_on.wait(10)
        return Configuration({}, {CHARGE: {"timeout": 1.0}})

    fresh = Configured(slow)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(fresh.now)
        assert begun.wait(10)
        fresh.change(lambda: Configuration({}, {CHARGE: {"timeout": 2.0}}))
        go_on.set()
        assert reading.result(10).options_of(CHARGE) == {"timeout": 2.0}
    assert fresh.now().options_of(CHARGE) == {"timeout": 2.0}


def test_readers_see_one_configuration_or_the_next() -> None:
    both = [_functions(timeout=f"{n}s", retry=n) for n in (1, 2)]
    stop = threading.Event()

    def look() -> set[tuple[object, int]]:
        seen = set()
        while not stop.is_set():
            options: Any = options_of(CHARGE)
            if options:
                seen.add((options["timeout"], options["retry"].max_attempts))
        return seen

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        for turn in range(100):
            configure(both[turn % 2])
        stop.set()
        assert {pair for each in looking for pair in each.result(10)} <= {(1.0, 1), (2.0, 2)}


# Functions that are not there


def test_function_that_its_module_does_not_have_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("shop_orders")
    monkeypatch.setitem(sys.modules, "shop_orders", module)
    module.charge = print  # type: ignore[attr-defined]
    module.Card = SimpleNamespace(charge=print)  # type: ignore[attr-defined]
    names = ("charge", "chrage", "Card.charge", "Card.refund", "Cart.add", "f.<locals>.g", "*")
    declared = {
        "functions": {f"shop_orders:{name}": {} for name in names} | {"not.imported:charge": {}}
    }
    found: list[ConfigurationError] = []
    configuration = read(declared, found)
    assert found == []
    assert missing_functions(configuration) == [
        f"shop_orders:{name}" for name in ("chrage", "Card.refund", "Cart.add")
    ]
