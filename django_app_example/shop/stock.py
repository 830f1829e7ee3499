"""Ask the warehouses, all at once."""

from __future__ import annotations

import asyncio
import time
from typing import TypedDict

from django.utils.formats import date_format
from django.utils.timezone import localdate
from django.utils.translation import get_language

from shop.context import ctxkit
from shop.observing import tracer
from shop.tenants import current_tenant

# One pool for the whole process: its threads serve one request after another.
POOL = ctxkit.ThreadPoolExecutor(max_workers=4, thread_name_prefix="warehouse")


class Answer(TypedDict):
    """What a warehouse says, and what it knew about the request that asked."""

    warehouse: str
    carrier: str
    pieces: int
    ready: str
    request_id: str
    tenant: str
    language: str | None


async def ask_all(slug: str) -> list[Answer]:
    """Ask every warehouse for ``slug``, each by another way out of this task."""
    return await asyncio.gather(
        asyncio.wrap_future(POOL.submit(ask, "Berlin", slug, "ThreadPoolExecutor")),
        asyncio.wrap_future(POOL.submit(ask, "Porto", slug, "ThreadPoolExecutor")),
        ctxkit.to_thread(ask, "Lyon", slug, "to_thread"),
        ctxkit.create_task(ask_async("Oslo", slug, "create_task")),
    )


def ask(warehouse: str, slug: str, carrier: str) -> Answer:
    """Ask one warehouse, in a thread."""
    with tracer.start_as_current_span("shop.warehouse", attributes={"warehouse": warehouse}):
        time.sleep(0.005)  # the network
        return _answer(warehouse, slug, carrier)


async def ask_async(warehouse: str, slug: str, carrier: str) -> Answer:
    """Ask one warehouse, in a task."""
    with tracer.start_as_current_span("shop.warehouse", attributes={"warehouse": warehouse}):
        await asyncio.sleep(0.005)
        return _answer(warehouse, slug, carrier)


def _answer(warehouse: str, slug: str, carrier: str) -> Answer:
    return {
        "warehouse": warehouse,
        "carrier": carrier,
        "pieces": sum(map(ord, warehouse + slug)) % 20,
        # In the customer's language, as long as the thread knows about it.
        "ready": date_format(localdate(), "DATE_FORMAT"),
        "request_id": str(ctxkit.get("request_id", "-")),
        "tenant": current_tenant(),
        "language": get_language(),
    }
