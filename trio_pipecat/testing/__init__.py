"""The other end of the wire: a simulated bot, for tests, tutorials and demonstrations.

* `SimulatedBot`, `serve_bot`: the bot, in memory and on a port.
* `greet`, `echo`, `script`, `crash`…: what it does of its own accord, good and bad.
* `Recorder`, `load_recording`, `ReplayBot`, `diff`: a session as a file, and played again.
* `virtual_network`: the real wire without a socket, for a clock that jumps.
* `check_transport`: does a transport of your own keep the rules?
* `check_client`: what does a client, ours or not, do when a bot misbehaves?
"""

from ._behaviours import GarbageKind as GarbageKind
from ._behaviours import crash as crash
from ._behaviours import echo as echo
from ._behaviours import fatal_error as fatal_error
from ._behaviours import flood as flood
from ._behaviours import function_call as function_call
from ._behaviours import garbage as garbage
from ._behaviours import greet as greet
from ._behaviours import half_open as half_open
from ._behaviours import interrupt_on_speech as interrupt_on_speech
from ._behaviours import leave_after as leave_after
from ._behaviours import never_ready as never_ready
from ._behaviours import report_error as report_error
from ._behaviours import slow_ready as slow_ready
from ._behaviours import wrong_version as wrong_version
from ._bot import SimulatedBot as SimulatedBot
from ._check_client import RunClient as RunClient
from ._check_client import check_client as check_client
from ._check_transport import TransportMaker as TransportMaker
from ._check_transport import check_transport as check_transport
from ._client_cases import ClientCase as ClientCase
from ._client_cases import list_client_cases as list_client_cases
from ._client_report import CaseResult as CaseResult
from ._client_report import ClientReport as ClientReport
from ._client_stage import ClientPatience as ClientPatience
from ._conversation import Behaviour as Behaviour
from ._conversation import BotCrashedError as BotCrashedError
from ._conversation import BotLink as BotLink
from ._conversation import Conversation as Conversation
from ._conversation import RefusedError as RefusedError
from ._conversation import RequestHandler as RequestHandler
from ._diff import Difference as Difference
from ._diff import DifferenceKind as DifferenceKind
from ._diff import diff as diff
from ._memory_link import Bot as Bot
from ._network import VirtualNetwork as VirtualNetwork
from ._network import virtual_network as virtual_network
from ._personality import GREETING as GREETING
from ._recorder import Recorder as Recorder
from ._recording import Recorded as Recorded
from ._recording import RecordedAudio as RecordedAudio
from ._recording import RecordedEnd as RecordedEnd
from ._recording import RecordedInterruption as RecordedInterruption
from ._recording import RecordedMessage as RecordedMessage
from ._recording import RecordedSound as RecordedSound
from ._recording import RecordedState as RecordedState
from ._recording import RecordedUndecodable as RecordedUndecodable
from ._recording import Recording as Recording
from ._recording import Speaker as Speaker
from ._recording import load_recording as load_recording
from ._replay import ReplayBot as ReplayBot
from ._script import script as script
from ._serve import ServedBot as ServedBot
from ._serve import serve_bot as serve_bot
from ._transport_ends import TransportFeature as TransportFeature
from ._voice import Voice as Voice

__all__ = [
    "GREETING",
    "Behaviour",
    "Bot",
    "BotCrashedError",
    "BotLink",
    "CaseResult",
    "ClientCase",
    "ClientPatience",
    "ClientReport",
    "Conversation",
    "Difference",
    "DifferenceKind",
    "GarbageKind",
    "Recorded",
    "RecordedAudio",
    "RecordedEnd",
    "RecordedInterruption",
    "RecordedMessage",
    "RecordedSound",
    "RecordedState",
    "RecordedUndecodable",
    "Recorder",
    "Recording",
    "RefusedError",
    "ReplayBot",
    "RequestHandler",
    "RunClient",
    "ServedBot",
    "SimulatedBot",
    "Speaker",
    "TransportFeature",
    "TransportMaker",
    "VirtualNetwork",
    "Voice",
    "check_client",
    "check_transport",
    "crash",
    "diff",
    "echo",
    "fatal_error",
    "flood",
    "function_call",
    "garbage",
    "greet",
    "half_open",
    "interrupt_on_speech",
    "leave_after",
    "list_client_cases",
    "load_recording",
    "never_ready",
    "report_error",
    "script",
    "serve_bot",
    "slow_ready",
    "virtual_network",
    "wrong_version",
]
