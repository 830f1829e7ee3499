from __future__ import annotations

import ast
import pickle
from typing import TYPE_CHECKING

import pytest
from django.http import HttpResponse
from django.test import override_settings

import ctxkit
from ctxkit.django import ContextMiddleware, conf
from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing import spool_status, start_spooling, stop_spooling
from ctxkit.functions import Retry, configure, configured, options_of, override

if TYPE_CHECKING:
    from pathlib import Path


def test_options_without_settings_are_the_defaults() -> None:
    options = conf.options()
    assert options.request_id_header == "X-Request-ID"
    assert options.trust_request_id is True
    assert options.timeout is None


def test_options_are_read_once_until_the_setting_changes() -> None:
    before = conf.options()
    assert conf.options() is before
    with override_settings(CTXKIT={"FLUSH_MODE": "always", "FLUSH_TIMEOUT": 0.25}):
        assert conf.options().mode == "always"
        assert conf.options().timeout == 0.25
    assert conf.options().mode == before.mode


def test_policy_of_leftovers_is_a_setting_and_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert conf.options().leftovers == "ignore"
    monkeypatch.setenv("CTXKIT_LEFTOVERS", "cancel")
    with override_settings(CTXKIT={}):
        assert conf.options().leftovers == "cancel"
    with override_settings(CTXKIT={"LEFTOVERS": "await"}):
        assert conf.options().leftovers == "await"


def test_options_fall_back_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTXKIT_FLUSH_MODE", "idle")
    monkeypatch.setenv("CTXKIT_FLUSH_TIMEOUT", "3")
    with override_settings(CTXKIT={"FLUSH_TIMEOUT": 1.5}):
        assert conf.options().mode == "idle"
        assert conf.options().timeout == 1.5


@pytest.mark.parametrize(
    ("declared", "named", "said"),
    [
        ({"FLUSH_MODE": "sometimes"}, 'CTXKIT["FLUSH_MODE"]', "'sometimes'"),
        ({"FLUSH_TIMEOUT": -1}, 'CTXKIT["FLUSH_TIMEOUT"]', "-1"),
        ({"FLUSH_TIMEOUT": "soon"}, 'CTXKIT["FLUSH_TIMEOUT"]', "'soon'"),
        ({"REQUEST_ID_HEADER": "X Request"}, 'CTXKIT["REQUEST_ID_HEADER"]', "'X Request'"),
        ({"TRUST_REQUEST_ID": "no"}, 'CTXKIT["TRUST_REQUEST_ID"]', "Write True or False."),
        ({"INSTALL": "yes"}, 'CTXKIT["INSTALL"]', "Write True or False."),
        ({"TRUST_CONTEXT": "no"}, 'CTXKIT["TRUST_CONTEXT"]', "Write True or False."),
        ({"REPORT_LEAKS": 1}, 'CTXKIT["REPORT_LEAKS"]', "Write True or False."),
        ({"LEFTOVERS": "kill"}, 'CTXKIT["LEFTOVERS"]', "must be one of warn, await"),
        ({"LEFTOVERS": True}, 'CTXKIT["LEFTOVERS"]', "True"),
        ({"SPOOL": "var/spool"}, 'CTXKIT["SPOOL"]', "must be 1, 0 or the absolute path"),
        ({"SPOOL": 1}, 'CTXKIT["SPOOL"]', "not 1"),
        ({"SPOOL_MAX_BYTES": 100}, 'CTXKIT["SPOOL_MAX_BYTES"]', "at least 4096"),
        ({"SPOOL_MAX_AGE": "old"}, 'CTXKIT["SPOOL_MAX_AGE"]', "'old'"),
        ({"POOLS": [4]}, 'CTXKIT["POOLS"]', "must be a table"),
        ({"POOLS": {"db": {"workers": 0}}}, 'CTXKIT["POOLS"]["db"]["workers"]', "1 or more"),
        ({"POOLS": {"db": {"size": 4}}}, 'CTXKIT["POOLS"]["db"]["size"]', "is not known"),
        ({"FUNCTIONS": {"charge": {}}}, 'CTXKIT["FUNCTIONS"]["charge"]', "is not the name of a"),
        (
            {"FUNCTIONS": {"a:b": {"timeout": 2}}},
            'CTXKIT["FUNCTIONS"]["a:b"]["timeout"]',
            'Write "2s"',
        ),
        (
            {"FUNCTIONS": {"a:b": {"retry": {"jitter": 2}}}},
            'CTXKIT["FUNCTIONS"]["a:b"]["retry"]["jitter"]',
            "a number from 0 to 1",
        ),
        (
            {"POOLS": {"bank": {}}, "FUNCTIONS": {"a:b": {"pool": "bnak"}}},
            'CTXKIT["FUNCTIONS"]["a:b"]["pool"]',
            "Did you mean bank?",
        ),
        ({"ADOPT": "package.state"}, 'CTXKIT["ADOPT"]', "must be a list"),
        ({"ADOPT": ["state"]}, 'CTXKIT["ADOPT"]', "'state'"),
        ({"ADOPT": [7]}, 'CTXKIT["ADOPT"]', "7"),
        ({"ADOPT": ["package.module:"]}, 'CTXKIT["ADOPT"]', "'package.module:'"),
        ({"ADOPT": ["package:a:b"]}, 'CTXKIT["ADOPT"]', "'a:b'"),
        ({"ADOPT": ["*"]}, 'CTXKIT["ADOPT"]', "list of dotted paths"),
        ({"ADOPT": ["*.state"]}, 'CTXKIT["ADOPT"]', "takes in every package"),
        ({"ADOPT": ["django.*:*"]}, 'CTXKIT["ADOPT"]', "what django keeps"),
        ({"ADOPT": ["package.*:a.b"]}, 'CTXKIT["ADOPT"]', "of one part"),
        ({"FLUSH_MOD": "auto"}, 'CTXKIT["FLUSH_MOD"]', "Did you mean FLUSH_MODE?"),
        ({"QUX": 1}, 'CTXKIT["QUX"]', "Known are FLUSH_MODE"),
        ({1: 2}, 'CTXKIT["1"]', "is not a setting"),
        ([], "CTXKIT", "must be a dict"),
    ],
)
def test_options_of_a_bad_setting_name_it_and_the_fix(
    declared: object, named: str, said: str
) -> None:
    with override_settings(CTXKIT=declared):
        with pytest.raises(ConfigurationError) as caught:
            conf.options()
        [problem] = conf.problems()
    assert caught.value.setting == problem.setting == named
    assert said in str(problem)
    assert str(pickle.loads(pickle.dumps(problem))) == str(problem)


@pytest.mark.parametrize(
    ("path", "module", "name"),
    [
        ("crum._thread_locals", "crum", "_thread_locals"),
        ("crum:_thread_locals", "crum", "_thread_locals"),
        ("package.module:Class.state", "package.module", "Class.state"),
        ("crum.*", "crum", "*"),
        ("package.*.*", "package.*", "*"),
        ("package.*:*", "package.*", "*"),
        ("django_*.middleware._thread*", "django_*.middleware", "_thread*"),
    ],
)
def test_adoption_splits_at_the_colon_or_else_at_the_last_dot(
    path: str, module: str, name: str
) -> None:
    with override_settings(CTXKIT={"ADOPT": [path]}):
        assert conf.problems() == []
        assert conf.adoptions() == [(module, name)]


def test_every_setting_may_be_written_down_with_its_default() -> None:
    declared = {setting.key: ast.literal_eval(setting.default) for setting in conf.SETTINGS}
    with override_settings(CTXKIT=declared):
        assert conf.problems() == []


def test_problems_are_reported_together() -> None:
    with override_settings(CTXKIT={"FLUSH_MODE": 1, "FLUSH_TIMEOUT": "x", "BLAH": 1}):
        named = [problem.setting for problem in conf.problems()]
    assert named == ['CTXKIT["BLAH"]', 'CTXKIT["FLUSH_MODE"]', 'CTXKIT["FLUSH_TIMEOUT"]']


def test_problems_name_a_bad_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTXKIT_FLUSH_MODE", "sometimes")
    with override_settings(CTXKIT={}):
        [problem] = conf.problems()
        assert problem.setting == "CTXKIT_FLUSH_MODE"
    with override_settings(CTXKIT={"FLUSH_MODE": "never"}):
        assert conf.problems() == []


def test_functions_are_what_the_setting_says_and_follow_it() -> None:
    with override({}):
        one = {"FUNCTIONS": {"shop:charge": {"timeout": "2s", "retry": 4}}}
        with override_settings(CTXKIT=one):
            assert options_of("shop:charge") == {"timeout": 2.0, "retry": Retry(4)}
            with override_settings(CTXKIT={"FUNCTIONS": {"shop:*": {"timeout": "3s"}}}):
                assert options_of("shop:charge") == {"timeout": 3.0}
            assert options_of("shop:charge") == {"timeout": 2.0, "retry": Retry(4)}
        assert options_of("shop:charge") == {}


def test_pools_are_what_the_setting_says() -> None:
    with override({}), override_settings(CTXKIT={"POOLS": {"db": {"workers": 3}}}):
        assert configured.now().pools == {"db": ("static", {"workers": 3})}


def test_functions_of_a_bad_setting_raise_at_their_use() -> None:
    bad = {"FUNCTIONS": {"shop:charge": {"timeout": 2, "pool": "db"}}}
    with override({}), override_settings(CTXKIT=bad):
        assert len(conf.problems()) == 2
        with pytest.raises(ConfigurationError, match="CTXKIT has 2 mistakes"):
            options_of("shop:charge")
        with pytest.raises(ConfigurationError, match=r"timeout.* must have a unit"):
            ContextMiddleware(lambda _: HttpResponse())


def test_call_of_configure_goes_before_the_setting() -> None:
    with override({}), override_settings(CTXKIT={"FUNCTIONS": {"shop:charge": {"retry": 4}}}):
        configure({"functions": {"shop:charge": {"retry": 5}}})
        ContextMiddleware(lambda _: HttpResponse())
        assert options_of("shop:charge") == {"retry": Retry(5)}


def test_functions_are_what_the_file_says_without_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ctxkit.toml"
    path.write_text('[functions."shop:charge"]\ntimeout = 2\n')
    monkeypatch.setenv("CTXKIT_CONFIG", str(path))
    with override_settings(CTXKIT={}):
        [problem] = conf.problems()
        assert problem.setting == 'ctxkit.toml: functions."shop:charge".timeout'
    with override_settings(CTXKIT={"FUNCTIONS": {}}):
        assert conf.problems() == []


def test_settings_table_describes_every_key_once() -> None:
    keys = [setting.key for setting in conf.SETTINGS]
    assert len(keys) == len(set(keys))
    assert all(setting.summary.endswith(".") for setting in conf.SETTINGS)


@pytest.mark.parametrize(
    ("declared", "installed"), [({"INSTALL": True}, True), ({"INSTALL": False}, False), ({}, False)]
)
def test_middleware_installs_where_the_setting_says_so(
    *, declared: dict[str, object], installed: bool
) -> None:
    try:
        with override_settings(CTXKIT=declared):
            ContextMiddleware(HttpResponse)  # type: ignore[arg-type]
        assert ctxkit.is_installed() is installed
    finally:
        ctxkit.uninstall()


@pytest.mark.parametrize(
    ("declared", "environ", "wanted"),
    [
        ({"SPOOL": True, "SPOOL_MAX_BYTES": 5000}, None, True),
        ({"SPOOL": False}, "1", False),
        ({}, None, False),
    ],
)
def test_middleware_starts_the_spool_where_the_setting_says_so(
    *,
    declared: dict[str, object],
    environ: str | None,
    wanted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if environ is not None:
        monkeypatch.setenv("CTXKIT_SPOOL", environ)
        start_spooling(tmp_path)
    if declared.get("SPOOL") is True:
        declared = {**declared, "SPOOL": str(tmp_path)}
    try:
        with override_settings(CTXKIT=declared):
            ContextMiddleware(HttpResponse)  # type: ignore[arg-type]
            found = spool_status()
        assert (found is not None) is wanted
        if found is not None:
            assert found.directory.startswith(str(tmp_path))
    finally:
        stop_spooling()


def test_setting_leaves_the_arguments_of_an_installation_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        ctxkit.install()
        monkeypatch.setattr("ctxkit.propagation.install", None)
        with override_settings(CTXKIT={"INSTALL": True}):
            conf.install_declared()
    finally:
        ctxkit.uninstall()
