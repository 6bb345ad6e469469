"""The charts of a load run: what was waited, by how many, and what failed, over the run's time."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, final

import attrs

from ._axes import Axis, percent_at
from ._charts import Plot
from ._latencies import Latencies
from ._load import LoadResult, Moment
from ._markup import Markup, joined, tag
from ._words import tell_clock, tell_count, tell_seconds

#: More stretches than this are put together: there is no room for them, and no eye.
_MOST_STRETCHES: Final = 240
_WIDE: Final = 1_040
_NARROW: Final = 510
#: How closely a curve of percentiles is drawn, as a part of a nine; each second point is read off.
_CURVE_STEP: Final = 0.05
_READ_EACH: Final = 2

#: The metrics that have a curve, what they are called, and their style.
_CURVES: Final = {
    "v2v": ("voice to voice", "first"),
    "t2v": ("text to voice", "second"),
    "first_event": ("first event", "third"),
    "ready": ("bot ready", "fourth"),
}


@final
class LoadCharts:
    """Draws a run. Each chart is a figure, with a heading and a legend."""

    def __init__(self, result: LoadResult) -> None:
        self._result = result
        moments, step = thinned(result.timeline, result.step)
        self._time = Axis.of_time(max(result.seconds, len(moments) * step))
        self._stretches = [
            _Stretch.of(moment, number * step, (number + 1) * step)
            for number, moment in enumerate(moments)
        ]
        self._edges = [number * step for number in range(len(moments) + 1)]

    def waited(self) -> Markup:
        """Draw how long callers waited over time."""
        title = "How long callers waited"
        parts = _unbroken(self._stretches)
        values = [value for part in parts for stretch in part for value in stretch.waited]
        if not values:
            return _no_figure(title, "No turn was answered.", wide=True)
        plot = Plot(width=_WIDE, height=300, x=self._time, y=Axis.of_latencies(values))
        layers = [
            self._window(plot),
            *(
                plot.band([(x, waited[0], waited[1]) for x, waited in _points(part)], "first")
                for part in parts
            ),
        ]
        for rank, style in ((2, "faint"), (1, "first thin"), (0, "first")):
            layers += [
                plot.line([(x, waited[rank]) for x, waited in _points(part)], style)
                for part in parts
            ]
        layers += [
            plot.readout(
                stretch.begin,
                stretch.end,
                f"{tell_clock(stretch.begin)} · {_told(stretch.waited)}"
                f" · {_many(stretch.answered, 'answer')}",
            )
            for part in parts
            for stretch in part
        ]
        highest = max(values)
        described = f"Over time, from {tell_seconds(min(values))} to {tell_seconds(highest)}."
        legend = [
            _key("first", "half of them waited at most so long (p50)"),
            _key("first area", "up to 95 in 100 (p95)"),
            _key("faint", "the longest"),
        ]
        return self._over_time(title, plot, described, layers, legend)

    def callers(self) -> Markup:
        """Draw how many callers there were over time, by what they were at."""
        title = "Callers at once"
        ready = [float(stretch.moment.ready) for stretch in self._stretches]
        all_ = [ready + stretch.moment.starting for ready, stretch in self._with(ready)]
        if not any(all_):
            return _no_figure(title, "There were none.", wide=True)
        plot = Plot(width=_WIDE, height=190, x=self._time, y=Axis.of_counts(max(all_)))
        layers = [
            self._window(plot),
            plot.steps(self._edges, ready, "second solid"),
            plot.steps(self._edges, all_, "third solid", above=ready),
            *(
                plot.readout(
                    stretch.begin,
                    stretch.end,
                    f"{tell_clock(stretch.begin)} · {tell_count(stretch.moment.ready)} ready"
                    f" · {tell_count(stretch.moment.starting)} starting",
                )
                for stretch in self._stretches
            ),
        ]
        described = f"Over time, {tell_count(max(all_))} at most."
        legend = [_key("second area solid", "ready"), _key("third area solid", "starting")]
        return self._over_time(title, plot, described, layers, legend)

    def calls(self) -> Markup:
        """Draw how many calls ended over time, and how many of them failed."""
        lasted = self._edges[1] if self._stretches else 1.0
        counts = [stretch.moment.calls for stretch in self._stretches]
        errors = [stretch.moment.errors for stretch in self._stretches]
        highest = max([*counts, *errors, 0]) / lasted
        per, unit = (1.0, "second") if highest >= 1 else (60.0, "minute")
        title = f"Calls that ended, in a {unit}"
        if not highest:
            return _no_figure(title, "None did.", wide=True)
        axis = Axis.of_counts(highest * per, whole=False)
        plot = Plot(width=_WIDE, height=190, x=self._time, y=axis)
        layers = [
            self._window(plot),
            plot.steps(self._edges, [per * count / lasted for count in counts], "calm"),
            plot.steps(self._edges, [per * count / lasted for count in errors], "bad solid"),
            *(
                plot.readout(
                    stretch.begin,
                    stretch.end,
                    f"{tell_clock(stretch.begin)} · {_many(stretch.moment.calls, 'call')}"
                    f" · {tell_count(stretch.moment.errors)} failed",
                )
                for stretch in self._stretches
            ),
        ]
        described = f"Over time: {tell_count(sum(counts))}; {tell_count(sum(errors))} failed."
        legend = [_key("calm area", "calls"), _key("bad area solid", "calls that failed")]
        return self._over_time(title, plot, described, layers, legend)

    def percentiles(self) -> Markup:
        """Draw which times how many stayed within."""
        title = "How many waited how long"
        curves = {
            name: latencies
            for name in _CURVES
            if (latencies := self._result.metrics.get(name)) is not None and len(latencies)
        }
        if not curves:
            return _no_figure(title, "Nothing was measured.")
        axis = Axis.of_percentiles(max(map(len, curves.values())))
        lines = {name: _curve(latencies, axis.high) for name, latencies in curves.items()}
        values = [value for line in lines.values() for _, value in line]
        plot = Plot(width=_NARROW, height=330, x=axis, y=Axis.of_latencies(values))
        layers = [plot.line(line, _CURVES[name][1]) for name, line in lines.items()]
        layers += [
            plot.readout(place - _CURVE_STEP, place + _CURVE_STEP, text)
            for place, text in _read(lines)
        ]
        described = "; ".join(
            f"{_CURVES[name][0]} from {tell_seconds(line[0][1])} to {tell_seconds(line[-1][1])}"
            for name, line in lines.items()
        )
        legend = [
            _key(style, f"{told} ({tell_count(len(curves[name]))})")
            for name, (told, style) in _CURVES.items()
            if name in curves
        ]
        return _figure(title, plot.draw(title, f"{described}.", layers), legend)

    # -- what charts over time share --

    def _window(self, plot: Plot) -> Markup:
        return plot.window(self._result.measured_from, self._result.measured_until)

    def _with(self, values: Sequence[float]) -> Iterator[tuple[float, "_Stretch"]]:
        return zip(values, self._stretches, strict=True)

    def _over_time(
        self,
        title: str,
        plot: Plot,
        described: str,
        layers: Iterable[Markup],
        legend: Iterable[Markup],
    ) -> Markup:
        died = self._result.bot_died
        marks = [] if died is None else [plot.mark(died, "bad")]
        keys = [*legend, _key("window", "the measuring window")]
        if died is not None:
            keys.append(_key("bad", "the bot died"))
        return _figure(title, plot.draw(title, described, [*layers, *marks]), keys, wide=True)


@attrs.frozen
class _Stretch:
    """A stretch of the run, with what is shown of it."""

    moment: Moment
    begin: float
    end: float
    answered: int
    #: The 50th and the 95th percentile, and the longest; or nothing.
    waited: tuple[float, ...]

    @classmethod
    def of(cls, moment: Moment, begin: float, end: float) -> "_Stretch":
        """Return what is shown of it."""
        answered, waited = len(moment.waited), moment.waited
        times = (*waited.percentiles(50, 95), waited.max) if answered else ()
        return cls(moment, begin, end, answered, times)


def thinned(timeline: Sequence[Moment], step: float) -> tuple[list[Moment], float]:
    """Return a timeline in no more stretches than can be shown, and how long they are then."""
    together = max(math.ceil(len(timeline) / _MOST_STRETCHES), 1)
    if together == 1:
        return list(timeline), step
    return [
        _together(timeline[begin : begin + together]) for begin in range(0, len(timeline), together)
    ], step * together


def _together(moments: Sequence[Moment]) -> Moment:
    """Return stretches that follow each other as one; of callers, the most there were."""
    whole = Moment(
        starting=max(moment.starting for moment in moments),
        ready=max(moment.ready for moment in moments),
        calls=sum(moment.calls for moment in moments),
        turns=sum(moment.turns for moment in moments),
        errors=sum(moment.errors for moment in moments),
    )
    for moment in moments:
        if len(moment.waited):
            whole.waited.merge(moment.waited)
    return whole


def _unbroken(stretches: Iterable[_Stretch]) -> list[list[_Stretch]]:
    """Return stretches in which something was waited for, in runs without a gap."""
    parts: list[list[_Stretch]] = [[]]
    for stretch in stretches:
        if stretch.waited:
            parts[-1].append(stretch)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _points(part: Sequence[_Stretch]) -> list[tuple[float, tuple[float, ...]]]:
    """Return where lines go through; what is alone is as long as it lasted."""
    if len(part) == 1:
        return [(x, part[0].waited) for x in (part[0].begin, part[0].end)]
    return [((stretch.begin + stretch.end) / 2, stretch.waited) for stretch in part]


def _curve(latencies: Latencies, furthest: float) -> list[tuple[float, float]]:
    """Return a curve of percentiles, as far as there is more than a single time beyond."""
    last = math.log10(len(latencies))
    steps = math.floor(min(last, furthest) / _CURVE_STEP + 1e-9)
    places = [number * _CURVE_STEP for number in range(steps + 1)]
    values = latencies.percentiles(*map(percent_at, places))
    curve = list(zip(places, values, strict=True))
    return [*curve, (last, latencies.max)] if last <= furthest else curve


def _read(lines: Mapping[str, list[tuple[float, float]]]) -> Iterator[tuple[float, str]]:
    """Yield what is read off at each place of curves."""
    longest = max(lines.values(), key=len)
    for number, (place, _) in enumerate(longest[::_READ_EACH]):
        told = " · ".join(
            f"{_CURVES[name][0]} {tell_seconds(line[number * _READ_EACH][1])}"
            for name, line in lines.items()
            if number * _READ_EACH < len(line)
        )
        yield place, f"p{percent_at(place):.4g} · {told}"


def _told(waited: Sequence[float]) -> str:
    names = ("p50", "p95", "longest")
    return " · ".join(
        f"{name} {tell_seconds(value)}" for name, value in zip(names, waited, strict=True)
    )


def _many(count: int, noun: str) -> str:
    return f"{tell_count(count)} {noun}{'' if count == 1 else 's'}"


def _key(style: str, text: str) -> Markup:
    return tag("li", tag("i", class_=f"key {style}"), text)


def _figure(title: str, chart: Markup, legend: Iterable[Markup], *, wide: bool = False) -> Markup:
    return tag(
        "figure",
        tag("figcaption", tag("h3", title), tag("ul", joined(legend), class_="legend")),
        tag("div", chart, class_="chart"),
        class_="wide" if wide else None,
    )


def _no_figure(title: str, reason: str, *, wide: bool = False) -> Markup:
    return tag(
        "figure",
        tag("figcaption", tag("h3", title)),
        tag("p", reason, class_="none"),
        class_="wide" if wide else None,
    )
