"""Every RTVI 2.2.0 message, one frozen class each, both directions.

A class is named after its wire type: ``bot-output`` is `BotOutput`. What the bot says are *events*,
what the client says are *commands*. The order and the spelling of the wire are kept; where a field
is spelt differently here, ``wire()`` says so. Facts about the messages: the RTVI processor of
pipecat-ai 1.14.0, run and read.

Two classes stand for what does not fit: `UnknownMessage` (a type this version has never heard of;
servers add types without notice) and `MalformedMessage` (a known type whose data is wrong, or no
RTVI message at all). Neither ends a session.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

import attrs

from ._wire import Json, record, wire

#: The protocol version that this package speaks.
RTVI_VERSION: Final = "2.2.0"
#: The ``label`` of every envelope.
RTVI_LABEL: Final = "rtvi-ai"

_OFF_WIRE: Final = {"off_wire": True}


@record
class Event:
    """Something that happened in a session: a message of the bot, or one of the session's own.

    `raw` is what the wire said: the decoded JSON envelope (its text, where it was no JSON), None
    for the session's own events. `at` is when it was received, on trio's clock
    (`trio.current_time`), NaN outside a session. Neither counts for equality.
    """

    raw: Any = attrs.field(default=None, eq=False, repr=False, metadata=_OFF_WIRE)
    at: float = attrs.field(default=math.nan, eq=False, repr=False, metadata=_OFF_WIRE)


@record
class BotMessage(Event):
    """The base of every event that came over the wire."""

    TYPE: ClassVar[str] = ""


@record
class Answer(BotMessage):
    """The base of the messages that answer one of ours; `id` is the id of that message."""

    id: str = attrs.field(default="", metadata=_OFF_WIRE)


@record
class Command:
    """The base of everything that a client says to a bot."""

    TYPE: ClassVar[str] = ""


_E = TypeVar("_E", bound=BotMessage)
_C = TypeVar("_C", bound=Command)

#: Wire type to class.
EVENT_TYPES: Final[dict[str, type[BotMessage]]] = {}
COMMAND_TYPES: Final[dict[str, type[Command]]] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(attrs.field,))
def _event(type_: str) -> Callable[[type[_E]], type[_E]]:
    def decorate(cls: type[_E]) -> type[_E]:
        cls = record(cls)
        cls.TYPE = type_
        EVENT_TYPES[type_] = cls
        return cls

    return decorate


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(attrs.field,))
def _command(type_: str) -> Callable[[type[_C]], type[_C]]:
    def decorate(cls: type[_C]) -> type[_C]:
        cls = record(cls)
        cls.TYPE = type_
        COMMAND_TYPES[type_] = cls
        return cls

    return decorate


@record
class UnknownMessage(BotMessage):
    """A message of a type that this version does not know; nothing of it is lost."""

    type: str
    data: Json = None


@record
class MalformedMessage(BotMessage):
    """A message that can't be what it says it is. `reason` says why, `raw` is what came."""

    reason: str
    type: str | None = None


# -- the bot's side: the session ---------------------------------------------------------


@record
class Capabilities:
    """What the bot's pipeline does. None means that the bot did not say."""

    audio_in: bool | None = None
    audio_out: bool | None = None
    video_in: bool | None = None
    screen_in: bool | None = None
    video_out: bool | None = None
    metrics: bool | None = None


@_event("bot-ready")
class BotReady(Answer):
    """The bot's pipeline runs: the answer to our ``client-ready``.

    `version` is the protocol the bot speaks, in its own words (empty if it didn't say); `about` is
    whatever the application put there, by default its library and version.
    """

    version: str = ""
    about: Json = None
    capabilities: Capabilities | None = None


@_event("error")
class Error(BotMessage):
    """The bot reports an error. One that is `fatal` ends the session."""

    # The documentation, and what is written after it, says "message".
    error: str = attrs.field(default="", metadata=wire("error", also=("message",)))
    fatal: bool = False


@_event("error-response")
class ErrorResponse(Answer):
    """The bot refuses one of our messages; `id` says which."""

    error: str = attrs.field(default="", metadata=wire("error", also=("message",)))


@_event("server-response")
class ServerResponse(Answer):
    """The bot's application answers a request; `t` repeats the request's."""

    t: str
    d: Json = None


@_event("server-message")
class ServerMessage(BotMessage):
    """Anything the bot's application wanted to say."""

    data: Json = attrs.field(default=None, metadata=wire(whole=True))


@_event("system-log")
class SystemLog(BotMessage):
    """A line of the server's log (off by default on servers)."""

    text: str


@_event("append-to-context-result")
class AppendToContextResult(BotMessage):
    """The answer to ``append-to-context`` on servers that still knew it."""

    data: Json = attrs.field(default=None, metadata=wire(whole=True))


# -- the bot's side: metrics -------------------------------------------------------------


@record
class Timing:
    """Seconds that one processor took."""

    processor: str
    value: float
    model: str | None = None


@record
class FirstAudioTiming:
    """Seconds to the first audio, and to the first that can be heard."""

    processor: str
    ttfa: float
    ttfb: float
    leading_silence: float
    model: str | None = None


@record
class FirstAnswerTiming:
    """Seconds to the first token of the answer, of which `thinking_time` were reasoning."""

    processor: str
    ttfat: float
    ttfb: float
    thinking_time: float
    model: str | None = None


@record
class TokenUsage:
    """What one LLM completion used. The wire does not say which processor it was."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    cache_read_input_audio_tokens: int | None = None


@record
class SttUsage:
    """Seconds of audio that a speech-to-text service was given."""

    processor: str
    audio_seconds: float = attrs.field(metadata=wire("audio_seconds", inside="value"))
    model: str | None = None


@record
class CharacterUsage:
    """Characters that a text-to-speech service was given."""

    processor: str
    value: int
    model: str | None = None


@_event("metrics")
class Metrics(BotMessage):
    """The server's own measurements. Times are seconds (its documentation says milliseconds).

    Kinds that this version does not know are in `other`, as they came.
    """

    ttfb: tuple[Timing, ...] | None = None
    processing: tuple[Timing, ...] | None = None
    ttfa: tuple[FirstAudioTiming, ...] | None = None
    ttfat: tuple[FirstAnswerTiming, ...] | None = None
    tokens: tuple[TokenUsage, ...] | None = None
    stt_usage: tuple[SttUsage, ...] | None = None
    characters: tuple[CharacterUsage, ...] | None = None
    other: Mapping[str, Json] = attrs.field(factory=dict, metadata=wire(rest=True))


# -- the bot's side: the user ------------------------------------------------------------


@_event("user-started-speaking")
class UserStartedSpeaking(BotMessage):
    """The user's turn began, in the bot's judgement (it may lag the voice)."""


@_event("user-stopped-speaking")
class UserStoppedSpeaking(BotMessage):
    """The user's turn ended, in the bot's judgement."""


@_event("vad-user-started-speaking")
class VadUserStartedSpeaking(BotMessage):
    """The bot's voice detector heard the user (off by default)."""


@_event("vad-user-stopped-speaking")
class VadUserStoppedSpeaking(BotMessage):
    """The bot's voice detector no longer hears the user (off by default)."""


@_event("user-mute-started")
class UserMuteStarted(BotMessage):
    """The bot ignores the user's audio from now on. Keep sending."""


@_event("user-mute-stopped")
class UserMuteStopped(BotMessage):
    """The bot listens to the user's audio again."""


@_event("user-transcription")
class UserTranscription(BotMessage):
    """What the user said. Deprecated since pipecat 1.13, which sends `UserInput` just before it."""

    text: str
    user_id: str
    timestamp: str
    final: bool


@_event("user-input")
class UserInput(BotMessage):
    """What the user said or wrote.

    `input_type` is ``transcription``, ``chat`` or ``backchannel``. For text sent with
    ``send-text``, `msg_id` is the id of that message: the acknowledgement that it arrived.
    """

    text: str
    input_type: str
    timestamp: str
    final: bool
    user_id: str | None = None
    msg_id: str | None = None


@_event("user-llm-text")
class UserLlmText(BotMessage):
    """The user's message as it was given to the LLM."""

    text: str


@_event("stt-raw-text")
class SttRawText(BotMessage):
    """Text of the speech-to-text service (off by default)."""

    text: str
    user_id: str
    timestamp: str
    final: bool


@_event("user-audio-level")
class UserAudioLevel(BotMessage):
    """How loud the bot hears the user, 0 to 1 (off by default)."""

    value: float


# -- the bot's side: the bot -------------------------------------------------------------


@_event("bot-started-speaking")
class BotStartedSpeaking(BotMessage):
    """The bot's audio began. May come after its first audio."""


@_event("bot-stopped-speaking")
class BotStoppedSpeaking(BotMessage):
    """The bot's audio ended."""


@_event("bot-interrupted")
class BotInterrupted(BotMessage):
    """The bot was interrupted: drop what is buffered of its audio and its unfinished text."""


@record
class SpokenProgress:
    """How much of a text segment has been heard."""

    accumulated_text: str
    remaining_text: str


@_event("bot-output")
class BotOutput(BotMessage):
    """A piece of what the bot says.

    On a 2.x bot `text` is the whole segment each time: `spoken_status` goes from ``new`` over
    ``in-progress`` (once a word, with `spoken_progress`) to ``completed``; an interrupted segment
    never completes. On a 1.x bot words come as messages of their own, with `output_type` ``word``
    and `spoken` true.

    `output_type` is ``sentence``, ``word``, ``token``, ``backchannel`` or the application's own.
    `segment_id` is unique within the bot's process and not dense.
    """

    text: str
    # pipecat 1.13 said text_type, servers before it aggregated_by; 1.14 says all three.
    output_type: str | None = attrs.field(
        default=None,
        metadata=wire("output_type", also=("text_type", "aggregated_by"), also_written=True),
    )
    segment_id: int | None = None
    spoken: bool | None = None
    will_be_spoken: bool | None = None
    spoken_status: str | None = None
    spoken_progress: SpokenProgress | None = None


@_event("bot-transcription")
class BotTranscription(BotMessage):
    """A sentence of the bot. Deprecated; see `BotOutput`."""

    text: str


@_event("bot-llm-started")
class BotLlmStarted(BotMessage):
    """The LLM began to answer."""


@_event("bot-llm-stopped")
class BotLlmStopped(BotMessage):
    """The LLM has answered."""


@_event("bot-llm-text")
class BotLlmText(BotMessage):
    """A token of the LLM. Deprecated since pipecat 1.13, but its successor is off by default."""

    text: str


@_event("llm-raw-text")
class LlmRawText(BotMessage):
    """A token of the LLM (off by default)."""

    text: str


@_event("bot-llm-marker")
class BotLlmMarker(BotMessage):
    """A marker in the LLM's output (off by default; an aid for evaluations)."""

    text: str
    raw_text: str = attrs.field(metadata=wire("raw"))
    markers: tuple[str, ...]
    kind: str | None = None


@record
class SearchResult:
    """One result of a search the LLM made."""

    text: str
    confidence: tuple[float, ...]


@record
class SearchOrigin:
    """A site that search results come from."""

    results: tuple[SearchResult, ...]
    site_uri: str | None = None
    site_title: str | None = None


@_event("bot-llm-search-response")
class BotLlmSearchResponse(BotMessage):
    """What an LLM with built-in search found."""

    origins: tuple[SearchOrigin, ...]
    search_result: str | None = None
    rendered_content: str | None = None


@_event("bot-tts-started")
class BotTtsStarted(BotMessage):
    """Synthesis began: not playback, both ends can come before the first audio."""


@_event("bot-tts-stopped")
class BotTtsStopped(BotMessage):
    """Synthesis ended."""


@_event("bot-tts-text")
class BotTtsText(BotMessage):
    """A word or sentence given to synthesis. Deprecated, but its successor is off by default."""

    text: str


@_event("tts-raw-text")
class TtsRawText(BotMessage):
    """A word or sentence given to synthesis (off by default)."""

    text: str


@_event("bot-tts-audio")
class BotTtsAudio(BotMessage):
    """Audio as a message: PCM s16le in `audio`. pipecat 1.14 never sends it."""

    audio: bytes
    sample_rate: int
    num_channels: int


@_event("bot-audio-level")
class BotAudioLevel(BotMessage):
    """How loud the bot is, 0 to 1 (off by default)."""

    value: float


# -- the bot's side: function calls ------------------------------------------------------

# How much a bot tells of its function calls is a setting of its server, per function: by default
# only the id. The events below then have no name, and nobody can answer them.


@_event("llm-function-call-started")
class LlmFunctionCallStarted(BotMessage):
    """The LLM began a function call. It has no id yet, so nothing can be matched with it."""

    function_name: str | None = None


@_event("llm-function-call-in-progress")
class LlmFunctionCallInProgress(BotMessage):
    """The LLM calls a function."""

    tool_call_id: str
    function_name: str | None = None
    arguments: Mapping[str, Json] | None = None


@_event("llm-function-call-stopped")
class LlmFunctionCallStopped(BotMessage):
    """A function call is over. Servers drop a `result` that is false, zero or empty."""

    tool_call_id: str
    cancelled: bool
    function_name: str | None = None
    result: Json = None


@_event("llm-function-call")
class LlmFunctionCall(BotMessage):
    """The LLM calls a function. Deprecated; sent where the bot's code asks for it by hand."""

    function_name: str
    tool_call_id: str
    args: Mapping[str, Json]


# -- the bot's side: user interfaces -----------------------------------------------------


@_event("ui-command")
class UiCommand(BotMessage):
    """The bot wants something of the user interface: ``toast``, ``navigate``, ``scroll_to``…"""

    command: str
    payload: Json = None


@_event("ui-job-group")
class UiJobGroup(BotMessage):
    """Progress of background jobs.

    `kind` is ``group_started`` (`workers`, `label`, `cancellable`), ``job_update`` (`worker_name`,
    `data`), ``job_completed`` (`worker_name`, `status`, `response`) or ``group_completed``. `at_ms`
    is the server's clock, in milliseconds.
    """

    kind: str
    job_id: str
    at_ms: int = attrs.field(metadata=wire("at"))
    workers: tuple[str, ...] | None = None
    label: str | None = None
    cancellable: bool | None = None
    worker_name: str | None = None
    data: Json = None
    status: str | None = None
    response: Json = None


# -- the bot's side: the evaluation wire -------------------------------------------------


@_event("eval-bot-audio")
class EvalBotAudio(BotMessage):
    """The bot's audio on pipecat's evaluation wire, which has no audio frames: PCM s16le."""

    audio: bytes
    sample_rate: int = attrs.field(metadata=wire("sampleRate"))


@_event("eval-bot-image")
class EvalBotImage(BotMessage):
    """The bot showed an image, on pipecat's evaluation wire (only its size)."""

    width: int
    height: int
    format: str


# -- the client's side -------------------------------------------------------------------


@record
class AboutClient:
    """What a client says of itself. `library` is the one field servers insist on."""

    library: str
    library_version: str | None = None
    platform: str | None = None
    platform_version: str | None = None
    platform_details: Json = None


@_command("client-ready")
class ClientReady(Command):
    """The first message of a session: asks for ``bot-ready``."""

    version: str
    about: AboutClient | None = None


@_command("disconnect-bot")
class DisconnectBot(Command):
    """Asks the bot to end gracefully. It then closes the link."""


@_command("client-message")
class ClientMessage(Command):
    """Anything the application wants to say, or to ask."""

    t: str
    d: Json = None


@_command("send-text")
class SendText(Command):
    """Text from the user."""

    content: str
    run_immediately: bool = attrs.field(default=True, metadata=wire(inside="options"))
    audio_response: bool = attrs.field(default=True, metadata=wire(inside="options"))


@record
class InlineSource:
    """A file's content, inside the message. `width` and `height` are for images, in pixels."""

    WIRE_TAG: ClassVar[tuple[str, str]] = ("type", "bytes")
    content: bytes = attrs.field(metadata=wire("bytes"), repr=False)
    width: int | None = None
    height: int | None = None


@record
class UrlSource:
    """Where a file can be fetched: an uploaded one (``pipecat:…``), http(s), ``s3:``, ``gs:``."""

    WIRE_TAG: ClassVar[tuple[str, str]] = ("type", "url")
    url: str


@record
class File:
    """A file for the bot. `format` is its MIME type."""

    format: str
    source: InlineSource | UrlSource
    name: str | None = None


@_command("send-file")
class SendFile(Command):
    """A file from the user, with a text beside it."""

    content: str
    file: File
    run_immediately: bool = attrs.field(default=True, metadata=wire(inside="options"))
    audio_response: bool = attrs.field(default=True, metadata=wire(inside="options"))
    custom_options: Mapping[str, Json] | None = attrs.field(
        default=None, metadata=wire(inside="options")
    )


@_command("dtmf")
class Dtmf(Command):
    """Keys the user pressed: each one character of ``0123456789*#``.

    Servers of pipecat 1.5 take one key a message, as ``button``; the protocol layer sees to it.
    """

    buttons: tuple[str, ...]


@_command("llm-function-call-result")
class LlmFunctionCallResult(Command):
    """The result of a function call: an object or a string, nothing else."""

    function_name: str
    tool_call_id: str
    arguments: Mapping[str, Json]
    result: Mapping[str, Json] | str


@_command("raw-audio")
class RawAudio(Command):
    """The user's audio as a message (PCM s16le), for links without audio frames."""

    audio: bytes = attrs.field(metadata=wire("base64Audio"), repr=False)
    sample_rate: int = attrs.field(metadata=wire("sampleRate"))
    num_channels: int = attrs.field(metadata=wire("numChannels"))


@_command("raw-audio-batch")
class RawAudioBatch(Command):
    """Several chunks of the user's audio in one message."""

    audio: tuple[bytes, ...] = attrs.field(metadata=wire("base64AudioBatch"), repr=False)
    sample_rate: int = attrs.field(metadata=wire("sampleRate"))
    num_channels: int = attrs.field(metadata=wire("numChannels"))


@_command("ui-event")
class UiEvent(Command):
    """Something happened in the user interface."""

    event: str
    payload: Json = None


@record
class UiNode:
    """A node of the accessibility tree. Keys beyond these are kept in `other`."""

    ref: str
    role: str
    name: str | None = None
    value: str | None = None
    state: tuple[str, ...] | None = None
    level: int | None = None
    colcount: int | None = None
    rowcount: int | None = None
    children: tuple["UiNode", ...] | None = None
    other: Mapping[str, Json] = attrs.field(factory=dict, metadata=wire(rest=True))


@record
class UiSelection:
    """The text the user has selected."""

    ref: str
    text: str
    start_offset: int | None = None
    end_offset: int | None = None


@record
class UiTree:
    """What the user sees. `captured_at` is the epoch in milliseconds."""

    root: UiNode
    captured_at: int
    selection: UiSelection | None = None


@_command("ui-snapshot")
class UiSnapshot(Command):
    """What the user sees, as an accessibility tree."""

    tree: UiTree


@_command("ui-cancel-job-group")
class UiCancelJobGroup(Command):
    """The user does not want a group of background jobs any more."""

    job_id: str
    reason: str | None = None


@_command("append-to-context")
class AppendToContext(Command):
    """Adds to the LLM's context. Deprecated; current servers refuse it. See `SendText`."""

    role: str
    content: Json
    run_immediately: bool = False
