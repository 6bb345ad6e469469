"""Every state and every fault: what comes of it is what docs/topics/matrix.md says."""

import pytest
from loopback_network import loopback_network
from matrix_cells import COLUMNS, FAULTS, PAGE, STATES, Cell, Fault, read_table, run_cell, table

from trio_pipecat.transports._carrier import StreamCarrier

EXPECTED = read_table(PAGE.read_text())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.strip("`"))
@pytest.mark.parametrize("state", STATES)
def test_cell(state: str, fault: Fault) -> None:
    """Whatever the order in which trio runs its tasks."""
    expected = EXPECTED[state, fault.name]
    for _ in range(3):
        got = run_cell(state, fault)
        for column, told, may_be in zip(COLUMNS, got.row(), expected.row(), strict=True):
            assert told in may_be.split(" or "), (column, told, may_be)


@pytest.mark.socket
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.strip("`"))
@pytest.mark.parametrize("state", STATES)
def test_cell_on_real_sockets(state: str, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same comes of it where the engine carries the bytes, as it does for users."""
    expected = EXPECTED[state, fault.name]
    monkeypatch.delattr(StreamCarrier, "carrying")
    got = run_cell(state, fault, loopback_network)
    for column, told, may_be in zip(COLUMNS, got.row(), expected.row(), strict=True):
        assert told in may_be.split(" or "), (column, told, may_be)


def test_the_table_is_complete() -> None:
    """A row for each state and fault, and no other."""
    assert {(state, fault.name) for state in STATES for fault in FAULTS} == set(EXPECTED)


def test_what_can_not_happen_says_why() -> None:
    """And everything else has an outcome, an end, and a duration."""
    for cell in EXPECTED.values():
        impossible = cell.leaves.startswith("(no ")
        assert impossible is (cell.end == "") is (cell.seconds == "")


def test_nobody_waits_for_longer_than_the_deadlines() -> None:
    """The longest are the deadlines of the start and of a ping, with the grace of a goodbye."""
    for cell in EXPECTED.values():
        assert float(cell.seconds or 0) <= 60, cell
        if cell.leaves in ("`Cancelled`", "`BodyError`", "`KeyboardInterrupt`"):
            assert float(cell.seconds) <= 3, cell


def test_a_table_can_be_read_back() -> None:
    """As it was written."""
    cell = Cell("idle", "flood", "nothing", "", "a → b", "–", "start · gone", "0.00")
    page = f"<!-- the table -->\n{table([cell])}<!-- end of the table -->"
    assert {("idle", "flood"): cell} == read_table(page)
