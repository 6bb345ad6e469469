"""The faults that a client is put through, where the bot's behaviours are not enough.

Each is an async function of a `Stage` and a `Conversation`, or an answer to a request.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias

import trio

from .._messages import (
    BotMessage,
    BotOutput,
    BotReady,
    Error,
    ErrorResponse,
    LlmFunctionCallInProgress,
    LlmFunctionCallResult,
    LlmFunctionCallStopped,
    Metrics,
    ServerMessage,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from .._wire import Json
from ..audio import AudioChunk
from ._client_stage import GOODBYE, Stage
from ._conversation import Behaviour, BotCrashedError, Conversation
from ._http_server import Request, Response, json_response, text_response

Script: TypeAlias = Callable[[Stage, Conversation], Awaitable[None]]
StartFault: TypeAlias = Callable[[Request], Awaitable[Response]]
UpgradeFault: TypeAlias = Callable[[Request, trio.abc.Stream], Awaitable[Response | None]]

#: What was the key of a `BotOutput`'s kind, by age.
KindKey: TypeAlias = Literal["output_type", "text_type", "aggregated_by"]

_BIG: Final = 2 * 2**20
_SILENCE_SECONDS: Final = 2
_FUNCTION: Final = "get_weather"
_ARGUMENTS: Final[dict[str, Json]] = {"city": "Oslo"}


# -- saying something ----------------------------------------------------------------------------


async def say_goodbye(stage: Stage, conversation: Conversation) -> None:
    """Say goodbye aloud, as any bot speaks."""
    conversation.say(GOODBYE)
    await trio.lowlevel.checkpoint()


def goodbye_by(key: KindKey) -> Script:
    """Say goodbye in a bot-output of servers that know one key only."""

    async def script(stage: Stage, conversation: Conversation) -> None:
        await _send_raw(conversation, "bot-output", f'{{"text": "{GOODBYE}", "{key}": "sentence"}}')

    return script


def raw(type_: str, data: str) -> Script:
    """Send a message whose data is this JSON."""

    async def script(stage: Stage, conversation: Conversation) -> None:
        await _send_raw(conversation, type_, data)

    return script


async def _send_raw(conversation: Conversation, type_: str, data: str) -> None:
    text = f'{{"label": "rtvi-ai", "type": "{type_}", "data": {data}}}'
    await conversation.link.send_message(text)


def behaving(behaviour: Behaviour) -> Script:
    """Do what a behaviour does."""

    async def script(stage: Stage, conversation: Conversation) -> None:
        await behaviour(conversation)

    return script


def event(*events: BotMessage) -> Script:
    """Send events."""

    async def script(stage: Stage, conversation: Conversation) -> None:
        for item in events:
            await conversation.send(item)

    return script


async def big_message(stage: Stage, conversation: Conversation) -> None:
    """Send more than many WebSocket libraries take by default."""
    await conversation.send(ServerMessage(data={"big": "x" * _BIG}))


async def odd_sound(stage: Stage, conversation: Conversation) -> None:
    """Send sound in unusual formats and sizes."""
    for chunk in (
        AudioChunk(bytes(4 * 4800), 48_000, 2),
        AudioChunk(b"\0\0", 8_000),
        AudioChunk(b"", 16_000),
        AudioChunk(bytes(2 * 24_000 * _SILENCE_SECONDS), 24_000),
    ):
        await conversation.link.send_audio(chunk)


async def interruption(stage: Stage, conversation: Conversation) -> None:
    """Begin to speak, and be interrupted."""
    conversation.say("This is a long sentence that nobody is going to hear to its end.")
    await trio.sleep(0.5)
    await conversation.interrupt(by_voice=True)
    await conversation.send(UserStoppedSpeaking())


async def wait_for_pings(stage: Stage, conversation: Conversation) -> None:
    """Say nothing, until the server's pings have to be answered."""
    await trio.sleep(stage.patience.ping + 2)


# -- before the bot is ready ---------------------------------------------------------------------


async def early_events(conversation: Conversation) -> None:
    """Say a lot before being ready."""
    conversation.hold_ready()
    await conversation.introduced.wait()
    for item in (Metrics(), ServerMessage(), UserStartedSpeaking(), BotOutput(text="Wait for me.")):
        await conversation.send(item)
    await conversation.link.send_audio(AudioChunk(bytes(1920), 24_000))
    await trio.sleep(0.5)
    conversation.release_ready()


async def version_complaint(conversation: Conversation) -> None:
    """Complain of the client's version, and be ready all the same."""
    conversation.hold_ready()
    await conversation.introduced.wait()
    id_, _ = conversation.received[-1]
    problem = "RTVI version is not compatible. Compatibility issues may occur."
    await conversation.send(ErrorResponse(id=id_, error=problem))
    await trio.sleep(0.5)
    conversation.release_ready()


async def ready_twice(stage: Stage, conversation: Conversation) -> None:
    """Be ready again, unasked."""
    await conversation.send(BotReady(id="", version=conversation.protocol.version))


# -- leaving -------------------------------------------------------------------------------------


def hang_up(code: int = 1000, *, after: float = 0) -> Script:
    """Close the link."""

    async def script(stage: Stage, conversation: Conversation) -> None:
        await trio.sleep(after)
        stage.leaving()
        await conversation.hang_up(code)

    return script


async def last_words(stage: Stage, conversation: Conversation) -> None:
    """Close the link right behind a message."""
    stage.leaving()
    await conversation.send(ServerMessage(data="last words"))
    await conversation.hang_up()


async def leave(stage: Stage, conversation: Conversation) -> None:
    """Leave as pipecat's bots do: two seconds of silence in one frame, then the close."""
    stage.leaving()
    conversation.leave()
    await trio.lowlevel.checkpoint()


def crash(*, after: float = 0) -> Script:
    """Be gone without a goodbye."""

    async def script(stage: Stage, conversation: Conversation) -> None:
        await trio.sleep(after)
        stage.leaving()
        raise BotCrashedError("crash, as asked for")

    return script


def fatal_error(*, after: float = 0, stays: bool = False) -> Script:
    """Report a fatal error, and leave, or not."""

    async def script(stage: Stage, conversation: Conversation) -> None:
        await trio.sleep(after)
        stage.leaving()
        await conversation.send(Error(error="The bot failed.", fatal=True))
        if not stays:
            await conversation.hang_up()

    return script


async def freeze(stage: Stage, conversation: Conversation) -> None:
    """Answer nothing any more."""
    stage.leaving()
    stage.bot_frozen = True
    stage.expect("notice that the link is dead", stage.patience.lost)
    conversation.freeze()
    await trio.lowlevel.checkpoint()


# -- function calls ------------------------------------------------------------------------------


async def call_function(stage: Stage, conversation: Conversation) -> None:
    """Call a function. An answer has to fit; there need not be one."""
    with conversation.listening(LlmFunctionCallResult) as ear:
        conversation.call_function(_FUNCTION, _ARGUMENTS, question="How is the weather?")
        with trio.move_on_after(stage.patience.answer):
            answer = await ear.receive()
            told = (answer.function_name, answer.tool_call_id, answer.arguments)
            asked = (_FUNCTION, "call-1", _ARGUMENTS)
            if told != asked:
                stage.problems.append(f"it was asked {asked}, and answers {told}")
            await ear.receive()
            stage.problems.append("it answers a function call twice")


async def call_without_name(stage: Stage, conversation: Conversation) -> None:
    """Call a function as bots do by default: without saying which."""
    with conversation.listening(LlmFunctionCallResult) as ear:
        await conversation.send(LlmFunctionCallInProgress(tool_call_id="call-1"))
        with trio.move_on_after(stage.patience.answer):
            await ear.receive()
            stage.problems.append("it answers a function call that has no name")


async def cancelled_call(stage: Stage, conversation: Conversation) -> None:
    """Call a function, and take it back at once."""
    for item in (
        LlmFunctionCallInProgress(
            tool_call_id="call-1", function_name=_FUNCTION, arguments=_ARGUMENTS
        ),
        LlmFunctionCallStopped(tool_call_id="call-1", cancelled=True, function_name=_FUNCTION),
    ):
        await conversation.send(item)


# -- the start endpoint --------------------------------------------------------------------------


def start_with(value: Json, status: int = 200) -> StartFault:
    """Answer with this JSON."""

    async def answer(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return json_response(value, status)

    return answer


def start_with_text(text: str, status: int) -> StartFault:
    """Answer with this text."""

    async def answer(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return text_response(text, status)

    return answer


async def start_silent(request: Request) -> Response:
    """Never answer."""
    await trio.sleep_forever()
    raise AssertionError


async def start_with_more(request: Request) -> Response:
    """Answer with nulls, and with keys that nobody knows."""
    await trio.lowlevel.checkpoint()
    return json_response(
        {
            "wsUrl": _ws_url(request),
            "token": None,
            "sessionId": "b6d5c2de-0000-4000-8000-000000000000",
            "fileUploadUrl": "/files",
            "iceConfig": None,
            "fromTheFuture": {"a": [1, None]},
        }
    )


async def start_in_snake_case(request: Request) -> Response:
    """Answer as some do who write their own endpoint."""
    await trio.lowlevel.checkpoint()
    return json_response({"ws_url": _ws_url(request)})


async def start_with_bind_host(request: Request) -> Response:
    """Answer with the interface that the server listens on, and a scheme that it has not."""
    await trio.lowlevel.checkpoint()
    port = request.headers.get("host", "").rpartition(":")[2]
    return json_response({"wsUrl": f"wss://0.0.0.0:{port}/ws-client", "token": None})


def _ws_url(request: Request) -> str:
    return f"ws://{request.headers.get('host', 'localhost')}/ws-client"


# -- the upgrade ---------------------------------------------------------------------------------


async def upgrade_refused(request: Request, stream: trio.abc.Stream) -> Response | None:
    """Refuse, as pipecat's runner does whatever the reason is."""
    await trio.lowlevel.checkpoint()
    return text_response("", 403)


async def upgrade_silent(request: Request, stream: trio.abc.Stream) -> Response | None:
    """Never answer."""
    while await stream.receive_some():
        pass
    return None


async def upgrade_hung_up(request: Request, stream: trio.abc.Stream) -> Response | None:
    """Hang up without an answer."""
    await trio.lowlevel.checkpoint()
    return None
