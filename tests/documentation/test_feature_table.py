"""The tables of features say nothing that no test shows."""

from __future__ import annotations

import ast
import tomllib
from typing import Any

import pytest
from helpers.project import ROOT, tree

TABLES = [
    tomllib.loads((ROOT / "docs" / name).read_text()) for name in ("features.toml", "landing.toml")
]
#: Each with how many peers its table has.
ROWS = [
    (feature, len(table["peers"]))
    for table in TABLES
    for group in table["groups"]
    for feature in group["features"]
]
FEATURES = [feature for feature, _ in ROWS]
WORDS = {"yes", "part", "no", "leaks", "-"}
#: What CI runs; see tox.ini.
RUN = (
    "tests/unit/",
    "tests/behaviour/",
    "tests/servers/",
    "tests/brokers/",
    "tests/documentation/",
)


def _exists(node_id: str) -> bool:
    """Tell whether there is a test of that name, or a class of tests, without importing it."""
    file, _, name = node_id.partition("::")
    path = ROOT / file
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return path.exists() and any(
        isinstance(node, kinds) and node.name == name for node in tree(path).body
    )


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature["name"])
def test_feature_is_shown_by_tests_that_exist_or_says_why_it_is_not_there(
    feature: dict[str, Any],
) -> None:
    tests, pending = feature.get("tests", []), feature.get("pending", [])
    assert [each for each in tests if not _exists(each) or not each.startswith(RUN)] == []
    assert [each for each in pending if _exists(each)] == [], "is there: move it to tests"
    assert feature["how"].strip()
    if feature["ctxkit"] == "yes":
        assert tests or pending
    else:
        assert feature["ctxkit"] in {"part", "no"}


@pytest.mark.parametrize(("feature", "peers"), ROWS, ids=[each["name"] for each in FEATURES])
def test_feature_has_a_cell_for_each_peer(feature: dict[str, Any], peers: int) -> None:
    assert len(feature["peers"]) == peers
    assert set(feature["peers"]) <= WORDS
    if {"part", "leaks"} & {*feature["peers"]}:
        assert feature["notes"], "says the condition"


def test_features_are_named_once() -> None:
    names = [feature["name"] for feature in FEATURES]
    assert len(names) == len({*names})


def test_every_yes_of_a_peer_is_a_yes_of_ours() -> None:
    behind = [f["name"] for f in FEATURES if "yes" in f["peers"] and f["ctxkit"] != "yes"]
    assert behind == []
