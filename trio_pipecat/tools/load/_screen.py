"""A run while it goes on, on a terminal; in a pipe, a line now and then."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...reports import LoadResult, Threshold, Verdict
from .._console import printable
from ._plan import LoadPlan
from ._progress import Progress

#: Where there is no terminal, it is told so often how far a run is, in seconds.
_LINE_STEP: Final = 10.0
#: Errors that are shown.
_ERRORS: Final = 5
_NAMES: Final = {
    "v2v": "voice to voice",
    "t2v": "text to voice",
    "first_event": "first event",
    "ready": "ready",
    "loop_lag": "own lag",
}
_SHARES: Final = (50, 90, 95, 99)


@final
class Screen:
    """Shows how far a run is: `watch` is told."""

    def __init__(
        self, console: Console, plan: LoadPlan, thresholds: Sequence[Threshold], live: Live | None
    ) -> None:
        self._console = console
        self._plan = plan
        self._thresholds = thresholds
        self._live = live
        self._next_line = 0.0
        self._title = ""

    def begin(self, title: str, plan: LoadPlan) -> None:
        """Another run begins."""
        self._title = title
        self._plan = plan
        self._next_line = 0.0

    def watch(self, progress: Progress) -> None:
        """The run is so far."""
        if self._live is not None:
            self._live.update(self._picture(progress))
        elif progress.seconds >= self._next_line:
            self._next_line += _LINE_STEP
            self._console.print(_line(progress), markup=False)

    def _picture(self, progress: Progress) -> RenderableType:
        plan, result = self._plan, progress.result
        whole = plan.seconds
        begin, end = plan.window
        at = progress.seconds
        phase = "warming up" if at < begin else "measuring" if at < end else "cooling down"
        if at >= whole:
            phase = "hanging up"
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self._title or printable(result.target), style="bold"),
            ProgressBar(total=whole, completed=min(at, whole), width=30),
            f"{at:.0f} of {whole:.0f} s, {phase}",
        )
        callers = Text.assemble(
            ("callers  ", "dim"),
            (f"{progress.now.ready} ready", "green"),
            f"  {progress.now.starting} starting",
            ("   calls  ", "dim"),
            f"{result.counts['calls']} over",
            (f"  {result.counts['failed']} failed", "red" if result.counts["failed"] else "dim"),
            ("   turns  ", "dim"),
            f"{result.counts['answered']} of {result.counts['turns']} answered",
        )
        parts: list[RenderableType] = [head, callers, _percentiles(result)]
        if result.errors:
            parts.append(_errors(result))
        if self._thresholds:
            parts.append(verdict_table([t.check(result) for t in self._thresholds], so_far=True))
        return Group(*parts)


@contextmanager
def open_screen(
    console: Console, plan: LoadPlan, thresholds: Sequence[Threshold]
) -> Iterator[Screen]:
    """Open the view of a run."""
    if not console.is_terminal:
        yield Screen(console, plan, thresholds, None)
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield Screen(console, plan, thresholds, live)


def _line(progress: Progress) -> str:
    result = progress.result
    told = (
        f"{progress.seconds:5.0f} s  {progress.now.ready} ready, {progress.now.starting} starting; "
        f"{result.counts['calls']} calls over, {result.counts['failed']} failed; "
        f"{result.counts['turns']} turns"
    )
    for name in ("v2v", "t2v", "first_event"):
        latencies = result.metrics.get(name)
        if latencies is not None and len(latencies):
            p50, p95 = (_time(latencies.percentile(percent)) for percent in (50, 95))
            return f"{told}, {_NAMES[name]} p50 {p50}, p95 {p95}"
    return told


def _percentiles(result: LoadResult) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for percent in _SHARES:
        table.add_column(f"p{percent}", justify="right", min_width=8)
    table.add_column("max", justify="right", min_width=8)
    table.add_column("count", justify="right")
    for name, told in _NAMES.items():
        latencies = result.metrics.get(name)
        if latencies is None or not len(latencies):
            continue
        times = [_time(latencies.percentile(percent)) for percent in _SHARES]
        style = "dim" if name == "loop_lag" else ""
        table.add_row(told, *times, _time(latencies.max), str(len(latencies)), style=style)
    return table


def _errors(result: LoadResult) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for cause, count in result.errors.most_common(_ERRORS):
        table.add_row(Text(str(count), style="red"), Text(printable(cause)))
    return table


def verdict_table(verdicts: Sequence[Verdict], *, so_far: bool = False) -> RenderableType:
    """Return conditions and what came of them, as a table."""
    table = Table.grid(padding=(0, 1))
    for verdict in verdicts:
        unknown = so_far and verdict.value is None
        mark, style = ("✘", "red") if verdict.failed else ("✔", "green")
        if unknown:
            mark, style = "–", "dim"
        table.add_row(
            Text(mark, style=style),
            Text(verdict.threshold.text),
            Text(verdict.threshold.tell(verdict.value), style="dim"),
        )
    return table


def summary(result: LoadResult, verdicts: Sequence[Verdict]) -> RenderableType:
    """Return what came of a run, for people."""
    counts = result.counts
    parts: list[RenderableType] = [
        Text.assemble(
            (printable(result.target), "bold"),
            f"  {counts['calls']} calls, {counts['failed']} failed, "
            f"{counts['answered']} of {counts['turns']} turns answered, "
            f"{result.measured_until - result.measured_from:.0f} s measured",
        ),
        _percentiles(result),
    ]
    if result.errors:
        parts.append(_errors(result))
    if verdicts:
        parts.append(verdict_table(verdicts))
    if counts["cut"]:
        parts.append(
            Text(f"{counts['cut']} turns were still unanswered when it ended, and do not count")
        )
    if result.cut_starting:
        parts.append(Text(f"{len(result.cut_starting)} calls never got to a bot that was ready"))
    parts += [Text(note, style="yellow") for note in result.notes]
    if result.interrupted and result.bot_died is None:
        parts.append(Text(f"stopped after {result.seconds:.0f} s", style="yellow"))
    if result.bot_died is not None:
        parts.append(Text(f"the bot died after {result.bot_died:.0f} s", style="bold red"))
    parts += [Text(f"not valid: {problem}", style="bold red") for problem in result.problems]
    return Group(*parts)


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
