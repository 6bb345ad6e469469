"""Pipecat's own client, `WebsocketClientTransport`, in pipelines as its users have them.

Each session is a pipeline of three: the transport's input, a processor that listens, and the
transport's output, with the protobuf serializer; all of them in one runner. The transport paces
what it sends; it is given a second of sound a second, and is always a second ahead. What would cost
more is off: logging, metrics, turn tracking, RTVI's observers, and headers of WAV in each frame.

Runs in an environment with pipecat-ai, where trio_pipecat need not be.
"""

import asyncio
import json

from loguru import logger
from measuring import CLIENT_READY, OPENING, PCM, RATE, Load, phase, read_options
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.transports.websocket.client import WebsocketClientParams, WebsocketClientTransport
from pipecat.workers.runner import WorkerRunner

OUT_RATE = 24_000


class Listener(FrameProcessor):
    """Counts the sound that comes."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self._load = load
        self.ready = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Keep what is for the user; pass on what is for the pipeline."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._load.received += 1
        elif isinstance(frame, InputTransportMessageFrame):
            self.ready.set()
        else:
            await self.push_frame(frame, direction)


class Call:
    """One session."""

    def __init__(self, load: Load) -> None:
        self._listener = Listener(load)
        transport = WebsocketClientTransport(
            uri=load.options.url,
            params=WebsocketClientParams(
                audio_in_enabled=True,
                audio_out_enabled=True,
                audio_out_10ms_chunks=2,
                add_wav_header=False,
                serializer=ProtobufFrameSerializer(),
            ),
        )
        self.worker = PipelineWorker(
            Pipeline([transport.input(), self._listener, transport.output()]),
            params=PipelineParams(audio_in_sample_rate=OUT_RATE, audio_out_sample_rate=RATE),
            idle_timeout_secs=None,
            enable_rtvi=False,
            enable_turn_tracking=False,
            check_dangling_tasks=False,
        )
        self._started = asyncio.Event()
        self.worker.add_event_handler("on_pipeline_started", self._note_start)

    async def _note_start(self, *_: object) -> None:
        self._started.set()

    async def become_ready(self) -> None:
        """Wait for the pipeline, send client-ready, and await its answer."""
        await self._started.wait()
        message = json.loads(CLIENT_READY)
        await self.worker.queue_frame(OutputTransportMessageUrgentFrame(message=message))
        await self._listener.ready.wait()

    async def talk(self, index: int) -> None:
        """Have the transport send sound without an end."""
        loop = asyncio.get_running_loop()
        due = loop.time() + phase(index)
        second = PCM * 50
        await asyncio.sleep(phase(index))
        await self.worker.queue_frame(OutputAudioRawFrame(second, RATE, 1))
        while True:
            await self.worker.queue_frame(OutputAudioRawFrame(second, RATE, 1))
            due += 1
            await asyncio.sleep(due - loop.time())


async def run(load: Load) -> None:
    """Hold the sessions for as long as they are measured."""
    runner = WorkerRunner(handle_sigint=False, check_dangling_tasks=False)
    running = asyncio.create_task(runner.run(auto_end=False))
    gate = asyncio.Semaphore(OPENING)

    async def open_one() -> Call:
        async with gate:
            call = Call(load)
            await runner.add_workers(call.worker)
            await call.become_ready()
        return call

    calls = await asyncio.gather(*(open_one() for _ in range(load.options.sessions)))
    talking = [asyncio.create_task(call.talk(index)) for index, call in enumerate(calls)]
    load.ready()
    await asyncio.gather(running, *talking)


if __name__ == "__main__":
    logger.remove()
    asyncio.run(run(Load(read_options())))
