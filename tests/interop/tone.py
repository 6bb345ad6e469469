"""What sound is as a tone: how loud, how long, how high; and what a bot hears."""

import math
import sys
from array import array
from statistics import median

from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing import Conversation

#: What is this loud is no noise; full scale is 1.
_LOUD = 0.05
#: What takes longer than this, in seconds, is no period but a pause.
_LONGEST_PERIOD = 0.01


class Tone:
    """Measures a tone; page/tone.js does the same."""

    def __init__(self) -> None:
        self._peak = 0.0
        self._time = 0.0
        self._before = 0
        self._is_armed = False
        self._crossing = -math.inf
        self._periods: list[float] = []

    def hear(self, chunk: AudioChunk) -> None:
        """Take sound; a period is what lies between two crossings of zero, upwards."""
        samples = array("h", chunk.pcm)
        if sys.byteorder == "big":
            samples.byteswap()
        self._peak = max(self._peak, chunk.peak)
        for sample in samples:
            self._time += 1 / chunk.sample_rate
            if sample < -_LOUD * 32768:
                self._is_armed = True
            if self._is_armed and self._before < 0 <= sample:
                late = sample / (sample - self._before) / chunk.sample_rate
                self._take_crossing(self._time - late)
            self._before = sample

    def _take_crossing(self, crossing: float) -> None:
        if crossing - self._crossing < _LONGEST_PERIOD:
            self._periods.append(crossing - self._crossing)
        self._crossing = crossing
        self._is_armed = False

    def result(self) -> dict[str, float | None]:
        """Return what it was."""
        hertz = 1 / median(self._periods) if self._periods else None
        return {"peak": self._peak, "seconds": sum(self._periods), "hertz": hertz}


class BotEars:
    """What a simulated bot hears of each client."""

    def __init__(self) -> None:
        self._tones: dict[Conversation, Tone] = {}

    async def listen(self, conversation: Conversation) -> None:
        """Listen to the client: a behaviour."""
        with conversation.listening(AudioChunk) as ear:
            self._tones[conversation] = Tone()
            async for chunk in ear:
                self._tones[conversation].hear(chunk)

    def take(self, conversation: Conversation) -> dict[str, float | None]:
        """Return what was heard since this was last asked."""
        heard = self._tones[conversation]
        self._tones[conversation] = Tone()
        return heard.result()
