"""``trio-pipecat load``: callers, what came of them, and what it means."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

import attrs
import trio
from rich.console import Console

from ...reports import (
    LoadResult,
    Threshold,
    Verdict,
    load_as_csv,
    load_as_html,
    load_as_junit,
    turns_as_csv,
)
from .._console import open_console, print_error
from .._options import shown_target
from .._recording_path import check_writable
from .._run import INTERRUPTED
from ._capacity import Capacity, Step, find_capacity
from ._plan import LoadPlan
from ._processes import run_processes
from ._progress import Progress, Watcher
from ._run_here import run_here
from ._screen import open_screen, summary

#: Exit codes.
PASSED: Final = 0
FAILED: Final = 1
NOT_VALID: Final = 3


@final
@attrs.frozen(kw_only=True)
class Files:
    """Where reports go. None: not wanted; ``-``: standard output."""

    report: Path | None = None
    json: Path | None = None
    csv: Path | None = None
    turns: Path | None = None
    junit: Path | None = None

    @property
    def takes_stdout(self) -> bool:
        """Does a report go there, so that nothing else may?"""
        return any(str(path) == "-" for path in attrs.astuple(self))

    def check(self) -> None:
        """Refuse what can't be written.

        Raises:
            OSError: a file can't be written.
            ValueError: it is no regular file, or two want to go to standard output.
        """
        if sum(str(path) == "-" for path in attrs.astuple(self)) > 1:
            raise ValueError("only one report can go to standard output")
        for path in attrs.astuple(self):
            if path is not None and str(path) != "-":
                check_writable(path)

    def write(
        self, result: LoadResult, verdicts: Sequence[Verdict], document: dict[str, Any]
    ) -> list[str]:
        """Write them all; return what could not be written, in words."""
        makers: tuple[tuple[Path | None, Callable[[], str]], ...] = (
            (self.json, lambda: json.dumps(document, indent=1) + "\n"),
            (self.csv, lambda: load_as_csv(result)),
            (self.turns, lambda: turns_as_csv(result)),
            (self.junit, lambda: load_as_junit(result, verdicts)),
            (self.report, lambda: load_as_html(result, verdicts)),
        )
        failures = []
        for path, make in makers:
            if path is None:
                continue
            text = make()
            if str(path) == "-":
                print(text, end="", flush=True)
                continue
            try:
                path.write_text(text, encoding="utf-8", newline="")
            except OSError as error:
                failures.append(f"{path} is not written: {error.strerror or error}")
        return failures


@final
@attrs.frozen(kw_only=True)
class Order:
    """What a load run is to do."""

    plan: LoadPlan
    thresholds: tuple[Threshold, ...] = ()
    files: Files = Files()
    processes: int = 1
    cluster: str | None = None
    #: Begin with so many callers, and try no more than that.
    capacity: tuple[int, int] | None = None
    #: One part of so many, and when it begins: what is done for others to be put together.
    shard: tuple[int, int] | None = None
    begin_at: float | None = None
    #: Where what is measured is served for Prometheus: a host and a port.
    prometheus: tuple[str, int] | None = None


async def load(order: Order, stop: trio.Event) -> int:
    """Run it, show it, write what came of it; return the exit code."""
    console = open_console(stderr=order.files.takes_stdout)
    with (
        tempfile.TemporaryDirectory(prefix="trio-pipecat-load-") as folder,
        _figures(order, console) as tell,
    ):
        # Only a report of people plays sound.
        place = folder if order.files.report is not None else None
        plan = attrs.evolve(order.plan, audio_folder=place)
        if order.capacity is not None:
            return await _find_capacity(order, plan, console, tell, stop)
        with open_screen(console, plan, order.thresholds) as screen:
            result = await _run(order, plan, _both(screen.watch, tell), stop)
        return finish(order, result, console)


def finish(order: Order, result: LoadResult, console: Console) -> int:
    """Tell and write what came of a run; return the exit code."""
    verdicts = [threshold.check(result) for threshold in order.thresholds]
    console.print(summary(result, verdicts))
    is_written = _write(order, result, verdicts, console, {})
    return exit_code(result, verdicts) or (PASSED if is_written else FAILED)


def exit_code(result: LoadResult, verdicts: Sequence[Verdict]) -> int:
    """Return the exit code of a run."""
    if result.problems:
        return NOT_VALID
    # What was not measured yet when it was stopped has not failed.
    failed = [v for v in verdicts if v.failed and not (result.interrupted and v.value is None)]
    if result.bot_died is not None or failed:
        return FAILED
    if result.interrupted:
        return INTERRUPTED
    # Where nothing is asked, it is still no success if nobody got through.
    nobody = not result.counts["reached"] or result.counts["failed"] == result.counts["calls"] > 0
    return FAILED if nobody else PASSED


def _write(
    order: Order,
    result: LoadResult,
    verdicts: Sequence[Verdict],
    console: Console,
    more: dict[str, Any],
) -> bool:
    """Write the reports; return whether all of them are."""
    document = {
        **result.as_json(),
        "verdicts": [verdict.as_json() for verdict in verdicts],
        **more,
    }
    for turn in document["worst"]:
        turn["audio"] = None  # it is in the report, and nowhere else afterwards
    failures = order.files.write(result, verdicts, document)
    for failure in failures:
        print_error(failure)
    if order.files.report is not None and not failures:
        console.print(f"written: {order.files.report}", style="bold", markup=False)
    return not failures


@contextmanager
def _figures(order: Order, console: Console) -> Iterator[Watcher]:
    """Serve the figures while the block lasts, if that is ordered, and give who is to be told."""
    if order.prometheus is None:
        yield lambda progress: None
        return
    from ._prometheus import serve_figures  # it takes the extra

    host, port = order.prometheus
    with serve_figures(host, port, shown_target(order.plan.target)) as figures:
        console.print(f"for Prometheus: {figures.url}", markup=False)
        yield figures.watch


def _both(first: Watcher, second: Watcher) -> Watcher:
    def watch(progress: Progress) -> None:
        first(progress)
        second(progress)

    return watch


async def _run(order: Order, plan: LoadPlan, watch: Watcher, stop: trio.Event) -> LoadResult:
    if order.shard is not None:  # who merges the parts settles them
        index, of = order.shard
        return await run_here(plan, watch, stop, index=index, of=of, begin_at=order.begin_at)
    if order.cluster is not None:
        from ._cluster import run_cluster  # it takes the extra

        result = await run_cluster(plan, order.cluster, watch, stop)
    elif order.processes > 1:
        result = await run_processes(plan, order.processes, watch, stop)
    else:
        result = await run_here(plan, watch, stop, begin_at=order.begin_at)
    result.settle()
    return result


async def _find_capacity(
    order: Order, plan: LoadPlan, console: Console, told: Watcher, stop: trio.Event
) -> int:
    assert order.capacity is not None
    first, most = order.capacity
    with open_screen(console, plan, order.thresholds) as screen:

        async def run(step: LoadPlan) -> LoadResult:
            screen.begin(f"{step.shape.peak:.0f} callers", step)
            if step.audio_folder is not None:
                # The sound of each step is in a folder of its own: which is told of is known later.
                step = attrs.evolve(step, audio_folder=tempfile.mkdtemp(dir=step.audio_folder))
            return await _run(order, step, _both(screen.watch, told), stop)

        def tell(step: Step) -> None:
            console.print(str(step), markup=False)

        capacity = await find_capacity(
            plan, order.thresholds, run, first=first, most=most, tell=tell, stop=stop
        )
    console.print(str(capacity), style="bold", markup=False)
    shown = capacity.held or capacity.broke
    if shown is None:
        return INTERRUPTED
    more = {"capacity": capacity.as_json()}
    _write(order, shown.result, shown.verdicts, console, more)
    return _capacity_code(capacity, stop)


def _capacity_code(capacity: Capacity, stop: trio.Event) -> int:
    if stop.is_set() and (capacity.broke is None or capacity.broke.result.bot_died is None):
        return INTERRUPTED
    if capacity.broke is not None and not capacity.broke.is_valid:
        return NOT_VALID
    return PASSED if capacity.held is not None else FAILED
