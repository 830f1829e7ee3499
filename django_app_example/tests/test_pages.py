"""The shop as its customers know it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command

from shop.models import Order, Product

if TYPE_CHECKING:
    from conftest import Browser


def place(browser: Browser, quantity: int | str = 2) -> Order:
    data = {"product": "sencha", "quantity": quantity, "email": "ada@example.org"}
    response = browser.post("/checkout/", data)
    assert response.status_code == 302, response.content
    return Order.objects.get(reference=response.url.split("/")[-2])


@pytest.fixture
def sencha(db: None) -> Product:
    return Product.objects.get(slug="sencha")


def test_catalogue_shows_every_product(browser: Browser) -> None:
    page = browser.text("/")
    assert all(name in page for name in Product.objects.values_list("name", flat=True))


def test_product_page_of_a_known_product_offers_it(browser: Browser) -> None:
    page = browser.text("/products/sencha/", accept_language="de")
    assert "Sencha, first flush" in page
    assert "18,50" in page  # written as in German


def test_product_page_of_no_product_is_not_found(browser: Browser) -> None:
    assert browser.get("/products/coffee/").status_code == 404


def test_checkout_takes_the_pieces_out_of_the_stock(browser: Browser, sencha: Product) -> None:
    placed = place(browser, quantity=3)
    assert placed.lines.get().quantity == 3
    assert Product.objects.get(slug="sencha").stock == sencha.stock - 3
    page = browser.text(placed.get_absolute_url())
    assert "55.50" in page
    assert "to be paid" in page


def test_checkout_of_more_than_there_is_writes_nothing(browser: Browser, sencha: Product) -> None:
    data = {"product": "sencha", "quantity": sencha.stock + 1, "email": "ada@example.org"}
    assert browser.post("/checkout/", data).status_code == 409
    assert not Order.objects.exists()
    assert Product.objects.get(slug="sencha").stock == sencha.stock


@pytest.mark.parametrize("quantity", ["0", "-1", "many"])
def test_checkout_of_no_number_is_refused(browser: Browser, quantity: str) -> None:
    data = {"product": "sencha", "quantity": quantity, "email": "ada@example.org"}
    assert browser.post("/checkout/", data).status_code == 400


def test_export_streams_every_order(browser: Browser) -> None:
    first, second = place(browser), place(browser)
    header, *rows = browser.text("/orders.csv").splitlines()
    assert header.startswith("reference,tenant,email,paid")
    assert [row.split(",")[0] for row in rows] == [second.reference, first.reference]
    assert all(row.endswith(",37.00") for row in rows)


def test_payment_marks_the_order_as_paid(browser: Browser) -> None:
    placed = place(browser)
    body = json.dumps({"order": placed.reference})
    response = browser.post("/webhooks/payment/", body, content_type="application/json")
    assert response.status_code == 200
    assert Order.objects.get().paid


@pytest.mark.parametrize(("body", "status"), [("{", 400), ("{}", 400), ('{"order": "x"}', 404)])
def test_payment_of_no_order_is_refused(browser: Browser, body: str, status: int) -> None:
    response = browser.post("/webhooks/payment/", body, content_type="application/json")
    assert response.status_code == status


def test_report_of_a_month_without_orders_fails(browser: Browser) -> None:
    assert browser.get("/reports/1999/12/").status_code == 500


def test_report_of_a_month_with_orders_has_the_average(browser: Browser) -> None:
    created = place(browser, quantity=4).created_at
    page = browser.text(f"/reports/{created.year}/{created.month}/")
    assert json.loads(page) == {"pieces_per_order": 4.0}


def test_system_checks_find_nothing() -> None:
    call_command("check", fail_level="DEBUG")
