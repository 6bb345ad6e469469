"""The clients that are measured beside ours, and what each needs to be."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Final

import attrs

SCRIPTS: Final = Path(__file__).parent / "clients"


@attrs.frozen(kw_only=True)
class Client:
    """One client: a script, with the pacing and the event loop it is measured with.

    `guess` is where the search for its capacity begins. `needs` is the package of its own that it
    needs. `quick` are the ones that a quick run measures.
    """

    key: str
    label: str
    pacing: str
    script: str
    arguments: tuple[str, ...] = ()
    guess: int
    needs: str | None = None
    quick: bool = False

    def command(self) -> list[str]:
        """Return what runs it."""
        python = pipecat_python() if self.needs == "pipecat" else sys.executable
        return [str(python), str(SCRIPTS / self.script), *self.arguments]

    def missing(self) -> str | None:
        """Return the line that says what to type, None where nothing is missing."""
        if self.needs == "pipecat":
            if pipecat_python() is None:
                return f"{self.label} is left out; type: nox -s bench, which makes a place for it"
            return None
        wanted = [self.needs, *(word for word in self.arguments if word == "uvloop")]
        absent = [name for name in wanted if name and importlib.util.find_spec(name) is None]
        if absent:
            return f"{self.label} ({self.pacing}) is left out; type: pip install {' '.join(absent)}"
        return None


def pipecat_python() -> str | None:
    """Return the interpreter of an environment with pipecat-ai, if there is one."""
    named = os.environ.get("TRIO_PIPECAT_BOT_PYTHON")
    return named if named and Path(named).exists() else None


WIRE: Final = Client(
    key="wire",
    label="trio_pipecat, wire",
    pacing="shared ticker",
    script="ours_wire.py",
    arguments=("--pacing", "ticker"),
    guess=700,
    quick=True,
)
SESSION: Final = Client(
    key="session",
    label="trio_pipecat, session",
    pacing="stream_audio",
    script="ours_session.py",
    guess=350,
    quick=True,
)
PIPECAT: Final = Client(
    key="pipecat",
    label="pipecat",
    pacing="its own",
    script="pipecat_client.py",
    guess=70,
    needs="pipecat",
    quick=True,
)


def _paced(
    package: str, script: str, loop: str, guesses: tuple[int, int], *, quick: bool
) -> tuple[Client, Client]:
    """Return a library's client with each of the two pacings."""
    clients = [
        Client(
            key=f"{package}-{loop}-{pacing}",
            label=package if loop == "trio" else f"{package}, {loop}",
            pacing={"session": "a timer each", "ticker": "shared ticker"}[pacing],
            script=script,
            arguments=("--pacing", pacing) + (() if loop == "trio" else ("--loop", loop)),
            guess=guess,
            needs=None if loop == "trio" else package,
            quick=quick,
        )
        for pacing, guess in zip(("session", "ticker"), guesses, strict=True)
    ]
    return clients[0], clients[1]


_WEBSOCKETS: Final = "websockets_client.py"
WEBSOCKETS_SESSION, WEBSOCKETS_TICKER = _paced(
    "websockets", _WEBSOCKETS, "asyncio", (440, 600), quick=True
)
PICOWS_SESSION, PICOWS_TICKER = _paced(
    "picows", "picows_client.py", "uvloop", (850, 1150), quick=False
)
PICOWS_TICKER = attrs.evolve(PICOWS_TICKER, quick=True)

ALL: Final = (
    WIRE,
    SESSION,
    WEBSOCKETS_SESSION,
    WEBSOCKETS_TICKER,
    *_paced("websockets", _WEBSOCKETS, "uvloop", (550, 600), quick=False),
    *_paced("aiohttp", "aiohttp_client.py", "asyncio", (450, 700), quick=False),
    PICOWS_SESSION,
    PICOWS_TICKER,
    *_paced("trio-websocket", "trio_websocket_client.py", "trio", (215, 240), quick=False),
    PIPECAT,
)
#: Whose cost per message and per opening is measured: each library once.
EACH_LIBRARY: Final = tuple(
    client for client in ALL if client.pacing != "a timer each" and client.key != "pipecat"
)
