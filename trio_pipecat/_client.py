"""The front door: `open_session` for one session, `PipecatClient` for several alike."""

from contextlib import AbstractAsyncContextManager
from typing import Final, Unpack, final

from ._errors import InvalidParamsError
from ._options import SessionKeywords, check_options
from ._params import ConnectParams, StartedBot
from ._session import Session, run_session
from ._targets import Target, make_plan
from ._urls import redact

#: The keywords that say where to start a bot, and how. The headers are the start request's.
_WAYS_TO_A_BOT: Final = {
    *("endpoint", "ws_url", "webrtc_url"),
    *("request_data", "base_url", "offer_url_template", "headers"),
}


def open_session(
    target: Target = None, **keywords: Unpack[SessionKeywords]
) -> AbstractAsyncContextManager[Session]:
    """Open a session with a bot: a block that is the conversation.

    ::

        async with open_session("http://localhost:7860/start") as session:
            await session.wait_ready()
            await session.send_text("Hello!")

    The block is entered at once; starting the bot, connecting and waiting for it to be ready happen
    behind it. Leaving the block, however it happens, hangs up. If the bot leaves, what it said is
    delivered and the block is cancelled, and ends normally. If something fails, the error is raised
    where a result was being waited for, else it leaves the block.

    Args:
        target: an address (``ws://``, ``wss://``; ``http(s)://``, a start endpoint, or where its
            path ends in ``/api/offer`` one for WebRTC offers; ``sim:``, the simulated bot), a
            `StartedBot`, or `ConnectParams`. Or say ``endpoint=``, ``ws_url=`` or
            ``webrtc_url=``.
        **keywords: see `SessionKeywords`.

    Raises:
        InvalidParamsError: at once, if the parameters can't work.
        UnsupportedFeatureError: at once, if the transport is not available.
    """
    options = check_options(keywords)
    return run_session(make_plan(target, options), options)


@final
class PipecatClient:
    """A way to a bot, kept: opens any number of sessions, one after another or at once.

    It takes what `open_session` takes, and holds nothing but that: no connection, no task. There is
    no automatic reconnect; a session that is lost is lost, and a new one is a new block::

        client = PipecatClient(endpoint="http://localhost:7860/start")
        async with client.open_session() as session: ...
    """

    def __init__(self, target: Target = None, **keywords: Unpack[SessionKeywords]) -> None:
        self._target = target
        self._keywords = keywords
        self._options = check_options(keywords)
        make_plan(target, self._options)

    def __repr__(self) -> str:
        target = redact(self._target) if isinstance(self._target, str) else self._target
        return f"<PipecatClient {target!r} {self._options!r}>"

    def open_session(
        self, target: StartedBot | ConnectParams | None = None, **changes: Unpack[SessionKeywords]
    ) -> AbstractAsyncContextManager[Session]:
        """Open a session with this client's parameters, some of them changed for this one.

        Args:
            target: a bot that `start_bot` has started, instead of the client's own address.
            **changes: keywords of `open_session`, for this session only.

        Raises:
            InvalidParamsError: at once, if the changes can't work.
        """
        if target is None:
            options = check_options({**self._keywords, **changes})
            return run_session(make_plan(self._target, options), options)
        # What led to a bot is not needed any more; everything else goes for this one too.
        kept = {key: value for key, value in self._keywords.items() if key not in _WAYS_TO_A_BOT}
        options = check_options({**kept, **changes})
        return run_session(make_plan(target, options), options)

    async def start_bot(self) -> StartedBot:
        """Start a bot and return what it takes to connect to it.

        Then ``client.open_session(started)``.

        Raises:
            InvalidParamsError: this client has no endpoint to start a bot at.
            StartBotError: there is no bot, or no way to it.
        """
        start = make_plan(self._target, check_options(self._keywords)).start
        if start is None:
            raise InvalidParamsError("this client connects directly: it has no start endpoint")
        return await start()
