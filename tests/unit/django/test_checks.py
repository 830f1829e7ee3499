from __future__ import annotations

import sys
import threading
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from django.apps import AppConfig
from django.core.checks import Error, Warning  # noqa: A004 - Django's names
from django.core.checks.registry import registry
from django.test import override_settings

from ctxkit.context import Local
from ctxkit.django import checks
from ctxkit.django.apps import CtxkitConfig
from ctxkit.functions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = "ctxkit.django.ContextMiddleware"


def _ids(messages: list[checks.CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


@pytest.fixture
def legacy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    module = ModuleType("legacy_package")
    module.__spec__ = ModuleSpec(module.__name__, None)
    module.state = threading.local()
    module.number = 7
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_checks_of_a_sound_project_are_silent() -> None:
    for check in (checks.check_settings, checks.check_middleware):
        assert check(None) == []


def test_check_settings_reports_every_problem_with_its_fix() -> None:
    with override_settings(CTXKIT={"FLUSH_MODE": "sometimes", "FLUSH_TIMEOU": 1}):
        messages = checks.check_settings(None)
    assert _ids(messages) == ["ctxkit.E001", "ctxkit.E001"]
    assert messages[0].msg == 'CTXKIT["FLUSH_TIMEOU"] is not a setting of ctxkit.'
    assert messages[0].hint == "Did you mean FLUSH_TIMEOUT?"
    assert "'sometimes'" in messages[1].msg
    assert messages[1].hint


def test_check_settings_reports_what_cannot_be_adopted(legacy: ModuleType) -> None:
    paths = [
        "legacy_package.number",
        "legacy_package.absent",
        "no_such_package.state",
        "legacy_package.no_such_module.state",
        "no_such_package.*",
        "no_such_package.*:state",
        "legacy_package:number.state",
    ]
    with override_settings(CTXKIT={"ADOPT": paths}):
        messages = checks.check_settings(None)
    assert _ids(messages) == ["ctxkit.E002"] * len(paths)
    for path, message in zip(paths, messages, strict=True):
        assert path.partition(":")[0].rpartition(".")[0] in message.msg


def test_check_settings_accepts_what_can_be_adopted(legacy: ModuleType) -> None:
    with override_settings(CTXKIT={"ADOPT": ["legacy_package.state"]}):
        assert checks.check_settings(None) == []
        assert isinstance(legacy.state, Local)


@pytest.mark.parametrize("pattern", ["legacy_package.*", "legacy_*:st*", "legacy_package*:state"])
def test_check_settings_accepts_patterns_which_may_match_nothing(
    legacy: ModuleType, pattern: str
) -> None:
    with override_settings(CTXKIT={"ADOPT": [pattern, "legacy_package.s_*", "no_such_*.x"]}):
        assert checks.check_settings(None) == []
        assert isinstance(legacy.state, Local)


@pytest.mark.parametrize(
    ("middleware", "ids"),
    [
        ([], ["ctxkit.W001"]),
        (["django.middleware.common.CommonMiddleware"], ["ctxkit.W001"]),
        ([OURS], []),
        (["helpers.django_site_unit.Subclass"], []),
        ([OURS, "ctxkit.django.middleware.ContextMiddleware"], ["ctxkit.W002"]),
        (["no.such.middleware", OURS], []),
    ],
)
def test_check_middleware_counts_ours(middleware: list[str], ids: list[str]) -> None:
    with override_settings(MIDDLEWARE=middleware):
        assert _ids(checks.check_middleware(None)) == ids


def test_check_distributions_notices_the_unrelated_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "distribution", lambda name: SimpleNamespace(version="2.2.5"))
    [message] = checks.check_distributions(None)
    assert message.id == "ctxkit.W003"
    assert "ctxkit 2.2.5" in message.msg
    assert "uninstall" in str(message.hint)


def test_check_distributions_is_silent_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(checks, "distribution", absent)
    assert checks.check_distributions(None) == []


def test_check_ids_are_unique_and_fit_their_level() -> None:
    ids = [check.id for check in checks.CHECKS]
    assert len(ids) == len(set(ids))
    for check in checks.CHECKS:
        kind = Error if check.id.startswith("ctxkit.E") else Warning
        assert check.message("", "").level == kind("").level
        assert check.hint.endswith((".", "ctxkit"))


def test_check_functions_warns_of_one_that_its_module_does_not_have(legacy: ModuleType) -> None:
    names = ("legacy_package:state", "legacy_package:charge", "not_imported:charge")
    with override({}), override_settings(CTXKIT={"FUNCTIONS": {name: {} for name in names}}):
        [message] = checks.check_functions(None)
    assert message.id == "ctxkit.W004"
    assert "legacy_package:charge" in message.msg


def test_check_functions_leaves_mistakes_to_the_check_of_settings() -> None:
    with override({}), override_settings(CTXKIT={"FUNCTIONS": 3}):
        assert checks.check_functions(None) == []
        assert _ids(checks.check_settings(None)) == ["ctxkit.E001"]


def test_app_registers_its_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "registered_checks", set())
    config = AppConfig.create("ctxkit.django")
    assert type(config) is CtxkitConfig
    assert config.label == "ctxkit"
    config.ready()
    assert registry.registered_checks == {
        checks.check_settings,
        checks.check_functions,
        checks.check_middleware,
        checks.check_distributions,
    }


def test_app_adopts_before_models_are_imported(legacy: ModuleType) -> None:
    with override_settings(CTXKIT={"ADOPT": ["legacy_package.state"]}):
        AppConfig.create("ctxkit.django")
        assert isinstance(legacy.state, Local)


def test_app_leaves_bad_settings_to_the_checks() -> None:
    with override_settings(CTXKIT={"ADOPT": ["no_such_package.state"], "X": 1}):
        assert AppConfig.create("ctxkit.django").label == "ctxkit"
