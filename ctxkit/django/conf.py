"""The ``CTXKIT`` setting: read once, checked as a whole, read again when it changes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from django.apps import apps
from django.conf import settings
from django.core.signals import setting_changed

from ctxkit.boundary import BoundaryOptions
from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing.spooling.declared import declared as declared_spool
from ctxkit.functions._reading import Place, close_to, indexed

if TYPE_CHECKING:
    from ctxkit.functions._configured import Configuration


class Setting(NamedTuple):
    """Describe one key of ``CTXKIT``; the settings reference is made from these.

    Attributes:
        key: The key in the dict.
        argument: The argument of :meth:`BoundaryOptions.resolve` that it stands for, or
            None for the ones that are not about the boundary.
        default: Its default, as one writes it.
        summary: What it does.
    """

    key: str
    argument: str | None
    default: str
    summary: str


SETTINGS = (
    Setting(
        "FLUSH_MODE",
        "mode",
        '"auto"',
        "When to hold a response until its telemetry has landed: `always`; `idle`, only the "
        "response that leaves no other request in flight; `never`; `auto`, what the host "
        "needs. Goes before `CTXKIT_FLUSH_MODE` in the environment.",
    ),
    Setting(
        "FLUSH_TIMEOUT",
        "timeout",
        "2.0",
        "The longest time, in seconds, that a response is held. Goes before "
        "`CTXKIT_FLUSH_TIMEOUT` in the environment.",
    ),
    Setting(
        "REQUEST_ID_HEADER",
        "request_id_header",
        '"X-Request-ID"',
        "The header that brings a request id in and takes it out; `None` for neither.",
    ),
    Setting(
        "TRUST_REQUEST_ID",
        "trust_request_id",
        "True",
        "Whether to use a request id that the client sent, if it is well-formed. Otherwise "
        "each request gets a new one, and the client's is kept as `client_request_id`.",
    ),
    Setting(
        "TRUST_CONTEXT",
        "trust_context",
        "False",
        "Whether to take in the context that the caller sent: `ctxkit-context`, `traceparent`, "
        "`tracestate`, `baggage`. Only where nobody but your own services can call.",
    ),
    Setting(
        "REPORT_LEAKS",
        "report_leaks",
        "False",
        "Whether to log, as warnings of the logger `ctxkit`, what still holds a request some "
        "time after its end. For development and staging. Goes before `CTXKIT_REPORT_LEAKS` in "
        "the environment.",
    ),
    Setting(
        "SERVER_TIMING",
        "server_timing",
        "False",
        "Whether to tell in a `Server-Timing` header how long each sink held the response, where "
        "the headers have not left before.",
    ),
    Setting(
        "LEFTOVERS",
        "leftovers",
        '"warn"',
        "What becomes of tasks, threads, timers and jobs that a request has started and that are "
        "alive at its end: `warn`, `await`, `cancel`, `ignore`. Where no response is held, the "
        "default is `ignore`. Goes before `CTXKIT_LEFTOVERS` in the environment.",
    ),
    Setting(
        "SPOOL",
        None,
        "False",
        "Whether to keep on disk what could not be sent, and send it later: `True`, or the "
        "absolute path of an existing folder. Goes before `CTXKIT_SPOOL` in the environment.",
    ),
    Setting(
        "SPOOL_MAX_BYTES",
        None,
        "16777216",
        "How much that may take in all, in bytes; the oldest goes first. Goes before "
        "`CTXKIT_SPOOL_MAX_BYTES` in the environment.",
    ),
    Setting(
        "SPOOL_MAX_AGE",
        None,
        "86400.0",
        "After how many seconds it is deleted unsent. Goes before `CTXKIT_SPOOL_MAX_AGE` in the "
        "environment.",
    ),
    Setting(
        "POOLS",
        None,
        "{}",
        "The pools of functions, by their names: see [](functions-settings.md).",
    ),
    Setting(
        "FUNCTIONS",
        None,
        "{}",
        "What holds for functions, by their names: see [](functions-settings.md). This and `POOLS` "
        "go before the file that `CTXKIT_CONFIG` names in the environment.",
    ),
    Setting(
        "ADOPT",
        None,
        "[]",
        "`threading.local` objects of other packages to make follow the request, as dotted paths: "
        '`["package.module.name"]`. A path splits into module and name at its last dot, or at a '
        'colon: `"package.module:Class.name"`. Either part may be a pattern: '
        '`"package.module.*"` is everything at the top of one module, `"package.*:*"` of every '
        "module below a package.",
    ),
    Setting(
        "INSTALL",
        None,
        "False",
        "Whether to call {func}`ctxkit.install`, so that the standard library's own threads "
        "and pools carry the context.",
    ),
    Setting(
        "TASKS",
        None,
        "False",
        "Whether tasks of Django's framework, and of `django-tasks`, take the context along, and "
        'each is a crossing where it runs. Needs `"ctxkit.django"` in `INSTALLED_APPS`. '
        "`FLUSH_MODE`, `FLUSH_TIMEOUT` and `LEFTOVERS` hold for tasks too.",
    ),
)

_ADOPT_FIX = 'Write it like ["package.module.name"].'
# The keys about the spool, as the arguments of what checks them.
_SPOOL = {"SPOOL": "spool", "SPOOL_MAX_BYTES": "max_bytes", "SPOOL_MAX_AGE": "max_age"}
# The keys about functions, which are looked at together.
_TABLES = ("POOLS", "FUNCTIONS")
_KEYS = {setting.key: setting for setting in SETTINGS}
_SWITCHES = frozenset(
    ("INSTALL", "TASKS", "TRUST_REQUEST_ID", "TRUST_CONTEXT", "REPORT_LEAKS", "SERVER_TIMING")
)
_options: BoundaryOptions | None = None
_task_options: BoundaryOptions | None = None
# Whether what holds for functions is what CTXKIT says.
_followed = False


def options() -> BoundaryOptions:
    """Return the options of the boundary, as ``CTXKIT`` and the environment say.

    Raises:
        ConfigurationError: The first of :func:`problems`.
    """
    global _options  # noqa: PLW0603 - one settings module per process, so one cache
    if _options is None:
        found = problems()
        if found:
            raise found[0]
        _options = BoundaryOptions.resolve(**_arguments(_declared()))
    return _options


def task_options() -> BoundaryOptions:
    """Return the options of the boundary of tasks: those of requests, but that it trusts.

    Whoever can write to the queue can have any task run.

    Raises:
        ConfigurationError: The first of :func:`problems`.
    """
    global _task_options  # noqa: PLW0603 - as above
    if _task_options is None:
        options()  # checks them
        arguments = _arguments(_declared())
        arguments["trust_context"] = True
        _task_options = BoundaryOptions.resolve(**arguments)
    return _task_options


def adoptions() -> list[tuple[str, str]]:
    """Return the module and the name of everything that ``CTXKIT["ADOPT"]`` lists.

    Raises:
        ConfigurationError: One of them is no dotted path.
    """
    return _paths(_declared().get("ADOPT", ()))


def adopt_declared() -> None:
    """Adopt what ``CTXKIT["ADOPT"]`` lists; what was adopted before stays so.

    Raises:
        AdoptionError: One of them is no ``threading.local``.
        ConfigurationError: One of them is no dotted path.
    """
    declared = adoptions()
    if declared:
        from ctxkit.propagation import adopt  # noqa: PLC0415 - few projects ask for it

        for module, name in declared:
            adopt(module, name)


def install_declared() -> None:
    """Call :func:`ctxkit.install` if ``CTXKIT["INSTALL"]`` says so."""
    if _declared().get("INSTALL"):
        from ctxkit.propagation import install, is_installed  # noqa: PLC0415 - as above

        if not is_installed():  # whoever called it, maybe with arguments, goes before
            install()


def tasks_declared() -> None:
    """Have tasks take the context along if ``CTXKIT["TASKS"]`` says so."""
    if _declared().get("TASKS"):
        from ctxkit.django.tasks import install  # noqa: PLC0415 - as above

        install()


def require_app() -> None:
    """Check that what ``CTXKIT`` has done before models load was done.

    Raises:
        ConfigurationError: ``CTXKIT["TASKS"]`` is on, and there is no app to see to it.
    """
    if _declared().get("TASKS") and not apps.is_installed("ctxkit.django"):
        raise ConfigurationError(
            'CTXKIT["TASKS"]',
            "does nothing without the app",
            'Put "ctxkit.django" into INSTALLED_APPS, before the apps that have tasks.',
        )


def authorize_users() -> None:
    """Have Django's users decide about permissions, where there are any."""
    if apps.is_installed("django.contrib.auth"):
        from ctxkit.django.permissions import install_authorizer  # noqa: PLC0415 - has users

        install_authorizer()


def spool_declared() -> None:
    """Start the spool if ``CTXKIT["SPOOL"]`` says so, and stop it if it says no."""
    declared = _declared()
    if "SPOOL" in declared:
        from ctxkit.flushing.spooling.switch import apply  # noqa: PLC0415 - few ask for it

        apply(declared_spool(**_spool_arguments(declared)))


def configure_declared() -> None:
    """Have what ``CTXKIT`` says about functions and pools hold, if it says anything.

    It is read at the first use of a function, and again when the setting changes. Whoever calls
    :func:`ctxkit.functions.configure` later goes before.
    """
    global _followed  # noqa: PLW0603 - as above
    if not _followed and _tables():
        _followed = True
        _follow()


def problems() -> list[ConfigurationError]:
    """Return everything that is wrong with ``CTXKIT``; if nothing, with the environment."""
    try:
        declared = _declared()
    except ConfigurationError as error:
        return [error]
    found = [_unknown(key) for key in declared if key not in _KEYS]
    for setting in SETTINGS:
        if setting.key in declared:
            found += _refusal(setting, declared[setting.key])
    _read_tables(found)
    if not found:
        try:
            BoundaryOptions.resolve(**_arguments(declared))
        except ConfigurationError as error:
            return [error]
    return found


def _declared() -> Mapping[str, object]:
    declared = cast("object", getattr(settings, "CTXKIT", None))
    if declared is None:
        return {}
    if isinstance(declared, Mapping):
        return cast("Mapping[str, object]", declared)
    raise ConfigurationError(
        "CTXKIT", f"must be a dict, not {declared!r}", 'Write CTXKIT = {"FLUSH_MODE": "auto"}.'
    )


def _arguments(declared: Mapping[str, object]) -> dict[str, Any]:
    return {
        setting.argument: declared[setting.key]
        for setting in SETTINGS
        if setting.argument is not None and setting.key in declared
    }


def _spool_arguments(declared: Mapping[str, object]) -> dict[str, Any]:
    return {name: declared[key] for key, name in _SPOOL.items() if key in declared}


def _tables() -> dict[str, object]:
    return {key: value for key, value in _declared().items() if key in _TABLES}


def _read_tables(found: list[ConfigurationError]) -> None:
    """Note what is wrong with what is said about functions, here or in the file."""
    tables = _tables()
    if tables:
        from ctxkit.functions.configuring import read  # noqa: PLC0415 - few projects ask for it

        read(tables, found, Place("CTXKIT", indexed), _TABLES)
    elif os.environ.get("CTXKIT_CONFIG"):
        from ctxkit.functions._configured import read_environment  # noqa: PLC0415 - as above

        try:
            read_environment()
        except ConfigurationError as error:
            found.append(error)


def _follow() -> None:
    from ctxkit.functions import configured  # noqa: PLC0415 - as above

    configured.change(_configuration)


def _configuration() -> Configuration:
    from ctxkit.functions._configured import read_environment  # noqa: PLC0415 - as above
    from ctxkit.functions.configuring import checked  # noqa: PLC0415 - as above

    tables = _tables()
    return checked(tables, Place("CTXKIT", indexed), _TABLES) if tables else read_environment()


def _refusal(setting: Setting, value: object) -> list[ConfigurationError]:
    """Return why ``value`` is refused, if it is, in the words of the setting."""
    if setting.key in _TABLES:
        return []
    name = f'CTXKIT["{setting.key}"]'
    if setting.key in _SWITCHES:
        wrong = ConfigurationError(name, f"must be a bool, not {value!r}", "Write True or False.")
        return [] if isinstance(value, bool) else [wrong]
    try:
        if setting.key in _SPOOL:
            declared_spool(**{_SPOOL[setting.key]: value}, environ={})
        elif setting.argument is None:
            _paths(value)
        else:
            argument: dict[str, Any] = {setting.argument: value}
            BoundaryOptions.resolve(**argument, environ={})
    except ConfigurationError as error:
        return [ConfigurationError(name, error.problem, error.fix)]
    return []


def _unknown(key: object) -> ConfigurationError:
    close = close_to(str(key), _KEYS)
    return ConfigurationError(
        f'CTXKIT["{key}"]',
        "is not a setting of ctxkit",
        f"Did you mean {close}?" if close else f"Known are {', '.join(_KEYS)}.",
    )


def _paths(value: object) -> list[tuple[str, str]]:
    if isinstance(value, (list, tuple)):
        return [_split(path) for path in cast("list[object]", value)]
    raise _not_a_path(value)


def _split(path: object) -> tuple[str, str]:
    if not isinstance(path, str):
        raise _not_a_path(path)
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module or not name:
        raise _not_a_path(path)
    from ctxkit.propagation.adoption import validate  # noqa: PLC0415 - few projects ask for it

    try:
        validate(module, name)
    except ConfigurationError as error:
        raise ConfigurationError('CTXKIT["ADOPT"]', error.problem, _ADOPT_FIX) from None
    return module, name


def _not_a_path(value: object) -> ConfigurationError:
    return ConfigurationError(
        'CTXKIT["ADOPT"]', f"must be a list of dotted paths, not {value!r}", _ADOPT_FIX
    )


def _forget(*, setting: str, **_: object) -> None:
    global _options, _task_options  # noqa: PLW0603 - as above
    if setting == "CTXKIT":
        _options = _task_options = None
        if _followed:
            _follow()
        else:
            with suppress(ConfigurationError):  # it is told by whoever reads the options
                configure_declared()


setting_changed.connect(_forget, dispatch_uid="ctxkit.django.conf")
