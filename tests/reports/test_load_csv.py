"""The timeline of a load run, and its turns, as a spreadsheet reads them."""

import csv
import io
import re

import pytest
from load_samples import plausible

from trio_pipecat.reports import LoadResult, TurnRecord, load_as_csv, turns_as_csv

COLUMNS = [
    *("at", "starting", "ready", "calls", "turns", "errors", "waited_count"),
    *("waited_p50", "waited_p90", "waited_p95", "waited_p99", "waited_max"),
]


def rows(result: LoadResult) -> list[dict[str, str]]:
    """Return the rows, by the names of their columns."""
    return list(csv.DictReader(io.StringIO(load_as_csv(result), newline="")))


def test_a_row_for_each_stretch() -> None:
    """From its beginning, with what happened in it."""
    result = LoadResult(step=0.1)
    result.moment(0.35).waited.add(1.25)
    moment = result.moment(0.35)
    moment.starting, moment.ready, moment.calls, moment.turns, moment.errors = 1, 2, 3, 4, 5
    found = rows(result)
    assert [COLUMNS] * 4 == [list(row) for row in found]
    assert ["0.0", "0.1", "0.2", "0.3"] == [row["at"] for row in found]
    *facts, p50, p90, p95, p99, most = found[3].values()
    assert ["0.3", "1", "2", "3", "4", "5", "1"] == facts
    assert {p50} == {p90, p95, p99, most}
    assert pytest.approx(1.25, rel=1e-3) == float(p50)


def test_where_nobody_was_answered_there_are_no_times() -> None:
    """Not even zeros."""
    result = LoadResult()
    result.moment(0)
    (row,) = rows(result)
    assert ["0", "", "", "", "", ""] == list(row.values())[6:]


def test_of_nothing_there_are_the_columns() -> None:
    """So that a program that reads it finds them."""
    assert ",".join(COLUMNS) + "\r\n" == load_as_csv(LoadResult())


def test_it_is_what_rfc_4180_says_and_no_formula() -> None:
    """Lines end as they shall, all have as many fields, and all of these are numbers."""
    written = load_as_csv(plausible())
    assert written.endswith("\r\n")
    assert written.count("\n") == written.count("\r\n") == 61
    lines = written.split("\r\n")[1:-1]
    assert {len(COLUMNS)} == {len(line.split(",")) for line in lines}
    fields = {field for line in lines for field in line.split(",")}
    assert [] == [field for field in fields if not re.fullmatch(r"\d*(\.\d+)?", field)]


def test_a_row_for_each_turn() -> None:
    """In time, whoever had it first; all are numbers, whatever was said."""
    late = TurnRecord(caller=1, call=2, turn=3, at=20.12347, said="=1+1", answer="\r\n,")
    early = TurnRecord(caller=7, call=1, turn=1, at=3.0, v2v=0.5, first_event=0.25, dead_air=0.75)
    early.answered = early.interrupted = True
    early.stale = 0.125
    written = turns_as_csv(LoadResult(turns=[late, early]))
    assert written.split("\r\n") == [
        "at,caller,call,turn,answered,interrupted,v2v,t2v,first_event,dead_air,stale",
        "3.0,7,1,1,1,1,0.5,,0.25,0.75,0.125",
        "20.1235,1,2,3,0,0,,,,,0.0",
        "",
    ]
