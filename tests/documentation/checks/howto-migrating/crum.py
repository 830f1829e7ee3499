from helpers.migrated import Site, login

site = Site(
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    AUTHENTICATION_BACKENDS=["helpers.migrated_users.Backend"],
)

import audit

COOKIES = [login(number) for number in ("1", "2")]


def same():
    return {
        "in the view": [site.get("/save/", cookie=cookie).json[0] for cookie in COOKIES],
        "outside": audit.signature(),
    }


def rest():
    pooled = [site.get("/save/", cookie=cookie).json[1] for cookie in COOKIES]
    answers = site.aget("/asave/", *({"cookie": cookie} for cookie in COOKIES))
    return {"in the pool": pooled, "in an async view": [each.json for each in answers]}


BEFORE = {
    "in the pool": ["system at -"] * 2,
    "in an async view": [["system at -"] * 2] * 2,
}
AFTER = {
    "in the pool": ["alice at /save/", "bob at /save/"],
    "in an async view": [["alice at /asave/"] * 2, ["bob at /asave/"] * 2],
}
