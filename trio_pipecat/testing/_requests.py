"""What a client may ask of a simulated bot. The real bot of this project's tests knows the same."""

from typing import Final

from .._messages import Error, ServerMessage
from .._wire import Json, to_json
from ._conversation import BotCrashedError, Conversation, RefusedError, RequestHandler


def _text(d: Json) -> str:
    return str(d.get("text", "") if isinstance(d, dict) else d or "")


async def _ping(conversation: Conversation, d: Json) -> Json:
    return {"pong": d}


async def _fail(conversation: Conversation, d: Json) -> Json:
    raise RefusedError("as requested")


async def _silent(conversation: Conversation, d: Json) -> Json:
    return None


async def _say(conversation: Conversation, d: Json) -> Json:
    conversation.say(_text(d))
    return {"said": _text(d)}


async def _user(conversation: Conversation, d: Json) -> Json:
    await conversation.hear_user(_text(d))


async def _function(conversation: Conversation, d: Json) -> Json:
    city = d.get("city", "") if isinstance(d, dict) else _text(d)
    question = f"What is the weather in {city}?"
    conversation.call_function("get_weather", {"city": city}, question=question)


async def _error(conversation: Conversation, d: Json) -> Json:
    await conversation.send(Error(error=_text(d)))


async def _fatal(conversation: Conversation, d: Json) -> Json:
    await conversation.send(Error(error=_text(d), fatal=True))
    await conversation.hang_up()


async def _end(conversation: Conversation, d: Json) -> Json:
    conversation.leave()


async def _cancel(conversation: Conversation, d: Json) -> Json:
    await conversation.hang_up()


async def _crash(conversation: Conversation, d: Json) -> Json:
    raise BotCrashedError("crash, as requested")


async def _vanish(conversation: Conversation, d: Json) -> Json:
    await conversation.link.abort("vanished, as requested")


async def _interrupt(conversation: Conversation, d: Json) -> Json:
    await conversation.interrupt()


async def _flood(conversation: Conversation, d: Json) -> Json:
    count = d.get("count") if isinstance(d, dict) else d
    if not isinstance(count, int):
        raise RefusedError("flood wants a count")
    for number in range(count):
        await conversation.send(ServerMessage(data={"n": number}))
    return {"flooded": count}


async def _about(conversation: Conversation, d: Json) -> Json:
    ready = conversation.protocol.client_ready
    return {} if ready is None else to_json(ready)


REQUESTS: Final[dict[str, RequestHandler]] = {
    "about": _about,
    "cancel": _cancel,
    "crash": _crash,
    "end": _end,
    "error": _error,
    "fail": _fail,
    "fatal": _fatal,
    "flood": _flood,
    "function": _function,
    "interrupt": _interrupt,
    "ping": _ping,
    "say": _say,
    "silent": _silent,
    "user": _user,
    "vanish": _vanish,
}
