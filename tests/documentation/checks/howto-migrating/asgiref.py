from helpers.migrated import Site

site = Site()


def numbers(index):
    asked = ({"X-Tenant": tenant} for tenant in ("acme", "globex"))
    return [each.json[index] for each in site.aget("/invoice/", *asked)]


def same():
    return {"sync_to_async": numbers(0)}


def rest():
    return {"to_thread": numbers(1)}


BEFORE = {"to_thread": ["unknown-1", "unknown-1"]}
AFTER = {"to_thread": ["acme-1", "globex-1"]}
