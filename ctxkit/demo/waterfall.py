"""Draw a journey: a tree of spans beside a time axis, for a terminal and for the page."""

from __future__ import annotations

from html import escape
from textwrap import fill
from typing import TYPE_CHECKING

from ctxkit.demo.journey import Where
from ctxkit.demo.timeline import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ctxkit.demo.journey import Journey, Step

_WIDTH = 40  # characters of the time axis in a terminal
_TICKS = 8  # on the page, at most
_BARS = {Where.VIEW: "█", Where.POOL: "▓", Where.WORKER: "▒"}
# For terminals that know no others.
_PLAIN = str.maketrans("█▓▒│├└─·", "#=~||`-.")


def as_tree(journey: Journey, encoding: str = "utf-8") -> str:
    """Return the spans of one request as a tree, each with its thread and its time.

    Args:
        journey: The request.
        encoding: Of the terminal; what has no blocks and lines gets letters.
    """
    length = _length(journey)
    place = round(journey.complete / length * _WIDTH)
    rows = [
        (_label(step), step.thread, _bar(step, length, place), _ending(step))
        for step in journey.steps
    ]
    names, threads = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [
        f"{name:<{names}}  {thread:<{threads}}  {bar}  {ending}".rstrip()
        for name, thread, bar, ending in rows
    ]
    margin = " " * (names + threads + 4)
    axis = f"{margin}{'0 ms':<{_WIDTH // 2}}{_ms(length):>{_WIDTH - _WIDTH // 2}}"
    legend = ", ".join(f"{bar} {where}" for where, bar in _BARS.items())
    over = f"{margin}{' ' * place}└ the response is complete at {_ms(journey.complete)}"
    title = f"One request, one trace: POST {journey.sent.path} ({legend})"
    tree = "\n".join([title, "", axis, *lines, over, "", fill(_summary(journey), 96)])
    try:
        tree.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        tree = tree.translate(_PLAIN)
    return tree


def _summary(journey: Journey) -> str:
    threads = {step.thread for step in journey.steps}
    return (
        f"{len(journey.steps)} spans in {len(threads)} threads, {journey.records} log records and "
        f"{len(journey.transactions)} transactions of Sentry are in the trace "
        f"{journey.sent.trace_id}. The view, the calls in the pool, the worker and all records "
        f"have the request id {journey.sent.request_id}."
    )


def _label(step: Step) -> str:
    if not step.branches:
        return step.name
    *above, more = step.branches
    lead = "".join("│ " if each else "  " for each in above)
    return f"{lead}{'├' if more else '└'} {step.name}"


def _bar(step: Step, length: float, place: int) -> str:
    """Return the line of a span, with the end of the response marked in it."""
    start = min(max(round(step.start / length * _WIDTH), 0), _WIDTH - 1)
    end = min(max(round(step.end / length * _WIDTH), start + 1), _WIDTH)
    cells = [*" " * start, *_BARS[step.where] * (end - start), *" " * (_WIDTH - end), " "]
    if cells[place] == " ":
        cells[place] = "·"
    return "".join(cells)


def _ending(step: Step) -> str:
    return "; ".join([*filter(None, (_took(step),)), *step.notes])


def _took(step: Step) -> str:
    return f"{_ms(step.seconds)}, {step.error}" if step.error else _ms(step.seconds)


def _length(journey: Journey) -> float:
    """Return the seconds that the axis shows."""
    return _last(journey) * 1.02


def _last(journey: Journey) -> float:
    return max([journey.complete, *(step.end for step in journey.steps)])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def draw_journey(journey: Journey) -> str:
    """Return the request as a figure with its table, for the page."""
    length = _length(journey)
    step = next((each for each in STEPS if length / each <= _TICKS), STEPS[-1])
    ticks = [step * index for index in range(int(length / step) + 1)]
    line = f'<i class="byte" style="left:{_at(journey.complete, length)}"></i>'
    background = _ticks(ticks[1:], length) + line
    rows = [_row("request", "", _request(journey, length), background, _ms(journey.complete))]
    rows += [_step_row(each, length, background) for each in journey.steps]
    return (
        '<article class="card lane journey" aria-labelledby="journey-name"><header>'
        f'<h3 id="journey-name">POST {escape(journey.sent.path)}</h3>'
        f"<p>{_ms(journey.complete)} to the last byte, {_ms(_last(journey))} in all</p></header>"
        '<table role="table"><thead><tr role="row"><th class="what" scope="col">Span</th>'
        '<th class="thread" scope="col">Thread</th><th class="time" scope="col">'
        f'<span class="unseen">When, in milliseconds</span>{_axis(ticks, length)}</th>'
        '<th class="fate" scope="col">Took</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
        f'<p class="note after">{escape(_summary(journey))}</p></article>'
    )


def _step_row(step: Step, length: float, background: str) -> str:
    words = f"{step.name}: {step.start * 1000:.1f} to {step.end * 1000:.1f} ms"
    failed = " failed" if step.error else ""
    bar = (
        f'<i class="span {step.where}{failed}" style="left:{_at(step.start, length)};'
        f'width:{_at(step.seconds, length)}" title="{escape(words)}"></i>'
    )
    notes = "".join(f"<small>{escape(note)}</small>" for note in step.notes)
    return _row(
        _indented(step), step.thread, bar + _notes(step, notes, length), background, _took(step)
    )


def _indented(step: Step) -> str:
    return f'<span style="padding-left:{len(step.branches) * 14}px">{escape(step.name)}</span>'


def _notes(step: Step, notes: str, length: float) -> str:
    """Return what is to be read beside a bar, on the side where there is room."""
    if not notes:
        return ""
    if step.start > length - step.end:
        return f'<span class="said" style="right:{_at(length - step.start, length)}">{notes}</span>'
    return f'<span class="said" style="left:{_at(step.end, length)}">{notes}</span>'


def _request(journey: Journey, length: float) -> str:
    return f'<i class="span request" style="left:0;width:{_at(journey.complete, length)}"></i>'


def _row(label: str, thread: str, drawing: str, background: str, took: str) -> str:
    css = "" if thread else "strong"
    return (
        f'<tr role="row" class="{css}"><th role="rowheader" class="what" scope="row">{label}</th>'
        f'<td role="cell" class="thread">{escape(thread)}</td>'
        f'<td role="cell" class="time"><div class="track">{background}{drawing}</div></td>'
        f'<td role="cell" class="fate">{escape(took)}</td></tr>'
    )


def _axis(ticks: Sequence[float], length: float) -> str:
    marks = "".join(
        f'<span class="{"from" if not tick else ""}" style="left:{_at(tick, length)}">'
        f"{tick * 1000:.0f}{' ms' if not tick else ''}</span>"
        for tick in ticks
    )
    return f'<div class="axis" aria-hidden="true">{marks}</div>'


def _ticks(ticks: Iterable[float], length: float) -> str:
    return "".join(f'<i class="tick" style="left:{_at(tick, length)}"></i>' for tick in ticks)


def _at(seconds: float, length: float) -> str:
    return f"{min(max(seconds / length, 0.0), 1.0) * 100:.2f}%"
