"""When the flush of an invocation happens."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING

from ctxkit.boundary.hosting import LAMBDA_CONTEXT_VARIABLE, LAMBDA_MODE_VARIABLE
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ON = frozenset(("1", "true", "yes", "on"))
_OFF = frozenset(("", "0", "false", "no", "off"))


class LambdaMode(StrEnum):
    """Say when the flush of an invocation happens.

    Attributes:
        RETURN: When the boundary returns: the decorated handler, the wrapped application.
            What wrappers further out record after that, Sentry's own integration for one,
            is left to them.
        EXACT: Right before the answer is posted, when every wrapper of the handler has
            returned. Needs awslambdaric's ``runtime_client`` to be as it is known.
        EXTENSION: Right after the answer was posted, when the client has it, by an internal
            extension, for which Lambda waits before it freezes the environment.
    """

    RETURN = "return"
    EXACT = "exact"
    EXTENSION = "extension"


def chosen_mode(given: str | None, environ: Mapping[str, str] = os.environ) -> LambdaMode:
    """Return the mode that was given, else the one that ``CTXKIT_LAMBDA_MODE`` says.

    Raises:
        ConfigurationError: It is none.
    """
    source = LAMBDA_MODE_VARIABLE if given is None else "mode"
    wanted = environ.get(LAMBDA_MODE_VARIABLE) or "return" if given is None else given
    try:
        return LambdaMode(wanted)
    except ValueError:
        raise ConfigurationError(
            source,
            f"must be one of {', '.join(LambdaMode)}, not {wanted!r}",
            'Write "return" to flush before the handler returns.',
        ) from None


def context_trusted(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether ``CTXKIT_TRUST_LAMBDA_CONTEXT`` allows to believe the Web Adapter's header.

    Raises:
        ConfigurationError: It holds something else than a yes or a no.
    """
    text = environ.get(LAMBDA_CONTEXT_VARIABLE, "")
    if text.lower() not in _ON | _OFF:
        raise ConfigurationError(
            LAMBDA_CONTEXT_VARIABLE, f"must be 1 or 0, not {text!r}", "Write 1 to switch it on."
        )
    return text.lower() in _ON
