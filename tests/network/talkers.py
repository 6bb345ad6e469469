"""The bot and the client, each a process on a machine of its own; they tell in lines of JSON.

Times are those of the system's monotonic clock, which is one for all processes of a machine.
"""

import json
import math
import sys
import threading
import time
from array import array
from typing import Any

import trio
from cases import pitch

import trio_pipecat as tp
from trio_pipecat.testing import BotLink, SimulatedBot, serve_bot
from trio_pipecat.transports._rtc_peer import Peer

TONE_HZ = 440
TONE_SECONDS = 3
#: Of what is heard when nobody speaks, nothing is as loud.
LOUD = 0.1
LARGE = "x" * 100_000


def tell(is_: str, **facts: Any) -> None:
    """Print something."""
    print(json.dumps({"is": is_, "at": time.monotonic(), **facts}), flush=True)


class TellingBot(SimulatedBot):
    """A simulated bot that tells how conversations end."""

    async def converse(self, link: BotLink) -> None:
        try:
            await super().converse(link)
        finally:
            conversation = next(c for c in self.conversations if c.link is link)
            end = conversation.end
            tell(
                "conversation",
                first=end and end.first,
                code=end and end.code,
                detail=end and end.detail,
                heard=[c.d for _, c in conversation.received if isinstance(c, tp.ClientMessage)],
            )


def note_pings() -> None:
    """Tell how old the last ping was whenever a message comes, as Pipecat's server looks at it."""
    hear, pinged = Peer._hear, [math.nan]

    def noting(peer: Peer, data: str | bytes) -> None:
        if str(data).startswith("ping"):
            pinged[0] = time.monotonic()
        elif '"silent"' in str(data):
            tell("message", ping_age=time.monotonic() - pinged[0])
        hear(peer, data)

    Peer._hear = noting  # type: ignore[method-assign]


async def bot() -> None:
    """Serve until killed, or whoever has started this is gone."""
    note_pings()
    async with serve_bot(TellingBot(), host="0.0.0.0", webrtc=True) as served:
        tell("serving", port=served.port)
        await trio.to_thread.run_sync(sys.stdin.read)


async def client(url: str, keywords: str = "{}") -> None:
    """Be in a session, and do there what is said on standard input."""
    begun = time.monotonic()
    session = None
    error: BaseException | None = None
    try:
        async with tp.open_session(webrtc_url=url, **json.loads(keywords)) as session:
            await session.wait_ready()
            tell("ready", seconds=time.monotonic() - begun)
            while True:
                line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
                command, *words = json.loads(line)
                if command == "leave":
                    leaving = time.monotonic()
                    break
                tell(command, **await globals()[command](session, *words))
        tell("left", seconds=time.monotonic() - leaving)
    except tp.PipecatError as caught:
        error = caught
    end = None if session is None else session.end
    tell(
        "over",
        seconds=time.monotonic() - begun,
        reason=end and end.reason,
        first=end and end.first,
        error=error and type(error).__name__,
        stage=getattr(error, "stage", None),
        text=str(error),
        left=[thread.name for thread in threading.enumerate()],
    )


async def stay(session: tp.Session) -> dict[str, Any]:
    """Wait for the end."""
    await trio.sleep_forever()
    return {}


async def note(session: tp.Session, begin: int, end: int) -> dict[str, Any]:
    """Say one number after another, for half a second and more."""
    for number in range(begin, end):
        await session.send_client_message("silent", number)
        await trio.sleep(0.5 / (end - begin))
    return {}


async def ask(session: tp.Session, count: int) -> dict[str, Any]:
    """Ask so often, four at a time."""
    answers = []

    async def some(numbers: range) -> None:
        for number in numbers:
            answers.append(await session.request("ping", number, timeout=60))

    async with trio.open_nursery() as nursery:
        for first in range(4):
            nursery.start_soon(some, range(first, count, 4))
    return {"answers": sorted(answer["pong"] for answer in answers)}


async def carry(session: tp.Session) -> dict[str, Any]:
    """Send a large message, and get it back."""
    answer = await session.request("ping", LARGE, timeout=60)
    return {"same": answer == {"pong": LARGE}}


async def sing(session: tp.Session) -> dict[str, Any]:
    """Send a tone, and hear what comes back of it."""
    rate, heard = 16_000, []
    wave = (math.sin(2 * math.pi * TONE_HZ * n / rate) for n in range(TONE_SECONDS * rate))
    tone = tp.AudioChunk(array("h", (round(10_000 * value) for value in wave)).tobytes(), rate)
    last = trio.current_time()

    async def listen() -> None:
        nonlocal last
        async for chunk in session.audio:
            if chunk.peak > LOUD:
                heard.append(chunk)
                last = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await session.stream_audio(tone)
        last = max(last, trio.current_time())
        while trio.current_time() < last + 1:
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    return {"seconds": sum(chunk.duration for chunk in heard), "hertz": heard and pitch(heard)}


if __name__ == "__main__":
    trio.run(globals()[sys.argv[1]], *sys.argv[2:])
