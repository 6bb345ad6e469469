"""Programs for pipecat's interpreter, run to their end."""

import json
from pathlib import Path
from typing import Any

import trio
from needed import missing
from real_bot import BOT_PYTHON

#: Far more than it takes on a busy machine.
_BOUND = 120


def pipecat_python() -> str:
    """Return the interpreter that has pipecat-ai."""
    return BOT_PYTHON or missing("pipecat-ai in an environment of its own", "nox -s interop")


async def told_by(python: str, program: str, *arguments: str) -> list[Any]:
    """Run a program of this folder, and return what it prints, an object of JSON on each line."""
    command = [python, str(Path(__file__).with_name(program)), *arguments]
    with trio.fail_after(_BOUND):
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False
        )
    assert 0 == done.returncode, done.stderr.decode()[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
