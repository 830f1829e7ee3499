"""The header by which the Lambda Web Adapter says until when it waits.

https://github.com/awslabs/aws-lambda-web-adapter
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WSGI: Final = "HTTP_X_AMZN_LAMBDA_CONTEXT"
_ASGI: Final = b"x-amzn-lambda-context"
# Milliseconds since the epoch; under which of the names depends on the adapter's version.
_FIELDS: Final = ("deadline", "deadline_ms")


def remaining(carrier: Mapping[str, Any]) -> float | None:
    """Return the seconds that the adapter says remain, or None where it does not say so."""
    text = carrier.get(_WSGI)
    if text is None:
        headers: Iterable[tuple[bytes, bytes]] = carrier.get("headers") or ()
        text = next((value for name, value in headers if name == _ASGI), None)
    if not text:
        return None
    try:
        told = json.loads(text)
        millis = next(told[field] for field in _FIELDS if field in told)
        return max(0.0, float(millis) / 1000 - time.time())
    except (ValueError, TypeError, StopIteration, OverflowError, RecursionError):
        return None  # what cannot be read sets no limit
