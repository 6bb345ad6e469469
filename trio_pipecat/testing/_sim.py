"""The target ``sim:``: a simulated bot of the session's own, started and connected to in memory.

With ``webrtc`` it is connected to over WebRTC, on loopback.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import attrs
import trio

from .._errors import InvalidParamsError
from .._params import ConnectParams, StartedBot, read_answer
from .._wire import Json
from ..transports import LinkOptions, Transport, find_connector
from ._behaviours import (
    GarbageKind,
    crash,
    fatal_error,
    flood,
    function_call,
    garbage,
    half_open,
    interrupt_on_speech,
    leave_after,
    never_ready,
    report_error,
    wrong_version,
)
from ._bot import SimulatedBot
from ._conversation import Behaviour
from ._personality import GREETING
from ._script import script
from ._serve import serve_bot
from ._voice import Voice

_SWITCH: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_VOICES: Final = {"tone": Voice(), "silence": Voice(amplitude=0)}


def _on(value: str) -> bool:
    """``1`` or ``0``; no value at all means yes."""
    return True if value == "" else _SWITCH[value.lower()]


def _seconds(value: str) -> float:
    seconds = float(value or 0)
    if not 0 <= seconds < math.inf:
        raise ValueError
    return seconds


def _count(value: str) -> int:
    count = int(value or 10_000)
    if count < 0:
        raise ValueError
    return count


def _kinds(value: str) -> Behaviour:
    return garbage(*cast("list[GarbageKind]", value.split(",") if value else []))


@attrs.frozen
class _Option:
    """One option: what its value is, in words, how it is read, and what it does to a bot."""

    values: str
    read: Callable[[str], Any]
    apply: Callable[[SimulatedBot, Any], None]


def _trait(name: str) -> Callable[[SimulatedBot, Any], None]:
    return lambda bot, value: setattr(bot, name, value)


def _behave(make: Callable[[Any], Behaviour]) -> Callable[[SimulatedBot, Any], None]:
    def apply(bot: SimulatedBot, value: Any) -> None:
        bot.behaviours = [*bot.behaviours, make(value)]

    return apply


def _if(make: Callable[[], Behaviour]) -> Callable[[SimulatedBot, Any], None]:
    def apply(bot: SimulatedBot, value: Any) -> None:
        if value:
            bot.behaviours = [*bot.behaviours, make()]

    return apply


def _hear(bot: SimulatedBot, text: str) -> None:
    bot.echo_audio = False
    bot.behaviours = [*bot.behaviours, interrupt_on_speech(text)]


def _leave_as_it_is(bot: SimulatedBot, value: Any) -> None:
    """The option is not about the bot."""


#: Every option of a ``sim:`` address.
OPTIONS: Final[dict[str, _Option]] = {
    "greeting": _Option("a text; nothing: it does not greet", str, _trait("greeting")),
    "ready_delay": _Option("a number of seconds", _seconds, _trait("ready_delay")),
    "think": _Option("a number of seconds", _seconds, _trait("think_seconds")),
    "echo": _Option("1 or 0", _on, _trait("echo_audio")),
    "echo_video": _Option("1 or 0", _on, _trait("echo_video")),
    "voice": _Option("tone or silence", _VOICES.__getitem__, _trait("voice")),
    "script": _Option("the path of a JSON file", Path, _behave(script)),
    "hear": _Option("a text", str, _hear),
    "interrupt_on_speech": _Option("1 or 0", _on, _if(interrupt_on_speech)),
    "function_call": _Option("the name of a function", str, _behave(function_call)),
    "report_error": _Option("a text", str, _behave(report_error)),
    "fatal_error": _Option("a text", str, _behave(fatal_error)),
    "leave_after": _Option("a number of seconds", _seconds, _behave(leave_after)),
    "crash": _Option("a number of seconds", _seconds, _behave(crash)),
    "half_open": _Option("a number of seconds", _seconds, _behave(half_open)),
    "never_ready": _Option("1 or 0", _on, _if(never_ready)),
    "flood": _Option("a number of messages", _count, _behave(flood)),
    "garbage": _Option("kinds of garbage, with commas between", _kinds, _behave(lambda made: made)),
    "wrong_version": _Option("0, 1 or 3", int, _behave(wrong_version)),
    "webrtc": _Option("1 or 0", _on, _leave_as_it_is),
}


def bot_of(url: str) -> SimulatedBot:
    """Return the bot that a ``sim:`` address describes.

    Options come as a query: ``sim:?ready_delay=3&greeting=Hi&voice=silence``.

    Raises:
        InvalidParamsError: there is no such option, or its value can't be.
    """
    parts = urlsplit(url)
    if parts.scheme != "sim" or parts.netloc or parts.path:
        raise InvalidParamsError(f"expected sim: or sim:?option=value, not {url!r}")
    bot = SimulatedBot(greeting=GREETING)
    for key, value in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=False):
        option = OPTIONS.get(key)
        if option is None:
            raise InvalidParamsError(f"sim: has no option {key!r}; there are {', '.join(OPTIONS)}")
        try:
            option.apply(bot, option.read(value))
        except InvalidParamsError as error:
            raise InvalidParamsError(f"sim: {key}: {error}") from None
        except OSError as error:
            raise InvalidParamsError(f"sim: {key}: {value}: {error.strerror}") from None
        except (KeyError, ValueError):
            raise InvalidParamsError(f"sim: {key} is {option.values}, not {value!r}") from None
    if bot.greeting == "":
        bot.greeting = None
    return bot


def _is_over_webrtc(url: str) -> bool:
    options = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    return _on(options.get("webrtc", "0"))


def sim_starter(
    url: str, request_data: Mapping[str, Json] | None, *, webrtc: bool = False
) -> Callable[[], Awaitable[StartedBot]]:
    """Return what starts a simulated bot, as a start endpoint would; with `webrtc`, over that.

    Raises:
        InvalidParamsError: `url` describes none.
        UnsupportedFeatureError: it is to be reached over WebRTC, and the extra is not installed.
    """
    bot_of(url)
    if webrtc and not _is_over_webrtc(url):
        url += f"{'&' if '?' in url else '?'}webrtc=1"
    if _is_over_webrtc(url):
        find_connector("webrtc")

    async def start() -> StartedBot:
        await trio.lowlevel.checkpoint()
        answer = {"simUrl": url, "sessionId": str(uuid4())}
        params = read_answer(answer, url, request_data=request_data)
        return StartedBot(endpoint=url, answer=answer, params=params)

    return start


@asynccontextmanager
async def open_sim(params: ConnectParams, options: LinkOptions) -> AsyncGenerator[Transport, None]:
    """Open a link to a simulated bot. A connector."""
    url = params.sim_url or "sim:"
    bot = bot_of(url)
    if not _is_over_webrtc(url):
        async with bot.connect(params, options) as link:
            yield link
        return
    connect = find_connector("webrtc")
    async with serve_bot(bot, webrtc=True) as served:
        params = attrs.evolve(params, webrtc_url=served.webrtc_url)
        async with connect(params, options) as link:
            yield link
