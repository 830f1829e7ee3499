"""The demo room: what a frozen process loses, shown with real servers and real SDKs."""

from __future__ import annotations

from ctxkit.demo.lanes import SERVERS, choose_servers, installed_servers, require_packages
from ctxkit.demo.page import as_page
from ctxkit.demo.rehearsal import LATENCY, rehearse
from ctxkit.demo.summary import as_json, as_table
from ctxkit.demo.verdict import proves_the_claim
from ctxkit.demo.waterfall import as_tree

__all__ = (
    "LATENCY",
    "SERVERS",
    "as_json",
    "as_page",
    "as_table",
    "as_tree",
    "choose_servers",
    "installed_servers",
    "proves_the_claim",
    "rehearse",
    "require_packages",
)
