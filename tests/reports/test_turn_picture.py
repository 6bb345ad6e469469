"""A turn as a picture."""

from array import array
from xml.etree import ElementTree as ET

import pytest

from trio_pipecat.audio import AudioChunk
from trio_pipecat.audio._pcm import pcm_of
from trio_pipecat.reports import TurnRecord
from trio_pipecat.reports._turn_picture import draw_turn

#: The picture's scale in these tests: 10 s are so many pixels.
WIDTH = 922


def record(*spoken: tuple[str, float, float], v2v: float | None = None) -> TurnRecord:
    """Return a turn in which was spoken like that."""
    answered = any(who == "bot" for who, _, _ in spoken)
    return TurnRecord(
        caller=1, call=2, turn=3, at=4, v2v=v2v, spoken=list(spoken), answered=answered
    )


def draw(turn: TurnRecord, sound: AudioChunk | None = None) -> ET.Element:
    """Return the picture, read back."""
    drawn = draw_turn(turn, sound)
    assert drawn is not None
    return ET.fromstring(drawn)


def of(picture: ET.Element, style: str) -> list[ET.Element]:
    """Return the elements that have a style."""
    return [e for e in picture.iter() if style == e.attrib.get("class")]


def spans(picture: ET.Element, style: str) -> list[tuple[float, float]]:
    """Return from when to when elements are, in seconds of a picture that has ten."""
    return [
        (
            pytest.approx((float(e.attrib["x"]) - 56) / WIDTH * 10, abs=0.01),
            pytest.approx(float(e.attrib["width"]) / WIDTH * 10, abs=0.01),
        )
        for e in of(picture, style)
    ]


def waited(picture: ET.Element) -> str | None:
    """Return what is written between the voices."""
    return next((e.text for e in of(picture, "waited")), None)


def test_both_voices() -> None:
    """Each in its lane, and what was waited in between."""
    picture = draw(record(("caller", 0.5, 2), ("bot", 5, 10), v2v=2.95))
    assert [(0.5, 1.5)] == spans(picture, "spoken caller alone")
    assert [(5, 5)] == spans(picture, "spoken bot alone")
    assert [(2, 3)] == spans(picture, "waiting")
    assert "2.95 s" == waited(picture)
    assert ["caller", "bot"] == [e.text for e in of(picture, "lane")]
    told = picture.find("desc")
    assert told is not None
    assert "The caller speaks from 0.5 to 2.0 s. The bot speaks from 5.0 to 10.0 s." == told.text


def test_no_answer() -> None:
    """Is waited for until the end."""
    picture = draw(record(("caller", 0, 2)), AudioChunk.silence(10, 8_000, 2))
    assert [(2, 8)] == spans(picture, "waiting")
    assert "no answer" == waited(picture)


def test_no_answer_and_no_recording() -> None:
    """There is room to say so."""
    picture = draw(record(("caller", 0, 10 / 1.4)))
    assert [(10 / 1.4, 10 - 10 / 1.4)] == spans(picture, "waiting")
    assert "no answer" == waited(picture)


def test_a_bot_that_interrupts() -> None:
    """Has not answered what was said later; and between is not always room for words."""
    picture = draw(record(("caller", 0, 1), ("bot", 1.2, 3), ("caller", 2, 4), ("bot", 8, 10)))
    assert [(1, 0.2)] == spans(picture, "waiting")
    assert None is waited(picture)


def test_a_bot_that_is_too_early() -> None:
    """There is no answer after the end."""
    picture = draw(record(("bot", 0, 1), ("caller", 0.5, 4), ("bot", 3, 10)), None)
    assert [(4, 6)] == spans(picture, "waiting")


def test_a_bot_alone() -> None:
    """Makes nobody wait that is known of."""
    picture = draw(record(("bot", 0, 10)))
    assert [] == of(picture, "waiting")


def test_a_text() -> None:
    """Nobody has heard it, but it was waited for the answer."""
    turn = record(("bot", 3, 10))
    turn.t2v = 2.0
    picture = draw(turn)
    assert [(1, 2)] == spans(picture, "waiting")
    assert "2.00 s" == waited(picture)


def test_the_sound() -> None:
    """Is drawn for each channel, as loud as it is beside the other."""
    both = array("h", [0] * 160)
    both[0:80:2] = array("h", [10_000, -10_000] * 20)
    both[81::2] = array("h", [5_000, -2_500] * 20)
    picture = draw(record(), AudioChunk(pcm_of(both), 8, 2))
    heights = []
    for voice in ("caller", "bot"):
        (wave,) = of(picture, f"wave {voice}")
        drawn = wave.attrib["d"].strip("MZ").split("L")
        ys = [float(point.split()[1]) for point in drawn]
        heights.append((min(ys), max(ys)))
    assert [(4, 44), (60, 75)] == heights


@pytest.mark.parametrize("sound", [None, AudioChunk(b"", 8_000, 2)])
def test_of_nothing_there_is_no_picture(sound: AudioChunk | None) -> None:
    """Neither sound nor speech."""
    assert None is draw_turn(record(), sound)


def test_one_channel_is_not_both() -> None:
    """So nobody knows whose it is."""
    picture = draw(record(("caller", 0, 1)), AudioChunk.silence(2, 8_000))
    assert [] == of(picture, "wave caller")
    assert [(0, 5)] == spans(picture, "spoken caller alone")
