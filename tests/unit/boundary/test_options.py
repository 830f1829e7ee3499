from __future__ import annotations

import pytest

from ctxkit import ConfigurationError
from ctxkit.boundary import BoundaryOptions, FlushMode
from ctxkit.boundary import options as options_module
from ctxkit.lifecycle import detect


def test_defaults_are_never_and_the_usual_header() -> None:
    options = BoundaryOptions.resolve(environ={})
    assert options.mode is FlushMode.NEVER
    assert options.timeout is None
    assert options.request_id_header == "X-Request-ID"
    assert options.trust_request_id
    assert not options.holds
    assert not options.report_leaks


def test_environment_fills_in_what_was_not_given() -> None:
    environ = {"CTXKIT_FLUSH_MODE": "idle", "CTXKIT_FLUSH_TIMEOUT": "0.5"}
    options = BoundaryOptions.resolve(environ=environ)
    assert (options.mode, options.timeout) == ("idle", 0.5)
    options = BoundaryOptions.resolve("always", 3, environ=environ)
    assert (options.mode, options.timeout) == ("always", 3.0)


def test_empty_variables_count_as_absent() -> None:
    environ = {"CTXKIT_FLUSH_MODE": "", "CTXKIT_FLUSH_TIMEOUT": ""}
    options = BoundaryOptions.resolve(environ=environ)
    assert (options.mode, options.timeout) == ("never", None)


@pytest.mark.parametrize(
    ("variable", "mode"),
    [("AWS_LAMBDA_FUNCTION_NAME", "always"), ("K_SERVICE", "idle"), ("HOME", "never")],
)
def test_auto_asks_the_host(variable: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options_module, "environment", lambda: detect({variable: "x"}))
    assert BoundaryOptions.resolve("auto", environ={}).mode == mode
    assert BoundaryOptions.resolve(environ={}).mode == mode


@pytest.mark.parametrize(
    ("given", "environ", "setting"),
    [
        ({"mode": "sometimes"}, {}, "mode"),
        ({"mode": ""}, {}, "mode"),
        ({"mode": 1}, {}, "mode"),
        ({}, {"CTXKIT_FLUSH_MODE": "ALWAYS"}, "CTXKIT_FLUSH_MODE"),
        ({"timeout": -1}, {}, "timeout"),
        ({"timeout": float("nan")}, {}, "timeout"),
        ({"timeout": "soon"}, {}, "timeout"),
        ({}, {"CTXKIT_FLUSH_TIMEOUT": "2s"}, "CTXKIT_FLUSH_TIMEOUT"),
        ({}, {"CTXKIT_REPORT_LEAKS": "perhaps"}, "CTXKIT_REPORT_LEAKS"),
        ({"request_id_header": ""}, {}, "request_id_header"),
        ({"request_id_header": "X Request"}, {}, "request_id_header"),
        ({"request_id_header": "X-Id\n"}, {}, "request_id_header"),
        ({"request_id_header": b"X-Id"}, {}, "request_id_header"),
    ],
)
def test_unusable_value_names_setting_and_fix(
    given: dict[str, object], environ: dict[str, str], setting: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        BoundaryOptions.resolve(**given, environ=environ)  # type: ignore[arg-type]
    assert caught.value.setting == setting
    assert caught.value.fix


@pytest.mark.parametrize(
    ("given", "value", "reported"),
    [
        (None, "1", True),
        (None, "True", True),
        (None, "0", False),
        (None, "", False),
        (False, "1", False),
        (True, "0", True),
    ],
)
def test_leaks_are_reported_where_argument_or_environment_says(
    given: bool | None,  # noqa: FBT001 - a value of the table
    value: str,
    reported: bool,  # noqa: FBT001
) -> None:
    environ = {"CTXKIT_REPORT_LEAKS": value}
    assert BoundaryOptions.resolve(report_leaks=given, environ=environ).report_leaks is reported


def test_header_is_spelled_for_both_protocols() -> None:
    options = BoundaryOptions.resolve(request_id_header="X-Trace-Id", environ={})
    assert (options.wire_name, options.environ_name) == (b"x-trace-id", "HTTP_X_TRACE_ID")
    options = BoundaryOptions.resolve(request_id_header=None, environ={})
    assert (options.wire_name, options.environ_name) == (b"", "")


def test_options_cannot_be_changed() -> None:
    options = BoundaryOptions()
    with pytest.raises(AttributeError):
        options.mode = FlushMode.ALWAYS
    assert repr(options).startswith("BoundaryOptions(mode=")
