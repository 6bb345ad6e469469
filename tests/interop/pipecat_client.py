"""A conversation by pipecat's own client; run by pipecat's interpreter, with an address.

Everything seen goes to the standard output, an object of JSON on each line, for the test that runs
this and knows what should have been seen.

    python pipecat_client.py ws://127.0.0.1:7860/ [--eval] [--bot-leaves]
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from pipecat.evals.client_transport import EvalClientTransport
from pipecat.evals.serializer import EvalClientSerializer, EvalConnectionFlags
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.websocket.client import WebsocketClientParams
from pipecat.transports.websocket.rtvi_client import RTVIClientTransport
from pipecat.workers.runner import WorkerRunner

RATE = 16_000


def tell(kind: str, data: Any = None) -> None:
    """Print one thing."""
    print(json.dumps({"kind": kind, "data": data}), flush=True)


class Ears(EvalClientSerializer):
    """Tells every message, before it becomes a frame or is dropped."""

    def __init__(self):
        super().__init__()
        self._came: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Tell, and do as always."""
        message = json.loads(data)
        if message["type"] != "eval-bot-audio":
            tell("message", message)
        self._came.append(message)
        self._more.set()
        return await super().deserialize(data)

    async def next(self, type_: str, where: Callable[[Any], bool] = lambda data: True) -> Any:
        """Wait for a message of a type, and forget those before it."""
        while True:
            while self._came:
                message = self._came.pop(0)
                if message["type"] == type_ and where(message.get("data")):
                    return message
            self._more.clear()
            await self._more.wait()


class Sink(FrameProcessor):
    """Tells which frames came out of the transport, and measures the sound."""

    def __init__(self):
        super().__init__()
        self.kinds: set[str] = set()
        self.loud_bytes = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        """Look at what goes by."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self.loud_bytes += len(frame.audio) if any(frame.audio) else 0
        self.kinds.add(type(frame).__name__)
        await self.push_frame(frame, direction)


async def main(uri: str, *options: str) -> None:
    """Hold the conversation."""
    ears, sink = Ears(), Sink()
    params = WebsocketClientParams(
        audio_in_enabled=True, audio_out_enabled=True, serializer=ears, add_wav_header=False
    )
    if "--eval" in options:
        flags = EvalConnectionFlags(capture_bot_audio=True)
        transport = EvalClientTransport(uri, params, flags=flags)
    else:
        transport = RTVIClientTransport(uri, params)
    happened = {
        name: asyncio.Event() for name in ("on_connected", "on_disconnected", "on_bot_ready")
    }
    for name, event in happened.items():

        @transport.event_handler(name)
        async def tell_it(transport, *args, name=name, event=event):
            tell(name)
            event.set()

    worker = PipelineWorker(
        Pipeline([transport.input(), sink, transport.output()]),
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
        enable_rtvi=False,
    )

    async def send(type_: str, data: Any, id_: str) -> None:
        message = {"label": "rtvi-ai", "type": type_, "id": id_, "data": data}
        await worker.queue_frame(OutputTransportMessageUrgentFrame(message=message))

    async def converse() -> None:
        await happened["on_bot_ready"].wait()
        await ears.next("bot-stopped-speaking")
        await send("send-text", {"content": "good morning"}, "text")
        await ears.next("bot-stopped-speaking")
        await send("client-message", {"t": "ping", "d": [1, None]}, "ping")
        await ears.next("server-response")
        await send("client-message", {"t": "fail"}, "fail")
        await ears.next("error-response")
        await send("client-message", {"t": "function", "d": {"city": "Oslo"}}, "function")
        call = (await ears.next("llm-function-call-in-progress"))["data"]
        result = {
            "function_name": call["function_name"],
            "tool_call_id": call["tool_call_id"],
            "arguments": call["arguments"],
            "result": {"sky": "clear"},
        }
        await send("llm-function-call-result", result, "result")
        await ears.next("bot-stopped-speaking")
        sound = OutputAudioRawFrame(b"\x01\x02" * (RATE // 5), RATE, 1)
        await worker.queue_frame(sound)
        if "--bot-leaves" in options:
            await send("disconnect-bot", None, "leave")
            await happened["on_disconnected"].wait()
        tell("sink", {"kinds": sorted(sink.kinds), "loud_bytes": sink.loud_bytes})
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    conversation = asyncio.create_task(converse())
    await runner.run()
    await conversation
    tell("done")


asyncio.run(main(*sys.argv[1:]))
