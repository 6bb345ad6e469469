"""A load run as tables for spreadsheets: its timeline, and its turns."""

import csv
import io
from typing import Final

from ._load import LoadResult
from ._turn import rounded

_PERCENTS: Final = (50, 90, 95, 99)
_COLUMNS: Final = (
    *("at", "starting", "ready", "calls", "turns", "errors", "waited_count"),
    *(f"waited_p{percent}" for percent in _PERCENTS),
    "waited_max",
)
_OF_A_TURN: Final = (
    *("at", "caller", "call", "turn", "answered", "interrupted"),
    *("v2v", "t2v", "first_event", "dead_air", "stale"),
)


def load_as_csv(result: LoadResult) -> str:
    """Return the timeline of a run as CSV (RFC 4180): the columns, then a row each stretch.

    Times are in seconds, `at` is when the stretch began. Where nobody was answered, there are no
    times. All are numbers: there is nothing that a spreadsheet could take for a formula.
    """
    written = io.StringIO(newline="")
    rows = csv.writer(written)
    rows.writerow(_COLUMNS)
    for number, moment in enumerate(result.timeline):
        waited = moment.waited
        times: list[float | str] = [""] * (len(_PERCENTS) + 1)
        if len(waited):
            times = [*map(rounded, waited.percentiles(*_PERCENTS)), rounded(waited.max)]
        rows.writerow(
            [
                rounded(number * result.step),
                *(moment.starting, moment.ready, moment.calls, moment.turns, moment.errors),
                len(waited),
                *times,
            ]
        )
    return written.getvalue()


def turns_as_csv(result: LoadResult) -> str:
    """Return the measured turns of a run as CSV (RFC 4180): the columns, then a row each, in time.

    `at` is when the caller's words were over, since the run began. Times are in seconds; what was
    not measured is empty. What was said is not there: all are numbers.
    """
    written = io.StringIO(newline="")
    rows = csv.writer(written)
    rows.writerow(_OF_A_TURN)
    for turn in sorted(result.turns, key=lambda turn: (turn.at, turn.caller, turn.call)):
        figures = (getattr(turn, name) for name in _OF_A_TURN)
        rows.writerow([int(one) if isinstance(one, bool) else rounded(one) for one in figures])
    return written.getvalue()
