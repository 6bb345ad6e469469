"""What a simulated bot may do of its own accord. Each is a plain async function of a conversation.

A behaviour begins with the conversation, before anything of the client is heard; any number of them
run side by side, and end with it. Writing one takes no more than these do::

    async def tell_the_time(conversation: Conversation) -> None:
        await conversation.ready.wait()
        while True:
            conversation.say(f"It is {trio.current_time():.0f} o'clock.")
            await trio.sleep(60)

    bot = SimulatedBot([greet("Hello!"), tell_the_time, leave_after(300)])

Those that do harm count their seconds from the moment when the bot is ready, or, with
`before_ready`, from the connection on.
"""

from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias, get_args

import trio

from .._errors import InvalidParamsError
from .._messages import Error, ServerMessage, UserStoppedSpeaking
from .._wire import Json
from ..audio import AudioChunk
from ._conversation import Behaviour, BotCrashedError, Conversation
from ._personality import GREETING, repeat
from ._voice import loudness

#: Versions of RTVI with which a bot may surprise a client, by their first number.
_VERSIONS: Final = {0: "0.3.0", 1: "1.4.0", 3: "3.0.0"}

#: A pause of less than so many seconds is one between two syllables, and no quiet.
_BETWEEN_SYLLABLES: Final = 0.1

#: What `garbage` can send.
GarbageKind: TypeAlias = Literal[
    "frame",
    "half a frame",
    "no json",
    "no object",
    "no label",
    "no type",
    "unknown type",
    "bad data",
    "nan",
    "deep",
    "unknown id",
]

_GARBAGE: Final[dict[str, str | bytes]] = {
    "frame": b"\xff\xff\xff\xff",
    "half a frame": b"\x12\x40\x08",
    "no json": "{",
    "no object": "[1, 2]",
    "no label": '{"type": "bot-output", "data": {}}',
    "no type": '{"label": "rtvi-ai", "data": {}}',
    "unknown type": '{"label": "rtvi-ai", "type": "from-the-future", "data": [1]}',
    "bad data": '{"label": "rtvi-ai", "type": "bot-output", "data": {"text": 1}}',
    "nan": '{"label": "rtvi-ai", "type": "server-message", "data": {"x": NaN}}',
    "deep": '{"label": "rtvi-ai", "type": "server-message", "data": ' + "[" * 400 + "]" * 400 + "}",
    "unknown id": '{"label": "rtvi-ai", "type": "server-response", "id": "nobody", '
    '"data": {"t": "x", "d": 1}}',
}


def greet(text: str = GREETING) -> Behaviour:
    """Say `text` when the client is ready, without an LLM."""

    async def behaviour(conversation: Conversation) -> None:
        await conversation.ready.wait()
        conversation.say(text)

    return behaviour


def echo(*, audio: bool = True, reply: Callable[[str], str] | None = repeat) -> Behaviour:
    """Send the user's sound back, and answer texts with `reply` (None: not at all)."""

    async def behaviour(conversation: Conversation) -> None:
        conversation.echo_audio = audio
        conversation.reply = reply
        await trio.lowlevel.checkpoint()

    return behaviour


def function_call(
    name: str,
    arguments: dict[str, Json] | None = None,
    *,
    after: float = 0,
    question: str = "",
) -> Behaviour:
    """Call the client's function `name`; with its result, speak."""

    async def behaviour(conversation: Conversation) -> None:
        await _moment(conversation, after)
        conversation.call_function(name, arguments or {}, question=question)

    return behaviour


def interrupt_on_speech(
    text: str | None = None, *, threshold: float = 0.02, start: float = 0.2, stop: float = 0.8
) -> Behaviour:
    """Listen to the user's sound, as voice activity detection would.

    `start` seconds louder than `threshold` (1 is full scale), with pauses of less than 0.1 s in
    them, interrupt the bot; `stop` seconds of quiet, or of no sound at all, end the user's turn.
    Then the user has said `text`, and is answered; None: nothing that could be understood.
    """

    async def behaviour(conversation: Conversation) -> None:
        loud = quiet = 0.0
        talking = False
        with conversation.listening(AudioChunk) as ear:
            while True:
                chunk: AudioChunk | None = None
                with trio.move_on_after(stop if talking or loud else float("inf")):
                    chunk = await ear.receive()
                if chunk is None:
                    loud, quiet = 0.0, stop
                elif loudness(chunk.pcm) >= threshold:
                    loud, quiet = loud + chunk.duration, 0.0
                else:
                    quiet += chunk.duration
                    loud = loud if quiet < _BETWEEN_SYLLABLES else 0.0
                if not talking and loud >= start:
                    talking = True
                    await conversation.interrupt(by_voice=True)
                elif talking and quiet >= stop:
                    talking, loud = False, 0.0
                    if text is None:
                        await conversation.send(UserStoppedSpeaking())
                    else:
                        await conversation.understand_user(text)

    return behaviour


def slow_ready(seconds: float) -> Behaviour:
    """Be ready only `seconds` after the client."""

    async def behaviour(conversation: Conversation) -> None:
        conversation.hold_ready()
        await conversation.introduced.wait()
        await trio.sleep(seconds)
        conversation.release_ready()

    return behaviour


def never_ready() -> Behaviour:
    """Accept the client, and never be ready."""

    async def behaviour(conversation: Conversation) -> None:
        conversation.hold_ready()
        await trio.lowlevel.checkpoint()

    return behaviour


def crash(after: float = 0, *, before_ready: bool = False) -> Behaviour:
    """Be gone without a goodbye, as a bot whose code raised, or whose machine failed."""

    async def behaviour(conversation: Conversation) -> None:
        await _moment(conversation, after, before_ready=before_ready)
        raise BotCrashedError("crash, as asked for")

    return behaviour


def fatal_error(
    text: str = "The bot failed.", after: float = 0, *, before_ready: bool = False
) -> Behaviour:
    """Report a fatal error, and leave."""

    async def behaviour(conversation: Conversation) -> None:
        await _moment(conversation, after, before_ready=before_ready)
        await conversation.send(Error(error=text, fatal=True))
        await conversation.hang_up()

    return behaviour


def report_error(
    text: str = "Something failed.", after: float = 0, *, before_ready: bool = False
) -> Behaviour:
    """Report an error that is not fatal, and go on."""

    async def behaviour(conversation: Conversation) -> None:
        await _moment(conversation, after, before_ready=before_ready)
        await conversation.send(Error(error=text, fatal=False))

    return behaviour


def leave_after(
    seconds: float, *, code: int | None = None, text: str = "", before_ready: bool = False
) -> Behaviour:
    """Leave: gracefully, when all is said; with a close `code`, at once."""

    async def behaviour(conversation: Conversation) -> None:
        await _moment(conversation, seconds, before_ready=before_ready)
        if code is None:
            conversation.leave()
        else:
            await conversation.hang_up(code, text)

    return behaviour


def flood(count: int = 10_000, after: float = 0, *, before_ready: bool = False) -> Behaviour:
    """Send `count` messages as fast as the link takes them."""

    async def behaviour(conversation: Conversation) -> None:
        await _moment(conversation, after, before_ready=before_ready)
        for number in range(count):
            await conversation.send(ServerMessage(data={"n": number}))

    return behaviour


def garbage(*kinds: GarbageKind, after: float = 0, before_ready: bool = False) -> Behaviour:
    """Send what no server should, once of each of `kinds` (none given: all there are)."""
    unknown: Iterable[str] = set(kinds) - set(get_args(GarbageKind))
    if unknown:
        known = ", ".join(get_args(GarbageKind))
        raise InvalidParamsError(f"no such garbage: {', '.join(unknown)}; there is {known}")

    async def behaviour(conversation: Conversation) -> None:
        await _moment(conversation, after, before_ready=before_ready)
        for kind in kinds or get_args(GarbageKind):
            item = _GARBAGE[kind]
            if isinstance(item, bytes):
                await conversation.link.send_bytes(item)
            else:
                await conversation.link.send_message(item)

    return behaviour


def wrong_version(major: Literal[0, 1, 3]) -> Behaviour:
    """Be a bot of another RTVI: of the first, of one before that, or of one to come."""
    if major not in _VERSIONS:
        raise InvalidParamsError(f"wrong_version is one of {[*_VERSIONS]}, not {major!r}")

    async def behaviour(conversation: Conversation) -> None:
        conversation.protocol.version = _VERSIONS[major]
        await trio.lowlevel.checkpoint()

    return behaviour


def half_open(after: float = 0, *, before_ready: bool = False) -> Behaviour:
    """Fall silent for ever, and keep the link: it answers no ping and no goodbye."""

    async def behaviour(conversation: Conversation) -> None:
        await _moment(conversation, after, before_ready=before_ready)
        conversation.freeze()

    return behaviour


async def _moment(conversation: Conversation, after: float, *, before_ready: bool = False) -> None:
    if not before_ready:
        await conversation.ready.wait()
    await trio.sleep(after)
