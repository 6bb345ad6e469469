"""How many callers a core carries: ``nox -s bench``, or ``python -m benchmarks``.

Real-time sessions, each with 50 frames of audio to the bot and 25 from it a second, are held by one
client after another, in a process of its own on one core; a small server in C, on another core,
judges how late their frames are. A client's capacity is the largest number of sessions at which 99
of 100 frames are at most 20 ms late and 99.5 % of them come, in both directions, twice.

What is fair: the server is nobody's bottleneck, or the trial does not count. Everybody encodes and
decodes protobuf, has the same malloc, and masks its frames. The pacing is named: a timer for each
session, or one ticker for all of them. Machines are noisy, so the clients take turns in rounds, and
only the ratios within a round mean anything. A trial that fails while something else has the core
is made again; what rests on a capacity that could not be confirmed is called unsure.
"""

import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from . import callers as callers
from . import soak as soak
from ._clients import ALL
from ._measures import FULL, QUICK, Measures
from ._running import allow_many_files, compile_all
from ._tables import details, reach, reach_table

_PACKAGES = ("trio", "trio-websocket", "websockets", "aiohttp", "picows", "uvloop", "protobuf")


def main(
    *,
    quick: bool,
    rounds: int | None,
    importing: Callable[[int], Sequence[float]],
    json_file: Path | None,
    chart: Path | None,
) -> None:
    """Measure, and print the tables.

    Args:
        quick: fewer clients, shorter trials, one round.
        rounds: how many, if not as many as usual.
        importing: measures how much longer importing trio_pipecat takes than its dependencies, in
            as many rounds as it is told.
        json_file: where everything is written.
        chart: where the chart is written, as SVG.
    """
    began = time.monotonic()
    plan = QUICK if quick else FULL
    if rounds is not None:
        plan = attrs.evolve(plan, rounds=rounds)
    wanted = [client for client in ALL if client.quick or not quick]
    lines = {client.key: client.missing() for client in wanted}
    for line in filter(None, lines.values()):
        print(line, file=sys.stderr)
    allow_many_files()
    with tempfile.TemporaryDirectory() as folder:
        if not compile_all(Path(folder)):
            sys.exit(1)
        clients = [client for client in wanted if lines[client.key] is None]
        measures = Measures(plan, Path(folder), clients)
        imports = importing(plan.imports)
        measures.run()
    rows = reach(measures, imports)
    if quick:
        print("A quick run: one round, short trials, fewer clients. Less exact than the whole.\n")
    for line in (*reach_table(rows), *details(measures)):
        print(line)
    disturbed = sum(trial.is_disturbed for trial in measures.trials)
    if disturbed:
        print(
            f"\nOther programs were in the way of {disturbed} of {len(measures.trials)} trials, so "
            "the figures may be too low. Measure again when the machine is quiet."
        )
    print(f"\n{time.monotonic() - began:.0f} s in all.")
    if json_file is not None:
        outcome = {
            "quick": quick,
            "machine": _machine(),
            "reach": [_as_json(row) for row in rows],
            "rounds": [_as_json(round_) for round_ in measures.rounds],
            "trials": [_as_json(trial) for trial in measures.trials],
        }
        json_file.write_text(json.dumps(outcome, indent=1, ensure_ascii=False))
    if chart is not None:
        from ._chart import draw

        chart.write_text(draw(measures))


def _as_json(value: Any) -> dict[str, Any]:
    return attrs.asdict(value)


def _machine() -> dict[str, Any]:
    """Return what it ran on."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": versions,
    }
