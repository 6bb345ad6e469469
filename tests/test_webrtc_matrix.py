"""Every state and every fault over WebRTC: as on a WebSocket, but where the page says otherwise."""

import pytest
from matrix_cells import FAULTS, STATES, Fault

pytest.importorskip("aiortc", reason='type: pip install "trio-pipecat[webrtc]"')

from webrtc_cells import ANSWERED, BY_WEBSOCKET, can_be, differences, run_cell, told

DIFFERENT = differences()
CELLS = [(state, fault) for state in STATES for fault in FAULTS if can_be(state, fault)]


def _id(value: str | Fault) -> str:
    return value if isinstance(value, str) else value.name.strip("`")


@pytest.mark.socket
@pytest.mark.parametrize(("state", "fault"), CELLS, ids=_id)
def test_cell(state: str, fault: Fault) -> None:
    """What leaves the block, how the session ended, its states, and what was delivered."""
    got = told(run_cell(state, fault))
    expected = DIFFERENT.get((state, fault.name)) or told(BY_WEBSOCKET[state, fault.name])
    for one, other in zip(got, expected, strict=True):
        assert one in other.split(" or "), (got, expected)


def test_what_is_listed_as_different_is() -> None:
    """Each row of the page is of a cell that there is, and says something else than the matrix."""
    cells = {(state, fault.name) for state, fault in CELLS}
    for cell, expected in DIFFERENT.items():
        assert cell in cells
        assert expected != told(BY_WEBSOCKET[cell])


def test_what_can_not_be_is_a_matter_of_goodbyes() -> None:
    """Everything else that can be on a WebSocket can be here."""
    impossible = [
        (state, fault.name)
        for state in STATES
        for fault in FAULTS
        if state not in fault.never_in and not can_be(state, fault)
    ]
    assert [("disconnecting", name) for name in sorted(ANSWERED)] == sorted(impossible)
