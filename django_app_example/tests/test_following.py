"""The context of a request, wherever the shop's code goes."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync
from django.test import AsyncClient

from shop.models import Order

if TYPE_CHECKING:
    import pytest
    from conftest import Browser


def test_response_has_the_id_of_its_request(browser: Browser) -> None:
    assert browser.get("/", x_request_id="r-1").headers["X-Request-ID"] == "r-1"
    assert len(browser.get("/").headers["X-Request-ID"]) == 32


def test_stock_every_carrier_knows_the_request(browser: Browser) -> None:
    page = browser.text(
        "/products/sencha/stock/", x_request_id="r-2", x_tenant="outlet", accept_language="fr"
    )
    answers = json.loads(page)["warehouses"]
    assert [answer["carrier"] for answer in answers] == [
        "ThreadPoolExecutor",
        "ThreadPoolExecutor",
        "to_thread",
        "create_task",
    ]
    for answer in answers:
        assert (answer["request_id"], answer["tenant"], answer["language"]) == (
            "r-2",
            "outlet",
            "fr",
        )


def test_checkout_deep_code_knows_the_tenant(browser: Browser) -> None:
    data = {"product": "sencha", "email": "ada@example.org"}
    browser.post("/checkout/", data, x_tenant="outlet")
    assert Order.objects.get().tenant == "outlet"


def test_activity_the_old_package_knows_the_actor_in_a_thread_too(browser: Browser) -> None:
    page = browser.text("/activity/", x_actor="ada")
    assert json.loads(page) == {"in_the_task": "ada", "in_a_thread": "ada"}


def test_activity_overlapping_requests_keep_their_own_actor(db: None) -> None:
    names = [f"actor-{number}" for number in range(20)]

    async def ask(name: str) -> dict[str, str]:
        response = await AsyncClient().get("/activity/", headers={"X-Actor": name})
        return response.json()

    async def ask_all() -> list[dict[str, str]]:
        return await asyncio.gather(*map(ask, names))

    assert async_to_sync(ask_all)() == [{"in_the_task": n, "in_a_thread": n} for n in names]


def test_log_records_have_the_request_id_to_the_end_of_a_stream(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    from ctxkit import RequestIdFilter

    caplog.handler.addFilter(RequestIdFilter())
    with caplog.at_level(logging.INFO, logger="shop"):
        browser.text("/orders.csv", x_request_id="r-3")
    told = {record.getMessage(): record.request_id for record in caplog.records}
    assert told == {"export": "r-3", "the orders are out": "r-3"}
