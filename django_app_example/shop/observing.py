"""What every view of the shop tells: a span, a log record, a count, a breadcrumb."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sentry_sdk
from opentelemetry import metrics, trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest
    from opentelemetry.trace import Span

logger = logging.getLogger("shop")
tracer = trace.get_tracer("shop")
views = metrics.get_meter("shop").create_counter("shop.views", description="Views of the shop")


@contextmanager
def observed(request: HttpRequest, name: str, **attributes: str | int) -> Iterator[Span]:
    """Tell Sentry and OpenTelemetry that ``request`` does ``name`` in the with-block."""
    request_id = request.headers.get("X-Request-ID", "-")
    sentry_sdk.add_breadcrumb(category="shop", message=name, data=attributes)
    # A label for each request would ruin a real time series: here it lets one request be
    # followed from end to end, with and without ctxkit.
    views.add(1, {"view": name, "request_id": request_id})
    with tracer.start_as_current_span(f"shop.{name}") as span:
        span.set_attributes({"request_id": request_id, **attributes})
        logger.info(" ".join([name, *(f"{key}={value}" for key, value in attributes.items())]))
        yield span
