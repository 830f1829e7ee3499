"""Write to the customer: nobody has to wait for that."""

from __future__ import annotations

import time

from django.db import close_old_connections
from django.utils.timezone import now

from shop.context import ctxkit
from shop.models import Order
from shop.observing import logger


@ctxkit.function
def confirm(reference: str) -> None:
    """Write a letter about an order. It runs outside of any request, and looks the order up."""
    if ctxkit.get("protocol") == "task":  # nobody else does, as Django at the end of a request
        ctxkit.defer(close_old_connections)
    order = Order.objects.get(reference=reference)
    time.sleep(0.25)  # the mail server
    Order.objects.filter(pk=order.pk).update(confirmed_at=now())
    logger.info("wrote to %s about order %s", order.email, reference)


def confirm_later(reference: str) -> None:
    """Have the letter written after the response."""
    try:
        confirm.spawn(reference)
    except ctxkit.EngineUnavailable:
        # AWS Lambda stops the process at the response. With a task queue, as SHOP_ENGINE
        # chooses, it would go there; without, the customer waits.
        confirm(reference)
