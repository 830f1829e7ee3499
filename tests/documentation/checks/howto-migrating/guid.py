import logging

from helpers.migrated import Site, logged

ID = "0123456789abcdef0123456789abcdef"
site = Site()
logger = logging.getLogger("shop")


def answers():
    return [site.get("/order/", X_Request_ID=ID), *site.aget("/order/", {"X-Request-ID": ID})]


def same():
    made = site.get("/order/")
    assert made.json["X-Request-ID"] == made.headers["x-request-id"]
    return {
        "in the header": [answer.headers["x-request-id"] for answer in answers()],
        "in a helper": [answer.json for answer in answers()],
        "of our own making": len(made.headers["x-request-id"]),
        "in the log": logged("shop", answers)[::2],
    }


def rest():
    def idle():
        site.get("/order/", X_Request_ID=ID)
        logger.info("waiting")

    _, packing, waiting = logged("shop", idle)
    return {"in the pool": packing, "after the request": waiting}


BEFORE = {"in the pool": "[None] packing", "after the request": "[None] waiting"}
AFTER = {"in the pool": f"[{ID}] packing", "after the request": "[-] waiting"}
