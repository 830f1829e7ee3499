"""The database of the shop."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from config.database import database
from ctxkit.django.connections import CONNECTIONS
from shop.models import Order, Product
from shop.orders import OutOfStockError, place_order

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def last_piece(database: None) -> Iterator[Product]:
    """Return a product that other connections see too."""
    yield Product.objects.create(slug="last", name="The last one", price=1, stock=1)
    Order.objects.filter(lines__product__slug="last").delete()
    Product.objects.filter(slug="last").delete()


def test_database_sqlite_url_names_the_file() -> None:
    assert database("sqlite:////tmp/my%20shop.sqlite3")["NAME"] == "/tmp/my shop.sqlite3"


def test_database_postgres_url_has_every_part() -> None:
    found = database("postgresql://ada:p%40ss@db.example:5433/shop")
    assert found == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "USER": "ada",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": 5433,
    }


def test_database_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL must start with"):
        database("mysql://localhost/shop")


postgres = pytest.mark.skipif(
    not os.environ.get("DATABASE_URL", "").startswith("postgres"),
    reason="DATABASE_URL names no PostgreSQL",
)


@postgres
def test_place_order_two_at_once_for_the_last_piece_one_gets_it(last_piece: Product) -> None:
    both = threading.Barrier(2, timeout=10)
    results: list[str] = []

    def buy() -> None:
        both.wait()
        try:
            place_order("ada@example.org", {"last": 1})
            results.append("bought")
        except OutOfStockError:
            results.append("too late")
        finally:
            connection.close()

    threads = [threading.Thread(target=buy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(results) == ["bought", "too late"]
    last_piece.refresh_from_db()
    assert last_piece.stock == 0


@postgres
def test_connection_that_the_server_ended_during_a_freeze_is_replaced(database: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [mine] = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [mine])
    other.close()

    CONNECTIONS.thawed(60.0)
    CONNECTIONS.look()

    assert Product.objects.filter(slug="none").count() == 0


@postgres
def test_connection_that_survived_a_freeze_is_kept(database: None) -> None:
    connection.ensure_connection()
    kept = connection.connection

    CONNECTIONS.thawed(60.0)
    CONNECTIONS.look()

    assert connection.connection is kept
