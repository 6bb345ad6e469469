"""What the hot paths cost, exactly: ``python -m benchmarks.instructions``.

Instructions are counted by callgrind, in one child interpreter without garbage collection and with
the same hashes each time, so the figures hardly change from run to run, however busy the machine
is. Each path is run N times and 2 N times, and the difference counts: what it costs to begin is in
both. Figures are told as multiples of a loop in plain Python that is counted beside them, because
that depends less on how Python was built.
"""

import ctypes
import gc
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio_pipecat as tp
from trio_pipecat._codec import decode_event, encode_event
from trio_pipecat.transports._envelope import decode, encode_audio
from trio_pipecat.transports._ws_client import Frames

TIMES: Final = 200
REFERENCE: Final = "a loop of 100 additions"
_HERE: Final = Path(__file__).parent
_SOUND: Final = random.Random(1)
_UP: Final = tp.AudioChunk(_SOUND.randbytes(640), 16_000)
_DOWN: Final = encode_audio(tp.AudioChunk(_SOUND.randbytes(1920), 24_000))
_MESSAGE: Final = b"\x82\x7e" + len(_DOWN).to_bytes(2) + _DOWN
_EVENT: Final = encode_event(
    tp.UserTranscription(text="Good morning.", user_id="u", timestamp="t", final=True)
)


def _ignore(item: object) -> None:
    """Nobody listens."""


_frames: Final = Frames(2**24, on_message=_ignore, on_answer=_ignore, on_pong=_ignore)


def _add() -> int:
    total = 0
    for number in range(100):
        total += number
    return total


#: What is counted. To guard another path, name it here, and its bound in the test.
PATHS: Final[dict[str, Callable[[], object]]] = {
    REFERENCE: _add,
    "decode an audio frame": lambda: decode(_DOWN, at=0),
    "encode and mask an audio frame": lambda: _frames.message(encode_audio(_UP)),
    "read a WebSocket frame": lambda: _frames.receive(_MESSAGE),
    "decode an event": lambda: decode_event(_EVENT, at=0),
}


def count() -> dict[str, float]:
    """Return how many instructions each path takes. Needs valgrind and a compiler."""
    compiler = shutil.which("cc") or "gcc"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "counting.so"
        source = _HERE / "counting.c"
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        callgrind = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={folder}/out",
        ]
        child = [sys.executable, "-m", "benchmarks.instructions", "--count", str(library)]
        subprocess.run(
            [*callgrind, *child],
            cwd=_HERE.parent,
            env=_environment(),
            capture_output=True,
            check=True,
        )
        counted = {}
        for dump in Path(folder).glob("out.*"):
            text = dump.read_text()
            trigger = re.search(r"^desc: Trigger: Client Request: (\d+) (.+)$", text, re.MULTILINE)
            totals = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
            if trigger and totals:
                counted[trigger[2], int(trigger[1])] = int(totals[1])
    return {name: (counted[name, 2] - counted[name, 1]) / TIMES for name in PATHS}


def _environment() -> dict[str, str]:
    """Return what the child runs in: the same hashes each time, and no coverage, which counts."""
    kept = {name: one for name, one in os.environ.items() if not name.startswith("COVERAGE")}
    return kept | {"PYTHONHASHSEED": "0"}


def _run(library: str) -> None:
    """Run the paths under callgrind."""
    counting = ctypes.CDLL(library)
    gc.disable()
    for name, path in PATHS.items():
        for _ in range(TIMES):
            path()  # caches fill
        for times in (1, 2):
            label = ctypes.c_char_p(f"{times} {name}".encode())
            counting.begin()
            for _ in range(times * TIMES):
                path()
            counting.end(label)


def main() -> None:
    """Print the figures; with ``--json``, as JSON, by name: only the multiples."""
    counted = count()
    multiples = {name: one / counted[REFERENCE] for name, one in counted.items()}
    if sys.argv[1:]:
        print(json.dumps(multiples))
        return
    for name, multiple in multiples.items():
        print(f"{name:32}{counted[name]:>10,.0f}{multiple:>8.2f} x")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--count"]:
        _run(sys.argv[2])
    else:
        main()
