"""What a band sounds like while nobody speaks: how loud that is, and how much it varies.

While nobody speaks, both are followed at once. While somebody speaks they are left alone, except
that noise can't be louder than what is quietest: what stays above it for seconds on end is noise
that has grown, as speech has pauses. Levels are in dBFS.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from ._levels import SILENCE_DBFS

#: Frames from which the noise is known that a stream begins with: half a second.
LEARNING: Final = 50
#: The quietest is kept of so many blocks of so many frames: four seconds.
BLOCK: Final = 50
_BLOCKS: Final = 8
#: Of what a frame says, so much is new: to the mean, and to the level of the last 50 ms or so.
_FOLLOW: Final = 0.02
_SMOOTH: Final = 0.2
#: What varies by less than this in the first half second is noise, however loud.
_STEADY_DB: Final = 12.0
#: How far above its mean noise is expected: so many times what it varies by, within bounds.
_MARGIN: Final = 3.3
_LEAST_MARGIN: Final = 1.5
_MOST_MARGIN: Final = 8.0


class Noise:
    """The noise of one band."""

    def __init__(self) -> None:
        self.mean = SILENCE_DBFS
        self.spread = 0.0
        self._smooth: float | None = None
        self._quietest = 0.0
        self._blocks: deque[float] = deque(maxlen=_BLOCKS)

    @property
    def most(self) -> float:
        """What noise does not exceed for long."""
        return self.mean + min(max(_LEAST_MARGIN, _MARGIN * self.spread), _MOST_MARGIN)

    def learn(self, levels: Sequence[float]) -> None:
        """Begin with the noise of a stream's first half second, of which some may be speech."""
        smooth = lowest = highest = sum(levels[:5]) / 5
        for level in levels[5:]:
            smooth += _SMOOTH * (level - smooth)
            lowest, highest = min(lowest, smooth), max(highest, smooth)
        if highest - lowest < _STEADY_DB:
            in_order, count = sorted(levels), len(levels)
            self.mean = in_order[count * 2 // 5]
            # The louder half may be the beginning of speech, so the quieter one has to say it all;
            # and half a second is little to go by, so it may vary by twice what it seems.
            self.spread = max(1.2 * (in_order[count // 2] - in_order[count // 10]), 0.5)
        else:
            self.mean, self.spread = lowest + 1, 1.0

    def silence(self) -> None:
        """There is none."""
        self.mean, self.spread = SILENCE_DBFS, 0.0

    def was_silent(self) -> None:
        """There was none for a moment: what is loud now has not been there for long."""
        self._quietest = SILENCE_DBFS

    def follow(self, level: float) -> None:
        """Take the level of a frame in which nobody spoke."""
        off = level - self.mean
        self.mean += _FOLLOW * off
        self.spread += _FOLLOW * (abs(off) - self.spread)

    def track(self, level: float) -> None:
        """Take the level of any frame that is not silent: noise is no louder than the quietest."""
        smooth = level if self._smooth is None else self._smooth
        self._smooth = smooth = smooth + _SMOOTH * (level - smooth)
        if smooth < self.mean - max(1, self.spread):
            self.mean = smooth
        self._quietest = min(self._quietest, smooth)

    def end_block(self) -> None:
        """Noise is no quieter than the quietest of the last seconds."""
        self._blocks.append(self._quietest)
        self._quietest = 0.0
        if len(self._blocks) == _BLOCKS and min(self._blocks) > self.mean + 1:
            # The least of many is below the mean, by about as much as noise varies.
            self.mean = min(self._blocks) + 1.5
            self.spread = max(self.spread, 1.5)

    def skip_blocks(self, ended: int, *, begun: bool) -> None:
        """Take blocks that were silent altogether, and the silent beginning of another."""
        if ended:
            self._blocks.extend([SILENCE_DBFS] * min(ended, _BLOCKS))
        self._quietest = SILENCE_DBFS if begun else 0.0
