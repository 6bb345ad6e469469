"""A bot that says again what a recorded one said.

Theory of operation
-------------------
What a bot says is an answer to something, so what it said in the recording is anchored: to the
last thing the client had said before (or to the opening of the link, before the first). A replay
waits until the live client has said the same, which is: the k-th message of that type. From then on
it keeps the recorded delay. So a client that is slower or faster than the recorded one gets its
answers as late after its questions as they were.

Order is kept in any case: nothing is said before what was said before it.
"""

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

import attrs
import trio

from .._errors import RecordingError, TransportStartError, UnsupportedFeatureError
from .._messages import ClientReady
from .._params import ConnectParams
from .._state import State
from .._wire import Json
from ..transports import Interruption, LinkOptions, MemoryTransport, Transport
from ._conversation import BotLink
from ._memory_link import connect_in_memory
from ._recording import (
    Recorded,
    RecordedAudio,
    RecordedEnd,
    RecordedInterruption,
    RecordedMessage,
    RecordedSound,
    RecordedState,
    RecordedUndecodable,
    Recording,
)

#: What counts as the type of a client's interruption, among the types of its messages.
_INTERRUPTION: Final = "(interruption)"
#: Close codes that nobody can send.
_UNSENDABLE: Final = (1005, 1006, 1015)


@attrs.frozen
class _Said:
    """The `count`-th message of a type, of the client."""

    type: str
    count: int


@attrs.frozen
class _Cue:
    """Something to say, `delay` after `anchor`; None: after the link was opened."""

    anchor: _Said | None
    delay: float
    what: Recorded
    #: Messages whose ids it echoes, and which it has to wait for.
    echoes: tuple[_Said, ...] = ()


class ReplayBot:
    """Plays the bot's side of a recording back: the same messages and sound, at the same distances.

    In memory, where with trio's `MockClock` it takes no time::

        bot = ReplayBot(load_recording("call.jsonl"))
        async with open_session(transport=bot.connect) as session: ...

    or on a port, with `serve_bot`. Each connection gets the whole recording, from its beginning.

    What the bot said after a message of the client's waits until the live client has sent its own,
    the k-th of the same type, and comes as long after that as it did. Ids that it echoes are the
    live ones. A client that does not send it waits for ever, as for a real bot. At the end the bot
    leaves, or vanishes, if the recorded one did; else it waits for the client to hang up.

    Attributes:
        recording: what is played.
        follow_client: wait for the client's messages; False: everything is timed from its
            ``client-ready``, whatever else it says.

    Raises:
        RecordingError: the recording is not `complete`: without its beginning nobody gets ready.
    """

    def __init__(self, recording: Recording, *, follow_client: bool = True) -> None:
        if not recording.complete:
            detail = "this recording began too late to be replayed: what came first is missing"
            raise RecordingError(str(recording.path), 1, detail)
        self.recording = recording
        self.follow_client = follow_client
        self._script = _Script(recording, follow_client=follow_client)

    def __repr__(self) -> str:
        return f"<ReplayBot of {self.recording.path}>"

    async def converse(self, link: BotLink) -> None:
        """Play the recording over `link`, the bot's end of it, until it ends."""
        with self.recording.open_sound() as sound:
            await _Replay(self._script, link, sound).run()

    @asynccontextmanager
    async def connect(
        self, params: ConnectParams, options: LinkOptions
    ) -> AsyncGenerator[Transport, None]:
        """Open a link to this bot in memory: a connector, for ``open_session(transport=…)``.

        Raises:
            TransportStartError: the recorded session had no link either.
        """
        refusal = self._script.refusal
        if refusal is not None:
            await trio.sleep(refusal.t)
            raise TransportStartError("replay", refusal.error or "there was no link")
        async with connect_in_memory(self, options) as link:
            yield link


class _Script:
    """What there is to say, and after what."""

    def __init__(self, recording: Recording, *, follow_client: bool) -> None:
        self.cues: list[_Cue] = []
        self._follow_client = follow_client
        #: The ids of the client's messages in the recording.
        self.ids: dict[_Said, str] = {}
        end = recording.end
        states = [event for event in recording.events if isinstance(event, RecordedState)]
        opened = [event.t for event in states if event.state is State.CONNECTED]
        #: The end of a session that never had a link.
        self.refusal: RecordedEnd | None = None if opened or end is None else end
        self._counts: Counter[str] = Counter()
        self._said: dict[str, _Said] = {}
        self._anchor: tuple[_Said | None, float] = (None, opened[0] if opened else 0.0)
        for event in recording.events:
            match event:
                case RecordedMessage(by="client"):
                    self._note(event.type, event.message, event.t)
                case RecordedInterruption(by="client"):
                    self._note(_INTERRUPTION, None, event.t)
                case RecordedState() | RecordedAudio(by="client"):
                    pass
                case _:
                    self._add(event)
        if end is not None and end.first != "client":
            self._add(end)

    def _note(self, type_: str, message: Json, t: float) -> None:
        """The client said something."""
        self._counts[type_] += 1
        said = _Said(type_, self._counts[type_])
        id_ = _id_of(message)
        if id_ is not None:
            self._said[id_] = said
            self.ids[said] = id_
        if self._follow_client or (type_ == ClientReady.TYPE and self._anchor[0] is None):
            self._anchor = (said, t)

    def _add(self, event: Recorded) -> None:
        anchor, since = self._anchor
        echoes: tuple[_Said, ...] = ()
        if self._follow_client and isinstance(event, RecordedMessage):
            ids = _ids_in(event.message)
            echoes = tuple(self._said[id_] for id_ in ids if id_ in self._said)
        self.cues.append(_Cue(anchor, event.t - since, event, echoes))


class _Replay:
    """One connection."""

    def __init__(self, script: _Script, link: BotLink, sound: RecordedSound) -> None:
        self._script = script
        self._link = link
        self._sound = sound
        self._began = trio.current_time()
        self._counts: Counter[str] = Counter()
        #: When the live client has said what.
        self._heard: dict[_Said, float] = {}
        self._changed = trio.lowlevel.ParkingLot()
        #: Ids of the recording, and what they are now.
        self._ids: dict[str, str] = {}

    async def run(self) -> None:
        """Play until the link has ended."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._play)
                await self._listen()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone, or we have left

    async def _listen(self) -> None:
        while True:
            try:
                item = await self._link.receive()
            except trio.EndOfChannel:
                return
            if isinstance(item, str):
                self._note(item)
            elif isinstance(item, Interruption):
                self._count(_INTERRUPTION, None)

    def _note(self, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = text
        type_ = message.get("type") if isinstance(message, dict) else None
        self._count(type_ if isinstance(type_, str) else "", _id_of(message))

    def _count(self, type_: str, id_: str | None) -> None:
        self._counts[type_] += 1
        said = _Said(type_, self._counts[type_])
        self._heard[said] = trio.current_time()
        recorded = self._script.ids.get(said)
        if recorded is not None and id_ is not None:
            self._ids[recorded] = id_
        self._changed.unpark_all()

    async def _play(self) -> None:
        for cue in self._script.cues:
            began = await self._wait_for(cue.anchor)
            await trio.sleep_until(began + cue.delay)
            for said in cue.echoes:
                await self._wait_for(said)
            await self._say(cue.what)

    async def _wait_for(self, said: _Said | None) -> float:
        """Wait until the client has said something; return when it had."""
        if said is None:
            return self._began
        while said not in self._heard:
            await self._changed.park()
        return self._heard[said]

    async def _say(self, what: Recorded) -> None:
        link = self._link
        match what:
            case RecordedMessage():
                await link.send_message(self._with_live_ids(what))
            case RecordedAudio():
                await link.send_audio(self._sound.chunk(what))
            case RecordedInterruption():
                with suppress(UnsupportedFeatureError):  # this wire has no signal
                    await link.send_interruption()
            case RecordedUndecodable():
                await link.send_bytes(what.raw)
            case RecordedEnd():
                await self._leave(what)

    async def _leave(self, end: RecordedEnd) -> None:
        code = 1006 if end.code is None else end.code
        if code == 1006 or end.first == "network":
            await self._link.abort("as recorded")
        elif code in _UNSENDABLE and not isinstance(self._link, MemoryTransport):
            await self._link.aclose()
        else:
            await self._link.aclose(code, end.text)

    def _with_live_ids(self, said: RecordedMessage) -> str:
        message = said.message
        if not isinstance(message, dict) or not self._ids.keys() & _ids_in(message):
            return said.text
        message = dict(message)
        if isinstance(message.get("id"), str):
            message["id"] = self._ids.get(message["id"], message["id"])
        data = message.get("data")
        if isinstance(data, dict) and isinstance(data.get("msg_id"), str):
            message["data"] = {**data, "msg_id": self._ids.get(data["msg_id"], data["msg_id"])}
        return json.dumps(message)


def _id_of(message: Json) -> str | None:
    id_ = message.get("id") if isinstance(message, dict) else None
    return id_ if isinstance(id_, str) else None


def _ids_in(message: Json) -> set[str]:
    """Return the ids of the client's messages that a message of the bot's may echo."""
    if not isinstance(message, dict):
        return set()
    data = message.get("data")
    ids = (message.get("id"), data.get("msg_id") if isinstance(data, dict) else None)
    return {id_ for id_ in ids if isinstance(id_, str)}
