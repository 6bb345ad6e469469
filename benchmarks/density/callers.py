"""What it costs ``trio-pipecat load`` to measure: ``python -m benchmarks callers``.

Callers of `load` talk and listen as the sessions of the density benchmark do, to the same audience,
but each of them is measured. First it is searched how many such sessions a core holds; then both
take turns at that number, and at parts of it. The audience judges how late the frames of both are;
`load` judges itself as well, and says whether its figures are to be trusted.

A second row has callers with a function of the user's, of whose sound every sample is looked at.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from trio_pipecat.audio import AudioChunk, write_wav
from trio_pipecat.testing import Voice

from ._capacity import find_capacity
from ._clients import SESSION
from ._running import (
    ARRIVED,
    ENVIRONMENT,
    LATEST_MS,
    Audience,
    Trial,
    allow_many_files,
    compile_all,
    hold,
    pin,
    running_audience,
)

RATE = 16_000
#: Parts of what is held, at which both are measured.
PARTS = (0.25, 0.5, 1.0)
#: Where every sample is looked at, less is held.
FUNCTION_PARTS = (0.1, 0.2)
#: How long `load` takes to be there, how long callers come, and until they all talk, in seconds.
STARTING, COMING, SETTLING = 3.0, 6.0, 2.0
FUNCTION = """
from trio_pipecat.audio import read_wav

SOUND = read_wav({path!r})


async def talk(session):
    await session.wait_ready()
    await session.stream_audio(SOUND)
"""


@attrs.frozen
class LoadTrial:
    """What `load` said of itself, and what the audience saw."""

    busy: float
    lateness: float
    problems: list[str]
    seen_p99: float
    arrived: float


class Comparison:
    """Sessions and callers, in turn."""

    def __init__(self, folder: Path, audience: Audience, rounds: int, seconds: float) -> None:
        self._audience = audience
        self._rounds = rounds
        self._seconds = seconds
        self._report = folder / "report.json"
        wav, script = folder / "words.wav", folder / "callers.py"
        voice = Voice(sample_rate=RATE, word_seconds=0.5)
        write_wav(wav, AudioChunk(voice.word() * 120, RATE))
        script.write_text(FUNCTION.format(path=str(wav)), encoding="utf-8")
        self._kinds = {
            "files": ("--wav", str(wav), "--greeting", "0s", "--turn-pause", "0s"),
            "a function": ("--caller", f"{script}:talk"),
        }

    def find_capacity(self) -> int:
        """Return how many sessions that measure nothing a core holds."""
        until = time.monotonic() + 240
        found = find_capacity(
            self._hold,
            SESSION.guess,
            tolerance=0.05,
            most_trials=16,
            is_late=lambda: time.monotonic() > until,
        )
        sure = "" if found.confirmed else ", not confirmed"
        print(f"A core holds {found.sessions} sessions that measure nothing{sure}.\n", flush=True)
        return found.sessions

    def compare(self, kind: str, number: int) -> None:
        """Print how both do at a number, each in turn with the other."""
        pairs = [(self._hold(number), self._call(kind, number)) for _ in range(self._rounds)]
        pairs = [(one, our) for one, our in pairs if one.busy]
        if not pairs:
            print(f"  {number} sessions: none were measured", file=sys.stderr, flush=True)
            return
        bare, ours = zip(*pairs, strict=True)
        ratios = [our.busy / one.busy for one, our in pairs]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        ratio = f"{statistics.median(ratios):.2f}"
        valid = sum(not trial.problems for trial in ours)
        held = sum(one.holds for one in bare)
        in_time = sum(trial.seen_p99 <= LATEST_MS and trial.arrived >= ARRIVED for trial in ours)
        print(
            f"| {kind} | {number} | {_middle(100 * one.busy for one in bare)} % "
            f"| {_middle(100 * one.busy for one in ours)} % | {ratio} ({spread}) "
            f"| {_middle(one.p99 for one in bare)} ms | {_middle(one.seen_p99 for one in ours)} ms "
            f"| {_middle(1000 * one.lateness for one in ours)} ms "
            f"| {held} of {len(bare)} | {in_time} of {len(ours)} | {valid} of {len(ours)} |",
            flush=True,
        )
        for problem in sorted({problem for trial in ours for problem in trial.problems}):
            print(f"  {number} callers, {kind}: {problem}", file=sys.stderr, flush=True)

    def _hold(self, number: int) -> Trial:
        trial = hold(SESSION.key, SESSION.command(), self._audience, number, self._seconds)
        print(
            f"  {number} sessions: p99 {trial.p99:.1f} ms, {100 * trial.busy:.0f} % of a core "
            f"{trial.why}",
            file=sys.stderr,
            flush=True,
        )
        return trial

    def _call(self, kind: str, number: int) -> LoadTrial:
        audience, seconds = self._audience, self._seconds
        self._report.unlink(missing_ok=True)
        audience.reset("after-audio")
        begin_at = time.time() + STARTING
        measured_from = COMING + SETTLING
        whole = SETTLING + seconds + 1
        command = [
            *(sys.executable, "-m", "trio_pipecat", "load", audience.url, *self._kinds[kind]),
            *("--stages", f"{number}/{COMING}s, {number}/{whole}s"),
            *("--warm-up", f"{measured_from}s", "--cool-down", "1s", "--wind-down", "0s"),
            *("--begin-at", str(begin_at), "--json", str(self._report)),
        ]
        with subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT},
        ) as process:
            pin(process, 0)
            _sleep_until(begin_at + measured_from)
            audience.tell("start")
            _sleep_until(begin_at + measured_from + seconds)
            seen = audience.report()
            try:
                code = process.wait(timeout=30)
            finally:
                process.kill()
        if not self._report.exists():
            sys.exit(f"load has failed with exit code {code}")
        report: dict[str, Any] = json.loads(self._report.read_text(encoding="utf-8"))
        (part,) = report["parts"]
        return LoadTrial(
            busy=part["cpu"],
            lateness=part["lateness_p99"],
            problems=report["problems"],
            seen_p99=seen["p99"],
            arrived=seen["received"] / (number * seen["seconds"] * 50),
        )


def _sleep_until(epoch: float) -> None:
    time.sleep(max(epoch - time.time(), 0))


def _middle(values: Any) -> str:
    return f"{statistics.median(values):.0f}"


def main(*, rounds: int, seconds: float) -> None:
    """Print the table."""
    allow_many_files()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not compile_all(folder):
            sys.exit(1)
        with running_audience(folder) as audience:
            comparison = Comparison(folder, audience, rounds, seconds)
            capacity = comparison.find_capacity()
            print(
                "| callers with | number | sessions: CPU | callers: CPU | ratio | sessions: p99 "
                "late | callers: as seen | as load says | sessions in time | callers in time "
                "| valid |"
            )
            print("|---|" + "---:|" * 10)
            for part in PARTS:
                comparison.compare("files", max(1, round(part * capacity)))
            for part in FUNCTION_PARTS:
                comparison.compare("a function", max(1, round(part * capacity)))
