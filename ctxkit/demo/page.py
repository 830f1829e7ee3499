"""The result of the demo as one page that needs nothing else."""

from __future__ import annotations

import platform
import time
from collections import Counter
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from ctxkit.demo.lanes import HOSTS
from ctxkit.demo.summary import pairs, percent, versions
from ctxkit.demo.timeline import Scale, draw_lane
from ctxkit.demo.verdict import Outcome, telling_request
from ctxkit.demo.waterfall import draw_journey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctxkit.demo.journey import Journey
    from ctxkit.demo.verdict import LaneReport

_METHOD = """\
<p>Each lane is a real server with the example shop, the real Sentry SDK and the real
OpenTelemetry SDK, sending to a backend on loopback that takes $latency to acknowledge. Both lanes
of a server run the same project; without ctxkit means that its line in <code>MIDDLEWARE</code> is
absent.</p>
<p>The client reads the response from the socket. At the byte that completes it in the sense of
HTTP, all processes of the server are stopped (<code>SIGSTOP</code>); for the next request they are
continued; at the end they are killed (<code>SIGKILL</code>). The Lambda function runs under
AWS&rsquo;s own runtime client and is stopped when that asks for the next event, as Lambda does.
There it has ctxkit&rsquo;s line in <code>MIDDLEWARE</code>; or, instead, the decorator around the
handler; or <code>CTXKIT_LAMBDA_MODE=extension</code>, with which the client has its response first
and Lambda freezes the process when the flush is over: in that lane, what has been acknowledged
before the freeze has landed.</p>
<p>What a request produces is not assumed. A reference, the same server with the same application,
got the same requests, held no response, was never frozen, and was left alone until it had nothing
more to send. Each item that then belonged to a request is expected of that request in the
lane.</p>
<p>An item belongs to a request by the trace id that the client sent; a metric by an attribute with
the request id. Handler, spans and flushes are written down within the server process, by a span
processor and a flush listener, so that what was lost can still be shown. Sessions and client
reports, the SDK&rsquo;s own bookkeeping, are not counted. Sentry&rsquo;s integration for Lambda,
which flushes Sentry alone, is not in use.</p>
"""


_JOURNEY = """\
<h2 id="journey">One trace across view, pool and worker</h2>
<p class="note">A server that lives long, and is never frozen. A customer buys: the view asks the
suppliers for a price, each in a thread, and does without those that are late; it charges the card,
whose first answer gets lost; and a letter is written after the response. Drawn is what the backend
has received with the trace of this request.</p>
<ul class="legend" aria-label="How to read it">
  <li><span class="swatch" style="background:var(--server)"></span>thread of the view</li>
  <li><span class="swatch" style="background:var(--pool)"></span>pool</li>
  <li><span class="swatch" style="background:var(--worker)"></span>worker</li>
  <li><span class="swatch" style="background:repeating-linear-gradient(90deg,var(--soft) 0 4px,\
transparent 4px 6px)"></span>ended with an error</li>
  <li><span class="swatch" style="width:2px;background:var(--byte)"></span>last byte of the \
response</li>
</ul>
"""


def as_page(
    lanes: Sequence[LaneReport], backend_latency: float, journey: Journey | None = None
) -> str:
    """Return the result as a self-contained HTML page.

    Args:
        lanes: Every lane, each server's two in a row.
        backend_latency: Seconds that the backend took to acknowledge.
        journey: The request that was followed; None leaves it out.
    """
    index = telling_request(lanes)
    scale = Scale.of([lane.requests[index] for lane in lanes])
    sent = lanes[0].requests[index].sent
    template = Template(files("ctxkit.demo").joinpath("page.html").read_text(encoding="utf-8"))
    kinds = sorted({fate.kind for lane in lanes for each in lane.requests for fate in each.fates})
    return template.substitute(
        headline=_headline(lanes),
        lead=_lead(lanes, backend_latency),
        summary="\n".join(_summary(*pair) for pair in pairs(lanes)),
        request_note=(
            f"Request {index + 1} of {len(lanes[0].requests)}, <code>GET {escape(sent.path)}"
            f"</code> (status {sent.status}), was chosen since it produces the most kinds of "
            "items. Each row is one item: when its span ran, and when the backend had it. All "
            "lanes share one scale, in milliseconds since the request was sent; where the ice "
            "has a gap, another request has come."
        ),
        timelines="\n".join(draw_lane(lane, index, scale) for lane in lanes),
        journey="" if journey is None else _JOURNEY + draw_journey(journey),
        figures="\n".join(_figures(*pair) for pair in pairs(lanes)),
        figures_note=_figures_note(lanes),
        kinds_head="".join(f'<th scope="col">{escape(kind)}</th>' for kind in kinds),
        kinds="\n".join(_kinds(lane, kinds) for lane in lanes),
        method=Template(_METHOD).substitute(latency=_milliseconds(backend_latency)),
        footer=_footer(),
    )


def _headline(lanes: Sequence[LaneReport]) -> str:
    """Say what came out, whatever that is."""

    def landed(with_ctxkit: bool) -> str:  # noqa: FBT001 - private
        # What two lanes share has come out once.
        distinct = {lane.lane.experiment: lane for lane in lanes}.values()
        chosen = [lane for lane in distinct if lane.lane.with_ctxkit is with_ctxkit]
        count = sum(lane.count(Outcome.LANDED) for lane in chosen)
        return f"{count} of {sum(lane.expected for lane in chosen)}"

    return (
        f"Frozen at the last byte: {landed(with_ctxkit=False)} items landed without ctxkit, "
        f"{landed(with_ctxkit=True)} with it"
    )


def _lead(lanes: Sequence[LaneReport], backend_latency: float) -> str:
    return (
        f"{len(lanes[0].requests)} requests to each server. It is stopped at the instant a "
        "response is complete, as AWS Lambda does to yours, continued for the next one, and "
        "killed at the end. The telemetry backend takes "
        f"{_milliseconds(backend_latency)} to acknowledge."
    )


def _summary(without: LaneReport, with_ctxkit: LaneReport) -> str:
    server = without.lane.server
    added = with_ctxkit.latency - without.latency
    return (
        f'<figure class="card"><h3>{escape(server)} <span>{HOSTS[server].protocol}</span></h3>'
        f"{_stack('without ctxkit', without)}{_stack('with ctxkit', with_ctxkit)}"
        f"<figcaption>Median response {_milliseconds(without.latency)} without, "
        f"{_milliseconds(with_ctxkit.latency)} with: the wait for the backend adds "
        f"{_milliseconds(added)}.</figcaption></figure>"
    )


def _stack(title: str, lane: LaneReport) -> str:
    counts = {outcome: lane.count(outcome) for outcome in Outcome}
    bars = "".join(
        f'<i class="{outcome}" style="flex:{count} 0 0"></i>'
        for outcome, count in counts.items()
        if count
    )
    words = "".join(
        f'<span><svg class="shape {outcome}" aria-hidden="true"><use href="#{outcome}"/></svg>'
        f"{count} {outcome}</span>"
        for outcome, count in counts.items()
    )
    color = "landed" if lane.landed_share == 1 else "lost" if not lane.landed_share else "late"
    return (
        f'<div class="stack"><p><span>{title}</span>'
        f'<strong class="{color}">{percent(lane.landed_share)} <small>landed</small></strong></p>'
        f'<div class="bars" aria-hidden="true">{bars}</div><p class="counts">{words}</p></div>'
    )


def _figures(without: LaneReport, with_ctxkit: LaneReport) -> str:
    added = _milliseconds(with_ctxkit.latency - without.latency)
    rows: list[str] = []
    for lane, last in ((without, ""), (with_ctxkit, added)):
        cells = [
            str(lane.expected),
            f"{lane.count(Outcome.LANDED)} ({percent(lane.landed_share)})",
            str(lane.count(Outcome.LATE)),
            str(lane.count(Outcome.LOST)),
            _milliseconds(lane.latency),
            last,
        ]
        rows.append(_row(lane.lane.title, cells))
    return "\n".join(rows)


def _figures_note(lanes: Sequence[LaneReport]) -> str:
    if all(without.expected == with_ctxkit.expected for without, with_ctxkit in pairs(lanes)):
        return ""
    return (
        '<p class="note after">A request has more items with ctxkit, since spans in worker threads '
        "stay in its trace; without it they belong to no request, and are not counted.</p>"
    )


def _kinds(lane: LaneReport, kinds: Sequence[str]) -> str:
    fates = [fate for request in lane.requests for fate in request.fates]
    landed = Counter(fate.kind for fate in fates if fate.outcome is Outcome.LANDED)
    total = Counter(fate.kind for fate in fates)
    return _row(lane.lane.title, [f"{landed[kind]} of {total[kind]}" for kind in kinds])


def _row(title: str, cells: Sequence[str]) -> str:
    tail = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(title)}</th>{tail}</tr>'


def _footer() -> str:
    parts = ", ".join(f"{escape(name)} {escape(number)}" for name, number in versions().items())
    now = time.strftime("%d %B %Y, %H:%M %Z")
    return (
        f"Made by <code>ctxkit demo</code> on {escape(now)}, {escape(platform.system())} "
        f"{escape(platform.machine())}. {parts}."
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
