"""What is written in the project holds on every machine."""

from __future__ import annotations

import re

from helpers.project import ROOT, texts

# A folder of one machine; what a server or a test makes below /tmp is its own affair.
_PRIVATE = re.compile(r"(?<![\w.}\"'-])/(?:root|work|opt|home|Users|tmp/w)/[\w.-]+")


def test_no_file_names_a_path_of_one_machine() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts()
        for match in _PRIVATE.finditer(path.read_text(errors="replace"))
    }
    assert found == set()


def test_changelog_fragments_are_one_sentence_of_a_known_type() -> None:
    for fragment in (ROOT / "docs/changelog.d").glob("*.md"):
        kind = fragment.name.split(".")[-2]
        assert kind in {"added", "changed", "deprecated", "removed", "fixed", "security"}
        assert fragment.read_text().rstrip().endswith("."), fragment.name
