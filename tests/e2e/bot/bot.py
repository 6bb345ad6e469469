"""A real Pipecat bot that needs no cloud service, for the end-to-end tests of trio_pipecat.

Everything on the wire comes from an unmodified Pipecat: its development runner, its FastAPI
WebSocket and its SmallWebRTC transport, its RTVI processor and observer, its aggregators. Only the
two services at the ends are ours: an LLM that answers by rule and a TTS that speaks a tone.

Run it::

    python bot.py --host 127.0.0.1 --port 7860 [--ws-auth token] [--allowed-origins http://...]

The query of the WebSocket URL, or the ``request_data`` of a WebRTC offer, chooses what the bot
does: ``mode`` (crash, hang, slow with ``delay``, early, close), ``greet=1``, ``echo=1``,
``out_rate``, ``function_timeout``, and over WebRTC ``echo_video=1``. The ``t`` of an RTVI
client-message names one of the ``on_...`` methods of `Conversation`.
"""

import asyncio
import os
import signal
import sys
import tempfile
from contextlib import suppress
from typing import Any

from connection_log import Connection, ConnectionLog
from local_services import RuleLLM, ToneTTS, tone
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    InterimTranscriptionFrame,
    LLMMessagesAppendFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi import RTVIObserverParams, RTVIProcessor
from pipecat.processors.frameworks.rtvi.models import ClientMessage, ServerMessage
from pipecat.processors.frameworks.rtvi.observer import RTVIFunctionCallReportLevel
from pipecat.runner.run import app, main
from pipecat.runner.types import SmallWebRTCRunnerArguments
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.utils.file_resolver import FileResolver
from pipecat.utils.time import time_now_iso8601
from pipecat.workers.runner import WorkerRunner
from transports import RunnerArguments, VideoEcho, lose_link, transport_for

AUDIO_IN_RATE = 16_000
AUDIO_OUT_RATE = 24_000
EARLY_SECONDS = 0.2
HEARD_PAUSE_SECONDS = 0.03  # between the parts of a simulated user turn
MODES = ("normal", "crash", "hang", "slow", "early", "close")


class Echo(FrameProcessor):
    """Sends the user's audio back to the user."""

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        """Copy user audio to the output; let everything through."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            copy = OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels)
            await self.push_frame(copy)
        await self.push_frame(frame, direction)


class EarlyBird(FrameProcessor):
    """Speaks up before bot-ready: holds the client's first message back until it has."""

    def __init__(self, sample_rate: int):
        super().__init__()
        self._sample_rate = sample_rate
        self._spoken = False

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        """Let everything through, the client's first message last."""
        await super().process_frame(frame, direction)
        upstream_message = (
            isinstance(frame, InputTransportMessageFrame) and direction is FrameDirection.UPSTREAM
        )
        if upstream_message and not self._spoken:
            self._spoken = True
            message = ServerMessage(data={"early": True})
            await self.push_frame(OutputTransportMessageUrgentFrame(message.model_dump()))
            audio = tone(self._sample_rate, EARLY_SECONDS, EARLY_SECONDS)
            await self.push_frame(OutputAudioRawFrame(audio, self._sample_rate, 1))
            await asyncio.sleep(EARLY_SECONDS)
        await self.push_frame(frame, direction)


class RefusedError(Exception):
    """A request the client gets an error-response for."""


class Conversation:
    """One client's pipeline, and what the client can ask of it.

    Every ``on_<t>`` method handles the client-message of that type and gets its ``d``; what it
    returns, unless None, is the server-response.
    """

    def __init__(self, args: RunnerArguments, connection: Connection):
        self._args = args
        self._connection = connection
        self._crash = asyncio.get_running_loop().create_future()
        query = connection.query
        out_rate = int(query.get("out_rate", AUDIO_OUT_RATE))
        transport = transport_for(args, connection)
        self._llm = RuleLLM(
            function_timeout=float(query.get("function_timeout", 0)) or None,
            file_resolver=FileResolver(file_storage=args.file_storage),
        )
        self._video = VideoEcho() if connection.flag("echo_video") else None
        # The simulated user says itself when a turn starts and ends; the default strategies would
        # load a model to find out.
        aggregators = LLMContextAggregatorPair(
            LLMContext(tools=self._llm.tools()),
            user_params=LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies()),
        )
        processors = [
            EarlyBird(out_rate) if connection.mode == "early" else None,
            transport.input(),
            aggregators.user(),
            self._llm,
            ToneTTS(),
            Echo() if connection.flag("echo") else None,
            self._video,
            transport.output(),
            aggregators.assistant(),
        ]
        self._worker = PipelineWorker(
            Pipeline([processor for processor in processors if processor]),
            params=PipelineParams(
                audio_in_sample_rate=AUDIO_IN_RATE,
                audio_out_sample_rate=out_rate,
                enable_metrics=True,
                enable_usage_metrics=True,
            ),
            rtvi_observer_params=RTVIObserverParams(
                function_call_report_level={"*": RTVIFunctionCallReportLevel.FULL}
            ),
        )
        transport.add_event_handler("on_client_disconnected", self._client_left)
        self._worker.rtvi.add_event_handler("on_client_ready", self._client_ready)
        self._worker.rtvi.add_event_handler("on_client_message", self._client_message)

    async def run(self):
        """Hold the conversation until it ends; raise if the client asked for a crash."""
        # Not the runner's handlers: uvicorn owns the signals of this process.
        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
        await runner.add_workers(self._worker)
        self._running = asyncio.create_task(runner.run())
        await asyncio.wait({self._running, self._crash}, return_when=asyncio.FIRST_COMPLETED)
        if self._crash.done() and isinstance(self._args, SmallWebRTCRunnerArguments):
            # The runner closes no peer connection; a pipeline that ends does.
            self._running.cancel()
            await self._running
        # After a crash on a WebSocket, which the server closes, the pipeline goes on alone until it
        # finds the connection lost.
        await (self._crash if self._crash.done() else self._running)

    async def _client_left(self, transport, client):
        await self._worker.cancel(reason="client left")

    async def _client_ready(self, rtvi: RTVIProcessor):
        if self._connection.flag("greet"):
            await self._worker.queue_frame(TTSSpeakFrame("Hello there."))
        if self._connection.mode == "close":
            await self._worker.queue_frame(EndFrame())

    async def _client_message(self, rtvi: RTVIProcessor, message: ClientMessage):
        try:
            handler = getattr(self, f"on_{message.type}", None)
            if handler is None:
                raise RefusedError(f"unknown request: {message.type}")
            answer = await handler(message.data)
        except (RefusedError, KeyError, TypeError, ValueError) as error:
            await rtvi.send_error_response(message, str(error))
        else:
            if answer is not None:
                await rtvi.send_server_response(message, answer)

    async def on_ping(self, data: Any) -> dict[str, Any]:
        """Answer with what was sent."""
        return {"pong": data}

    async def on_fail(self, data: Any) -> None:
        """Refuse."""
        raise RefusedError("as requested")

    async def on_silent(self, data: Any) -> None:
        """Never answer."""

    async def on_about(self, data: Any) -> dict[str, Any]:
        """Tell what this bot knows about its client."""
        ready = self._connection.client_ready
        return {
            "version": ready.get("version"),
            "about": ready.get("about"),
            "headers": self._connection.headers,
            "query": self._connection.query,
        }

    async def on_flood(self, data: dict[str, Any]) -> dict[str, Any]:
        """Send many server-messages as fast as they go."""
        count = int(data["count"])
        for number in range(count):
            await self._worker.rtvi.send_server_message({"n": number})
        return {"flooded": count}

    async def on_say(self, data: Any) -> dict[str, Any]:
        """Speak a text that no LLM made."""
        await self._worker.queue_frame(TTSSpeakFrame(given_text(data)))
        return {"said": given_text(data)}

    async def on_user(self, data: Any) -> None:
        """Hear the user say something, as a speech-to-text service with turn detection would."""
        text = given_text(data)
        words = text.split()
        first_half = " ".join(words[: (len(words) + 1) // 2])
        now = time_now_iso8601()
        for frame in (
            ProposedUserStartedSpeakingFrame(),
            InterimTranscriptionFrame(first_half, "user", now),
            TranscriptionFrame(text, "user", now, finalized=True),
            ProposedUserStoppedSpeakingFrame(),
        ):
            await self._worker.queue_frame(frame)
            await asyncio.sleep(HEARD_PAUSE_SECONDS)

    async def on_function(self, data: dict[str, Any]) -> None:
        """Ask the LLM the question it needs the client's get_weather for."""
        question = {"role": "user", "content": f"What is the weather in {data['city']}?"}
        await self._worker.queue_frame(LLMMessagesAppendFrame([question], run_llm=True))

    async def on_error(self, data: Any) -> None:
        """Report an error the bot survives."""
        await self._llm.push_error(given_text(data))

    async def on_fatal(self, data: Any) -> None:
        """Report an error that cancels the pipeline."""
        await self._llm.push_error_frame(ErrorFrame(given_text(data), fatal=True))

    async def on_interrupt(self, data: Any) -> None:
        """Fall silent."""
        await self._worker.rtvi.interrupt_bot()

    async def on_end(self, data: Any) -> None:
        """Leave after everything queued has been said."""
        await self._worker.queue_frame(EndFrame())

    async def on_cancel(self, data: Any) -> None:
        """Leave at once."""
        await self._worker.cancel(reason="asked by the client")

    async def on_crash(self, data: Any) -> None:
        """Make `bot` raise in the middle of the conversation."""
        self._crash.set_exception(RuntimeError("crash, as requested"))

    async def on_vanish(self, data: Any) -> None:
        """Be gone from the network without a word."""
        await lose_link(self._args)

    async def on_video(self, data: Any) -> dict[str, Any]:
        """Tell which pictures came."""
        return self._video.summary()


def given_text(data: Any) -> str:
    """The text of a request, which may come bare or as {"text": ...}."""
    return str(data.get("text", "") if isinstance(data, dict) else data or "")


async def bot(runner_args: RunnerArguments):
    """What Pipecat's runner runs for every connection."""
    connection = log.connection_of(runner_args)
    if connection.mode not in MODES:
        raise ValueError(f"unknown mode: {connection.mode}")
    if connection.mode == "crash":
        raise RuntimeError("crash, as requested")
    if connection.mode == "hang":
        await connection.gone.wait()
    if connection.mode == "slow":
        with suppress(TimeoutError):
            await asyncio.wait_for(connection.gone.wait(), float(connection.query.get("delay", 1)))
    if not connection.gone.is_set():
        await Conversation(runner_args, connection).run()


log = ConnectionLog()
log.watch(app)

if __name__ == "__main__":
    # uvicorn stops cleanly on SIGTERM and then raises it again: end as a success, and unwind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="e2e-bot-uploads-") as uploads_folder:
        os.environ.setdefault("PIPECAT_UPLOADS_FOLDER", uploads_folder)
        main()
