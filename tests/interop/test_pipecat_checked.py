"""The kit for clients, put to pipecat's own: it survives most faults, and these it does not."""

from pathlib import Path

import pytest
import trio
from subprocesses import pipecat_python

from trio_pipecat.testing import ClientPatience, ServedBot, check_client

_PROGRAM = Path(__file__).with_name("pipecat_checked.py")
_PASSES = [
    *("no-fault", "early-events", "slow-ready", "version-complaint", "version-*", "ready-twice"),
    *("early-crash", "garbage-no-*", "garbage-unknown-*", "garbage-nan", "garbage-deep", "flood"),
    *("output-type", "text-type", "aggregated-by", "error-message", "function-nameless"),
    *("interruption", "odd-sound", "leave", "last-words", "close-1011", "crash", "fatal-error"),
]
#: With what is wrong.
_FAILS = {
    "upgrade-403": "it did not give up",
    "never-ready": "it did not give up",
    "garbage-frame": "it was gone before the bot had said goodbye",
    "big-message": "it closes with 1009",
}


@pytest.fixture
def python() -> str:
    """The interpreter that has pipecat-ai."""
    return pipecat_python()


async def test_pipecats_client(python: str) -> None:
    """It has no deadline of its own, and can't read more than 1 MiB, nor what is no text."""

    async def client(served: ServedBot) -> None:
        command = [python, str(_PROGRAM), served.json_url]
        await trio.run_process(command, capture_stdout=True, capture_stderr=True)

    patience = ClientPatience(connect=30, ready=30, leave=30, close=30, answer=1)
    report = await check_client(client, cases=[*_PASSES, *_FAILS], patience=patience)
    assert set(_FAILS) == {result.name for result in report.failed}, str(report)
    for name, detail in _FAILS.items():
        assert detail in report[name].detail
