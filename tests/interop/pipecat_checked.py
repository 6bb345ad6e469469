"""The client's part of a check, played by pipecat's own client; run by pipecat's interpreter.

It does what the client does with its defaults, and adds no care of its own: no deadlines, and no
net under what is raised.

    python pipecat_checked.py ws://127.0.0.1:7860/ws
"""

import asyncio
import json
import sys

from pipecat.frames.frames import EndFrame, Frame, OutputTransportMessageUrgentFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.serializers.rtvi_client import RTVIClientSerializer
from pipecat.transports.websocket.client import WebsocketClientParams
from pipecat.transports.websocket.rtvi_client import RTVIClientTransport
from pipecat.workers.runner import WorkerRunner


class Ears(RTVIClientSerializer):
    """Hears the bot's goodbye, and its fatal errors."""

    def __init__(self):
        super().__init__()
        self.over = asyncio.Event()

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Listen, and do as always."""
        if b"goodbye" in _bytes(data) and b'"bot-output"' in _bytes(data):
            self.over.set()
        if b'"fatal":true' in _bytes(data):
            self.over.set()
        return await super().deserialize(data)


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


async def main(uri: str) -> None:
    """Hold one conversation."""
    ears = Ears()
    params = WebsocketClientParams(serializer=ears, add_wav_header=False)
    transport = RTVIClientTransport(uri, params)
    worker = PipelineWorker(
        Pipeline([transport.input(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=16_000),
        enable_rtvi=False,
    )

    @transport.event_handler("on_bot_ready")
    async def hello(transport):
        data = {"content": "hello"}
        message = {"label": "rtvi-ai", "type": "send-text", "id": "hello", "data": data}
        await worker.queue_frame(OutputTransportMessageUrgentFrame(message=message))

    @transport.event_handler("on_disconnected")
    async def gone(transport, websocket):
        ears.over.set()

    async def stay() -> None:
        await ears.over.wait()
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    staying = asyncio.create_task(stay())
    await runner.run()
    staying.cancel()


print(json.dumps("importing is over"), flush=True)
asyncio.run(main(*sys.argv[1:]))
