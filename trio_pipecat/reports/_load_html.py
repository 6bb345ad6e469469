"""A load run as a page for people: the verdict first, then how it came about."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from .._version import __version__
from ._load import METRICS, LoadResult, Part, TurnRecord
from ._load_charts import LoadCharts
from ._markup import Markup, joined, tag
from ._page import page
from ._recordings import Recordings
from ._thresholds import Verdict
from ._turn_picture import draw_turn
from ._words import tell_clock, tell_count, tell_seconds, tell_share

#: What stands above a column, and the style of what is in it.
_Head: TypeAlias = tuple[str, str | None]

#: What a caller waits for, in the order in which it matters, and what it is called.
_WAITS: Final = {
    "v2v": "voice to voice",
    "t2v": "text to voice",
    "first_event": "first event",
}
_PERCENTS: Final = (50, 90, 95, 99)
#: So many reasons are told apart.
_MOST_ROWS: Final = 12
#: What is longer is cut off: a plan may have whole scripts in it.
_LONGEST: Final = 1_000


def load_as_html(
    result: LoadResult, verdicts: Sequence[Verdict], *, audio_folder: Path | None = None
) -> str:
    """Return a run as one document, which stands alone: it fetches nothing, and runs nothing.

    The recordings of the worst turns are read and put into it, from where the result says that they
    are, or in `audio_folder` by their names. Where one can't be read, the page says why.
    """
    status, word, reasons = _outcome(result, verdicts)
    charts = LoadCharts(result)
    return page(
        f"{word}: load on {result.target or 'a bot'}",
        _header(result),
        tag(
            "section",
            tag("h2", word),
            tag("ul", joined(tag("li", reason) for reason in reasons)),
            class_=f"verdict {status}",
        ),
        _key_figures(result),
        _notes(result),
        _thresholds(verdicts),
        tag("h2", "Over time"),
        tag("div", charts.waited(), charts.callers(), charts.calls(), class_="figures"),
        tag("h2", "In all"),
        tag("div", charts.percentiles(), _why(result), class_="figures"),
        _worst(result, Recordings(audio_folder)),
        _metrics(result),
        _machines(result),
        _plan(result.plan),
        tag("footer", f"Written by trio-pipecat {__version__}."),
    )


# -- at the top --


def _outcome(result: LoadResult, verdicts: Sequence[Verdict]) -> tuple[str, str, list[str]]:
    """Return the style, the word and the reasons of what came of a run."""
    failed = [verdict for verdict in verdicts if verdict.failed]
    reasons = [
        f"{verdict.threshold.text}: it was {verdict.threshold.tell(verdict.value)}"
        for verdict in failed
    ]
    if result.bot_died is not None:
        reasons.append(f"the bot died after {tell_clock(result.bot_died)}: no call succeeded since")
    status, word = ("failed", "Failed") if reasons else ("passed", "Passed")
    if result.problems:
        status, word = "invalid", "NOT VALID"
        reasons = [*result.problems, *reasons]
    elif not reasons and not verdicts:
        status, word = "done", "Done"
        reasons.append("there were no thresholds, so nothing was judged")
    elif not reasons:
        kept = "the threshold was" if len(verdicts) == 1 else f"all {len(verdicts)} thresholds were"
        reasons.append(f"{kept} kept")
    if result.interrupted:
        reasons.append("the run was stopped before its time")
    if not result.counts["calls"]:
        reasons.append("no call ended in the measuring window")
    return status, word, reasons


def _header(result: LoadResult) -> Markup:
    began = datetime.fromtimestamp(result.began, UTC)
    window = f"{tell_clock(result.measured_from)} to {tell_clock(result.measured_until)}"
    return tag(
        "header",
        tag("p", "Load test of a voice bot", class_="quiet"),
        tag("h1", result.target or "a bot"),
        tag(
            "p",
            tag("time", f"{began:%Y-%m-%d %H:%M} UTC", datetime=f"{began:%Y-%m-%dT%H:%M:%SZ}"),
            f" · ran for {tell_seconds(result.seconds)} · measured from {window}",
            class_="quiet",
        ),
    )


def _key_figures(result: LoadResult) -> Markup:
    counts = result.counts
    most = max((moment.starting + moment.ready for moment in result.timeline), default=0)
    tiles = [
        ("callers at once", tell_count(most)),
        ("calls", tell_count(counts["calls"])),
        ("turns", tell_count(counts["turns"])),
        ("error rate", tell_share(result.error_rate) if counts["calls"] else "–"),
    ]
    for name, told in _WAITS.items():
        latencies = result.metrics.get(name)
        if latencies is not None and len(latencies):
            values = latencies.percentiles(50, 95, 99)
            tiles += [
                (f"{told} p{percent}", tell_seconds(value))
                for percent, value in zip((50, 95, 99), values, strict=True)
            ]
            break
    return tag(
        "dl",
        joined(tag("div", tag("dt", told), tag("dd", value)) for told, value in tiles),
        class_="tiles",
    )


def _notes(result: LoadResult) -> Markup | None:
    if not result.notes:
        return None
    return joined(
        [
            tag("h2", "Missing from this page"),
            tag("ul", joined(tag("li", note) for note in result.notes)),
        ]
    )


def _thresholds(verdicts: Sequence[Verdict]) -> Markup | None:
    if not verdicts:
        return None
    rows = [
        (
            tag(
                "span",
                "✗ failed" if verdict.failed else "✓ kept",
                class_=f"mark {'failed' if verdict.failed else 'kept'}",
            ),
            tag("code", verdict.threshold.text),
            verdict.threshold.tell(verdict.value),
        )
        for verdict in verdicts
    ]
    heads = _heads("", "the run has failed if", numbers=("it was",))
    return joined(
        [
            tag("h2", "Thresholds"),
            _table(heads, rows, style="narrow"),
        ]
    )


# -- in all --


def _why(result: LoadResult) -> Markup:
    """Return why calls failed, and how they ended."""
    return tag(
        "div",
        _bars("Why calls failed", result.errors, "bad", "None did."),
        _bars("How calls ended", result.endings, "calm", "None did."),
    )


def _bars(title: str, counts: Counter[str], style: str, none: str) -> Markup:
    total = counts.total()
    if not total:
        return joined([tag("h3", title), tag("p", none, class_="none")])
    shown = sorted((+counts).items(), key=lambda item: (-item[1], item[0]))
    others = shown[_MOST_ROWS:]
    if others:
        shown[_MOST_ROWS:] = [(f"{len(others)} others", sum(count for _, count in others))]
    rows = [
        (
            name,
            tell_count(count),
            tell_share(count / total),
            tag("i", class_=style, style=f"width:{100 * count / total:.1f}%"),
        )
        for name, count in shown
    ]
    heads = [*_heads("", numbers=("calls", "share")), ("", "bar")]
    return _table(heads, rows, caption=title, style="bars")


def _metrics(result: LoadResult) -> Markup | None:
    measured = {name: found for name, found in result.metrics.items() if len(found)}
    if not measured:
        return None
    known = list(METRICS)
    names = sorted(measured, key=lambda name: (known.index(name) if name in known else 99, name))
    rows = []
    for name in names:
        latencies = measured[name]
        times = (latencies.min, latencies.mean, *latencies.percentiles(*_PERCENTS), latencies.max)
        what = tag("span", METRICS[name], class_="quiet") if name in METRICS else None
        rows.append(
            (
                joined([tag("code", name), tag("br") if what else None, what]),
                tell_count(len(latencies)),
                *map(tell_seconds, times),
            )
        )
    heads = _heads(
        "", numbers=("count", "min", "mean", *(f"p{percent}" for percent in _PERCENTS), "max")
    )
    return joined([tag("h2", "All that was measured"), _table(heads, rows, style="metrics")])


# -- the worst turns --


def _worst(result: LoadResult, recordings: Recordings) -> Markup | None:
    if not result.worst:
        return None
    turns = [_turn(number, turn, recordings) for number, turn in enumerate(result.worst, 1)]
    return joined([tag("h2", "The worst turns"), *turns])


def _turn(number: int, turn: TurnRecord, recordings: Recordings) -> Markup:
    recording = None if turn.audio is None else recordings.read(turn.audio)
    sound = None if recording is None else recording.sound
    who = f"caller {turn.caller}, call {turn.call}, turn {turn.turn}"
    picture = draw_turn(turn, sound)
    if recording is None:
        heard = tag("p", "It was not recorded.", class_="none")
    elif recording.missing is not None:
        place = tag("code", turn.audio)
        heard = tag(
            *("p", "Its recording ", place, f" is not here: {recording.missing}."), class_="none"
        )
    else:
        heard = tag(
            "audio",
            controls="controls",
            preload="metadata",
            src=recording.url,
            aria_label=f"Both voices: {who}",
        )
    return tag(
        "article",
        tag("header", tag("h3", f"{number}. {who}"), tag("p", _waited(turn))),
        tag("p", " · ".join(_facts(turn)), class_="quiet"),
        tag("dl", *_said("caller", turn.said), *_said("bot", turn.answer), class_="said"),
        None if picture is None else tag("div", picture, class_="chart"),
        heard,
        class_="turn",
    )


def _waited(turn: TurnRecord) -> str:
    return f"waited {tell_seconds(turn.waited)}" if turn.waited < float("inf") else "no answer"


def _facts(turn: TurnRecord) -> Iterator[str]:
    yield f"at {tell_clock(turn.at)}"
    for name, told in {**_WAITS, "dead_air": "longest silence"}.items():
        value = getattr(turn, name)
        if value is not None:
            yield f"{told} {tell_seconds(value)}"
    if turn.interrupted:
        yield "interrupted"
    if turn.stale:
        yield f"{tell_seconds(turn.stale)} of stale sound"


def _said(who: str, words: str) -> tuple[Markup, Markup]:
    return tag("dt", who), tag("dd", words or "–", dir="auto")


# -- how it was done --


def _machines(result: LoadResult) -> Markup | None:
    if not result.parts:
        return None
    numbers = ("callers", "CPU", "steal", "GC pauses", "longest", "frames late", "loop late")
    heads = [*_heads("part", "process", numbers=numbers), ("problems", None)]
    rows = [_machine(part) for part in result.parts]
    told = "CPU is a share of one core; how late it was is the 99th percentile."
    return joined(
        [
            tag("h2", "Did this tool keep up?"),
            _table(heads, rows, style="machines"),
            tag("p", told, class_="none"),
        ]
    )


def _machine(part: Part) -> tuple[str, ...]:
    return (
        str(part.index),
        f"{part.host}, {part.pid}" if part.host else str(part.pid),
        tell_count(part.callers),
        tell_share(part.cpu),
        tell_share(part.steal),
        tell_count(part.gc_pauses),
        tell_seconds(part.gc_longest),
        tell_seconds(part.lateness_p99),
        tell_seconds(part.loop_lag_p99),
        "; ".join(part.problems) or "none",
    )


def _plan(plan: Mapping[str, Any]) -> Markup | None:
    if not plan:
        return None
    rows = [
        (name.replace("_", " "), tag("span", _told(plan[name]), class_="words")) for name in plan
    ]
    return joined([tag("h2", "What was done"), _table(_heads("", ""), rows)])


def _told(value: Any) -> str:
    """Return a part of a plan in words, as far as there are any."""
    if value is None or value in ("", [], (), {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        value = "\n".join(value)
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]} …"


# -- tables --


def _heads(*texts: str, numbers: Sequence[str] = ()) -> list[_Head]:
    return [*((name, None) for name in texts), *((name, "number") for name in numbers)]


def _table(
    heads: Sequence[_Head],
    rows: Iterable[Sequence[str]],
    *,
    caption: str | None = None,
    style: str = "",
) -> Markup:
    styles = [style for _, style in heads]
    names = [name for name, _ in heads]
    return tag(
        "div",
        tag(
            "table",
            None if caption is None else tag("caption", caption),
            tag("thead", _row("th", names, styles)) if any(names) else None,
            tag("tbody", joined(_row("td", row, styles) for row in rows)),
        ),
        class_=f"table {style}".strip(),
    )


def _row(cell: str, texts: Sequence[str], styles: Sequence[str | None]) -> Markup:
    return tag(
        "tr",
        joined(
            tag(cell, text, class_=style, scope="col" if cell == "th" else None)
            for text, style in zip(texts, styles, strict=True)
        ),
    )
