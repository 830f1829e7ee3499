"""Read the examples out of pages, and run them as the programs that they are.

All ``python`` blocks of a page are one program, in the order in which they stand. A block below
``<!-- file: NAME -->`` is written to that file instead, beside the program. What a page claims is
asserted by ``tests/documentation/checks/<page>.py``, which goes on where the program ends.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.project import ROOT, texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKS = ROOT / "tests/documentation/checks"
_BLOCK = re.compile(
    r"(?:^<!-- file: (?P<file>\S+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced example."""

    page: Path
    line: int
    language: str
    file: str | None
    code: str


def pages() -> list[Path]:
    """Return every page of the project but the changelog's fragments."""
    return [path for path in texts() if path.suffix == ".md" and path.parent.name != "changelog.d"]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix().removeprefix("docs/").replace("/", "-")


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        yield Block(page, line, match["language"], match["file"], match["code"])


def check_of(page: Path) -> Path:
    return CHECKS / f"{name_of(page)}.py"


def run_page(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the examples of a page, and what checks them, in ``folder``."""
    program = ""
    for block in blocks(page):
        if block.language != "python":
            continue
        if block.file is not None:
            with (folder / block.file).open("a") as file:
                file.write(block.code)
        else:
            # Blank lines, so that a traceback names the line of the page.
            program += "\n" * (block.line - 1 - program.count("\n")) + block.code
    check = check_of(page)
    parts = [(str(page), program)]
    if check.exists():
        parts.append((str(check), check.read_text()))
    lines = [f"exec(compile({code!r}, {name!r}, 'exec'), globals())\n" for name, code in parts]
    (folder / "program.py").write_text("".join(lines))
    # The page's own folder has to be importable: no PYTHONSAFEPATH.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
