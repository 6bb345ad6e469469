"""What a session over WebRTC costs, beside a bare aiortc client: ``python -m benchmarks webrtc``.

Both do the same work, in a process each, one after the other, against the same simulated bot in a
process of its own: a data channel with a ping a second, speech in real time to the bot, and the
bot's sound as mono PCM of 24 kHz. The bare one is what aiortc's own examples do: a track whose
frames aiortc encodes, a resampler of PyAV's, no video, no session around it. What is measured is
the CPU time of the client's process while all sessions talk.
"""

import asyncio
import json
import math
import random
import subprocess
import sys
import time
import urllib.request
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from typing import Any

import av
import trio
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing import SimulatedBot, serve_bot

RATE = 16_000
OUT_RATE = 24_000
FRAME = RATE // 50
SESSIONS = (1, 5, 10, 20)
WARM_SECONDS = 2.0


def speech(seconds: float) -> bytes:
    """Return a tone with noise that comes and goes."""
    rng = random.Random(1)
    samples = array("h")
    for number in range(round(seconds * RATE)):
        loud = 0.5 + 0.5 * math.sin(number / RATE * 7)
        tone = 8000 * math.sin(2 * math.pi * 220 * number / RATE)
        samples.append(round(loud * (tone + rng.uniform(-3000, 3000))))
    return samples.tobytes()


SPEECH = speech(2)


# -- ours ----------------------------------------------------------------------------------------


class Source:
    """Speech without an end."""

    def __aiter__(self) -> Iterator[AudioChunk]:
        return self  # type: ignore[return-value]

    async def __anext__(self) -> AudioChunk:
        await trio.lowlevel.checkpoint()
        return AudioChunk(SPEECH, RATE)


async def ours(url: str, number: int, seconds: float) -> dict[str, float]:
    """Hold sessions of ours, and return what that took."""
    heard = [0.0] * number
    ready = [trio.Event() for _ in range(number)]

    async def call(index: int) -> None:
        async with tp.open_session(webrtc_url=url, connect_timeout=60, ready_timeout=60) as session:
            await session.wait_ready()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.stream_audio, Source())
                ready[index].set()
                async for chunk in session.audio:
                    heard[index] += chunk.duration

    async with trio.open_nursery() as nursery:
        for index in range(number):
            nursery.start_soon(call, index)
        for event in ready:
            await event.wait()
        await trio.sleep(WARM_SECONDS)
        before, cpu, began = sum(heard), time.process_time(), time.perf_counter()
        await trio.sleep(seconds)
        cpu, took = time.process_time() - cpu, time.perf_counter() - began
        got = sum(heard) - before
        nursery.cancel_scope.cancel()
    return {"cpu": cpu / took / number, "heard": got / took / number}


# -- bare aiortc ---------------------------------------------------------------------------------


class BareTrack(MediaStreamTrack):
    """Speech in frames, on the beat."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._start = 0.0

    async def recv(self) -> av.AudioFrame:
        """Return the next frame, when it is time for it."""
        loop = asyncio.get_running_loop()
        if not self._count:
            self._start = loop.time()
        wait = self._start + self._count * 0.02 - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        begin = self._count * FRAME * 2 % len(SPEECH)
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(SPEECH[begin : begin + FRAME * 2])
        frame.sample_rate = RATE
        frame.pts, frame.time_base = self._count * FRAME, Fraction(1, RATE)
        self._count += 1
        return frame


def post(url: str, body: dict[str, Any]) -> Any:
    """POST JSON."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


class BareClient:
    """One session with nothing but aiortc."""

    def __init__(self) -> None:
        self.heard = 0.0
        self.ready = asyncio.Event()
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, url: str) -> None:
        """Connect, and wait until the bot is ready."""
        pc = self._pc
        pc.addTrack(BareTrack())
        channel = pc.createDataChannel("chat")

        @pc.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self._tasks.append(asyncio.ensure_future(self._listen(track)))

        @channel.on("message")
        def on_message(text: str) -> None:
            if json.loads(text).get("type") == "bot-ready":
                self.ready.set()

        @channel.on("open")
        def on_open() -> None:
            hello = {
                "label": "rtvi-ai",
                "type": "client-ready",
                "id": "1",
                "data": {"version": "2.2.0", "about": {"library": "bare"}},
            }
            channel.send(json.dumps(hello))
            self._tasks.append(asyncio.ensure_future(self._ping(channel)))

        await pc.setLocalDescription(await pc.createOffer())
        offer = {"sdp": pc.localDescription.sdp, "type": "offer"}
        answer = await asyncio.to_thread(post, url, offer)
        await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await self.ready.wait()

    async def _ping(self, channel: Any) -> None:
        while True:
            channel.send(f"ping: {time.time()}")
            await asyncio.sleep(1)

    async def _listen(self, track: MediaStreamTrack) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=OUT_RATE)
        try:
            while True:
                frame: Any = await track.recv()
                for part in resampler.resample(frame):
                    pcm = bytes(part.planes[0])[: part.samples * 2]
                    self.heard += len(pcm) / 2 / OUT_RATE
        except MediaStreamError:
            pass

    async def close(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        await self._pc.close()


async def bare(url: str, number: int, seconds: float) -> dict[str, float]:
    """Hold bare sessions, and return what that took."""
    clients = [BareClient() for _ in range(number)]
    await asyncio.gather(*(client.open(url) for client in clients))
    await asyncio.sleep(WARM_SECONDS)
    before = sum(client.heard for client in clients)
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    cpu, took = time.process_time() - cpu, time.perf_counter() - began
    got = sum(client.heard for client in clients) - before
    for client in clients:
        await client.close()
    return {"cpu": cpu / took / number, "heard": got / took / number}


# -- the run -------------------------------------------------------------------------------------


async def serve(*, echo: bool) -> None:
    """Be the bot, and say where."""
    async with serve_bot(SimulatedBot(echo_audio=echo), webrtc=True) as served:
        print(served.webrtc_url, flush=True)
        await trio.sleep_forever()


@contextmanager
def running_bot(kind: str = "serve") -> Iterator[str]:
    """Run the bot in a process of its own, while the block lasts; ``echo``: it sends all back."""
    command = [sys.executable, "-m", "benchmarks.webrtc", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure(kind: str, url: str, number: int, seconds: float) -> dict[str, float]:
    """Have a process of its own do it."""
    command = [sys.executable, "-m", "benchmarks.webrtc", kind, url, str(number), str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main(*, rounds: int, seconds: float) -> None:
    """Print the table."""
    print("| sessions | round | ours, of a core each | bare aiortc, each | ratio | heard, each |")
    print("|---:|---:|---:|---:|---:|---:|")
    for number in SESSIONS:
        for round_ in range(rounds):
            with running_bot() as url:
                kinds = ("ours", "bare") if round_ % 2 else ("bare", "ours")
                got = {kind: measure(kind, url, number, seconds) for kind in kinds}
            one, other = got["ours"], got["bare"]
            ours_, bare_ = (f"{100 * figure['cpu']:.1f} %" for figure in (one, other))
            ratio = one["cpu"] / other["cpu"]
            heard = f"{one['heard']:.3f} s, {other['heard']:.3f} s"
            print(
                f"| {number} | {round_ + 1} | {ours_} | {bare_} | {ratio:.2f} | {heard} |",
                flush=True,
            )


def _run(kind: str, *arguments: str) -> None:
    if kind in ("serve", "echo"):
        trio.run(partial(serve, echo=kind == "echo"))
        return
    url, number, seconds = arguments[0], int(arguments[1]), float(arguments[2])
    if kind == "ours":
        print(json.dumps(trio.run(ours, url, number, seconds)))
    else:
        print(json.dumps(asyncio.run(bare(url, number, seconds))))


if __name__ == "__main__":
    _run(*sys.argv[1:])
