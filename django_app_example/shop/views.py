"""The pages of the shop."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.db.models import Count, Sum
from django.http import (
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import aget_object_or_404, get_object_or_404, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from shop import suppliers
from shop.confirmations import confirm_later
from shop.context import ctxkit
from shop.models import Order, Product
from shop.observing import observed
from shop.orders import OutOfStockError, csv_lines, csv_lines_async, orders_with_total, place_order
from shop.payments import CardDeclinedError, charge
from shop.stock import ask_all
from vendored import oldaudit

if TYPE_CHECKING:
    from django.http import HttpRequest


@require_GET
def catalogue(request: HttpRequest) -> HttpResponse:
    """Show all products."""
    with observed(request, "catalogue"):
        return render(request, "shop/catalogue.html", {"products": Product.objects.all()})


@require_GET
async def product(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one product: an async view."""
    with observed(request, "product", product=slug):
        found = await aget_object_or_404(Product, slug=slug)
        return render(request, "shop/product.html", {"product": found})


@require_GET
async def stock(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask several warehouses at once, in threads and tasks."""
    with observed(request, "stock", product=slug):
        found = await aget_object_or_404(Product, slug=slug)
        return JsonResponse({"product": found.slug, "warehouses": await ask_all(found.slug)})


@require_GET
def quotes(request: HttpRequest, slug: str) -> HttpResponse:
    """Show what the suppliers take, as far as they say so in time: a thread for each."""
    with observed(request, "quotes", product=slug):
        found = get_object_or_404(Product, slug=slug)
        context = {"product": found, "quotes": suppliers.quotes(found.price)}
        return render(request, "shop/quotes.html", context)


@require_GET
async def quotes_json(request: HttpRequest, slug: str) -> HttpResponse:
    """Tell the same to programs, by an async view: a task for each."""
    with observed(request, "quotes", product=slug):
        found = await aget_object_or_404(Product, slug=slug)
        told = [quote._asdict() for quote in await suppliers.aquotes(found.price)]
        return JsonResponse({"product": found.slug, "quotes": told})


@require_POST
def buy(request: HttpRequest, slug: str) -> HttpResponse:
    """Sell at the best price of this moment, and charge the card."""
    with observed(request, "buy", product=slug) as span:
        found = get_object_or_404(Product, slug=slug)
        quantity, email = _quantity(request), request.POST.get("email")
        if not email or quantity < 1:
            return HttpResponseBadRequest("An order has a quantity and an email.")
        best = min([found.price, *(quote.price for quote in suppliers.quotes(found.price))])
        try:
            placed = place_order(email, {slug: quantity}, {slug: best})
            charge(placed.reference, best * quantity, request.POST.get("card", ""))
        except OutOfStockError as error:
            return HttpResponse(f"Not enough of {error} left.", status=409)
        except CardDeclinedError:
            return HttpResponse(f"Order {placed} is to be paid: the card was declined.", status=402)
        Order.objects.filter(pk=placed.pk).update(paid=True)
        transaction.on_commit(partial(confirm_later, placed.reference))
        span.set_attribute("order", placed.reference)
        return HttpResponseRedirect(placed.get_absolute_url())


@require_POST
def checkout(request: HttpRequest) -> HttpResponse:
    """Write an order, all of it or nothing."""
    with observed(request, "checkout") as span:
        quantity = _quantity(request)
        slug, email = request.POST.get("product"), request.POST.get("email")
        if not slug or not email or quantity < 1:
            return HttpResponseBadRequest("An order has a product, a quantity and an email.")
        try:
            placed = place_order(email, {slug: quantity})
        except OutOfStockError as error:
            return HttpResponse(f"Not enough of {error} left.", status=409)
        span.set_attribute("order", placed.reference)
        return HttpResponseRedirect(placed.get_absolute_url())


@require_GET
def order(request: HttpRequest, reference: str) -> HttpResponse:
    """Show one order."""
    with observed(request, "order", order=reference):
        found = get_object_or_404(orders_with_total(), reference=reference)
        lines = found.lines.select_related("product")
        return render(request, "shop/order.html", {"order": found, "lines": lines})


@require_GET
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Stream all orders as CSV, in the way of the protocol that we are served by."""
    with observed(request, "export"):
        lines = csv_lines_async() if isinstance(request, ASGIRequest) else csv_lines()
        return StreamingHttpResponse(
            lines,
            content_type="text/csv",
            headers={"Content-Disposition": 'attachment; filename="orders.csv"'},
        )


@require_GET
async def activity(request: HttpRequest) -> HttpResponse:
    """Show who is acting, as an old package knows it: it uses a ``threading.local``."""
    with observed(request, "activity"):
        await asyncio.sleep(0.01)  # other requests run here, under ASGI in this very thread
        in_the_task = oldaudit.get_actor()
        in_a_thread = await sync_to_async(oldaudit.get_actor)()
        return JsonResponse({"in_the_task": in_the_task, "in_a_thread": in_a_thread})


@require_GET
def report(request: HttpRequest, year: int, month: int) -> HttpResponse:
    """Show how many pieces are in an average order: fails for a month without any."""
    with observed(request, "report", year=year, month=month):
        sums = Order.objects.filter(created_at__year=year, created_at__month=month).aggregate(
            orders=Count("pk", distinct=True), pieces=Sum("lines__quantity", default=0)
        )
        return JsonResponse({"pieces_per_order": sums["pieces"] / sums["orders"]})


@csrf_exempt
@require_POST
@ctxkit.flush_before_return  # money: whatever the host does, this is on record first
def payment(request: HttpRequest) -> HttpResponse:
    """Take the word of the payment provider."""
    with observed(request, "payment"):
        try:
            reference = str(json.loads(request.body)["order"])
        except (ValueError, KeyError, TypeError):
            return HttpResponseBadRequest("An order is missing.")
        if not Order.objects.filter(reference=reference).update(paid=True):
            return HttpResponse(f"There is no order {reference}.", status=404)
        return JsonResponse({"order": reference, "paid": True})


def _quantity(request: HttpRequest) -> int:
    """Return how many pieces a form asks for; 0 for what is no number."""
    try:
        return int(request.POST.get("quantity", "1"))
    except ValueError:
        return 0
