"""Draw what the adaptive pool does, in plain SVG.

``PYTHONPATH=.:tests python docs/plot_adaptive.py`` runs the simulated worlds anew, always alike.
The measured ones come from ``adaptive.json``, which is written by
``python tests/benchmarks --only adaptive --json > docs/adaptive.json``.
"""

from __future__ import annotations

import json
from html import escape
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from helpers.adaptive_worlds import END, MOST, SHIFT, WORLDS, World, closed, times

from ctxkit.functions.pools._controller import Controller

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent / "explanation"
# Readable on white and on black.
TEXT, LINE, CALM, WILD, BAND = "#7a828d", "#7a828d", "#2f81f7", "#e0823d", "#3fb950"
LEFT, GAP, COLUMNS = 40, 14, 4
SEED = 1
SAMPLES = 160


class Box(NamedTuple):
    """Where a panel is drawn."""

    left: float
    top: float
    width: float
    height: float

    def x(self, share: float) -> str:
        return f"{self.left + share * self.width:.1f}"

    def y(self, share: float) -> str:
        return f"{self.top + (1 - share) * self.height:.1f}"


def head(width: float, height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}">\n'
        f"<title>{escape(title)}</title>\n"
    )


def text(x: str | float, y: str | float, words: str, *, anchor: str = "start", **more: str) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{extra}>{escape(words)}</text>\n'


def line(x1: str, y1: str, x2: str, y2: str, more: str = "") -> str:
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{LINE}" fill="none" {more}/>\n'


def rectangle(x: str, y: str, width: float, height: float, more: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height:.1f}" {more}/>\n'


def scale(box: Box, labels: tuple[str, str, str] | None) -> Iterator[str]:
    """Draw a line at the bottom, the middle and the top, with labels at their left."""
    for number, share in enumerate((0.0, 0.5, 1.0)):
        y = box.y(share)
        yield line(box.x(0), y, box.x(1), y, 'stroke-opacity="0.25"')
        if labels:
            yield text(box.left - 5, float(y) + 4, labels[number], anchor="end", font_size="11")


# ---- limits over time


def good(world: World, moment: float) -> tuple[int, int]:
    """Return the limits between which a world yields 95 % of its best."""
    curve = world.after if world.after and moment >= SHIFT else world.curve
    best = max(curve(limit) for limit in range(1, MOST + 1))
    fine = [limit for limit in range(1, MOST + 1) if curve(limit) >= 0.95 * best]
    return fine[0], fine[-1]


def band(box: Box, world: World) -> Iterator[str]:
    ends = (0.0, SHIFT, END) if world.after else (0.0, END)
    for begin, end in pairwise(ends):
        low, high = good(world, begin)
        low, high = max(0.0, low - 0.6), min(MOST, high + 0.6)
        yield rectangle(
            box.x(begin / END),
            box.y(high / MOST),
            (end - begin) / END * box.width,
            (high - low) / MOST * box.height,
            f'fill="{BAND}" fill-opacity="0.22"',
        )


def course_line(box: Box, world: World, cv: float, colour: str) -> str:
    """Draw the mean limit of each stretch of time."""
    chance, other = Random(SEED), Random(SEED + 1)  # noqa: S311 - coins, no secrets
    limits = closed(world, Controller(MOST, random=chance), times(cv, other)).limits
    points = []
    for number in range(SAMPLES):
        begin, end = number * END / SAMPLES, (number + 1) * END / SAMPLES
        area = sum(
            limit * max(0.0, min(until, end) - max(since, begin))
            for (since, limit), (until, _) in pairwise([*limits, (END, 0)])
        )
        points.append(f"{box.x((begin + end) / 2 / END)} {box.y(area / (end - begin) / MOST)}")
    return (
        f'<path d="M{"L".join(points)}" fill="none" stroke="{colour}" stroke-width="1.6" '
        'stroke-linejoin="round"/>\n'
    )


def world_panel(box: Box, world: World, *, first: bool) -> Iterator[str]:
    yield text(box.left, box.top - 8, world.name, font_weight="600")
    yield from band(box, world)
    yield from scale(box, ("0", str(MOST // 2), str(MOST)) if first else None)
    bottom = box.top + box.height + 14
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        seconds = f"{share * END:.0f} s" if share else "0"
        yield text(box.x(share), bottom, seconds, anchor=anchor, font_size="11")
    for cv, colour in ((1.0, WILD), (0.2, CALM)):
        yield course_line(box, world, cv, colour)


def worlds_plot() -> str:
    width, height = 172, 96
    title = "The limit of an adaptive pool over time, in eight simulated worlds"
    parts = [head(LEFT + COLUMNS * (width + GAP), 330, title)]
    left = float(LEFT)
    for colour, words in ((CALM, "even durations (CV 0.2)"), (WILD, "uneven ones (CV 1.0)")):
        parts.append(f'<path d="M{left} 20h22" stroke="{colour}" stroke-width="2.5"/>\n')
        parts.append(text(left + 28, 24, words))
        left += 190
    parts.append(rectangle(str(left), "13", 22, 14, f'fill="{BAND}" fill-opacity="0.3"'))
    parts.append(text(left + 28, 24, "limits that yield 95 % of the best"))
    for number, world in enumerate(WORLDS):
        row, column = divmod(number, COLUMNS)
        box = Box(LEFT + column * (width + GAP), 58 + row * (height + 50), width, height)
        parts += world_panel(box, world, first=not column)
    return "".join(parts)


# ---- what gets done


def bars_panel(box: Box, rows: list[dict[str, Any]], *, first: bool) -> Iterator[str]:
    name = rows[0]["table"].removeprefix("Work ").removeprefix("that ")
    yield text(box.left, box.top - 14, name, font_weight="600")
    yield from scale(box, ("0 %", "50 %", "100 %") if first else None)
    step = box.width / len(rows)
    for place, row in enumerate(rows):
        left, share = box.left + place * step, min(1.06, 1 / row["ratio"])
        adaptive = row["subject"] == "adaptive"
        colour, opacity = (CALM, 1) if adaptive else (LINE, 0.55)
        yield rectangle(
            f"{left + 3:.1f}",
            box.y(share),
            step - 6,
            share * box.height,
            f'rx="2" fill="{colour}" fill-opacity="{opacity}"',
        )
        words = "auto" if adaptive else row["subject"].split()[0]
        bottom = box.top + box.height + 15
        yield text(f"{left + step / 2:.1f}", bottom, words, anchor="middle", font_size="11")


def bars_plot(rows: list[dict[str, Any]]) -> str:
    width, height = 182, 120
    tables = list(dict.fromkeys(row["table"] for row in rows))
    title = "What gets done by how many calls are let in, as a share of the best static size"
    parts = [head(LEFT + len(tables) * (width + GAP), height + 60, title)]
    for number, table in enumerate(tables):
        box = Box(LEFT + number * (width + GAP), 34, width, height)
        mine = [row for row in rows if row["table"] == table]
        parts += bars_panel(box, mine, first=not number)
    return "".join(parts)


def main() -> None:
    rows = json.loads((Path(__file__).parent / "adaptive.json").read_text())["rows"]
    (HERE / "adaptive-worlds.svg").write_text(worlds_plot() + "</svg>\n")
    (HERE / "adaptive-measured.svg").write_text(bars_plot(rows) + "</svg>\n")


if __name__ == "__main__":
    main()
