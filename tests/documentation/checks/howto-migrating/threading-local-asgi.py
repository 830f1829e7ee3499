import asyncio
import sys
import types

from helpers.migrated import Site

TENANTS = ("acme", "globex")
#: The other service answers when it was asked by all.
warehouse = sys.modules["warehouse"] = types.ModuleType("warehouse")
site = Site()


def stock(*tenants):
    meeting = asyncio.Barrier(len(tenants))

    async def count():
        async with asyncio.timeout(10):
            await meeting.wait()
        return 3

    warehouse.count = count
    answers = site.aget("/stock/", *({"X-Tenant": tenant} for tenant in tenants))
    return [answer.json["tenant"] for answer in answers]


def same():
    return [stock(tenant) for tenant in TENANTS]


def rest():
    seen = stock(*TENANTS)
    own = [one == other for one, other in zip(seen, TENANTS, strict=True)]
    return {"overlapping requests that see their own tenant": own.count(True)}


BEFORE = {"overlapping requests that see their own tenant": 1}
AFTER = {"overlapping requests that see their own tenant": 2}
