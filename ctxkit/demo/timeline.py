"""Draw one request of one lane: a table whose middle column is a time axis."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from ctxkit.demo.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ctxkit.demo.verdict import Fate, LaneReport, Mark, RequestReport

# Percent of the width: the linear part, then three zones without a scale.
_LINEAR = 68.0
_LATE_START = 76.0
_LATE = 82.0
_LOST_START = 88.0
_LOST = 94.0
STEPS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between two ticks
_MAX_TICKS = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """Map seconds since a request was sent to percent of a track's width.

    Args:
        seconds: Where the linear part ends.
        step: Seconds between two ticks.
    """

    seconds: float
    step: float

    @classmethod
    def of(cls, requests: Iterable[RequestReport]) -> Scale:
        """Return a scale on which every one of these requests can be drawn."""
        longest = max(request.sent.times.latency for request in requests) * 1.06
        step = next((step for step in STEPS if longest / step <= _MAX_TICKS), STEPS[-1])
        return cls(longest, step)

    def at(self, seconds: float) -> float:
        """Return the place of a moment, held within the linear part."""
        return min(max(seconds / self.seconds, 0.0), 1.0) * _LINEAR

    def ticks(self) -> list[float]:
        """Return the moments to label."""
        return [self.step * index for index in range(int(self.seconds / self.step) + 1)]


def draw_lane(lane: LaneReport, index: int, scale: Scale) -> str:
    """Return one request of a lane as a figure with its table.

    Args:
        lane: The lane.
        index: Which of its requests.
        scale: Shared by all lanes, so that they compare.
    """
    request = lane.requests[index]
    landed = sum(1 for fate in request.fates if fate.outcome is Outcome.LANDED)
    background = _background(request, _frozen(lane, index), scale)
    name = f"{lane.lane.server}-{'with' if lane.lane.with_ctxkit else 'without'}"
    rows = [_request_row(request, scale, background)]
    rows += [
        _row(("flush", mark.name), _bar("flush", mark, request, scale), background)
        for mark in request.marks
        if mark.what == "flush"
    ]
    rows += [_item_row(*each, request, scale, background) for each in _with_marks(request)]
    return (
        f'<article class="card lane" aria-labelledby="{name}"><header>'
        f'<h3 id="{name}">{escape(lane.lane.title)}</h3>'
        f"<p>{landed} of {len(request.fates)} landed</p></header>"
        f'<table role="table"><thead><tr role="row"><th class="what" scope="col">Item</th>'
        f'<th class="time" scope="col"><span class="unseen">When, in milliseconds</span>'
        f'{_axis(scale)}</th><th class="fate" scope="col">Outcome</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></article>"
    )


def _with_marks(request: RequestReport) -> list[tuple[Fate, Mark | None]]:
    """Return each item with the span that it tells of, in the same order in every lane."""
    spans = [mark for mark in request.marks if mark.what != "flush"]
    rows: list[tuple[Fate, Mark | None]] = []
    for fate in request.fates:
        mark = None
        if fate.kind == "otel.span":
            mark = next((span for span in spans if span.name == fate.name), None)
            if mark is not None:
                spans.remove(mark)
        rows.append((fate, mark))

    def order(row: tuple[Fate, Mark | None]) -> tuple[bool, bool, str, float, str]:
        fate, mark = row
        inner = mark is None or mark.what != "server"
        start = mark.start if mark else 0.0
        return (fate.kind != "otel.span", inner, fate.kind, start, fate.name)

    return sorted(rows, key=order)


def _axis(scale: Scale) -> str:
    ticks = "".join(
        f'<span class="{"from" if not tick else ""}" style="left:{scale.at(tick):.2f}%">'
        f"{tick * 1000:.0f}{' ms' if not tick else ''}</span>"
        for tick in scale.ticks()
    )
    return (
        f'<div class="axis" aria-hidden="true">{ticks}'
        f'<span style="left:{_LATE}%">late</span><span style="left:{_LOST}%">lost</span></div>'
    )


def _frozen(lane: LaneReport, index: int) -> list[tuple[float, float]]:
    """Return when the process was frozen, in seconds since the request was sent.

    Never again after the last: it was killed, which for what it still held is the same.
    """
    times = [request.sent.times for request in lane.requests[index:]]
    stops = [each.complete if each.stopped is None else each.stopped for each in times]
    thaws = [each.sent if each.thawed is None else each.thawed for each in times[1:]]
    ends = [*thaws, float("inf")]
    sent = times[0].sent
    return [(start - sent, end - sent) for start, end in zip(stops, ends, strict=True)]


def _background(request: RequestReport, frozen: Sequence[tuple[float, float]], scale: Scale) -> str:
    ticks = "".join(
        f'<i class="tick" style="left:{scale.at(tick):.2f}%"></i>' for tick in scale.ticks()[1:]
    )
    visible = [(start, end) for start, end in frozen if start < scale.seconds]
    stretches = [(scale.at(start), scale.at(end)) for start, end in visible]
    # Beyond the scale it goes on like this.
    if stretches and stretches[-1][1] >= _LINEAR:
        stretches[-1] = (stretches[-1][0], _LATE_START)
    else:
        stretches.append((_LINEAR, _LATE_START))
    ice = "".join(
        f'<i class="ice" style="left:{start:.2f}%;width:{end - start:.2f}%"></i>'
        for start, end in stretches
    )
    return (
        f'{ticks}{ice}<i class="zone" style="left:{_LATE_START}%;right:{100 - _LOST_START}%"></i>'
        f'<i class="zone" style="left:{_LOST_START}%;right:0"></i>'
        f'<i class="byte" style="left:{scale.at(request.sent.times.latency):.2f}%"></i>'
    )


def _request_row(request: RequestReport, scale: Scale, background: str) -> str:
    times = request.sent.times
    bar = f'<i class="span request" style="left:0;width:{scale.at(times.latency):.2f}%"></i>'
    fate = f"{times.latency * 1000:.0f} ms"
    return _row(("", "request"), bar, background, fate=fate, css="strong")


def _item_row(
    fate: Fate, mark: Mark | None, request: RequestReport, scale: Scale, background: str
) -> str:
    bar = _bar("server" if mark.what == "server" else "", mark, request, scale) if mark else ""
    sent = request.sent.times.sent
    since = None if fate.acknowledged is None else fate.acknowledged - sent
    words = str(fate.outcome) if since is None else f"{fate.outcome} {since * 1000:.0f} ms"
    place = _LOST
    if since is not None:
        place = scale.at(since) if since <= scale.seconds else _LATE
    shape = (
        f'<span class="mark {fate.outcome}" style="left:{place:.2f}%" title="{escape(words)}">'
        f'<svg class="shape" aria-hidden="true"><use href="#{fate.outcome}"/></svg></span>'
    )
    kind, _, what = fate.kind.partition(".")
    label = (f"{kind} {what}", fate.name)
    return _row(label, bar + shape, background, fate=words, fate_css=str(fate.outcome))


def _bar(css: str, mark: Mark, request: RequestReport, scale: Scale) -> str:
    sent = request.sent.times.sent
    start, end = scale.at(mark.start - sent), scale.at(mark.end - sent)
    words = f"{mark.name}: {(mark.start - sent) * 1000:.1f} to {(mark.end - sent) * 1000:.1f} ms"
    return (
        f'<i class="span {css}" style="left:{start:.2f}%;width:{end - start:.2f}%"'
        f' title="{escape(words)}"></i>'
    )


def _row(  # noqa: PLR0913 - a row has so many parts
    label: Sequence[str],
    drawing: str,
    background: str,
    *,
    fate: str = "",
    fate_css: str = "",
    css: str = "",
) -> str:
    kind, name = (escape(text) for text in label)
    small = f"<small>{kind}</small> " if kind else ""
    # The roles, since the narrow layout takes the table's own away from screen readers.
    title = f"{kind} {name}".strip()
    return (
        f'<tr role="row" class="{css}">'
        f'<th role="rowheader" class="what" scope="row" title="{title}">{small}{name}</th>'
        f'<td role="cell" class="time"><div class="track">{background}{drawing}</div></td>'
        f'<td role="cell" class="fate {fate_css}">{escape(fate)}</td></tr>'
    )
