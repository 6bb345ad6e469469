"""Transports by name."""

import subprocess
import sys

import pytest

import trio_pipecat as tp
from trio_pipecat.testing._sim import open_sim
from trio_pipecat.transports._registry import find_connector, find_starter
from trio_pipecat.transports._websocket import open_websocket


def test_the_names_that_there_are() -> None:
    """Each leads to its connector."""
    assert (open_websocket, open_sim) == (find_connector("websocket"), find_connector("sim"))


@pytest.mark.parametrize("find", [find_connector, find_starter])
@pytest.mark.parametrize("name", ["", "webrtc ", "carrier-pigeon"])
def test_a_name_that_is_none(find, name) -> None:
    """The error names it, and those that there are."""
    with pytest.raises(tp.UnsupportedFeatureError, match=r"this one has .*sim") as caught:
        find(name)
    assert repr(name) in str(caught.value)


def test_a_transport_is_imported_when_it_is_used() -> None:
    """Not before: the others may need what is not installed."""
    code = (
        "import sys, trio_pipecat.transports._registry as r; "
        "loaded = lambda: 'trio_websocket' in sys.modules; "
        "before = loaded(); r.find_connector('websocket'); print(before, loaded())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False True" == done.stdout.strip()
