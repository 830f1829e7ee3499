"""Read the examples out of pages, and run them as the programs that they are.

All ``python`` blocks of a page are one program, in the order in which they stand. A block below
``<!-- file: NAME -->`` is written to that file instead, beside the program; with several names, to
each. What a page claims is asserted by ``tests/documentation/checks/<page>.py``, which goes on
where the program ends.

The files of a page may also make up several programs that do the same: ``SECTION/VARIANT/NAME``.
What a variant does not have is as in the first. What such programs do is looked at by
``tests/documentation/checks/<page>/SECTION.py``: see ``test_migrating.py``.
"""

from __future__ import annotations

import os
import re
import shutil
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
    r"(?:^<!-- file: (?P<file>.+?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
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


def has_check(page: Path) -> bool:
    return check_of(page).exists() or check_of(page).with_suffix("").is_dir()


def write_files(block: Block, folder: Path) -> None:
    """Append a block to the files that it names, below ``folder``."""
    for name in (block.file or "").split():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(block.code)


def write_variants(page: Path, section: str, folder: Path) -> list[Path]:
    """Write the programs of a section, and return the folder of each, in their order."""
    for block in blocks(page):
        if block.file is not None and block.file.startswith(f"{section}/"):
            write_files(block, folder)
    ordered = dict.fromkeys(
        name.split("/")[1] for name in files_of(page) if name.startswith(f"{section}/")
    )
    variants = [folder / section / name for name in ordered]
    for variant in variants[1:]:
        for path in variants[0].iterdir():
            if not (variant / path.name).exists():
                shutil.copy(path, variant)
    return variants


def files_of(page: Path) -> list[str]:
    return [name for block in blocks(page) for name in (block.file or "").split()]


def run_page(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the examples of a page, and what checks them, in ``folder``."""
    program = ""
    for block in blocks(page):
        if block.language != "python":
            continue
        if block.file is not None:
            write_files(block, folder)
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
