"""When the bot speaks: by its own words, and by its sound."""

import math
from collections.abc import Callable
from typing import Final, final

import trio

from .. import BotStartedSpeaking, BotStoppedSpeaking, Session
from ..audio import AudioChunk

#: An answer is over at last, in seconds: a bot with music behind it is never quiet.
LONGEST_ANSWER: Final = 300
#: How often it is looked whether the bot has fallen silent, in seconds.
_STEP: Final = 0.02
#: After so much silence it begins anew, in seconds.
_PAUSE: Final = 0.3
#: What is not louder is silence: -50 dBFS.
_SILENCE: Final = 0.003


@final
class BotVoice:
    """Listens to the bot as a person with a speaker would: `listen` is its task."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._says_so = False
        self._began = -math.inf
        #: When what has come by now will have sounded, and when the last of it that can be heard.
        self._plays_until = -math.inf
        self._sounds_until = -math.inf
        #: When what is sounding, or was the last to sound, began.
        self._sounds_since = -math.inf

    @property
    def is_speaking(self) -> bool:
        """Is it?"""
        return self._says_so or trio.current_time() < self._sounds_until

    def has_spoken_since(self, at: float) -> bool:
        """Has it been speaking at any moment since `at`?"""
        return self.is_speaking or max(self._began, self._sounds_until) > at

    def began_since(self, at: float) -> bool:
        """Has it begun to speak since `at`, after a pause?"""
        return max(self._began, self._sounds_since) >= at

    async def listen(self) -> None:
        """Listen until the session is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen_to_sound)
            with self._session.subscribe(BotStartedSpeaking, BotStoppedSpeaking) as events:
                async for event in events:
                    self._says_so = isinstance(event, BotStartedSpeaking)
                    self._began = event.at

    async def wait_speaking(self, *, since: float) -> None:
        """Wait until it has spoken at some moment after `since`."""
        await wait_until(lambda: self.has_spoken_since(since))

    async def wait_quiet(self, seconds: float) -> None:
        """Wait until it has not spoken for so long."""
        quiet_since = trio.current_time()
        while trio.current_time() < quiet_since + seconds:
            await trio.sleep(_STEP)
            if self.is_speaking:
                quiet_since = trio.current_time()

    async def _listen_to_sound(self) -> None:
        async for chunk in self._session.audio:
            self._hear(chunk)

    def _hear(self, chunk: AudioChunk) -> None:
        begins = max(self._plays_until, trio.current_time())
        self._plays_until = begins + chunk.duration
        if chunk.level > _SILENCE:
            if begins > self._sounds_until + _PAUSE:
                self._sounds_since = begins
            self._sounds_until = self._plays_until


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so. Time is a part of it, so nobody can tell when it has come."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(_STEP)
