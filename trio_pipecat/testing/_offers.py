"""The offers that a bot on a port takes, and the conversations that come of them.

It does what pipecat's development runner does: ``/api/offer``, and the same under
``/sessions/<id>`` for a session that ``/start`` has promised, which is over when its bot is. An
offer with the name of a connection there is renegotiates that or replaces it; with any other name
it gets a new bot.
"""

import json
import logging
from contextlib import suppress
from typing import Final, final
from uuid import uuid4

import trio

from .._errors import ProtocolError
from .._service import Services
from .._wire import Json
from ..transports import LinkOptions
from ..transports._loop_thread import LoopThread
from ._http_server import Request, Response, json_response, text_response
from ._memory_link import Bot
from ._webrtc_bot import WebRtcBotTransport

logger: Final = logging.getLogger("trio_pipecat.testing")

#: How long a client may take from its offer to an open data channel, in seconds.
_PATIENCE: Final = 60
#: How long a goodbye may take, in seconds.
_GRACE: Final = 3


@final
class OfferDesk:
    """Takes offers for one bot."""

    def __init__(self, bot: Bot, loop: LoopThread, services: Services) -> None:
        self._bot = bot
        self._loop = loop
        self._services = services
        self._links: dict[str, WebRtcBotTransport] = {}
        self._sessions: set[str] = set()

    def promise_session(self) -> str:
        """Return the id of a session that a client may come for."""
        session = str(uuid4())
        self._sessions.add(session)
        return session

    async def handle(self, request: Request) -> Response | None:
        """Answer a request, if it is for us."""
        session = None
        path = request.path
        if path.startswith("/sessions/"):
            session, _, path = path.removeprefix("/sessions/").partition("/")
            if session not in self._sessions:
                return text_response("Invalid or not-yet-ready session_id", 404)
            path = f"/{path}"
        if path != "/api/offer" or request.method not in ("POST", "PATCH"):
            return None
        answer = self._offer if request.method == "POST" else self._trickle
        response = await answer(_json_object(request.body), session)
        if session is not None and response.status != 200:
            return text_response("Invalid WebRTC request", 400)
        return response

    async def _offer(self, data: dict[str, Json], session: str | None) -> Response:
        missing = [key for key in ("sdp", "type") if not isinstance(data.get(key), str)]
        if missing:
            return _validation_error(missing)
        link = self._links.get(str(data.get("pc_id")))
        try:
            if link is None:
                link, sdp = await self._welcome(data["sdp"], session)
            elif data.get("restart_pc"):
                replaced = link.pc_id
                sdp = await link.answer(data["sdp"])
                self._links.pop(replaced, None)
            else:
                sdp = await link.answer_again(data["sdp"])
        except ProtocolError as error:
            return json_response({"detail": str(error)}, 400)
        self._links[link.pc_id] = link
        return json_response({"sdp": sdp, "type": "answer", "pc_id": link.pc_id})

    async def _welcome(self, sdp: str, session: str | None) -> tuple[WebRtcBotTransport, str]:
        link = WebRtcBotTransport(self._loop, LinkOptions())
        try:
            answer = await link.answer(sdp)
        except BaseException:
            await link.dispose()  # noqa: ASYNC102  # it has a shield and a deadline
            raise
        self._services.start(self._hold, link, session, name="trio_pipecat: WebRTC conversation")
        return link, answer

    async def _trickle(self, data: dict[str, Json], session: str | None) -> Response:
        link = self._links.get(str(data.get("pc_id")))
        if link is None:
            return json_response({"detail": "Peer connection not found"}, 404)
        candidates = data.get("candidates")
        for found in candidates if isinstance(candidates, list) else []:
            wanted = [found.get(key) for key in ("candidate", "sdp_mid", "sdp_mline_index")]
            if not isinstance(wanted[0], str) or None in wanted:
                return _validation_error(["candidates"])
            try:
                await link.add_candidate(*wanted)
            except ProtocolError as error:
                return json_response({"detail": str(error)}, 400)
        return json_response({"status": "success"})

    async def _hold(self, link: WebRtcBotTransport, session: str | None) -> None:
        """Hold the conversation, until one of both has left."""
        try:
            with trio.move_on_after(_PATIENCE), suppress(trio.BrokenResourceError):
                await link.wait_open()
            if link.is_open and link.end is None:
                await self._converse(link)
        finally:
            with trio.move_on_after(_GRACE, shield=True):
                await link.aclose()
            await link.dispose()  # noqa: ASYNC102  # it has a shield and a deadline
            self._links = {name: other for name, other in self._links.items() if other is not link}
            self._sessions.discard(session or "")

    async def _converse(self, link: WebRtcBotTransport) -> None:
        try:
            await self._bot.converse(link)
        except Exception:
            # One conversation must not end the others.
            logger.exception("the bot's code raised")


def _json_object(body: bytes) -> dict[str, Json]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _validation_error(keys: list[str]) -> Response:
    detail = [{"type": "missing", "loc": ["body", key], "msg": "Field required"} for key in keys]
    return json_response({"detail": detail}, 422)
