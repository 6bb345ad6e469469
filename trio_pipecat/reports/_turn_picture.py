"""A picture of one turn: both voices over time, and between them what the caller waited."""

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from ..audio import AudioChunk
from ..audio._pcm import FULL_SCALE, samples_of
from ._axes import Axis
from ._charts import Point, path, svg, x_tick
from ._load import TurnRecord
from ._markup import Markup, joined, tag
from ._words import tell_seconds

_WIDTH: Final = 1_000
_LEFT, _RIGHT, _TOP = 56, 22, 4
#: One lane for each voice, and a gap between them.
_LANE, _BETWEEN = 40, 6
_BOTTOM: Final = _TOP + 2 * _LANE + _BETWEEN
_HEIGHT: Final = _BOTTOM + 28
#: So many columns has a voice. What is quieter than this, as a part of full scale, is drawn small.
_COLUMNS: Final = 900
_QUIET: Final = 0.1
#: How wide a character is at most, in pixels: a text that has no room is left out.
_CHARACTER: Final = 8

#: How much longer is the picture of a turn that nobody has recorded or answered.
_ROOM_FOR_NONE: Final = 1.4

_VOICES: Final = ("caller", "bot")


def draw_turn(turn: TurnRecord, sound: AudioChunk | None) -> Markup | None:
    """Draw a turn; None: nobody was heard in it. In `sound` the caller is on the left."""
    span = max([end for _, _, end in turn.spoken], default=0.0)
    if sound is not None:
        span = max(span, sound.duration)
    elif not turn.answered:
        span *= _ROOM_FOR_NONE
    if not span:
        return None
    axis = Axis.of_time(span)
    waves = list(_waves(sound, axis))
    return svg(
        _WIDTH,
        _HEIGHT,
        f"Both voices in turn {turn.turn}",
        _described(turn),
        joined(x_tick(_x(axis, value), _TOP, _BOTTOM, text) for value, text in axis.ticks),
        *_waiting(turn, axis, span),
        *(_lane(voice, turn, axis, is_alone=not waves) for voice in _VOICES),
        *waves,
    )


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _lane_top(voice: str) -> int:
    return _TOP + _VOICES.index(voice) * (_LANE + _BETWEEN)


def _lane(voice: str, turn: TurnRecord, axis: Axis, *, is_alone: bool) -> Markup:
    """Draw when one of both spoke; `is_alone`: the sound of it will not be drawn."""
    top = _lane_top(voice)
    spans = [
        tag(
            "rect",
            class_=f"spoken {voice}{' alone' if is_alone else ''}",
            x=_x(axis, begin),
            y=top,
            width=max(_x(axis, end) - _x(axis, begin), 1.0),
            height=_LANE,
            rx=3,
        )
        for begin, end in _spans(turn, voice)
    ]
    name = tag(
        *("text", voice), class_="lane", x=_LEFT - 8, y=top + _LANE / 2 + 4, text_anchor="end"
    )
    return joined([name, *spans])


def _waiting(turn: TurnRecord, axis: Axis, span: float) -> Iterator[Markup]:
    """Draw what the caller waited, from the end of the words to the answer, if there is one."""
    ends = [end for _, end in _spans(turn, "caller")]
    begins = sorted(begin for begin, _ in _spans(turn, "bot"))
    if not ends and begins and turn.t2v is not None:  # a text, which nobody heard
        ends = [max(begins[0] - turn.t2v, 0.0)]
    if not ends:
        return
    # An answer may begin while there is still something said.
    first = next((begin for begin in begins if begin >= min(ends)), None)
    since = max((end for end in ends if first is None or end <= first), default=min(ends))
    left, right = _x(axis, since), _x(axis, span if first is None else first)
    yield tag(
        "rect",
        class_="waiting",
        x=left,
        y=_TOP,
        width=max(right - left, 1.0),
        height=_BOTTOM - _TOP,
    )
    told = "no answer"
    if first is not None:
        told = tell_seconds(turn.waited if turn.waited < float("inf") else first - since)
    if right - left > _CHARACTER * (len(told) + 1):
        middle = (_TOP + _BOTTOM) / 2 + 4
        yield tag(
            "text", told, class_="waited", x=(left + right) / 2, y=middle, text_anchor="middle"
        )


def _waves(sound: AudioChunk | None, axis: Axis) -> Iterator[Markup]:
    """Draw the sound of each voice, as loud as it is beside the other."""
    if sound is None or sound.num_channels < len(_VOICES) or not sound.num_frames:
        return
    samples = samples_of(sound.pcm)
    channels = [samples[number :: sound.num_channels] for number in range(len(_VOICES))]
    loudest = FULL_SCALE * max(sound.peak, _QUIET)
    for voice, channel in zip(_VOICES, channels, strict=True):
        middle = _lane_top(voice) + _LANE / 2
        upper: list[Point] = []
        lower: list[Point] = []
        for at, low, high in _extremes(channel):
            x = _x(axis, at / sound.sample_rate)
            upper.append((x, middle - high / loudest * _LANE / 2))
            lower.append((x, middle - low / loudest * _LANE / 2))
        outline = path([*upper, *reversed(lower)])
        yield tag("path", class_=f"wave {voice}", d=f"{outline}Z")


def _extremes(samples: "array[int]") -> Iterator[tuple[float, int, int]]:
    """Yield in columns where they are, and the least and the greatest sample there."""
    columns = min(_COLUMNS, len(samples))
    edges = [number * len(samples) // columns for number in range(columns + 1)]
    for begin, end in pairwise(edges):
        column = samples[begin:end]
        yield (begin + end) / 2, min(column), max(column)


def _spans(turn: TurnRecord, voice: str) -> Sequence[tuple[float, float]]:
    return [(begin, end) for who, begin, end in turn.spoken if who == voice]


def _described(turn: TurnRecord) -> str:
    """Return who spoke when."""
    told = [
        f"The {voice} speaks "
        + ", ".join(f"from {begin:.1f} to {end:.1f} s" for begin, end in spans)
        for voice in _VOICES
        if (spans := _spans(turn, voice))
    ]
    return f"{'. '.join(told)}." if told else "Nobody is known to have spoken."
