"""How many instructions the hot paths take, which no other program on the machine can change."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from needed import missing, program

#: At most this many times what the loop takes that is counted beside them. Half as much again as
#: it was: for another Python or protobuf, but not for a path that does its work twice.
BOUNDS = {
    "decode an audio frame": 0.8,
    "encode and mask an audio frame": 2.4,
    "read a WebSocket frame": 0.45,
    "decode an event": 2.7,
}
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def multiples() -> dict[str, float]:
    """What each path takes, as a multiple of the loop."""
    program("valgrind", "apt-get install valgrind")
    program("cc", "apt-get install gcc libc6-dev")
    if not Path("/usr/include/valgrind/callgrind.h").exists():
        missing("valgrind's headers", "apt-get install valgrind")
    command = [sys.executable, "-m", "benchmarks.instructions", "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=55)
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", BOUNDS)
def test_a_hot_path_takes_no_more_than_it_did(multiples, path):
    """No path that every frame takes has become twice as long."""
    assert multiples[path] < BOUNDS[path]
