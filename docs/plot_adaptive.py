"""Draw what the adaptive pool does, in plain SVG: ``PYTHONPATH=tests python docs/plot_adaptive.py``.

The simulated worlds are run anew, always alike; the measured ones come from ``adaptive.json``, which
``python tests/benchmarks --only adaptive --json > docs/adaptive.json`` writes.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from helpers.adaptive_worlds import END, MOST, SHIFT, WORLDS, Course, World, closed, times

from ctxkit.functions.pools._controller import Controller

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent / "explanation"
# Readable on white and on black.
TEXT, LINE, CALM, WILD, BAND = "#7a828d", "#7a828d", "#2f81f7", "#e0823d", "#3fb950"
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
    'font-family="system-ui, sans-serif" font-size="12" fill="{text}">\n<title>{title}</title>\n'
)
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


def text(x: str | float, y: str | float, words: str, *, anchor: str = "start", **more: str) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{extra}>{escape(words)}</text>\n'


def line(x1: str, y1: str, x2: str, y2: str, more: str = "") -> str:
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{LINE}" fill="none" {more}/>\n'


def rectangle(x: str, y: str, width: float, height: float, more: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height:.1f}" {more}/>\n'


# ---- limits over time


def good(world: World, moment: float) -> tuple[int, int]:
    """Return the limits between which a world yields 95 % of its best."""
    curve = world.after if world.after and moment >= SHIFT else world.curve
    best = max(curve(limit) for limit in range(1, MOST + 1))
    fine = [limit for limit in range(1, MOST + 1) if curve(limit) >= 0.95 * best]
    return fine[0], fine[-1]


def band(box: Box, world: World) -> Iterator[str]:
    ends = (0.0, SHIFT, END) if world.after else (0.0, END)
    for begin, end in zip(ends, ends[1:], strict=False):
        low, high = good(world, begin)
        low, high = max(0.0, low - 0.6), min(MOST, high + 0.6)
        yield rectangle(
            box.x(begin / END),
            box.y(high / MOST),
            (end - begin) / END * box.width,
            (high - low) / MOST * box.height,
            f'fill="{BAND}" fill-opacity="0.22"',
        )


def course_line(box: Box, course: Course, colour: str) -> str:
    """Draw the mean limit of each stretch of time."""
    changes = [*course.limits, (END, 0)]
    points = []
    for number in range(SAMPLES):
        begin, end = number * END / SAMPLES, (number + 1) * END / SAMPLES
        area = sum(
            limit * max(0.0, min(until, end) - max(since, begin))
            for (since, limit), (until, _) in zip(changes, changes[1:], strict=False)
        )
        mean = area / (end - begin)
        points.append(f"{box.x((begin + end) / 2 / END)} {box.y(mean / MOST)}")
    return (
        f'<path d="M{"L".join(points)}" fill="none" stroke="{colour}" stroke-width="1.6" '
        'stroke-linejoin="round"/>\n'
    )


def worlds_plot() -> str:
    columns, width, height = 4, 172, 96
    parts = []
    for number, world in enumerate(WORLDS):
        box = Box(
            34 + number % columns * (width + 14), 58 + number // columns * (height + 50), width, height
        )
        parts += [text(box.left, box.top - 8, world.name, font_weight="600"), *band(box, world)]
        for share in (0.0, 0.5, 1.0):
            parts.append(
                line(box.x(0), box.y(share), box.x(1), box.y(share), 'stroke-opacity="0.25"')
            )
            if not number % columns:
                label = str(round(share * MOST))
                parts.append(
                    text(box.left - 6, float(box.y(share)) + 4, label, anchor="end", font_size="11")
                )
        for seconds in (0, 120, 240):
            anchor = "start" if not seconds else "end" if seconds == END else "middle"
            words = f"{seconds} s" if seconds else "0"
            place = box.top + height + 14
            parts.append(text(box.x(seconds / END), place, words, anchor=anchor, font_size="11"))
        for cv, colour in ((1.0, WILD), (0.2, CALM)):
            course = closed(
                world, Controller(MOST, random=Random(SEED)), times(cv, Random(SEED + 1))
            )
            parts.append(course_line(box, course, colour))
    total = 34 + columns * (width + 14)
    legend = ((CALM, "even durations (CV 0.2)"), (WILD, "uneven ones (CV 1.0)"))
    left = 34.0
    for colour, words in legend:
        parts.append(f'<path d="M{left} 20h22" stroke="{colour}" stroke-width="2.5"/>\n')
        parts.append(text(left + 28, 24, words))
        left += 190
    parts.append(rectangle(str(left), "13", 22, 14, f'fill="{BAND}" fill-opacity="0.3"'))
    parts.append(text(left + 28, 24, "limits that yield 95 % of the best"))
    title = "The limit of an adaptive pool over time, in eight simulated worlds"
    bottom = 58 + 2 * (height + 50) - 20
    return HEAD.format(width=total, height=bottom, text=TEXT, title=title) + "".join(parts)


# ---- what gets done


def bars_plot(rows: list[dict[str, Any]]) -> str:
    tables = list(dict.fromkeys(row["table"] for row in rows))
    width, height, gap = 172, 120, 14
    parts = []
    for number, table in enumerate(tables):
        box = Box(34 + number * (width + gap), 34, width, height)
        parts.append(text(box.left, box.top - 14, table, font_weight="600"))
        for share in (0.0, 0.5, 1.0):
            parts.append(
                line(box.x(0), box.y(share), box.x(1), box.y(share), 'stroke-opacity="0.25"')
            )
            if not number:
                label = f"{share:.0%}".replace("%", " %")
                parts.append(
                    text(box.left - 4, float(box.y(share)) + 4, label, anchor="end", font_size="10")
                )
        mine = [row for row in rows if row["table"] == table]
        step = width / len(mine)
        for place, row in enumerate(mine):
            share = 1 / row["ratio"]
            chosen = row["subject"] == "adaptive"
            left = box.left + place * step
            colour = CALM if chosen else LINE
            shade = "1" if chosen else "0.55"
            parts.append(
                rectangle(
                    f"{left + 3:.1f}",
                    box.y(min(share, 1.06)),
                    step - 6,
                    min(share, 1.06) * height,
                    f'rx="2" fill="{colour}" fill-opacity="{shade}"',
                )
            )
            words = "auto" if chosen else row["subject"].split()[0]
            middle = f"{left + step / 2:.1f}"
            parts.append(text(middle, box.top + height + 15, words, anchor="middle", font_size="11"))
    title = "Throughput by how many calls are let in, as a share of the best static size"
    total, bottom = 34 + len(tables) * (width + gap), 34 + height + 26
    return HEAD.format(width=total, height=bottom, text=TEXT, title=title) + "".join(parts)


def main() -> None:
    rows = json.loads((Path(__file__).parent / "adaptive.json").read_text())["rows"]
    (HERE / "adaptive-worlds.svg").write_text(worlds_plot() + "</svg>\n")
    (HERE / "adaptive-measured.svg").write_text(bars_plot(rows) + "</svg>\n")


if __name__ == "__main__":
    main()
