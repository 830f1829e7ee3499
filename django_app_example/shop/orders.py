"""Buy things."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import DecimalField, F, Sum

from shop.models import Order, OrderLine, Product
from shop.observing import logger, tracer
from shop.tenants import current_tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from decimal import Decimal

    from django.db.models import QuerySet

COLUMNS = ("reference", "tenant", "email", "paid", "created_at", "total")


class OutOfStockError(Exception):
    """Fewer are left than were asked for."""


@transaction.atomic
def place_order(
    email: str, quantities: dict[str, int], prices: dict[str, Decimal] | None = None
) -> Order:
    """Take ``quantities`` (by slug) out of the stock, and write an order, at ``prices`` if given.

    Raises:
        OutOfStockError: There are fewer of one; nothing was written.
    """
    order = Order.objects.create(email=email, tenant=current_tenant())
    for slug, quantity in quantities.items():
        with tracer.start_as_current_span("shop.reserve", attributes={"product": slug}):
            taken = Product.objects.filter(slug=slug, stock__gte=quantity).update(
                stock=F("stock") - quantity
            )
            if not taken:
                raise OutOfStockError(slug)
            product = Product.objects.get(slug=slug)
            price = (prices or {}).get(slug, product.price)
            OrderLine.objects.create(order=order, product=product, quantity=quantity, price=price)
    return order


def restock(slug: str, quantity: int) -> bool:
    """Add to the stock; return whether there is such a product."""
    return bool(Product.objects.filter(slug=slug).update(stock=F("stock") + quantity))


def csv_lines() -> Iterator[str]:
    """Yield the orders as lines of CSV, for WSGI."""
    yield _line(COLUMNS)
    for order in orders_with_total().iterator(chunk_size=100):
        yield _line(_row(order))
    logger.info("the orders are out")  # long after the view has returned, yet in its context


async def csv_lines_async() -> AsyncIterator[str]:
    """Yield the same for ASGI, where Django would first read a plain iterator to its end."""
    yield _line(COLUMNS)
    async for order in orders_with_total().aiterator(chunk_size=100):
        yield _line(_row(order))
    logger.info("the orders are out")


def orders_with_total() -> QuerySet[Order]:
    """Return all orders, each with its ``total``."""
    money = DecimalField(max_digits=12, decimal_places=2)
    total = Sum(F("lines__price") * F("lines__quantity"), output_field=money)
    return Order.objects.annotate(total=total).order_by("-created_at", "-pk")


def _row(order: Order) -> tuple[object, ...]:
    paid = "yes" if order.paid else "no"
    created = order.created_at.isoformat(timespec="seconds")
    return order.reference, order.tenant, order.email, paid, created, f"{order.total:.2f}"


def _line(values: Iterable[object]) -> str:
    file = io.StringIO()
    csv.writer(file).writerow(values)
    return file.getvalue()
