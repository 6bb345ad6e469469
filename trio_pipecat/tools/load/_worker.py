"""A process of a run of several: ``python -m trio_pipecat.tools.load._worker``.

The first line of its standard input says what it is to do; when that input ends, its callers hang
up. It prints JSON, a line each: how far it is, and at last its result.
"""

import json
import os
import signal
import sys
from typing import Any, TextIO

import trio

from ._plan import LoadPlan
from ._progress import Progress
from ._run_here import run_here


def _tell(out: TextIO, what: str, document: dict[str, Any]) -> None:
    print(json.dumps({what: document}), file=out, flush=True)


async def _stop_at_the_end_of_input(stop: trio.Event) -> None:
    await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    stop.set()


async def _work(order: dict[str, Any], out: TextIO) -> None:
    stop = trio.Event()

    def watch(progress: Progress) -> None:
        _tell(out, "progress", progress.as_json())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_at_the_end_of_input, stop)
        result = await run_here(
            LoadPlan.from_json(order["plan"]),
            watch,
            stop,
            index=order["index"],
            of=order["of"],
            begin_at=order["begin_at"],
        )
        nursery.cancel_scope.cancel()
    _tell(out, "result", result.as_json())


def main() -> None:
    """Do what standard input says."""
    # Ctrl-C is for the process that started this one, which ends our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        # What a caller's function prints, or an exporter of spans, is not for who started us.
        os.dup2(2, 1)
        trio.run(_work, json.loads(sys.stdin.readline()), out)


if __name__ == "__main__":
    main()
