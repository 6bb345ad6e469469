"""A page that stands alone: it fetches nothing, runs nothing, and is well to read in the dark."""

from typing import Final

from ._markup import Markup, joined, tag

#: Whatever came into the page against our will: it is not run, and nothing is fetched.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; media-src data:; img-src data:"

_STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --card: #f5f6f8; --edge: #d3d8de; --grid: #e3e7eb;
  --text: #1a1e23; --quiet: #56606b; --window: #5a6b7d16;
  --first: #0b5cad; --second: #0b7a6f; --third: #96570a; --fourth: #7a3fb8;
  --good: #17703a; --bad: #c0241c; --calm: #6b7784;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --card: #1d2127; --edge: #39414b; --grid: #2a3038;
    --text: #e6e9ed; --quiet: #a4adb8; --window: #9fb4c816;
    --first: #74b3ff; --second: #52cbbd; --third: #e5b04e; --fourth: #c6a0ff;
    --good: #62d48d; --bad: #ff857b; --calm: #8793a0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1120px; padding: 28px 24px 40px;
  background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1, h2, h3, p, ul, dl, dd, figure { margin: 0; padding: 0; }
h1 { font-size: 24px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 40px 0 12px; }
h3 { font-size: 15px; }
ul { list-style: none; }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.quiet, .none { color: var(--quiet); }
.none { padding: 12px 0; }

.verdict {
  margin: 20px 0 0; padding: 14px 18px; border-radius: 6px;
  background: var(--card); border-left: 8px solid var(--calm);
}
.verdict h2 { margin: 0; font-size: 26px; line-height: 1.25; }
.verdict ul { margin-top: 6px; list-style: disc; padding-left: 20px; }
.verdict li { overflow-wrap: anywhere; }
.verdict.passed { border-color: var(--good); }
.verdict.passed h2, .mark.kept { color: var(--good); }
.verdict.failed, .verdict.invalid { border-color: var(--bad); }
.verdict.failed h2, .verdict.invalid h2, .mark.failed { color: var(--bad); }
.mark { font-weight: 600; white-space: nowrap; }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 10px; }
.tiles { margin-top: 16px; }
.tiles div { background: var(--card); border-radius: 6px; padding: 10px 12px; }
.tiles dt { color: var(--quiet); font-size: 12.5px; white-space: nowrap; }
.tiles dd { font-size: 21px; line-height: 1.3; font-variant-numeric: tabular-nums; }

.figures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 28px 24px; }
.figures > * { min-width: 0; }
.wide { grid-column: 1 / -1; }
@media (max-width: 760px) { .figures > * { grid-column: 1 / -1; } }
figcaption { display: flex; flex-wrap: wrap; gap: 2px 18px; align-items: baseline; }
.legend { display: flex; flex-wrap: wrap; gap: 0 16px; font-size: 13px; color: var(--quiet); }
.key {
  display: inline-block; width: 18px; height: 0; margin-right: 6px; vertical-align: 4px;
  border-top: 3px solid var(--ink);
}
.key.area, .key.window { height: 11px; vertical-align: -1px; border: 0; background: var(--ink); }
.key.area { opacity: .3; }
.key.area.calm { opacity: .45; }
.key.area.solid { opacity: .75; }
.key.window { background: var(--window); outline: 1px solid var(--edge); }
.key.faint, .key.fourth { border-top-style: dotted; }
.key.third, .key.bad { border-top-style: dashed; }
.key.area { border: 0; }

.first { --ink: var(--first); }
.second { --ink: var(--second); }
.third { --ink: var(--third); }
.fourth { --ink: var(--fourth); }
.calm, .faint { --ink: var(--calm); }
.bad { --ink: var(--bad); }

.chart { overflow-x: auto; }
svg { display: block; width: 100%; height: auto; }
figure svg { max-width: 640px; }
.wide svg, .turn svg { min-width: 860px; max-width: none; }
svg text { font-size: 12px; fill: var(--quiet); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); fill: none; }
.window { fill: var(--window); }
.line { fill: none; stroke: var(--ink); stroke-width: 2; }
.line { stroke-linejoin: round; stroke-linecap: round; pointer-events: none; }
.line.thin { stroke-width: 1; }
.line.faint { stroke-width: 1.5; stroke-dasharray: 1 4; }
.line.third { stroke-dasharray: 7 5; }
.line.fourth { stroke-dasharray: 2 5; }
.line.bad { stroke-dasharray: 5 4; }
.area { fill: var(--ink); fill-opacity: .2; pointer-events: none; }
.area.calm { fill-opacity: .45; }
.area.solid { fill-opacity: .75; }
.readout rect { fill: none; pointer-events: all; }
.readout path { stroke: var(--text); stroke-opacity: .5; }
.readout text { fill: var(--text); }
.readout path, .readout text { visibility: hidden; pointer-events: none; }
.readout:hover path, .readout:hover text { visibility: visible; }

table { border-collapse: collapse; width: 100%; font-size: 14px; }
.table { overflow-x: auto; }
caption { text-align: left; font-weight: 600; padding-bottom: 4px; }
th { text-align: left; font-weight: 500; color: var(--quiet); font-size: 13px; }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--edge); vertical-align: top; }
td { overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th:last-child, td:last-child { padding-right: 0; }
.table + .table { margin-top: 24px; }
.metrics td:first-child { min-width: 220px; }
.machines td { min-width: 64px; }
.machines td:nth-child(2), .machines td:last-child { min-width: 140px; }
.bars table { table-layout: fixed; }
.bars th:first-child { width: 46%; }
.bar { width: 28%; padding-top: 10px; }
.narrow table { width: auto; }
.narrow th, .narrow td { padding-right: 32px; }
.bar i { display: block; height: 10px; min-width: 1px; background: var(--ink); }
.words { white-space: pre-wrap; }

.turn { border-top: 1px solid var(--edge); padding: 16px 0 20px; }
.turn header { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 18px; }
.turn header p { font-weight: 600; }
.said { display: grid; grid-template-columns: 48px minmax(0, 1fr); gap: 2px 8px; margin: 8px 0; }
.said { overflow-wrap: anywhere; }
.said dt { color: var(--quiet); text-align: right; font-size: 13px; line-height: 23px; }
.said dd { text-align: left; white-space: pre-wrap; max-height: 12em; overflow-y: auto; }
.lane { text-anchor: end; }
.caller { --ink: var(--second); }
.bot { --ink: var(--first); }
.spoken { fill: var(--ink); fill-opacity: .18; }
.spoken.alone { fill-opacity: .6; }
.wave { fill: var(--ink); stroke: var(--ink); stroke-width: .5; }
.waiting { fill: var(--bad); fill-opacity: .1; }
svg .waited { fill: var(--bad); font-weight: 600; }
audio { display: block; width: 100%; height: 40px; margin-top: 6px; }

footer { margin-top: 40px; color: var(--quiet); font-size: 13px; }

@media print {
  body { max-width: none; padding: 0; font-size: 12px; }
  audio, .readout { display: none; }
  .said dd { max-height: none; }
  .chart, .table { overflow: visible; }
  .wide svg, .turn svg { min-width: 0; }
  figure, .turn, .verdict, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  * { print-color-adjust: exact; }
}
"""


def page(title: str, *content: Markup | None) -> str:
    """Return a whole document."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        # Browsers ask for one that is not there.
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(_STYLE)),
    )
    body = tag("body", joined(content))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"
