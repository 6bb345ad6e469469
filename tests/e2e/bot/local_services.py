"""A language model and a voice that need no cloud: rules, and a tone."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import fields
from typing import Any

import numpy as np
from pipecat.adapters.llm.base_llm_adapter import BaseLLMAdapter
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    FunctionCallResultFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import FunctionCallParams, LLMService
from pipecat.services.settings import LLMSettings, ServiceSettings, TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.utils.file_resolver import FileResolver

TONE_HZ = 440
TONE_AMPLITUDE = 0.3
TONE_SECONDS = 0.06
WORD_SECONDS = 0.08  # a tone and the pause after it: two audio frames of 40 ms
LEAD_SECONDS = 0.04  # silence before the first word, as real voices have
WEATHER_QUESTION = re.compile(r"What is the weather in (.+)\?")


def complete_settings(settings_class: type[ServiceSettings], model: str) -> ServiceSettings:
    """Settings with every field given, as Pipecat demands of a service."""
    names = {f.name for f in fields(settings_class)} - {"model", "extra"}
    return settings_class(model=model, **dict.fromkeys(names))


class PlainAdapter(BaseLLMAdapter):
    """The adapter of a service without a provider: the context's messages as they are.

    Pipecat's default is OpenAI's, whose import would stall the first connection.
    """

    id_for_llm_specific_messages = "rules"

    async def get_llm_invocation_params(self, context: LLMContext, **kwargs) -> dict[str, Any]:
        """The messages of the context."""
        return {"messages": context.get_messages()}

    def to_provider_tools_format(self, tools_schema) -> list[Any]:
        """Nothing: rules need no description of a tool."""
        return []

    def get_messages_for_logging(self, context: LLMContext) -> list[dict[str, Any]]:
        """The messages of the context."""
        return context.get_messages()


class RuleLLM(LLMService):
    """An LLM service that answers by rule and streams its answer word by word."""

    adapter_class = PlainAdapter

    def __init__(self, *, function_timeout: float | None, file_resolver: FileResolver):
        super().__init__(
            settings=complete_settings(LLMSettings, "rules"),
            function_call_timeout_secs=function_timeout,
            file_resolver=file_resolver,
        )
        self._call_ids = 0
        self._answered_calls: dict[str, asyncio.Event] = {}

    def can_generate_metrics(self) -> bool:
        """This service reports metrics."""
        return True

    def tools(self) -> list[FunctionSchema]:
        """The functions this LLM calls."""
        city = {"city": {"type": "string"}}
        return [
            FunctionSchema(
                "get_weather", "The weather in a city", city, ["city"], self._wait_for_client
            )
        ]

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        """Answer a context; let everything else through."""
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            await self._answer(frame.context)
            return
        if isinstance(frame, FunctionCallResultFrame):
            answered = self._answered_calls.get(frame.tool_call_id)
            if answered:
                answered.set()
        await self.push_frame(frame, direction)

    async def _answer(self, context: LLMContext):
        await self.push_frame(LLMFullResponseStartFrame())
        await self.start_processing_metrics()
        await self.start_ttfb_metrics()
        try:
            messages = context.get_messages()
            last = next(m for m in reversed(messages) if m["role"] in ("user", "tool"))
            if last["role"] == "user" and isinstance(last["content"], str):
                question = WEATHER_QUESTION.fullmatch(last["content"])
                if question:
                    await self._call_get_weather(context, question[1])
                else:
                    await self._stream(f"You said: {last['content']}", messages)
            elif last["role"] == "user":
                await self._stream(await self._describe(last["content"]), messages)
            else:
                await self._stream(weather_report(last["content"]), messages)
        finally:
            await self.stop_processing_metrics()
            await self.push_frame(LLMFullResponseEndFrame())

    async def _stream(self, text: str, messages: list[Any]):
        tokens = re.findall(r"\S+\s*", text)
        for token in tokens:
            await self.stop_ttfb_metrics()
            await self._push_llm_text(token)
        usage = {"prompt_tokens": len(messages), "completion_tokens": len(tokens)}
        await self.start_llm_usage_metrics(LLMTokenUsage(**usage, total_tokens=sum(usage.values())))

    async def _describe(self, parts: list[dict[str, Any]]) -> str:
        """Say what files a message holds, which needs their bytes."""
        said = []
        for part in parts:
            content = part.get("file") or part.get("image_url") or {}
            url = content.get("url") or content.get("file_data")
            if part["type"] == "text":
                said.append(part["text"])
            elif url:
                size = len(await self._file_resolver.fetch(url))
                said.append(f"{content.get('filename') or 'a file'}, {size} bytes")
        return "You sent: " + "; ".join(said)

    async def _call_get_weather(self, context: LLMContext, city: str):
        self._call_ids += 1
        await self.stop_ttfb_metrics()
        call = FunctionCallFromLLM("get_weather", f"call-{self._call_ids}", {"city": city}, context)
        await self.run_function_calls([call])

    async def _wait_for_client(self, params: FunctionCallParams):
        """Keep a function call running until the RTVI client has answered it.

        The answer itself goes down the pipeline without us: the RTVI processor turns
        llm-function-call-result into the frame that completes the call. But Pipecat can only
        cancel (on interruption, on timeout) a call whose handler still runs.
        """
        answered = self._answered_calls[params.tool_call_id] = asyncio.Event()
        try:
            await answered.wait()
        finally:
            del self._answered_calls[params.tool_call_id]


def weather_report(tool_result: str) -> str:
    """What to say about a tool message; a result given as a string is said bare."""
    with suppress(ValueError):
        decoded = json.loads(tool_result)
        tool_result = decoded if isinstance(decoded, str) else tool_result
    return f"The weather: {tool_result}"


class ToneTTS(TTSService):
    """A TTS service that speaks every word as the same short tone and times the words."""

    def __init__(self):
        super().__init__(
            settings=complete_settings(TTSSettings, "tone"),
            push_text_frames=False,  # words are pushed as they are spoken, from their timestamps
            push_start_frame=True,
            push_stop_frames=True,
        )
        self._timeline = ("", 0.0)  # an audio context, and the seconds spoken in it so far

    def can_generate_metrics(self) -> bool:
        """This service reports metrics."""
        return True

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Yield the audio of a text and time its words."""
        await self.start_tts_usage_metrics(text)
        if context_id != self._timeline[0]:
            # A word timed at the very first sample would race bot-started-speaking.
            silence = tone(self.sample_rate, 0, LEAD_SECONDS)
            yield TTSAudioRawFrame(silence, self.sample_rate, 1, context_id=context_id)
            self._timeline = (context_id, LEAD_SECONDS)
        words, began = text.split(), self._timeline[1]
        self._timeline = (context_id, began + len(words) * WORD_SECONDS)
        times = [(word, began + index * WORD_SECONDS) for index, word in enumerate(words)]
        await self.add_word_timestamps(times, context_id)
        audio = tone(self.sample_rate, TONE_SECONDS, WORD_SECONDS)
        for _ in words:
            yield TTSAudioRawFrame(audio, self.sample_rate, 1, context_id=context_id)


def tone(sample_rate: int, sounding: float, total: float) -> bytes:
    """A tone of ``sounding`` seconds, padded with silence to ``total`` seconds."""
    times = np.arange(round(sounding * sample_rate)) / sample_rate
    wave = TONE_AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * times)
    samples = np.zeros(round(total * sample_rate), dtype="<i2")
    samples[: len(wave)] = np.round(wave * 32767)
    return samples.tobytes()
