from helpers.migrated import Site

site = Site()
TENANTS = ("acme", "globex")


def same():
    return [site.get("/report/", X_Tenant=tenant).json[0] for tenant in TENANTS]


def rest():
    pooled = [site.get("/report/", X_Tenant=tenant).json[1:] for tenant in TENANTS]
    answers = site.aget("/areport/", *({"X-Tenant": tenant} for tenant in TENANTS))
    return {"in the pool": pooled, "in an async view": [each.json for each in answers]}


BEFORE = {
    "in the pool": [["orders of None", "stock of None"]] * 2,
    "in an async view": [[None], [None]],
}
AFTER = {
    "in the pool": [[f"orders of {tenant}", f"stock of {tenant}"] for tenant in TENANTS],
    "in an async view": [["acme"], ["globex"]],
}
