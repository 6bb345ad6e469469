"""The timeline of a load run as a table for spreadsheets."""

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
