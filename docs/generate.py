"""Write the tables that come from the code into the pages; ``--check`` only compares.

A page says where: between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctxkit.aws_lambda import LambdaMode
from ctxkit.boundary.hosting import LAMBDA_CONTEXT_VARIABLE, LAMBDA_MODE_VARIABLE
from ctxkit.boundary.options import LEAKS_VARIABLE, LEFTOVERS_VARIABLE, MODE_VARIABLE, FlushMode
from ctxkit.flushing.budget import DEFAULT_TIMEOUT, TIMEOUT_VARIABLE
from ctxkit.flushing.spooling.declared import (
    AGE_VARIABLE,
    BYTES_VARIABLE,
    DEFAULT_MAX_AGE,
    DEFAULT_MAX_BYTES,
    SPOOL_VARIABLE,
)
from ctxkit.functions._configured import CONFIG_VARIABLE
from ctxkit.functions._option_settings import OPTIONS
from ctxkit.functions._pool_settings import FIELDS, KINDS
from ctxkit.functions._retry_arguments import ARGUMENTS
from ctxkit.lifecycle.hosts import _matches
from ctxkit.lifecycle.leftovers import LeftoverPolicy
from ctxkit.propagation import _own_header as own
from ctxkit.propagation import _w3c

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from helpers.leaks import Way

HERE = Path(__file__).parent
_SECTION = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _settings() -> str:
    from ctxkit.django.conf import SETTINGS  # noqa: PLC0415 - needs the django extra

    rows = ((f"`{setting.key}`", f"`{setting.default}`", setting.summary) for setting in SETTINGS)
    return _table(("Key", "Default", "What it does"), rows)


def _variables() -> str:
    modes = ", ".join(f"`{mode}`" for mode in FlushMode)
    elsewhere = f"Where no response is held, the default is `{LeftoverPolicy.IGNORE}`."
    policies = ", ".join(f"`{policy}`" for policy in LeftoverPolicy)
    lambda_modes = ", ".join(f"`{mode}`" for mode in LambdaMode)
    return _table(
        ("Variable", "Default", "What it does"),
        (
            (
                f"`{MODE_VARIABLE}`",
                f"`{FlushMode.AUTO}`",
                f"Which responses are held: one of {modes}.",
            ),
            (
                f"`{TIMEOUT_VARIABLE}`",
                f"`{DEFAULT_TIMEOUT}`",
                "The longest time, in seconds, that a flush holds its caller. `0` only starts it.",
            ),
            (
                f"`{LEFTOVERS_VARIABLE}`",
                f"`{LeftoverPolicy.WARN}`",
                f"What becomes of work that is alive at the end: one of {policies}. {elsewhere}",
            ),
            (
                f"`{LAMBDA_MODE_VARIABLE}`",
                f"`{LambdaMode.RETURN}`",
                f"When AWS Lambda flushes: one of {lambda_modes}. See [](../howto/lambda.md).",
            ),
            (
                f"`{LAMBDA_CONTEXT_VARIABLE}`",
                "`0`",
                "`1` believes the deadline that the Lambda Web Adapter tells, on AWS Lambda only.",
            ),
            (
                f"`{CONFIG_VARIABLE}`",
                "-",
                (
                    "The TOML file that says what holds for functions and pools. "
                    "See [](functions-settings.md)."
                ),
            ),
            (
                f"`{LEAKS_VARIABLE}`",
                "`0`",
                "`1` logs what still holds a request some time after its end.",
            ),
            (
                f"`{SPOOL_VARIABLE}`",
                "`0`",
                "`1`, or the absolute path of an existing folder, keeps what could not be sent.",
            ),
            (
                f"`{BYTES_VARIABLE}`",
                f"`{DEFAULT_MAX_BYTES}`",
                "How much that may take in all, in bytes; the oldest goes first.",
            ),
            (
                f"`{AGE_VARIABLE}`",
                f"`{DEFAULT_MAX_AGE}`",
                "After how many seconds it is deleted unsent.",
            ),
        ),
    )


def _function_options() -> str:
    rows = ((f"`{each.name}`", f"`{each.example}`", each.summary) for each in OPTIONS)
    return _table(("Key", "For example", "What it says"), rows)


def _retry_arguments() -> str:
    rows = (
        (f"`{each.name}`", f"`{each.default}`" if each.default else "-", each.summary)
        for each in ARGUMENTS
    )
    return _table(("Key", "Default", "What it says"), rows)


def _pool_fields() -> str:
    rows = (
        (
            f"`{field.name}`",
            ", ".join(f"`{kind}`" for kind in KINDS if field.name in KINDS[kind]) or "-",
            f"`{field.default}`" if field.default else "-",
            field.summary,
        )
        for field in FIELDS
    )
    return _table(("Key", "Types", "Default", "What it says"), rows)


def _hosts() -> str:
    meaning = {"always": "each response", "idle": "the last one in flight", "never": "none"}
    pod = {"KUBERNETES_SERVICE_HOST": "any"}  # sets Knative apart from Cloud Run
    found = dict.fromkeys([*_matches({}), *_matches(pod)])
    rows = [(f"`{name}`", f"`{variable}`", meaning[hold]) for name, hold, variable in found]
    return _table(("Host", "Told by", "Held under `auto`"), (*rows, ("`process`", "-", "none")))


def _wire_limits() -> str:
    members = f"{_w3c.TRACESTATE_MEMBERS} members"
    rows = (
        ("`ctxkit-context`", f"{own.LONGEST_HEADER} characters, {own.MOST_KEYS} keys"),
        ("a text in it, or what `dump` returns", f"{own.LONGEST_VALUE} characters"),
        ("a whole number in it", f"{own.WIDEST_NUMBER} bits"),
        ("`traceparent`", "55 characters, without what a later version appends"),
        ("`tracestate`", f"{_w3c.LONGEST_FIELD} characters; discarded if of more than {members}"),
        ("`baggage`", f"{_w3c.LONGEST_FIELD} characters, {_w3c.BAGGAGE_MEMBERS} members"),
        ("any of W3C's, to be read at all", f"{_w3c.HUGE} characters"),
    )
    return _table(("What", "At most"), rows)


def _checks() -> str:
    from django.core.checks import ERROR  # noqa: PLC0415 - needs the django extra

    from ctxkit.django.checks import CHECKS  # noqa: PLC0415

    return "\n".join(
        f"## `{check.id}`\n\n"
        f"{'Error' if check.level == ERROR else 'Warning'}. "
        f"{_sentence(check.title)}\n\n**Fix**: {check.hint}\n"
        for check in CHECKS
    )


def _ways() -> str:
    from helpers.leaks import WAYS  # noqa: PLC0415 - is found by main

    def told(way: Way) -> str:
        fixed = f" Fixed in Python {'.'.join(map(str, way.fixed_in))}." if way.fixed_in else ""
        return way.why + fixed

    rows = (
        (way.name, way.what, told(way), ", ".join(map(_short, way.links)) or "-") for way in WAYS
    )
    return _table(("Way", "Who finds the values", "Why", "Discussed"), rows)


def _short(link: str) -> str:
    _, _, _, owner, name, _, number = link.split("/")
    return f"[{owner}/{name}#{number}]({link})"


def _leaks() -> str:
    from helpers.leaks import LEAKS  # noqa: PLC0415 - is found by main

    rows = (
        (f"`{kind}`", ", ".join(way.name for way in ways) or "nothing seen", "nothing")
        for kind, ways in LEAKS.items()
    )
    return _table(("Server", "Without ctxkit", "With the boundary"), rows)


def _sentence(title: str) -> str:
    """Return the title of a check with words in the place of its particulars."""
    return "A setting cannot be used." if title == "{} {}." else title.replace("{}", "…")


def _features(name: str = "features") -> str:
    features = tomllib.loads((HERE / f"{name}.toml").read_text())
    head = ("", "ctxkit", *(peer["name"] for peer in features["peers"]))
    parts = []
    for group in features["groups"]:
        rows = [(each["name"], _own_cell(each), *each["peers"]) for each in group["features"]]
        notes = "".join(map(_notes, group["features"]))
        parts += [f"## {group['title']}\n", _table(head, rows), notes]
    return "\n".join(parts)


def _own_cell(feature: dict[str, Any]) -> str:
    tests = feature.get("tests", ())
    if feature["ctxkit"] != "yes" or not tests:
        # What only tests to come show is not there yet.
        return "soon" if feature["ctxkit"] == "yes" else feature["ctxkit"]
    return _linked("yes", tests[0])


def _linked(text: str, test: str) -> str:
    return f"[{text}](../../{test.partition('::')[0]})"


def _notes(feature: dict[str, Any]) -> str:
    others = f" Others: {feature['notes']}" if "notes" in feature else ""
    shown = "".join(f"\n  - {_linked(f'`{test}`', test)}" for test in feature.get("tests", ()))
    how = feature["how"].rstrip(".")
    return f"- {feature['name']}: {how}.{others}{shown}\n"


def _faults() -> str:
    matrix = tomllib.loads((HERE / "faults.toml").read_text())
    hosts = [host["name"] for host in matrix["hosts"]]
    destinations = {"sentry": "Sentry", "otlp": "OTLP"}
    rows = (
        (
            f"{fault['what'][0].upper()}{fault['what'][1:]}.",
            name,
            *(f"`{fault[key]}`" for _ in hosts),
        )
        for fault in matrix["faults"]
        for key, name in destinations.items()
    )
    return _table(("What the destination does", "Destination", *hosts), rows)


def _peers(name: str = "features") -> str:
    peers = tomllib.loads((HERE / f"{name}.toml").read_text())["peers"]
    return _table(
        ("Package", "Measured with", "Read in"),
        ((peer["name"], peer.get("measured", "-"), peer.get("source", "-")) for peer in peers),
    )


SECTIONS: dict[str, Callable[[], str]] = {
    "checks": _checks,
    "faults": _faults,
    "features": _features,
    "function-options": _function_options,
    "hosts": _hosts,
    "landing": partial(_features, "landing"),
    "landing-peers": partial(_peers, "landing"),
    "leaks": _leaks,
    "peers": _peers,
    "pool-fields": _pool_fields,
    "retry-arguments": _retry_arguments,
    "settings": _settings,
    "variables": _variables,
    "ways": _ways,
    "wire-limits": _wire_limits,
}


def main() -> int:
    """Write or check every page; return the exit code."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    stale = []
    for page in sorted(HERE.rglob("*.md")):
        text = page.read_text()
        fresh = _SECTION.sub(lambda match: match[1] + SECTIONS[match[2]]() + match[3], text)
        if fresh != text:
            stale.append(str(page.relative_to(HERE)))
            if "--check" not in sys.argv:
                page.write_text(fresh)
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"stale: {', '.join(stale)}. Run: python docs/generate.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
