import app as module
from helpers.migrated import aget, logged

IDS = ["0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdee"]


def orders():
    return aget(module.app, "/order/", *({"X-Request-ID": each} for each in IDS))


def same():
    [made] = aget(module.app, "/order/", {})
    assert made.json["X-Request-ID"] == made.headers["x-request-id"]
    return {
        "in the header": [answer.headers["x-request-id"] for answer in orders()],
        "in a helper": [answer.json for answer in orders()],
        "in the log": sorted(line for line in logged("shop", orders) if "ordering" in line),
    }


def rest():
    [failed] = aget(module.app, "/fail/", {"X-Request-ID": IDS[0]})
    assert failed.status == 500
    return {
        "in a thread": sorted(line for line in logged("shop", orders) if "packing" in line),
        "in the header of an error": failed.headers.get("x-request-id"),
    }


BEFORE = {"in a thread": ["[-] packing"] * 2, "in the header of an error": None}
AFTER = {
    "in a thread": sorted(f"[{each}] packing" for each in IDS),
    "in the header of an error": IDS[0],
}
