"""The shop on AWS Lambda: ``handler`` for HTTP, ``restock`` for deliveries from SQS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sentry_sdk
from django.db import close_old_connections
from mangum import Mangum

from config.asgi import application
from shop.context import ctxkit
from shop.observing import logger, tracer
from shop.orders import restock as add_to_stock

if TYPE_CHECKING:
    from mangum.types import LambdaContext

# Nothing more to do: the middleware knows that it runs on Lambda, and lands every request.
handler = Mangum(application, lifespan="off")


@ctxkit.flush_before_return
def restock(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Add what has arrived at the warehouse, one SQS record for each delivery.

    Returns:
        The deliveries that could not be booked, for SQS to send again.
    """
    failures = []
    for record in event["Records"]:
        with (
            sentry_sdk.start_transaction(op="queue.process", name="restock"),
            tracer.start_as_current_span("shop.restock") as span,
        ):
            delivery = json.loads(record["body"])
            span.set_attributes({"product": delivery["product"], "message": record["messageId"]})
            if add_to_stock(delivery["product"], int(delivery["quantity"])):
                logger.info("restocked %(product)s with %(quantity)s", delivery)
            else:
                logger.error("no product %(product)s to restock", delivery)
                failures.append({"itemIdentifier": record["messageId"]})
    close_old_connections()
    return {"batchItemFailures": failures}
