"""The request's id, and what else is wanted, on every log record."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import cast

from ctxkit.boundary.crossing import CROSSING
from ctxkit.context import current
from ctxkit.context._children import lives_past
from ctxkit.propagation.records import stamp


class RequestIdFilter(logging.Filter):
    """Set ``record.request_id`` to the id of the request that is being logged.

    Let nothing out and keep nothing back: it only adds attributes, for a format such as
    ``"%(levelname)s [%(request_id)s] %(message)s"``: the id, and the value of each
    :class:`~ctxkit.Key` that goes to logs (``hops={"thread", "log"}``), if it is bound.
    Attach it to handlers: a filter on a logger does not see the records of the loggers
    below it. Where a ``QueueHandler`` hands records to another thread, attach it to that
    handler: whoever writes them later knows nothing of the request. ::

        LOGGING = {
            "version": 1,
            "filters": {"request_id": {"()": "ctxkit.RequestIdFilter"}},
            "handlers": {
                "console": {"class": "logging.StreamHandler", "filters": ["request_id"]}
            },
        }

    Args:
        name: As for :class:`logging.Filter`.
        default: What records outside of any request get.

    Context:
        The id is that of the current frame. Without one, the request that Django attaches
        to its own records (``record.request``) is asked for the crossing it came through.
        An id that the record has already is kept.

        ``record.leftover`` tells whether the work that logs has outlived its request or
        invocation, where a boundary looks for such work. It has its own id still. On Lambda,
        whose runtime takes ``record.aws_request_id`` from the invocation at hand, that is set
        right, too: attach the filter to the handler that the runtime gave the root logger.
    """

    def __init__(self, name: str = "", *, default: str = "-") -> None:
        super().__init__(name)
        self.default = default

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes; return what :class:`logging.Filter` decides by the logger's name."""
        if not hasattr(record, "request_id"):
            found = current().get("request_id") or _id_of(getattr(record, "request", None))
            record.request_id = found or self.default
        known = vars(record)
        leftover = known["leftover"] = lives_past(current())
        if leftover and "aws_request_id" in known:
            # Lambda's own handler takes it from a global, which is the next invocation's by now.
            known["aws_request_id"] = current().get("aws_request_id") or known["request_id"]
        stamp(record)
        return bool(super().filter(record))


def _id_of(request: object) -> object:
    # Django: the ASGI scope, or the WSGI environ. Others mean something else by "scope".
    for name in ("scope", "META"):
        carrier: object = getattr(request, name, None)
        if isinstance(carrier, Mapping) and CROSSING in carrier:
            crossing = cast("Mapping[str, object]", carrier)[CROSSING]
            return getattr(crossing, "request_id", None)
    return None
