"""Ask all suppliers for a price, and do without those that are slow."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import wait
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from shop.context import ctxkit
from shop.observing import logger

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

CENT = Decimal("0.01")


#: How long a customer waits for quotes, in seconds.
PATIENCE = 0.15

#: How many ask at a time, in the whole process: a rush of customers is no rush on the suppliers.
POOL = ctxkit.Pool.static(workers=8, name="suppliers")


class Supplier(NamedTuple):
    """Somebody who delivers what we sell."""

    name: str
    discount: int  # per cent
    seconds: float  # until there is an answer


SUPPLIERS = (
    Supplier("Uji Leaf", discount=12, seconds=0.03),
    Supplier("Harbour Trading", discount=18, seconds=0.06),
    Supplier("Porto & Sons", discount=9, seconds=0.02),
    Supplier("Slow Boat", discount=40, seconds=1.0),  # the best price, for who can wait for it
)


class Quote(NamedTuple):
    """What a supplier takes for a piece."""

    supplier: str
    price: Decimal


def quotes(price: Decimal) -> list[Quote]:
    """Ask every supplier, each in a thread, and return what came in time, the cheapest first."""
    asked = [quote.start(supplier, price) for supplier in SUPPLIERS]
    answered, late = wait(asked, timeout=PATIENCE)
    for each in late:
        each.cancel()  # really: the thread comes to its end, and leaves its place in the pool
    return _in_order(answered)


async def aquotes(price: Decimal) -> list[Quote]:
    """Do the same, each in a task."""
    asked = [aquote.start(supplier, price) for supplier in SUPPLIERS]
    answered, late = await asyncio.wait(asked, timeout=PATIENCE)
    for each in late:
        each.cancel()
    return _in_order(answered)


@ctxkit.function(pool=POOL)
def quote(supplier: Supplier, price: Decimal) -> Quote:
    """Ask one supplier, by a client that blocks."""
    answer_at = time.monotonic() + supplier.seconds
    while time.monotonic() < answer_at:
        ctxkit.checkpoint()  # is anybody waiting still?
        time.sleep(0.005)
    return _quoted(supplier, price)


@ctxkit.function(pool=POOL)
async def aquote(supplier: Supplier, price: Decimal) -> Quote:
    """Ask one supplier, by a client that is awaited."""
    await asyncio.sleep(supplier.seconds)
    return _quoted(supplier, price)


def _quoted(supplier: Supplier, price: Decimal) -> Quote:
    found = Quote(supplier.name, (price * (100 - supplier.discount) / 100).quantize(CENT))
    logger.info("%s takes %s", *found)
    return found


def _in_order(answered: Iterable[Future[Quote] | asyncio.Future[Quote]]) -> list[Quote]:
    # Whoever has failed, or was told that time is over, has made no quote.
    found = [each.result() for each in answered if each.exception() is None]
    return sorted(found, key=attrgetter("price"))
