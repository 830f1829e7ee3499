import app as module
from helpers.migrated import aget

REQUESTS = [{"X-Request-ID": f"r-{tenant}", "X-Tenant": tenant} for tenant in ("acme", "globex")]


def same():
    answers = aget(module.app, "/order/", *REQUESTS)
    return {
        "in a helper": [answer.json for answer in answers],
        "in the header": [answer.headers["x-request-id"] for answer in answers],
    }


def rest():
    try:
        answers = aget(module.app, "/export/", *REQUESTS)
    except Exception as error:  # that is what is claimed
        return type(error).__name__
    return [answer.json for answer in answers]


BEFORE = "ContextDoesNotExistError"
AFTER = [{"tenant": tenant, "request_id": f"r-{tenant}"} for tenant in ("acme", "globex")]
