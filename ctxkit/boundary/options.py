"""What can be chosen at a boundary, and where the choice comes from."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn, cast, final

from ctxkit.context._children import NOTING
from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing.budget import TIMEOUT_VARIABLE, checked_timeout, remaining_on_cloud_run
from ctxkit.flushing.spooling.declared import declared as declared_spool
from ctxkit.lifecycle import LeftoverPolicy, environment

if TYPE_CHECKING:
    from collections.abc import Mapping

# RFC 9110 section 5.6.2.
_is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch

MODE_VARIABLE = "CTXKIT_FLUSH_MODE"
LEAKS_VARIABLE = "CTXKIT_REPORT_LEAKS"
LEFTOVERS_VARIABLE = "CTXKIT_LEFTOVERS"
_ON = frozenset(("1", "true", "yes", "on"))
_OFF = frozenset(("", "0", "false", "no", "off"))


class FlushMode(StrEnum):
    """Which responses wait for the telemetry of their request.

    Attributes:
        AUTO: What the host needs: see :func:`ctxkit.environment`.
        ALWAYS: Each one. For hosts that freeze the process after every response.
        IDLE: Only the one that leaves no other request in flight. For hosts that take the
            CPU away when no request is in flight.
        NEVER: None. Telemetry leaves in the background and is drained at shutdown.
    """

    AUTO = "auto"
    ALWAYS = "always"
    IDLE = "idle"
    NEVER = "never"


@final
class BoundaryOptions:
    """Hold what was chosen at a boundary. Immutable; made by :meth:`resolve`.

    Attributes:
        mode: Which responses are held; never :attr:`FlushMode.AUTO`.
        timeout: The longest that a response is held for a flush, in seconds; None leaves
            it to :func:`ctxkit.flush`.
        request_id_header: The header that brings the id and takes it back; None for none.
        trust_request_id: Whether a well-formed inbound id is taken over.
        trust_context: Whether the context that the caller sent is taken in.
        report_leaks: Whether it is reported what still holds a request that is over.
        server_timing: Whether a response tells how long it was held, where it still can.
        leftovers: What becomes of work that is alive at the end.
    """

    __slots__ = (
        "counts",
        "environ_name",
        "holds",
        "leftovers",
        "lower_name",
        "mode",
        "report_leaks",
        "request_id_header",
        "server_timing",
        "settles",
        "time_limit",
        "timeout",
        "trust_context",
        "trust_request_id",
        "watches",
        "wire_name",
    )

    mode: FlushMode
    timeout: float | None
    request_id_header: str | None
    trust_request_id: bool
    trust_context: bool
    report_leaks: bool
    server_timing: bool
    #: Whether any response is held, and whether only the one that leaves none in flight.
    holds: bool
    counts: bool
    #: The seconds that the host gives each request; None where it does not say.
    time_limit: float | None
    #: The header in small letters, as ASGI spells it, and as WSGI does; empty where there is
    #: none.
    lower_name: str
    leftovers: LeftoverPolicy
    #: Whether it is noted what a request starts.
    watches: bool
    #: Whether anything is to be done at the end of a request.
    settles: bool
    wire_name: bytes
    environ_name: str

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        mode: FlushMode = FlushMode.NEVER,
        timeout: float | None = None,
        request_id_header: str | None = "X-Request-ID",
        *,
        trust_request_id: bool = True,
        trust_context: bool = False,
        report_leaks: bool = False,
        server_timing: bool = False,
        time_limit: float | None = None,
        leftovers: LeftoverPolicy = LeftoverPolicy.IGNORE,
    ) -> None:
        header = request_id_header or ""
        holds = mode is not FlushMode.NEVER
        watches = leftovers is not LeftoverPolicy.IGNORE
        NOTING.on = NOTING.on or watches
        for name, value in (
            ("mode", mode),
            ("timeout", timeout),
            ("request_id_header", request_id_header),
            ("trust_request_id", trust_request_id),
            ("trust_context", trust_context),
            ("report_leaks", report_leaks),
            ("server_timing", server_timing),
            ("time_limit", time_limit),
            ("counts", mode is FlushMode.IDLE),
            ("lower_name", header.lower()),
            ("leftovers", leftovers),
            ("holds", holds),
            ("watches", watches),
            ("settles", holds or watches),
            ("wire_name", header.lower().encode()),
            ("environ_name", header and "HTTP_" + header.upper().replace("-", "_")),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"BoundaryOptions is immutable: cannot set {name}")

    def __repr__(self) -> str:
        trusted = ("trust_request_id", "trust_context")
        told = ("report_leaks", "server_timing", "leftovers")
        chosen = ("mode", "timeout", "request_id_header", *trusted, *told)
        return f"BoundaryOptions({', '.join(f'{n}={getattr(self, n)!r}' for n in chosen)})"

    @classmethod
    def resolve(  # noqa: PLR0913 - each has a default
        cls,
        mode: str | None = None,
        timeout: float | None = None,
        request_id_header: str | None = "X-Request-ID",
        *,
        trust_request_id: bool = True,
        trust_context: bool = False,
        report_leaks: bool | None = None,
        server_timing: bool = False,
        leftovers: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> BoundaryOptions:
        """Check what was given and fill in the rest from the environment.

        Args:
            mode: A :class:`FlushMode` or its value; None reads ``CTXKIT_FLUSH_MODE``, and
                without it means "auto".
            timeout: Seconds, not negative; None reads ``CTXKIT_FLUSH_TIMEOUT``.
            request_id_header: The name of a header; None switches it off, both ways.
            trust_request_id: Whether a well-formed inbound id is taken over.
            trust_context: Whether the context that the caller sent is taken in.
            report_leaks: Whether it is reported what still holds a request that is over;
                None reads ``CTXKIT_REPORT_LEAKS``, and without it means no.
            server_timing: Whether a response tells how long it was held, where it still can.
            leftovers: A :class:`~ctxkit.lifecycle.LeftoverPolicy` or its value; None reads
                ``CTXKIT_LEFTOVERS``, and without it means "warn" where any response is
                held, "ignore" elsewhere.
            environ: Read instead of :data:`os.environ`.

        Raises:
            ConfigurationError: A value cannot be used.
        """
        environ = os.environ if environ is None else environ
        if request_id_header is not None and not _is_header(request_id_header):
            raise ConfigurationError(
                "request_id_header",
                f"must be the name of an HTTP header, not {request_id_header!r}",
                'Write it like "X-Request-ID", or None to switch it off.',
            )
        declared_spool(environ=environ)  # a mistake is to be known now, not at the first flush
        for switch, on in (("trust_context", trust_context), ("server_timing", server_timing)):
            if not isinstance(cast("object", on), bool):
                raise ConfigurationError(
                    switch, f"must be a bool, not {on!r}", "Write True or False."
                )
        flush_mode = _chosen_mode(mode, environ)
        return cls(
            flush_mode,
            _chosen_timeout(timeout, environ),
            request_id_header,
            trust_request_id=bool(trust_request_id),
            trust_context=trust_context,
            report_leaks=_chosen_report(report_leaks, environ),
            server_timing=server_timing,
            time_limit=remaining_on_cloud_run(0.0, environ),
            leftovers=chosen_leftovers(
                leftovers, environ, frozen=flush_mode is not FlushMode.NEVER
            ),
        )


def chosen_leftovers(
    given: str | None, environ: Mapping[str, str] = os.environ, *, frozen: bool
) -> LeftoverPolicy:
    """Return what becomes of leftovers.

    Args:
        given: What the user wrote; None reads ``CTXKIT_LEFTOVERS``.
        environ: Where to read it.
        frozen: Whether the host may stop what goes on after the end.

    Raises:
        ConfigurationError: It is no :class:`~ctxkit.lifecycle.LeftoverPolicy`.
    """
    source = "leftovers" if given is not None else LEFTOVERS_VARIABLE
    wanted = given if given is not None else environ.get(LEFTOVERS_VARIABLE)
    if not wanted and given is None:
        return LeftoverPolicy.WARN if frozen else LeftoverPolicy.IGNORE
    try:
        return LeftoverPolicy(wanted)  # type: ignore[arg-type]
    except ValueError:
        raise ConfigurationError(
            source,
            f"must be one of {', '.join(LeftoverPolicy)}, not {wanted!r}",
            'Write "warn" to have them named in the log.',
        ) from None


def _is_header(name: object) -> bool:
    return isinstance(name, str) and _is_token(name) is not None


def _chosen_mode(given: str | None, environ: Mapping[str, str]) -> FlushMode:
    source = "mode" if given is not None else MODE_VARIABLE
    wanted = given if given is not None else environ.get(MODE_VARIABLE) or "auto"
    try:
        mode = FlushMode(wanted)
    except ValueError:
        raise ConfigurationError(
            source,
            f"must be one of {', '.join(FlushMode)}, not {wanted!r}",
            'Write "auto" to let the host decide.',
        ) from None
    return FlushMode(environment().hold) if mode is FlushMode.AUTO else mode


def _chosen_timeout(given: float | None, environ: Mapping[str, str]) -> float | None:
    if given is not None:
        return checked_timeout("timeout", given)
    text = environ.get(TIMEOUT_VARIABLE)
    return checked_timeout(TIMEOUT_VARIABLE, text) if text else None


def _chosen_report(given: bool | None, environ: Mapping[str, str]) -> bool:  # noqa: FBT001 - a value
    if given is not None:
        return bool(given)
    text = environ.get(LEAKS_VARIABLE, "")
    if text.lower() not in _ON | _OFF:
        raise ConfigurationError(
            LEAKS_VARIABLE, f"must be 1 or 0, not {text!r}", "Write 1 to switch it on."
        )
    return text.lower() in _ON
