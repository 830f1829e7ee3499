"""The shop under real servers, frozen as soon as a response is out."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from ctxkit.testing import FreezingServer, LambdaHost, TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ctxkit.testing import Item

ROOT = Path(__file__).resolve().parent.parent
SERVERS = {
    "wsgi": ["gunicorn", "config.wsgi", "--bind=127.0.0.1:{port}"],
    "asgi": ["uvicorn", "config.asgi:application", "--host=127.0.0.1", "--port={port}"],
}
Environment = dict[str, str | None]  # None: without this variable, whatever the shell says
REQUEST = {"X-Request-ID": "r-9"}
# What a browser sends with a form.
FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Cookie": f"csrftoken={'x' * 32}",
    "X-CSRFToken": "x" * 32,
}
ORDER = b"email=ada%40example.org&quantity=1&card=4111"


@pytest.fixture
def sink() -> Iterator[TelemetrySink]:
    with TelemetrySink() as sink:
        yield sink


@pytest.fixture
def environment(sink: TelemetrySink, tmp_path: Path) -> Environment:
    """Return the environment of a server with a database of its own, which tells ``sink``."""
    environment: Environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.sqlite3'}",
        "PYTHONSAFEPATH": None,  # a server finds the project where it is started
    }
    subprocess.run(
        [sys.executable, "-W", "error", "manage.py", "migrate", "-v0"],
        cwd=ROOT,
        env=_merged(environment),
        check=True,
        timeout=50,
    )
    return environment | {
        "SENTRY_DSN": sink.dsn,
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.otlp_endpoint,
        "CTXKIT_FLUSH_MODE": "always",
        "CTXKIT_FLUSH_TIMEOUT": "20",
    }


def _merged(environment: Environment) -> dict[str, str]:
    merged = {**os.environ, **environment}
    return {name: value for name, value in merged.items() if value is not None}


def serve(protocol: str, environment: Environment, *, freeze: bool = True) -> FreezingServer:
    command = [sys.executable, "-m", *SERVERS[protocol]]
    return FreezingServer(command, env=environment, cwd=ROOT, start_timeout=40, freeze=freeze)


def landed(sink: TelemetrySink, complete: float) -> list[Item]:
    return [item for item in sink.items if item.arrived <= complete]


@pytest.mark.parametrize("protocol", SERVERS)
def test_failing_view_everything_lands_before_the_last_byte(
    protocol: str, sink: TelemetrySink, environment: Environment
) -> None:
    with serve(protocol, environment) as server:
        for number in range(3):
            sink.clear()
            exchange = server.request("GET", f"/reports/2020/{number + 1}/", headers=REQUEST)
            assert exchange.status == 500
            assert exchange.header("x-request-id") == "r-9"
            items = landed(sink, exchange.times.complete)
            assert {item.kind for item in items} >= {
                "sentry.event",
                "sentry.transaction",
                "sentry.log",
                "otel.span",
                "otel.log",
                "otel.metric",
            }, server.output()
            spans = {item.name for item in items if item.kind == "otel.span"}
            assert spans == {"shop.report", "GET reports/<int:year>/<int:month>/"}


@pytest.mark.parametrize("protocol", SERVERS)
def test_carriers_of_a_real_server_know_the_request(
    protocol: str, environment: Environment
) -> None:
    with serve(protocol, environment) as server:
        exchange = server.request("GET", "/products/sencha/stock/", headers=REQUEST)
        answers = json.loads(exchange.body)["warehouses"]
    assert [answer["request_id"] for answer in answers] == ["r-9"] * 4


@pytest.mark.parametrize("protocol", SERVERS)
def test_buying_is_one_trace_across_view_pool_and_worker(
    protocol: str, sink: TelemetrySink, environment: Environment
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"{trace}-00f067aa0ba902b7"
    headers = REQUEST | FORM | {"traceparent": f"00-{parent}-01", "sentry-trace": f"{parent}-1"}
    # As on any server that lives long: no response waits for its telemetry.
    environment |= {"CTXKIT_FLUSH_MODE": "never", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with serve(protocol, environment, freeze=False) as server:
        exchange = server.request("POST", "/products/sencha/buy/", headers=headers, body=ORDER)
        assert exchange.status == 302, server.output()
        told = sink.wait_for(
            lambda item: item.name == "shop.confirmations:confirm", count=2, timeout=20
        )
        items = [item for item in sink.items if item.kind == "otel.span"]
        transactions = [item for item in sink.items if item.kind == "sentry.transaction"]
        page = server.request("GET", exchange.header("location") or "").body.decode()
    assert {item.trace_id for item in told + transactions} == {trace}
    assert len(transactions) == 2
    spans = {item.data["span_id"]: item for item in items if item.trace_id == trace}
    [letter] = [span for span in spans.values() if span in told]
    names = [item.name for item in spans.values()]
    assert names.count("shop.suppliers:quote") == 4
    assert names.count("provider.charge") == 2
    assert spans[letter.data["parent_span_id"]].name == "shop.buy"
    assert letter.data["end"] > exchange.times.complete
    assert letter.data["attributes"]["request_id"] == "r-9"
    threads = {item.name: item.data["attributes"]["thread.name"] for item in spans.values()}
    three = ("shop.buy", "shop.suppliers:quote", "shop.confirmations:confirm")
    assert len({threads[name] for name in three}) == 3
    assert "we have written to you" in page


def test_letter_of_a_task_of_django_is_written_by_its_backend(environment: Environment) -> None:
    pytest.importorskip("django.tasks")
    with serve("wsgi", environment | {"SHOP_ENGINE": "django"}, freeze=False) as server:
        exchange = server.request("POST", "/products/sencha/buy/", headers=FORM, body=ORDER)
        assert exchange.status == 302, server.output()
        # Django's own backend runs a task where it is enqueued.
        page = server.request("GET", exchange.header("location") or "").body.decode()
    assert "we have written to you" in page


@pytest.fixture
def redis_url() -> str:
    """Name the Redis, once it answers: in CI it is still starting beside all else."""
    url = urlsplit(os.environ.get("REDIS_URL", ""))
    if not url.port:
        pytest.skip("REDIS_URL names no Redis")
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((url.hostname or "", url.port), timeout=5).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return url._replace(path="/15").geturl()  # where nobody else is


def test_letter_of_a_worker_of_celery_is_in_the_trace_of_its_request(
    sink: TelemetrySink, environment: Environment, redis_url: str
) -> None:
    pytest.importorskip("celery")
    environment |= {"SHOP_ENGINE": "celery", "CELERY_BROKER_URL": redis_url}
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = REQUEST | FORM | {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    command = [sys.executable, "-m", "celery", "-A", "config.celery", "worker", "-c", "1"]
    with (
        serve("wsgi", environment, freeze=False) as server,
        subprocess.Popen(command, cwd=ROOT, env=_merged(environment)) as worker,
    ):
        try:
            exchange = server.request("POST", "/products/sencha/buy/", headers=headers, body=ORDER)
            assert exchange.status == 302, server.output()
            [letter] = sink.wait_for(is_the_letter, timeout=40)
        finally:
            worker.terminate()
    assert letter.trace_id == trace
    assert letter.data["attributes"]["request_id"] == "r-9"
    assert letter.data["end"] > exchange.times.complete


def is_the_letter(item: Item) -> bool:
    return item.kind == "otel.span" and item.name == "shop.confirmations:confirm"


@pytest.mark.parametrize("protocol", SERVERS)
def test_without_ctxkit_the_same_views_run(protocol: str, environment: Environment) -> None:
    with serve(protocol, environment | {"SHOP_WITHOUT_CTXKIT": "1"}) as server:
        paths = ["/", "/products/sencha/", "/products/sencha/stock/", "/orders.csv", "/activity/"]
        paths += ["/products/sencha/quotes/", "/products/sencha/quotes.json"]
        exchanges = [server.request("GET", path) for path in paths]
        assert [exchange.status for exchange in exchanges] == [200] * len(paths), server.output()
        # Nobody asks a second time.
        buying = server.request("POST", "/products/sencha/buy/", headers=FORM, body=ORDER)
        assert buying.status == 500
        assert exchanges[0].header("x-request-id") is None


def test_lambda_handler_everything_lands_before_the_freeze(
    sink: TelemetrySink, environment: Environment
) -> None:
    pytest.importorskip("awslambdaric")
    del environment["CTXKIT_FLUSH_MODE"]  # that it runs on Lambda is for ctxkit to find out
    with LambdaHost("lambda_handler.handler", env=environment, cwd=ROOT) as function:
        for slug in ("sencha", "assam"):
            sink.clear()
            exchange = function.request("GET", f"/products/{slug}/", headers=REQUEST)
            assert exchange.status == 200, function.output()
            items = landed(sink, exchange.times.complete)
            names = {item.name for item in items if item.kind == "otel.span"}
            assert names == {"shop.product", "GET products/<slug:slug>/"}
            assert "sentry.transaction" in {item.kind for item in items}


def test_lambda_restock_everything_lands_before_the_freeze(
    sink: TelemetrySink, environment: Environment
) -> None:
    pytest.importorskip("awslambdaric")
    del environment["CTXKIT_FLUSH_MODE"]
    records = [
        {"messageId": "m-1", "body": json.dumps({"product": "sencha", "quantity": 10})},
        {"messageId": "m-2", "body": json.dumps({"product": "coffee", "quantity": 10})},
    ]
    with LambdaHost("lambda_handler.restock", env=environment, cwd=ROOT) as function:
        result = function.invoke({"Records": records})
        assert result.payload == {"batchItemFailures": [{"itemIdentifier": "m-2"}]}
        items = landed(sink, result.times.complete)
        names = [item.name for item in items if item.kind == "otel.span"]
        assert names == ["shop.restock"] * 2
        kinds = [item.kind for item in items]
        assert kinds.count("sentry.transaction") == 2
        assert "sentry.event" in kinds  # the error that was logged
