"""The target ``sim:``: a simulated bot of the session's own, started and connected to in memory."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import trio

from .._errors import InvalidParamsError
from .._params import ConnectParams, StartedBot, read_answer
from .._wire import Json
from ..transports import LinkOptions, Transport
from ._bot import SimulatedBot
from ._personality import GREETING

_SWITCH: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def bot_of(url: str) -> SimulatedBot:
    """Return the bot that a ``sim:`` address describes.

    Options come as a query: ``sim:?ready_delay=3&greeting=Hi&echo=0&think=0.5``.

    Raises:
        InvalidParamsError: there is no such option, or its value can't be.
    """
    parts = urlsplit(url)
    if parts.scheme != "sim" or parts.netloc or parts.path:
        raise InvalidParamsError(f"expected sim: or sim:?option=value, not {url!r}")
    bot = SimulatedBot(greeting=GREETING)
    for key, value in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=False):
        match key:
            case "greeting":
                bot.greeting = value or None
            case "ready_delay":
                bot.ready_delay = _seconds(key, value)
            case "think":
                bot.think_seconds = _seconds(key, value)
            case "echo":
                if value.lower() not in _SWITCH:
                    raise InvalidParamsError(f"sim: echo is 1 or 0, not {value!r}")
                bot.echo_audio = _SWITCH[value.lower()]
            case _:
                known = "greeting, ready_delay, think, echo"
                raise InvalidParamsError(f"sim: has no option {key!r}; there are {known}")
    return bot


def _seconds(key: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise InvalidParamsError(f"sim: {key} is a number of seconds, not {value!r}")
    return seconds


def sim_starter(
    url: str, request_data: Mapping[str, Json] | None
) -> Callable[[], Awaitable[StartedBot]]:
    """Return what starts a simulated bot, as a start endpoint would.

    Raises:
        InvalidParamsError: `url` describes none.
    """
    bot_of(url)

    async def start() -> StartedBot:
        await trio.lowlevel.checkpoint()
        answer = {"simUrl": url, "sessionId": str(uuid4())}
        params = read_answer(answer, url, request_data=request_data)
        return StartedBot(endpoint=url, answer=answer, params=params)

    return start


@asynccontextmanager
async def open_sim(params: ConnectParams, options: LinkOptions) -> AsyncGenerator[Transport, None]:
    """Open a link to a simulated bot. A connector."""
    bot = bot_of(params.sim_url or "sim:")
    async with bot.connect(params, options) as link:
        yield link
