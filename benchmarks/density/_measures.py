"""What is measured, in rounds in which the clients take turns."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import attrs

from . import _clients
from ._capacity import Capacity, find_capacity
from ._clients import Client
from ._running import (
    Audience,
    ClientFailedError,
    RunningClient,
    Trial,
    hold,
    running_audience,
    running_client,
)

RAW_TCP: Final = Client(
    key="raw", label="raw TCP on trio", pacing="–", script="raw_tcp.py", guess=0, quick=True
)
FLOOR: Final = "floor"
#: Numbers of sessions at which CPU is measured, and a small one for those that hold few.
LEVELS: Final = (50, 200, 400)
FEW: Final = 10
SOUND: Final = 1920


@attrs.frozen(kw_only=True)
class Plan:
    """How much is measured. `longest_search` is what a search may take for one client, in seconds.

    A trial is made up to `attempts` times, if it does not count because of others.
    """

    quick: bool
    rounds: int
    seconds: float
    tolerance: float
    most_trials: int
    longest_search: float
    attempts: int
    levels: tuple[int, ...]
    openings: int
    frames: int
    imports: int


FULL: Final = Plan(
    quick=False,
    rounds=3,
    seconds=5,
    tolerance=0.05,
    most_trials=16,
    longest_search=240,
    attempts=4,
    levels=LEVELS,
    openings=100,
    frames=20_000,
    imports=11,
)
QUICK: Final = Plan(
    quick=True,
    rounds=1,
    seconds=2,
    tolerance=0.12,
    most_trials=6,
    longest_search=13,
    attempts=2,
    levels=(50, 200),
    openings=60,
    frames=4_000,
    imports=3,
)


@attrs.define
class Round:
    """The figures of one round, by the key of the client.

    `cpu` is in µs a session and second by number of sessions; None: over. `memory` is in KiB a
    session. `down` and `up` are the CPU of a message, in µs. `openings` are in ms.
    """

    capacity: dict[str, Capacity] = attrs.field(factory=dict)
    cpu: dict[str, dict[int, float | None]] = attrs.field(factory=dict)
    memory: dict[str, float] = attrs.field(factory=dict)
    down: dict[str, float] = attrs.field(factory=dict)
    up: dict[str, float] = attrs.field(factory=dict)
    openings: dict[str, dict[str, float]] = attrs.field(factory=dict)


class Measures:
    """All measurements of a run."""

    def __init__(self, plan: Plan, folder: Path, clients: list[Client]) -> None:
        self.plan = plan
        self.clients = clients
        self.trials: list[Trial] = []
        self.rounds: list[Round] = []
        self._commands = {client.key: client.command() for client in clients}
        self._commands[FLOOR] = [str(folder / "floor")]
        self._folder = folder
        self._began = time.monotonic()

    def run(self) -> None:
        """Measure everything, a round at a time. The order turns, so that none is always first."""
        for number in range(self.plan.rounds):
            self._say(f"round {number + 1} of {self.plan.rounds}")
            turn = number % len(self.clients)
            clients = [*self.clients[turn:], *self.clients[:turn]]
            round_ = Round()
            with running_audience(self._folder) as audience:
                self._find_capacities(audience, clients, round_)
                self._measure_cpu(audience, clients, round_)
                self._measure_messages(audience, clients, round_)
                self._measure_openings(audience, clients, round_)
            self.rounds.append(round_)

    def _say(self, words: str) -> None:
        print(f"{time.monotonic() - self._began:6.0f} s  {words}", file=sys.stderr, flush=True)

    def _hold(self, audience: Audience, key: str, sessions: int) -> Trial:
        """Hold sessions; again, if it was not the client's fault that it did not work."""
        for _ in range(self.plan.attempts):
            trial = hold(key, self._commands[key], audience, sessions, self.plan.seconds)
            self.trials.append(trial)
            self._say(
                f"{key}: {sessions} sessions, p99 {trial.p99:.1f} ms, {100 * trial.busy:.0f} % of "
                f"a core{': ' * (not trial.holds)}{trial.why}"
            )
            if not trial.is_disturbed:
                break
        return trial

    def _guess(self, client: Client) -> int:
        """Begin where the round before has ended."""
        found = [round_.capacity[client.key].sessions for round_ in self.rounds]
        return (found and found[-1]) or client.guess

    def _find_capacities(self, audience: Audience, clients: list[Client], round_: Round) -> None:
        for client in clients:
            until = time.monotonic() + self.plan.longest_search
            round_.capacity[client.key] = find_capacity(
                lambda sessions, key=client.key: self._hold(audience, key, sessions),
                self._guess(client),
                tolerance=self.plan.tolerance,
                most_trials=self.plan.most_trials,
                is_late=lambda until=until: time.monotonic() > until,
            )

    def _measure_cpu(self, audience: Audience, clients: list[Client], round_: Round) -> None:
        """Measure CPU and memory at the same numbers for all. The floor's is measured too."""
        keys = [client.key for client in clients]
        if self.plan.quick:
            keys = [_clients.WIRE.key, _clients.SESSION.key]
        for key in [FLOOR, *keys]:
            trials: list[Trial] = []
            for level in self.plan.levels:
                if trials and not trials[-1].holds:
                    break
                trials.append(self._hold(audience, key, level))
            held = [trial for trial in trials if trial.holds]
            by_level = {trial.sessions: trial.cpu for trial in held}
            round_.cpu[key] = {level: by_level.get(level) for level in self.plan.levels}
            if len(held) == 1:
                few = self._hold(audience, key, FEW)
                held = [few, *held] if few.holds else held
            if len(held) > 1:
                round_.memory[key] = (held[-1].rss_kib - held[0].rss_kib) / (
                    held[-1].sessions - held[0].sessions
                )

    def _measure_messages(self, audience: Audience, clients: list[Client], round_: Round) -> None:
        frames = self.plan.frames
        for client in clients:
            if client not in _clients.EACH_LIBRARY:
                continue
            with self._failing(client, "messages"):
                audience.reset("quiet")
                with self._running(client, audience, what="burst-down", frames=frames) as running:
                    running.read()
                    running.start()
                    audience.tell(f"burst {frames} {SOUND}")
                    round_.down[client.key] = running.figures()["cpu"] / frames * 1e6
                audience.reset("quiet")
                with self._running(client, audience, what="burst-up", frames=frames) as running:
                    round_.up[client.key] = running.figures()["cpu"] / frames * 1e6
            self._say(f"{client.key}: messages")

    def _measure_openings(self, audience: Audience, clients: list[Client], round_: Round) -> None:
        for client in [RAW_TCP, *clients]:
            if client not in (RAW_TCP, *_clients.EACH_LIBRARY):
                continue
            audience.reset("quiet")
            number = self.plan.openings
            with (
                self._failing(client, "openings"),
                self._running(client, audience, what="opening", sessions=number) as running,
            ):
                figures = running.figures()
                round_.openings[client.key] = {name: 1e3 * one for name, one in figures.items()}
            self._say(f"{client.key}: openings")

    @contextmanager
    def _failing(self, client: Client, what: str) -> Iterator[None]:
        """Go on without a figure where a client can't give it."""
        try:
            yield
        except ClientFailedError as error:
            self._say(f"{client.key}: no {what}: {error}")

    def _running(
        self, client: Client, audience: Audience, **arguments: object
    ) -> AbstractContextManager[RunningClient]:
        return running_client(client.command(), audience.url, 60, **arguments)
