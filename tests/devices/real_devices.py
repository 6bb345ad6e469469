"""What the tests have done with real devices, in a process of its own; tells in JSON.

PortAudio looks at the environment once, when it is loaded: so it is a process.
"""

import json
import math
import os
import random
import signal
import sys
import threading
from array import array
from pathlib import Path

import trio

from trio_pipecat import AudioChunk, DeviceError, list_devices, open_microphone, open_speaker

#: What both devices buffer: more than by default, the machine is busy.
LATENCY = 0.1


def noise(seconds, rate):
    """Return what can't be mistaken for itself at another time, and is never silent."""
    draw = random.Random(0)
    samples = (
        draw.choice((-1, 1)) * draw.randint(500, 8_000) for _ in range(round(seconds * rate))
    )
    return AudioChunk(array("h", samples).tobytes(), rate)


class Ear:
    """All that a microphone hears: the sound, and when each chunk was heard and was there."""

    def __init__(self, microphone):
        self.microphone = microphone
        self.pcm = bytearray()
        self.chunks = []

    async def listen(self):
        async for chunk in self.microphone:
            self.pcm += chunk.pcm
            self.chunks.append((chunk.num_frames, chunk.at, trio.current_time()))

    async def hear(self, count=10):
        """Wait until there were so many more chunks."""
        end = len(self.chunks) + count
        while len(self.chunks) < end:
            await trio.sleep(0.01)

    def told(self, path):
        Path(path).write_bytes(self.pcm)
        return {
            "chunks": self.chunks,
            "overflows": self.microphone.overflows,
            "dropped_seconds": self.microphone.dropped_seconds,
        }


def threads():
    """Return how many threads there are that are not Python's own."""
    return len(os.listdir("/proc/self/task")) - threading.active_count()


async def names():
    """Tell what there is, and what is said to who wants something else."""
    try:
        async with open_speaker("piano"):
            pass
    except DeviceError as error:
        return {"names": [device.name for device in list_devices()], "refusal": str(error)}


async def loop(path, out_rate, in_rate, seconds):
    """Play noise, and hear it."""
    out_rate, in_rate = int(out_rate), int(in_rate)
    async with (
        open_speaker("test_speaker", sample_rate=out_rate, latency=LATENCY) as speaker,
        open_microphone("test_microphone", sample_rate=in_rate, latency=LATENCY) as microphone,
        trio.open_nursery() as nursery,
    ):
        ear = Ear(microphone)
        nursery.start_soon(ear.listen)
        await ear.hear()
        for piece in noise(float(seconds), out_rate).split(1_000):
            await speaker.play(piece)
        await speaker.drain()
        drained = trio.current_time()
        await ear.hear(25)
        nursery.cancel_scope.cancel()
    return {**ear.told(path), "underruns": speaker.underruns, "drained": drained}


async def round_trips(path, latency, count):
    """Play short noises, at odd times; tell when."""
    latency = None if latency == "default" else float(latency)
    draw = random.Random(1)
    played = []
    async with (
        open_speaker("test_speaker", sample_rate=48_000, latency=latency) as speaker,
        open_microphone("test_microphone", sample_rate=48_000, latency=latency) as microphone,
        trio.open_nursery() as nursery,
    ):
        ear = Ear(microphone)
        nursery.start_soon(ear.listen)
        await ear.hear()
        for _ in range(int(count)):
            await ear.hear(40)
            await trio.sleep(draw.random() / 10)
            played.append(trio.current_time())
            await speaker.play(noise(0.1, 48_000))
        await ear.hear(40)
        nursery.cancel_scope.cancel()
    return {**ear.told(path), "played": played}


async def flushes(path, latency, count):
    """Forget most of five seconds; tell when, and how much that was."""
    latency = None if latency == "default" else float(latency)
    flushed = []
    async with (
        open_speaker(
            "test_speaker", sample_rate=16_000, latency=latency, buffer_seconds=10
        ) as speaker,
        open_microphone("test_microphone", latency=latency) as microphone,
        trio.open_nursery() as nursery,
    ):
        ear = Ear(microphone)
        nursery.start_soon(ear.listen)
        await ear.hear()
        for _ in range(int(count)):
            await speaker.play(noise(5, 16_000))
            await trio.sleep(0.5)
            seconds = speaker.flush()
            flushed.append((trio.current_time(), seconds))
            await ear.hear(50)
        nursery.cancel_scope.cancel()
    return {**ear.told(path), "flushed": flushed}


async def half_duplex(path):
    """Play noise, and do not hear it; then mute nothing, and hear it."""
    heard = {}
    for guarded in (True, False):
        async with (
            open_speaker("test_speaker", sample_rate=16_000, latency=LATENCY) as speaker,
            open_microphone(
                "test_microphone", latency=LATENCY, half_duplex_with=speaker if guarded else None
            ) as microphone,
            trio.open_nursery() as nursery,
        ):
            ear = Ear(microphone)
            nursery.start_soon(ear.listen)
            await ear.hear()
            for seconds in (0.3, 1.0):
                await speaker.play(noise(seconds, 16_000))
                await speaker.drain()
                await ear.hear(40)
            nursery.cancel_scope.cancel()
        samples = array("h", bytes(ear.pcm))
        heard[guarded] = len(samples) - samples.count(0)
    return {"guarded": heard[True], "unguarded": heard[False]}


async def unplug(how, pid):
    """Have both devices go away; tell what is said to whom, and how soon."""
    before = threads()
    told = {}

    async def tell(name, step):
        try:
            await step()
        except DeviceError as error:
            told[name] = (str(error), trio.current_time() - gone)

    gone = math.inf
    async with (
        open_speaker("test_speaker", latency=LATENCY) as speaker,
        open_microphone("test_microphone", latency=LATENCY) as microphone,
    ):

        async def play():
            while True:
                await speaker.play(noise(0.1, 24_000))

        ear = Ear(microphone)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, "speaker", play)
            nursery.start_soon(tell, "microphone", ear.listen)
            await ear.hear()
            running = threads()
            gone = trio.current_time()
            if how == "kill":
                os.kill(int(pid), signal.SIGKILL)
            else:
                await trio.run_process(["pactl", "unload-module", "module-null-sink"])
        closing = trio.current_time()
    return {
        "told": told,
        "closing": trio.current_time() - closing,
        "threads": (before, running, threads()),
    }


async def cancel(count):
    """Be cancelled again and again while devices are opened; tell which threads stay."""
    before = None
    for number in range(int(count)):
        with trio.move_on_after(number * 0.002):
            async with open_speaker("test_speaker"), open_microphone("test_microphone"):
                await trio.sleep_forever()
        # The first has loaded what there is to load.
        before = threads() if before is None else before
    async with open_microphone("test_microphone") as microphone:
        await anext(microphone)
    return {"threads": (before, threads())}


if __name__ == "__main__":
    json.dump(trio.run(globals()[sys.argv[1]], *sys.argv[2:]), sys.stdout)
