"""The client's half of RTVI, without I/O: what to send, and what came.

A `ClientProtocol` is told what was received and says which events that means; it is told what to
send and says which text goes out. It numbers messages, matches answers with requests, negotiates
the version and knows which function calls are open. It never waits, never does I/O, and knows
nothing of trio: times are passed in.

`receive` returns events or raises `ProtocolError`. Any other exception is a bug of ours.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from ._codec import decode_event, encode_command, encode_data
from ._errors import UnsupportedFeatureError
from ._events import ProtocolMismatch
from ._messages import (
    RTVI_VERSION,
    AboutClient,
    Answer,
    BotInterrupted,
    BotReady,
    BotStartedSpeaking,
    ClientMessage,
    ClientReady,
    Command,
    Dtmf,
    ErrorResponse,
    Event,
    LlmFunctionCall,
    LlmFunctionCallInProgress,
    LlmFunctionCallResult,
    LlmFunctionCallStopped,
    ServerResponse,
)
from ._wire import Json, record, replace

#: The protocol version with which a message came into being. What is not here is as old as RTVI 1.
_SINCE: Final[Mapping[str, tuple[int, int]]] = {
    "send-text": (1, 1),
    "ui-event": (1, 3),
    "ui-snapshot": (1, 3),
    "ui-cancel-job-group": (1, 4),
    "dtmf": (2, 0),
    "send-file": (2, 2),
}
#: Before this, a ``dtmf`` message carried one key, as ``button``.
_DTMF_LIST_SINCE: Final = (2, 1, 0)

# The numbers are bounded because int() refuses those of thousands of digits.
_VERSION: Final = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})")


def parse_version(version: str) -> tuple[int, int, int] | None:
    """Return the numbers of ``major.minor.patch``, None if it is not that."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return None
    major, minor, patch = match.groups()
    return int(major), int(minor), int(patch)


_OURS: Final = parse_version(RTVI_VERSION) or (0, 0, 0)


@record
class ProtocolVersions:
    """What was negotiated: the version we speak, the bot's, and what is wrong between them.

    `bot` is None until the bot is ready, and when it said no version. `problem` is None when all is
    well. The server never refuses a wrong version, so this is the only place that tells.
    """

    ours: str = RTVI_VERSION
    bot: str | None = None
    problem: str | None = None

    @property
    def effective(self) -> tuple[int, int, int] | None:
        """The bot's version as numbers: what it understands. None if unknown."""
        return None if self.bot is None else parse_version(self.bot)


@record
class FunctionCall:
    """A function call of the bot's LLM that the client is asked to answer."""

    function_name: str
    arguments: Mapping[str, Json]
    tool_call_id: str


@attrs.frozen(kw_only=True)
class Outgoing:
    """Texts to send, in order; `id` is the id of the (last) message in them."""

    id: str
    texts: tuple[str, ...]

    @property
    def size(self) -> int:
        """The size of the largest of them on the wire, in bytes of UTF-8."""
        return max(len(text.encode()) for text in self.texts)


class ClientProtocol:
    """One session's half of the conversation. Make a new one for each link."""

    def __init__(self, about: AboutClient) -> None:
        self.versions = ProtocolVersions()
        self.bot_ready: BotReady | None = None
        #: The function calls that wait for a result, by `tool_call_id`.
        self.calls: dict[str, FunctionCall] = {}
        self._about = about
        self._counter = itertools.count(1)
        self._hello_id = ""
        #: What the server had to say against our version, of the present hello.
        self._complaint: str | None = None
        #: The mismatch that was told last.
        self._told: str | None = None
        self._requests: dict[str, Callable[[Answer], None]] = {}
        #: The same, the other way round.
        self._asked: dict[Callable[[Answer], None], str] = {}
        #: How many interruptions were told by the wire's signal, and not yet by a message.
        self._signalled = 0

    # -- what to send --

    def hello(self) -> Outgoing:
        """The message that asks for ``bot-ready``: the first of every link.

        Said again on another connection, it is answered again, perhaps by another bot. Until then
        what was negotiated holds.
        """
        outgoing = self.send(ClientReady(version=RTVI_VERSION, about=self._about))
        self._hello_id = outgoing.id
        self._complaint = None
        return outgoing

    def send(self, command: Command) -> Outgoing:
        """Encode a command.

        Raises:
            UnsupportedFeatureError: this bot's protocol does not have it.
            ValueError: it holds what JSON can't carry.
        """
        self.check_supported(command.TYPE)
        speaks = self.versions.effective or _OURS
        # Without a single key it goes out as it is: any bot refuses it.
        if isinstance(command, Dtmf) and command.buttons and speaks < _DTMF_LIST_SINCE:
            return self._send_data(Dtmf.TYPE, [{"button": key} for key in command.buttons])
        id_ = self._new_id(command.TYPE)
        return Outgoing(id=id_, texts=(encode_command(command, id_),))

    def check_supported(self, type_: str) -> None:
        """Raise `UnsupportedFeatureError` if this bot's protocol has no message of this type."""
        effective, since = self.versions.effective, _SINCE.get(type_, (0, 0))
        if effective is not None and effective[:2] < since:
            raise UnsupportedFeatureError(
                type_, f"RTVI {since[0]}.{since[1]}, this bot speaks {self.versions.bot}"
            )

    def send_raw(self, type_: str, data: Json) -> Outgoing:
        """Encode a message of any type, unchecked.

        Raises:
            ValueError: `data` holds what JSON can't carry.
        """
        return self._send_data(type_, [data])

    def request(self, t: str, d: Json, on_answer: Callable[[Answer], None]) -> Outgoing:
        """Encode a request; `on_answer` is called once, from `receive`, with its answer.

        Raises:
            ValueError: `d` holds what JSON can't carry.
        """
        outgoing = self.send(ClientMessage(t=t, d=d))
        self._requests[outgoing.id] = on_answer
        self._asked[on_answer] = outgoing.id
        return outgoing

    def forget_request(self, on_answer: Callable[[Answer], None]) -> None:
        """Nobody waits for this answer any more."""
        self._requests.pop(self._asked.pop(on_answer, ""), None)

    def function_result(self, call: FunctionCall, result: Mapping[str, Json] | str) -> Outgoing:
        """Encode the result of a function call, and close the call.

        Raises:
            TypeError: `result` is neither an object nor a string.
            ValueError: `result` holds what JSON can't carry.
        """
        outgoing = self.send(
            LlmFunctionCallResult(
                function_name=call.function_name,
                tool_call_id=call.tool_call_id,
                arguments=call.arguments,
                result=dict(result) if isinstance(result, Mapping) else result,
            )
        )
        self.calls.pop(call.tool_call_id, None)
        return outgoing

    def _send_data(self, type_: str, messages: list[Json]) -> Outgoing:
        ids = [self._new_id(type_) for _ in messages]
        texts = (encode_data(type_, data, id_) for data, id_ in zip(messages, ids, strict=True))
        return Outgoing(id=ids[-1], texts=tuple(texts))

    def _new_id(self, type_: str) -> str:
        # Ids only have to differ within the link. Saying the type in them makes every log readable.
        return f"{type_}-{next(self._counter)}"

    # -- what came --

    def receive(self, text: str | bytes, *, at: float) -> list[Event]:
        """Say what a message of the bot means. `at` is when it came.

        Raises:
            ProtocolError: the text is not JSON.
        """
        event = decode_event(text, at=at)
        match event:
            case BotReady():
                return self._receive_ready(event)
            case ErrorResponse(id=self._hello_id):
                # No refusal: the server complains of our version, then is ready all the same.
                self._complaint = event.error
                self.versions = replace(self.versions, problem=event.error)
            case ServerResponse() | ErrorResponse():
                on_answer = self._requests.get(event.id)
                if on_answer is not None:
                    self.forget_request(on_answer)
                    on_answer(event)
            case LlmFunctionCallInProgress(function_name=str(name)):
                self._open_call(event.tool_call_id, name, event.arguments or {})
            case LlmFunctionCall():
                self._open_call(event.tool_call_id, event.function_name, event.args)
            case LlmFunctionCallStopped():
                self.calls.pop(event.tool_call_id, None)
            case BotInterrupted() if self._signalled:
                self._signalled -= 1
                return []
            case BotStartedSpeaking():
                self._signalled = 0
            case _:
                pass
        return [event]

    def receive_interruption(self, *, at: float) -> list[Event]:
        """Say what the wire's own interruption signal means, on links that have one.

        Most bots of RTVI 2 say ``bot-interrupted`` as well, a moment later: no second event. Older
        ones, and those that do not report their speaking, have only the signal.
        """
        self._signalled += 1
        return [BotInterrupted(at=at)]

    def _receive_ready(self, event: BotReady) -> list[Event]:
        if event.id not in (self._hello_id, ""):
            return [event]
        self.bot_ready = event
        self.versions = replace(self.versions, bot=event.version or None)
        effective = self.versions.effective
        if effective is None:
            problem = f"the bot gave its version as {event.version!r}"
        elif effective[0] != _OURS[0]:
            problem = f"the bot speaks RTVI {event.version}, this client {RTVI_VERSION}"
        else:
            problem = None
        problem = self._complaint or problem
        self.versions = replace(self.versions, problem=problem)
        told, self._told = self._told, problem
        if problem is None or problem == told:
            return [event]
        mismatch = ProtocolMismatch(
            ours=RTVI_VERSION, bot=self.versions.bot, detail=problem, at=event.at
        )
        return [mismatch, event]

    def _open_call(self, id_: str, name: str, arguments: Mapping[str, Json]) -> None:
        self.calls.setdefault(
            id_, FunctionCall(function_name=name, arguments=arguments, tool_call_id=id_)
        )
