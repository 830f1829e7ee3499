"""Charge a card: the provider is another company, behind a network that loses answers."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

from shop.context import ctxkit
from shop.observing import tracer

if TYPE_CHECKING:
    from decimal import Decimal


class AnswerLostError(ConnectionError):
    """Nobody knows whether the card was charged: ask again, with the same key."""


class CardDeclinedError(Exception):
    """The bank has said no, and will say so again."""


@ctxkit.function(retry={"max_attempts": 4, "initial_delay": "50ms"}, timeout=3.0)
def charge(reference: str, amount: Decimal, card: str) -> str:
    """Charge a card for an order, once, however often it takes to get to know that.

    Retried is what may pass: a ConnectionError does, a bank's no does not.

    Returns:
        The number of the receipt.
    """
    # The key is of the order, not of the attempt. With a new one each time, the customer would
    # pay for every answer that was lost.
    with tracer.start_as_current_span("provider.charge", attributes={"order": reference}):
        return PROVIDER.charge(key=f"order-{reference}", amount=amount, card=card)


class Provider:
    """Stand in for the provider. It charges at once, and its first answer gets lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._receipts: dict[str, str] = {}
        self.charged: list[Decimal] = []

    def charge(self, *, key: str, amount: Decimal, card: str) -> str:
        with self._lock:
            if card == "declined":
                raise CardDeclinedError(key)
            if key in self._receipts:
                return self._receipts[key]
            self._receipts[key] = f"receipt-{uuid.uuid4().hex[:8]}"
            self.charged.append(amount)
        raise AnswerLostError(key)


PROVIDER = Provider()
