"""trio_pipecat: the Python client SDK for Pipecat voice bots. A session is a scope.

What users touch is here; the private modules are for reading:

* `open_session`, `PipecatClient`, `start_bot`: the ways to a `Session`, and `open_session_group` to
  many of them.
* Events: one class for each RTVI message, named after its wire type, and the session's own.
* Errors: one tree, under `PipecatError`.
* ``trio_pipecat.audio``, ``.video``, ``.transports``, ``.testing``: sound, pictures, links, and the
  simulated bot.
"""

from ._audio_sender import IdleAudio as IdleAudio
from ._audio_sender import StreamReport as StreamReport
from ._bridge import BridgeReport as BridgeReport
from ._bridge import BridgeSide as BridgeSide
from ._bridge import bridge as bridge
from ._bridge_recorder import BridgeRecorder as BridgeRecorder
from ._client import PipecatClient as PipecatClient
from ._client import open_session as open_session
from ._errors import BotNotReadyError as BotNotReadyError
from ._errors import ConnectionLostError as ConnectionLostError
from ._errors import DeviceError as DeviceError
from ._errors import FatalBotError as FatalBotError
from ._errors import InternalError as InternalError
from ._errors import InvalidParamsError as InvalidParamsError
from ._errors import MessageTooLargeError as MessageTooLargeError
from ._errors import PipecatError as PipecatError
from ._errors import ProtocolError as ProtocolError
from ._errors import ReadyTimeoutError as ReadyTimeoutError
from ._errors import RecordingError as RecordingError
from ._errors import RequestError as RequestError
from ._errors import RequestTimeoutError as RequestTimeoutError
from ._errors import SessionEndedError as SessionEndedError
from ._errors import SlowReaderError as SlowReaderError
from ._errors import StartBotError as StartBotError
from ._errors import TransportStartError as TransportStartError
from ._errors import UnsupportedFeatureError as UnsupportedFeatureError
from ._errors import UploadError as UploadError
from ._errors import WavError as WavError
from ._events import AudioStarted as AudioStarted
from ._events import BotConnected as BotConnected
from ._events import BotDisconnected as BotDisconnected
from ._events import BotStarted as BotStarted
from ._events import Connected as Connected
from ._events import ConnectionRestarted as ConnectionRestarted
from ._events import Disconnected as Disconnected
from ._events import EventsSkipped as EventsSkipped
from ._events import FunctionCallUnanswerable as FunctionCallUnanswerable
from ._events import ProtocolMismatch as ProtocolMismatch
from ._events import StateChanged as StateChanged
from ._functions import FunctionHandler as FunctionHandler
from ._group import Member as Member
from ._group import OnFailure as OnFailure
from ._group import Outcome as Outcome
from ._group import SessionGroup as SessionGroup
from ._group import open_session_group as open_session_group
from ._lifecycle import StateEvents as StateEvents
from ._messages import RTVI_VERSION as RTVI_VERSION
from ._messages import AboutClient as AboutClient
from ._messages import Answer as Answer
from ._messages import AppendToContext as AppendToContext
from ._messages import AppendToContextResult as AppendToContextResult
from ._messages import BotAudioLevel as BotAudioLevel
from ._messages import BotInterrupted as BotInterrupted
from ._messages import BotLlmMarker as BotLlmMarker
from ._messages import BotLlmSearchResponse as BotLlmSearchResponse
from ._messages import BotLlmStarted as BotLlmStarted
from ._messages import BotLlmStopped as BotLlmStopped
from ._messages import BotLlmText as BotLlmText
from ._messages import BotMessage as BotMessage
from ._messages import BotOutput as BotOutput
from ._messages import BotReady as BotReady
from ._messages import BotStartedSpeaking as BotStartedSpeaking
from ._messages import BotStoppedSpeaking as BotStoppedSpeaking
from ._messages import BotTranscription as BotTranscription
from ._messages import BotTtsAudio as BotTtsAudio
from ._messages import BotTtsStarted as BotTtsStarted
from ._messages import BotTtsStopped as BotTtsStopped
from ._messages import BotTtsText as BotTtsText
from ._messages import Capabilities as Capabilities
from ._messages import CharacterUsage as CharacterUsage
from ._messages import ClientMessage as ClientMessage
from ._messages import ClientReady as ClientReady
from ._messages import Command as Command
from ._messages import DisconnectBot as DisconnectBot
from ._messages import Dtmf as Dtmf
from ._messages import Error as Error
from ._messages import ErrorResponse as ErrorResponse
from ._messages import EvalBotAudio as EvalBotAudio
from ._messages import EvalBotImage as EvalBotImage
from ._messages import Event as Event
from ._messages import File as File
from ._messages import FirstAnswerTiming as FirstAnswerTiming
from ._messages import FirstAudioTiming as FirstAudioTiming
from ._messages import InlineSource as InlineSource
from ._messages import LlmFunctionCall as LlmFunctionCall
from ._messages import LlmFunctionCallInProgress as LlmFunctionCallInProgress
from ._messages import LlmFunctionCallResult as LlmFunctionCallResult
from ._messages import LlmFunctionCallStarted as LlmFunctionCallStarted
from ._messages import LlmFunctionCallStopped as LlmFunctionCallStopped
from ._messages import LlmRawText as LlmRawText
from ._messages import MalformedMessage as MalformedMessage
from ._messages import Metrics as Metrics
from ._messages import RawAudio as RawAudio
from ._messages import RawAudioBatch as RawAudioBatch
from ._messages import SearchOrigin as SearchOrigin
from ._messages import SearchResult as SearchResult
from ._messages import SendFile as SendFile
from ._messages import SendText as SendText
from ._messages import ServerMessage as ServerMessage
from ._messages import ServerResponse as ServerResponse
from ._messages import SpokenProgress as SpokenProgress
from ._messages import SttRawText as SttRawText
from ._messages import SttUsage as SttUsage
from ._messages import SystemLog as SystemLog
from ._messages import Timing as Timing
from ._messages import TokenUsage as TokenUsage
from ._messages import TtsRawText as TtsRawText
from ._messages import UiCancelJobGroup as UiCancelJobGroup
from ._messages import UiCommand as UiCommand
from ._messages import UiEvent as UiEvent
from ._messages import UiJobGroup as UiJobGroup
from ._messages import UiNode as UiNode
from ._messages import UiSelection as UiSelection
from ._messages import UiSnapshot as UiSnapshot
from ._messages import UiTree as UiTree
from ._messages import UnknownMessage as UnknownMessage
from ._messages import UrlSource as UrlSource
from ._messages import UserAudioLevel as UserAudioLevel
from ._messages import UserInput as UserInput
from ._messages import UserLlmText as UserLlmText
from ._messages import UserMuteStarted as UserMuteStarted
from ._messages import UserMuteStopped as UserMuteStopped
from ._messages import UserStartedSpeaking as UserStartedSpeaking
from ._messages import UserStoppedSpeaking as UserStoppedSpeaking
from ._messages import UserTranscription as UserTranscription
from ._messages import VadUserStartedSpeaking as VadUserStartedSpeaking
from ._messages import VadUserStoppedSpeaking as VadUserStoppedSpeaking
from ._options import SessionKeywords as SessionKeywords
from ._params import ConnectParams as ConnectParams
from ._params import StartedBot as StartedBot
from ._params import TokenPlace as TokenPlace
from ._protocol import FunctionCall as FunctionCall
from ._protocol import ProtocolVersions as ProtocolVersions
from ._session import Session as Session
from ._start import start_bot as start_bot
from ._state import EndReason as EndReason
from ._state import SessionEnd as SessionEnd
from ._state import Side as Side
from ._state import State as State
from ._streams import AudioStream as AudioStream
from ._streams import EventStream as EventStream
from ._streams import StreamReader as StreamReader
from ._streams import VideoStream as VideoStream
from ._version import __version__ as __version__
from ._video_sender import VideoReport as VideoReport
from ._wav_recorder import WavRecorder as WavRecorder
from .audio import AudioChunk as AudioChunk
from .audio import AudioDevice as AudioDevice
from .audio import AudioSource as AudioSource
from .audio import Lateness as Lateness
from .audio import Microphone as Microphone
from .audio import Speaker as Speaker
from .audio import list_devices as list_devices
from .audio import open_microphone as open_microphone
from .audio import open_speaker as open_speaker
from .video import Camera as Camera
from .video import VideoFrame as VideoFrame
from .video import VideoSource as VideoSource
from .video import open_camera as open_camera

__all__ = [
    "RTVI_VERSION",
    "AboutClient",
    "Answer",
    "AppendToContext",
    "AppendToContextResult",
    "AudioChunk",
    "AudioDevice",
    "AudioSource",
    "AudioStarted",
    "AudioStream",
    "BotAudioLevel",
    "BotConnected",
    "BotDisconnected",
    "BotInterrupted",
    "BotLlmMarker",
    "BotLlmSearchResponse",
    "BotLlmStarted",
    "BotLlmStopped",
    "BotLlmText",
    "BotMessage",
    "BotNotReadyError",
    "BotOutput",
    "BotReady",
    "BotStarted",
    "BotStartedSpeaking",
    "BotStoppedSpeaking",
    "BotTranscription",
    "BotTtsAudio",
    "BotTtsStarted",
    "BotTtsStopped",
    "BotTtsText",
    "BridgeRecorder",
    "BridgeReport",
    "BridgeSide",
    "Camera",
    "Capabilities",
    "CharacterUsage",
    "ClientMessage",
    "ClientReady",
    "Command",
    "ConnectParams",
    "Connected",
    "ConnectionLostError",
    "ConnectionRestarted",
    "DeviceError",
    "DisconnectBot",
    "Disconnected",
    "Dtmf",
    "EndReason",
    "Error",
    "ErrorResponse",
    "EvalBotAudio",
    "EvalBotImage",
    "Event",
    "EventStream",
    "EventsSkipped",
    "FatalBotError",
    "File",
    "FirstAnswerTiming",
    "FirstAudioTiming",
    "FunctionCall",
    "FunctionCallUnanswerable",
    "FunctionHandler",
    "IdleAudio",
    "InlineSource",
    "InternalError",
    "InvalidParamsError",
    "Lateness",
    "LlmFunctionCall",
    "LlmFunctionCallInProgress",
    "LlmFunctionCallResult",
    "LlmFunctionCallStarted",
    "LlmFunctionCallStopped",
    "LlmRawText",
    "MalformedMessage",
    "Member",
    "MessageTooLargeError",
    "Metrics",
    "Microphone",
    "OnFailure",
    "Outcome",
    "PipecatClient",
    "PipecatError",
    "ProtocolError",
    "ProtocolMismatch",
    "ProtocolVersions",
    "RawAudio",
    "RawAudioBatch",
    "ReadyTimeoutError",
    "RecordingError",
    "RequestError",
    "RequestTimeoutError",
    "SearchOrigin",
    "SearchResult",
    "SendFile",
    "SendText",
    "ServerMessage",
    "ServerResponse",
    "Session",
    "SessionEnd",
    "SessionEndedError",
    "SessionGroup",
    "SessionKeywords",
    "Side",
    "SlowReaderError",
    "Speaker",
    "SpokenProgress",
    "StartBotError",
    "StartedBot",
    "State",
    "StateChanged",
    "StateEvents",
    "StreamReader",
    "StreamReport",
    "SttRawText",
    "SttUsage",
    "SystemLog",
    "Timing",
    "TokenPlace",
    "TokenUsage",
    "TransportStartError",
    "TtsRawText",
    "UiCancelJobGroup",
    "UiCommand",
    "UiEvent",
    "UiJobGroup",
    "UiNode",
    "UiSelection",
    "UiSnapshot",
    "UiTree",
    "UnknownMessage",
    "UnsupportedFeatureError",
    "UploadError",
    "UrlSource",
    "UserAudioLevel",
    "UserInput",
    "UserLlmText",
    "UserMuteStarted",
    "UserMuteStopped",
    "UserStartedSpeaking",
    "UserStoppedSpeaking",
    "UserTranscription",
    "VadUserStartedSpeaking",
    "VadUserStoppedSpeaking",
    "VideoFrame",
    "VideoReport",
    "VideoSource",
    "VideoStream",
    "WavError",
    "WavRecorder",
    "__version__",
    "bridge",
    "list_devices",
    "open_camera",
    "open_microphone",
    "open_session",
    "open_session_group",
    "open_speaker",
    "start_bot",
]

# So that tracebacks and reprs say trio_pipecat.StartBotError, where people import it from.
for _name in __all__:
    _value = globals()[_name]
    if getattr(_value, "__module__", "").startswith(f"{__name__}."):
        _value.__module__ = __name__
