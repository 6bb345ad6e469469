"""What things cost, as ratios within one run: ``nox -s bench``, or ``python -m benchmarks``.

Alone it prints how many callers a core carries, beside other clients: see `benchmarks.density`.

``python -m benchmarks costs`` prints what the parts cost. Each figure stands beside the bare thing
it is made of, measured alternately in the same run, so that a slow or noisy machine slows both.
Only ratios mean anything; the rest shows the noise.

``python -m benchmarks speech`` prints how far off the bounds of speech are, and what they cost;
``python -m benchmarks pacing`` how late the frames of paced audio are; ``python -m benchmarks
webrtc`` what a session over WebRTC costs beside a bare aiortc client, and ``soak`` what becomes of
one that lasts; ``soak-websocket`` what becomes of hundreds; ``callers`` what it costs
``trio-pipecat load`` to measure them; ``tls`` what TLS costs them.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import trio
import trio_websocket
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat._codec import decode_event, encode_command, encode_event
from trio_pipecat.testing import Recorder, SimulatedBot, serve_bot
from trio_pipecat.transports import _envelope as envelope

from . import density, pacing, speech

OUTPUT = encode_event(
    tp.BotOutput(
        text="You said: good morning to you.",
        output_type="sentence",
        segment_id=7,
        will_be_spoken=True,
        spoken_status="in-progress",
        spoken_progress=tp.SpokenProgress(
            accumulated_text="You said: good", remaining_text=" morning to you."
        ),
    )
)
AUDIO = tp.AudioChunk(bytes(1920), 24_000)


@attrs.frozen
class Figure:
    """Ours against the bare thing: the median of the pairs' ratios, and how far they spread."""

    name: str
    against: str
    ours: float
    bare: float
    ratio: float
    low: float
    high: float
    unit: str


def compare(
    name: str,
    against: str,
    ours: Callable[[], float],
    bare: Callable[[], float],
    *,
    rounds: int,
    unit: str = "µs",
) -> Figure:
    """Measure both in turn, `rounds` times; each call returns its own figure."""
    pairs = []
    for number in range(rounds + 1):
        pair = (ours(), bare()) if number % 2 else (bare(), ours())[::-1]
        if number:  # the first warms up
            pairs.append(pair)
    ratios = sorted(one / other for one, other in pairs)
    return Figure(
        name,
        against,
        statistics.median(one for one, _ in pairs),
        statistics.median(other for _, other in pairs),
        statistics.median(ratios),
        ratios[0],
        ratios[-1],
        unit,
    )


def per_call(function: Callable[[], object], number: int) -> Callable[[], float]:
    """Return what measures one call of a function, in microseconds of CPU."""

    def measure() -> float:
        gc.collect()
        began = time.process_time()
        for _ in range(number):
            function()
        return (time.process_time() - began) / number * 1e6

    return measure


def per_task(task: Callable[[], Awaitable[object]], number: int) -> Callable[[], float]:
    """Return what measures one run of an async function, in microseconds of CPU of this process."""

    async def measure_here() -> float:
        gc.collect()
        began = time.process_time()
        for _ in range(number):
            await task()
        return (time.process_time() - began) / number * 1e6

    return lambda: trio.run(measure_here)


# -- what is measured --------------------------------------------------------------------------


def codec(rounds: int, number: int) -> list[Figure]:
    """Typed events against plain JSON; the protobuf frame against the JSON it carries."""
    command = tp.SendText(content="What is the capital of Japan?")
    plain = json.loads(encode_command(command, "send-text-7"))
    frame = envelope.encode_audio(AUDIO)
    return [
        compare(
            "decode bot-output",
            "json.loads",
            per_call(lambda: decode_event(OUTPUT, at=0), number),
            per_call(lambda: json.loads(OUTPUT), number),
            rounds=rounds,
        ),
        compare(
            "encode send-text",
            "json.dumps",
            per_call(lambda: encode_command(command, "send-text-7"), number),
            per_call(lambda: json.dumps(plain), number),
            rounds=rounds,
        ),
        compare(
            "audio frame in",
            "audio frame out",
            per_call(lambda: envelope.decode(frame, at=0), number),
            per_call(lambda: envelope.encode_audio(AUDIO), number),
            rounds=rounds,
        ),
    ]


def sessions(rounds: int, number: int) -> list[Figure]:
    """A session on a socket against a bare WebSocket, both ends of each in this process."""
    served_bot = SimulatedBot()

    async def session() -> None:
        async with serve_bot(served_bot) as served, tp.open_session(served.ws_url) as session:
            await session.wait_ready()
        served_bot.conversations.clear()

    async def socket() -> None:
        async def serve(request: trio_websocket.WebSocketRequest) -> None:
            connection = await request.accept()
            await connection.send_message(await connection.get_message())

        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                trio_websocket.serve_websocket, serve, "127.0.0.1", 0, None
            )
            url = f"ws://127.0.0.1:{server.port}/"
            async with trio_websocket.open_websocket_url(url) as connection:
                await connection.send_message("hello")
                await connection.get_message()
            nursery.cancel_scope.cancel()

    async def requests() -> None:
        async with serve_bot(served_bot) as served, tp.open_session(served.ws_url) as session:
            await session.wait_ready()
            for value in range(200):
                await session.request("ping", value)
        served_bot.conversations.clear()

    async def echoes() -> None:
        async def serve(request: trio_websocket.WebSocketRequest) -> None:
            connection = await request.accept()
            for _ in range(200):
                await connection.send_message(await connection.get_message())

        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                trio_websocket.serve_websocket, serve, "127.0.0.1", 0, None
            )
            url = f"ws://127.0.0.1:{server.port}/"
            async with trio_websocket.open_websocket_url(url) as connection:
                for value in range(200):
                    await connection.send_message(json.dumps({"ping": value}))
                    await connection.get_message()
            nursery.cancel_scope.cancel()

    return [
        compare(
            "open to ready to closed",
            "a WebSocket and one echo",
            per_task(session, number),
            per_task(socket, number),
            rounds=rounds,
        ),
        compare(
            "200 requests and answers",
            "200 echoes",
            per_task(requests, 1),
            per_task(echoes, 1),
            rounds=rounds,
        ),
    ]


def memory(rounds: int, number: int) -> list[Figure]:
    """What an idle session holds, against a bare nursery with a sleeping task."""

    async def held(open_one: Callable[[], Any]) -> float:
        async def hold(task_status: trio.TaskStatus[None]) -> None:
            async with open_one():
                task_status.started()
                await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            await nursery.start(hold)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(number):
                await nursery.start(hold)
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
            nursery.cancel_scope.cancel()
        return (after - before) / number / 1024

    def traced(open_one: Callable[[], Any]) -> Callable[[], float]:
        def measure() -> float:
            tracemalloc.start()
            try:
                return trio.run(held, open_one)
            finally:
                tracemalloc.stop()

        return measure

    bot = SimulatedBot()
    return [
        compare(
            "an idle session in memory, its bot included",
            "a nursery",
            traced(lambda: tp.open_session(transport=bot.connect)),
            traced(trio.open_nursery),
            rounds=min(rounds, 3),
            unit="KiB",
        )
    ]


def virtual_time(rounds: int) -> list[Figure]:
    """Ten minutes of conversation on a clock that jumps, against a task that keeps the beat."""
    beats, beat = 30_000, 0.02

    async def keep_the_beat() -> None:
        began = trio.current_time()
        for number in range(beats):
            await trio.sleep_until(began + number * beat)

    async def talk(bot: SimulatedBot, *, record: bool = False) -> None:
        folder = tempfile.TemporaryDirectory()
        block = tp.open_session(transport=bot.connect)
        async with block as session, trio.open_nursery() as nursery:
            if record:
                Recorder(session, Path(folder.name) / "call.jsonl")
            await session.wait_ready()
            nursery.start_soon(_hear, session)
            began, pcm = trio.current_time(), bytes(640)
            for number in range(beats):
                await session.send_audio(pcm, sample_rate=16_000)
                await trio.sleep_until(began + number * beat)
            nursery.cancel_scope.cancel()
        folder.cleanup()

    async def write() -> None:
        async with tp.open_session(transport=SimulatedBot().connect) as session:
            await session.wait_ready()
            for number in range(60):
                await session.request("ping", number)
                await trio.sleep(10)

    def run(task: Callable[[], Awaitable[object]]) -> Callable[[], float]:
        def measure() -> float:
            gc.collect()
            began = time.process_time()
            trio.run(task, clock=MockClock(autojump_threshold=0))
            return (time.process_time() - began) * 1e3

        return measure

    bare = run(keep_the_beat)
    against = "30,000 sleeps of one task"
    named = {
        "10 virtual minutes: sound both ways, 20 ms": lambda: talk(SimulatedBot()),
        "the same, recorded": lambda: talk(SimulatedBot(), record=True),
        "10 virtual minutes: 60 requests": write,
    }
    rounds = min(rounds, 3)
    return [
        compare(name, against, run(task), bare, rounds=rounds, unit="ms")
        for name, task in named.items()
    ]


async def _hear(session: tp.Session) -> None:
    async for _ in session.audio:
        pass


def importing(rounds: int) -> list[Figure]:
    """Importing the package against importing what it stands on."""

    def importing_of(modules: str) -> Callable[[], float]:
        code = (
            f"import time; began = time.process_time(); import {modules}; "
            "print(time.process_time() - began)"
        )

        def measure() -> float:
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            return float(done.stdout) * 1e3

        return measure

    bare = "trio, httpx, attrs, anyio, trio_websocket, google.protobuf.descriptor_pb2"
    return [
        compare(
            "import trio_pipecat",
            "importing its dependencies",
            importing_of("trio_pipecat"),
            importing_of(bare),
            rounds=rounds,
            unit="ms",
        )
    ]


def import_ratios(rounds: int) -> list[float]:
    """Return the least, the median and the greatest ratio of importing the package."""
    figure = importing(rounds)[0]
    return [figure.low, figure.ratio, figure.high]


def main() -> None:
    """Measure, print a table, and write it down if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, prog="benchmarks")
    parser.add_argument(
        "what",
        nargs="?",
        choices=(
            *("density", "callers", "costs", "pacing", "soak", "soak-websocket", "speech", "tls"),
            "webrtc",
        ),
        default="density",
        help="density by default",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--seconds", type=float, help="how long a soak lasts")
    parser.add_argument("--rounds", type=int, help="of density and callers; 3 by default")
    parser.add_argument("--sessions", type=int, default=500, help="of soak-websocket")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw density's chart, as SVG")
    options = parser.parse_args()
    if options.what == "density":
        density.main(
            quick=options.quick,
            rounds=options.rounds,
            importing=import_ratios,
            json_file=options.json,
            chart=options.chart,
        )
        return
    if options.what == "speech":
        speech.main(times=1 if options.quick else 5)
        return
    if options.what == "pacing":
        pacing.main(rounds=1 if options.quick else 3, seconds=5 if options.quick else 20)
        return
    if options.what == "soak":
        from . import soak  # it takes the extra

        soak.main(seconds=options.seconds or (30 if options.quick else 600))
        return
    if options.what == "tls":
        from . import tls  # it takes trustme

        tls.main(rounds=1 if options.quick else 5, seconds=3 if options.quick else 6)
        return
    if options.what == "soak-websocket":
        seconds = options.seconds or (30 if options.quick else 600)
        density.soak.main(sessions=options.sessions, seconds=seconds)
        return
    if options.what == "callers":
        rounds = options.rounds or (1 if options.quick else 3)
        density.callers.main(rounds=rounds, seconds=3 if options.quick else 8)
        return
    if options.what == "webrtc":
        from . import webrtc  # it takes the extra

        webrtc.main(rounds=1 if options.quick else 3, seconds=5 if options.quick else 12)
        return
    rounds, number = (3, 2_000) if options.quick else (11, 20_000)
    figures = codec(rounds, number)
    figures += sessions(rounds, 5 if options.quick else 20)
    figures += memory(rounds, 20)
    figures += virtual_time(rounds)
    figures += importing(rounds)
    print(f"{'':45}{'ours':>12}{'bare':>12}{'ratio':>9}   spread, and the bare thing")
    for f in figures:
        ours, bare = f"{f.ours:.1f} {f.unit}", f"{f.bare:.1f} {f.unit}"
        spread = f"{f.low:.2f}-{f.high:.2f}"
        print(f"{f.name:45}{ours:>12}{bare:>12}{f.ratio:>8.2f}x   {spread}, {f.against}")
    if options.json is not None:
        options.json.write_text(json.dumps([attrs.asdict(figure) for figure in figures], indent=1))


if __name__ == "__main__":
    main()
