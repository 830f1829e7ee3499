"""What the shop does by functions: quotes of suppliers, payments, letters after the response."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction

from ctxkit.exceptions import EngineUnavailable
from ctxkit.functions.spawning import set_engine
from shop import suppliers
from shop.models import Order, Product
from shop.payments import PROVIDER, CardDeclinedError, charge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Browser

    from ctxkit.functions import Work

IN_TIME = ["Harbour Trading", "Uji Leaf", "Porto & Sons"]  # the cheapest first


class Recording:
    """An engine that keeps what it is sent."""

    name = "recording"

    def __init__(self) -> None:
        self.sent: list[Work] = []

    def send(self, work: Work) -> None:
        self.sent.append(work)

    async def asend(self, work: Work) -> None:
        self.send(work)


class Frozen(Recording):
    """The embedded engine, where the host stops the process."""

    def send(self, work: Work) -> None:
        raise EngineUnavailable(work.name, "embedded", "aws-lambda")


@pytest.fixture
def engine(all_in_time: None) -> Iterator[Recording]:
    engine = Recording()
    set_engine(engine)
    yield engine
    set_engine("embedded")


@pytest.fixture
def slow_boat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one supplier take its time, and the others have plenty of it."""
    *others, boat = suppliers.SUPPLIERS
    monkeypatch.setattr(suppliers, "SUPPLIERS", (*others, boat._replace(seconds=60)))
    monkeypatch.setattr(suppliers, "PATIENCE", 0.8)


@pytest.fixture
def all_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    *others, _ = suppliers.SUPPLIERS
    monkeypatch.setattr(suppliers, "SUPPLIERS", [each._replace(seconds=0) for each in others])
    monkeypatch.setattr(suppliers, "PATIENCE", 20)


@pytest.fixture
def charged() -> list[Decimal]:
    PROVIDER.charged.clear()
    return PROVIDER.charged


@pytest.fixture(autouse=True)
def _committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view has no transaction around it, but in tests that undo what they write."""
    monkeypatch.setattr(transaction, "on_commit", lambda callback: callback())


def buy(browser: Browser, **data: Any) -> Any:
    data = {"email": "ada@example.org", "quantity": 2, **data}
    return browser.post("/products/sencha/buy/", data, x_request_id="r-5")


@pytest.mark.usefixtures("slow_boat")
def test_quotes_those_that_are_late_are_left_out(browser: Browser) -> None:
    page = browser.text("/products/sencha/quotes/")
    places = [page.index(name.replace("&", "&amp;")) for name in IN_TIME]
    assert places == sorted(places)
    assert "15.17" in page  # 18 per cent off
    assert "Slow Boat" not in page


@pytest.mark.usefixtures("slow_boat")
def test_quotes_of_an_async_view_are_the_same(browser: Browser) -> None:
    told = json.loads(browser.text("/products/sencha/quotes.json"))["quotes"]
    assert [quote["supplier"] for quote in told] == IN_TIME
    assert told[0]["price"] == "15.17"


@pytest.mark.usefixtures("slow_boat")
@pytest.mark.parametrize("page", ["quotes/", "quotes.json"])
def test_quotes_that_are_late_are_over_when_the_response_is_there(
    browser: Browser, page: str
) -> None:
    before = suppliers.POOL.stats()
    browser.get(f"/products/sencha/{page}")
    after = suppliers.POOL.stats()
    assert after.completed - before.completed == 4
    assert (after.busy, after.waiting) == (0, 0)


def test_buy_charges_the_best_price_once_though_an_answer_was_lost(
    browser: Browser, engine: Recording, charged: list[Decimal]
) -> None:
    response = buy(browser)
    assert response.status_code == 302
    assert charged == [Decimal("30.34")]
    [line] = Order.objects.get(paid=True).lines.all()
    assert (line.quantity, line.price) == (2, Decimal("15.17"))


def test_buy_has_a_letter_written_later_for_the_same_request(
    browser: Browser, engine: Recording
) -> None:
    buy(browser)
    order = Order.objects.get()
    [work] = engine.sent
    assert work.name == "shop.confirmations:confirm"
    assert work.args == (order.reference,)
    assert '"r-5"' in work.carrier["ctxkit-context"]
    assert order.confirmed_at is None


def test_buy_where_nothing_runs_after_the_response_writes_before_it(
    browser: Browser, engine: Recording
) -> None:
    set_engine(Frozen())
    response = buy(browser)
    assert Order.objects.get().confirmed_at is not None
    assert "we have written to you" in browser.text(response.url)


def test_buy_with_a_card_that_is_declined_asks_once_and_writes_nothing(
    browser: Browser, engine: Recording, charged: list[Decimal]
) -> None:
    response = buy(browser, card="declined")
    assert response.status_code == 402
    assert not Order.objects.get().paid
    assert (charged, engine.sent) == ([], [])


def test_charge_that_is_declined_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def decline(**order: Any) -> str:
        asked.append(order["key"])
        raise CardDeclinedError

    monkeypatch.setattr(PROVIDER, "charge", decline)
    with pytest.raises(CardDeclinedError):
        charge("abc", Decimal(1), "card")
    assert asked == ["order-abc"]


@pytest.mark.parametrize("data", [{"quantity": "0"}, {"quantity": "many"}, {"email": ""}])
def test_buy_of_nothing_or_by_nobody_is_refused(
    browser: Browser, engine: Recording, data: dict[str, str]
) -> None:
    assert buy(browser, **data).status_code == 400
    assert not Order.objects.exists()


def test_buy_of_more_than_there_is_charges_nothing(
    browser: Browser, engine: Recording, charged: list[Decimal]
) -> None:
    left = Product.objects.get(slug="sencha").stock
    assert buy(browser, quantity=left + 1).status_code == 409
    assert charged == []
