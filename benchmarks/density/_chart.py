"""The chart of sessions per core, as SVG that needs nothing else and suits light and dark pages."""

import statistics
from typing import Final
from xml.sax.saxutils import escape

from ._clients import SESSION, WIRE
from ._measures import Measures

_WIDTH: Final = 760
_BAR, _GAP, _TOP, _LEFT, _RIGHT = 22, 10, 64, 270, 70
_NOTE: Final = (
    "50 frames of audio up and 25 down a second each, 99 % of them at most 20 ms late; "
    "more is better"
)
_STYLE: Final = """
text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.note { fill: #59636e; font-size: 12px }
.bar { fill: #8c959f }
.ours { fill: #0969da }
.spread { stroke: #1f2328; stroke-width: 1.5 }
.page { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #9198a1 }
  .bar { fill: #656c76 }
  .ours { fill: #4493f8 }
  .spread { stroke: #e6edf3 }
  .page { fill: #0d1117 }
}
"""


def draw(measures: Measures) -> str:
    """Return the chart: a bar for each client, the most sessions on top."""
    found = []
    for client in measures.clients:
        numbers = [round_.capacity[client.key].sessions for round_ in measures.rounds]
        found.append((statistics.median(numbers), numbers, client))
    found.sort(key=lambda one: one[0], reverse=True)
    most = max(max(numbers) for _, numbers, _ in found) or 1
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    height = _TOP + len(found) * (_BAR + _GAP) + 12
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title">',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{height}" rx="6"/>',
        '<text id="title" class="title" x="16" y="26">Real-time voice sessions on one core</text>',
        f'<text class="note" x="16" y="46">{_NOTE}</text>',
    ]
    for place, (sessions, numbers, client) in enumerate(found):
        top = _TOP + place * (_BAR + _GAP)
        middle, text = top + _BAR / 2, f'y="{top + _BAR / 2 + 4:.0f}"'
        low, high = (_LEFT + scale * one for one in (min(numbers), max(numbers)))
        look = "bar ours" if client in (WIRE, SESSION) else "bar"
        bar = f'x="{_LEFT}" y="{top}" width="{scale * sessions:.1f}" height="{_BAR}"'
        pacing = f'<tspan class="note">· {escape(client.pacing)}</tspan>'
        name = f"{escape(client.label)} {pacing}"
        lines += [
            f'<text x="{_LEFT - 10}" {text} text-anchor="end">{name}</text>',
            f'<rect class="{look}" {bar} rx="3"/>',
            f'<text x="{high + 8:.1f}" {text}>{sessions:.0f}</text>',
        ]
        if high > low:
            lines.append(
                f'<line class="spread" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>'
            )
    return "\n".join((*lines, "</svg>", ""))
