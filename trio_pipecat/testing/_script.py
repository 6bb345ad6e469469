"""A bot that follows a script: what it says and does, and what it waits to hear, step by step.

A step is a text, which is said, or a mapping with one of the keys of `_STEPS`. So a script is plain
data, and may as well stand in a JSON file::

    ["Hello, who is there?",
     {"hear": "Alice"},
     {"call": "find_guest", "arguments": {"name": "Alice"}},
     {"pause": 1},
     "Welcome.",
     {"leave": true}]
"""

import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import trio

from .._errors import InvalidParamsError
from .._messages import (
    Command,
    Dtmf,
    Error,
    SendFile,
    SendText,
    ServerMessage,
)
from .._wire import Json
from ._conversation import Behaviour, BotCrashedError, Conversation

#: In seconds: a year.
_LONGEST_PAUSE: Final = 366 * 86_400

Step: TypeAlias = str | Mapping[str, Json]


@attrs.frozen
class _Stage:
    """What a step acts on: the conversation, and an ear that was opened before the first step."""

    conversation: Conversation
    ear: "trio.MemoryReceiveChannel[Command]"


_Action: TypeAlias = Callable[[_Stage, Any, Mapping[str, Any]], Awaitable[None]]


async def _say(stage: _Stage, text: str, step: Mapping[str, Any]) -> None:
    stage.conversation.say(text)
    await stage.conversation.wait_silent()


async def _answer(stage: _Stage, text: str, step: Mapping[str, Any]) -> None:
    conversation = stage.conversation
    conversation.reply = lambda user_text: text
    conversation.answer(step.get("to", ""))
    conversation.reply = None
    await conversation.wait_silent()


async def _hear(stage: _Stage, part: str, step: Mapping[str, Any]) -> None:
    async for command in stage.ear:
        heard = _words(command)
        if heard is not None and part.casefold() in heard.casefold():
            return


async def _user(stage: _Stage, text: str, step: Mapping[str, Any]) -> None:
    await stage.conversation.hear_user(text)


async def _pause(stage: _Stage, seconds: float, step: Mapping[str, Any]) -> None:
    await trio.sleep(seconds)


async def _call(stage: _Stage, name: str, step: Mapping[str, Any]) -> None:
    question = step.get("question", "")
    arguments = step.get("arguments", {})
    # An interruption takes it back.
    await stage.conversation.call_function(name, arguments, question=question).wait()
    await stage.conversation.wait_silent()


async def _message(stage: _Stage, data: Json, step: Mapping[str, Any]) -> None:
    await stage.conversation.send(ServerMessage(data=data))


async def _send(stage: _Stage, envelope: Mapping[str, Any], step: Mapping[str, Any]) -> None:
    await stage.conversation.link.send_message(json.dumps({"label": "rtvi-ai", **envelope}))


async def _error(stage: _Stage, text: str, step: Mapping[str, Any]) -> None:
    await stage.conversation.send(Error(error=text))


async def _fatal(stage: _Stage, text: str, step: Mapping[str, Any]) -> None:
    await stage.conversation.send(Error(error=text, fatal=True))
    await stage.conversation.hang_up()


async def _interrupt(stage: _Stage, yes: bool, step: Mapping[str, Any]) -> None:
    await stage.conversation.interrupt()


async def _leave(stage: _Stage, yes: bool, step: Mapping[str, Any]) -> None:
    stage.conversation.leave()
    await trio.sleep_forever()


async def _crash(stage: _Stage, yes: bool, step: Mapping[str, Any]) -> None:
    raise BotCrashedError("crash, as the script says")


def _words(command: Command) -> str | None:
    match command:
        case SendText(content=text) | SendFile(content=text):
            return text
        case Dtmf(buttons=buttons):
            return "".join(buttons)
        case _:
            return None


@attrs.frozen
class _Kind:
    """A kind of step: what it does, what its value is, and which keys may stand beside it."""

    action: _Action
    value: type | tuple[type, ...]
    beside: Mapping[str, type] = attrs.field(factory=dict)


_STEPS: Final[dict[str, _Kind]] = {
    "say": _Kind(_say, str),
    "answer": _Kind(_answer, str, {"to": str}),
    "hear": _Kind(_hear, str),
    "user": _Kind(_user, str),
    "pause": _Kind(_pause, (int, float)),
    "call": _Kind(_call, str, {"arguments": dict, "question": str}),
    "message": _Kind(_message, object),
    "send": _Kind(_send, dict),
    "error": _Kind(_error, str),
    "fatal": _Kind(_fatal, str),
    "interrupt": _Kind(_interrupt, bool),
    "leave": _Kind(_leave, bool),
    "crash": _Kind(_crash, bool),
}


def script(steps: Sequence[Step] | os.PathLike[str]) -> Behaviour:
    """Follow a script from the moment when the client is ready; answer nothing beside it.

    Each step ends before the next begins: what is said is spoken out, a call is answered.

    ===================================== =========================================================
    a text, or ``say``                    is spoken
    ``answer`` (``to``)                   the same, as the answer of an LLM to a text
    ``hear``                              wait for a text of the user with this in it
    ``user``                              the user is heard to say this
    ``pause``                             so many seconds
    ``call`` (``arguments, question``)    the client's function; what it answers is spoken
    ``message``                           a ``server-message`` with this data
    ``send``                              a message of any ``type`` with any ``data``
    ``error``, ``fatal``                  report an error; a fatal one is the end
    ``interrupt``                         fall silent, and say so
    ``leave``, ``crash``                  go, with a goodbye or without
    ===================================== =========================================================

    Args:
        steps: the steps, or a JSON file of them.

    Raises:
        InvalidParamsError: this is no script; the text names the line or the step.
        OSError: the file can't be read.
    """
    name = "script"
    if isinstance(steps, os.PathLike):
        name = os.fspath(steps)
        steps = _load(Path(steps))
    checked = _check(name, steps)

    async def behaviour(conversation: Conversation) -> None:
        conversation.reply = None
        with conversation.listening(Command) as ear:
            await conversation.ready.wait()
            stage = _Stage(conversation, ear)
            for kind, step in checked:
                await _STEPS[kind].action(stage, step[kind], step)
            async for _ in ear:
                pass

    return behaviour


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidParamsError(f"{path}, line {error.lineno}: {error.msg}") from None
    except UnicodeDecodeError:
        raise InvalidParamsError(f"{path} is not UTF-8 text") from None


def _check(name: str, steps: object) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(steps, str | bytes) or not isinstance(steps, Sequence):
        raise InvalidParamsError(f"{name}: a script is a list of steps")
    return [_check_step(f"{name}, step {n}", step) for n, step in enumerate(steps, start=1)]


def _check_step(where: str, step: object) -> tuple[str, Mapping[str, Any]]:
    if isinstance(step, str):
        return "say", {"say": step}
    if not isinstance(step, Mapping):
        raise InvalidParamsError(f"{where}: a step is a text or a mapping, not {step!r}")
    kinds: list[str] = [key for key in step if key in _STEPS]
    if len(kinds) != 1:
        known = ", ".join(_STEPS)
        found = ", ".join(map(repr, step)) or "nothing"
        raise InvalidParamsError(f"{where}: {found} is not one of {known}")
    (key,) = kinds
    kind = _STEPS[key]
    value: Any = step[key]
    if not _fits(value, kind.value):
        raise InvalidParamsError(f"{where}: {key!r} can't be {value!r}")
    if key == "pause" and not 0 <= value <= _LONGEST_PAUSE:
        raise InvalidParamsError(f"{where}: {key!r} is a number of seconds, not {value!r}")
    if key == "send" and not isinstance(value.get("type"), str):
        raise InvalidParamsError(f"{where}: {key!r} has no 'type'")
    if value is False:
        raise InvalidParamsError(f"{where}: {key!r} is true, or left out")
    try:
        json.dumps(step if isinstance(step, dict) else dict(step), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParamsError(f"{where}: this can't be JSON: {error}") from None
    for extra in step.keys() - {key}:
        if extra not in kind.beside:
            raise InvalidParamsError(f"{where}: {key!r} knows no {extra!r}")
        if not isinstance(step[extra], kind.beside[extra]):
            raise InvalidParamsError(f"{where}: {extra!r} can't be {step[extra]!r}")
    return key, step


def _fits(value: object, kind: type | tuple[type, ...]) -> bool:
    """Is this a `kind`? To Python a bool is a number too, and to nobody else."""
    if isinstance(value, bool) and kind is not object:
        return kind is bool
    return isinstance(value, kind)
