"""What a simulated bot sends while it speaks, and when: an utterance as a list. No I/O.

Order and pace are those of pipecat 1.14. Audio comes in real time with one frame of lead: two
frames at once, then one on every beat. A sentence is announced when the one before has begun its
last word (the first when the bot begins to speak), and each word is told when it begins.
"""

from collections.abc import Iterator
from enum import IntEnum

import attrs

from .._messages import (
    BotMessage,
    BotOutput,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    BotTtsStarted,
    BotTtsStopped,
    BotTtsText,
    SpokenProgress,
)
from ..audio import AudioChunk
from ._voice import FRAME_SECONDS, Speech, Voice, sentences


class _Rank(IntEnum):
    """What comes first of that which is due at the same time."""

    BEGIN = 0
    WORD = 1
    SENTENCE = 2
    FRAME = 3


@attrs.frozen
class Cue:
    """Something to send, `at` seconds into an utterance."""

    at: float
    item: BotMessage | AudioChunk
    rank: _Rank = _Rank.FRAME


def utterance(text: str, voice: Voice, segments: Iterator[int], *, word_by_word: bool) -> list[Cue]:
    """Return what is to be sent to speak `text`, in order. Empty if there is nothing to say.

    Args:
        text: what to say.
        voice: how it sounds.
        segments: numbers for its sentences.
        word_by_word: tell words as a 1.x client wants them.
    """
    speeches: list[Speech] = []
    seconds = voice.lead_seconds
    for sentence in sentences(text):
        speeches.append(voice.speak(sentence, start=seconds))
        seconds += len(speeches[-1].pcm) / 2 / voice.sample_rate
    if not speeches:
        return []
    pcm = voice.silence(voice.lead_seconds) + b"".join(speech.pcm for speech in speeches)
    pcm += bytes(-len(pcm) % voice.frame_bytes)
    frames = AudioChunk(pcm, voice.sample_rate).split(voice.frame_bytes)
    cues = [
        Cue(0, BotTtsStarted(), _Rank.BEGIN),
        Cue(0, frames[0], _Rank.BEGIN),
        Cue(0, BotStartedSpeaking(), _Rank.BEGIN),
        Cue(FRAME_SECONDS / 4, BotTtsStopped()),
    ]
    cues += [Cue(index * FRAME_SECONDS, frame) for index, frame in enumerate(frames[1:])]
    announced = 0.0
    for speech in speeches:
        cues += _tell(speech, announced, next(segments), word_by_word=word_by_word)
        announced = speech.starts[-1]
    cues.append(Cue((len(frames) - 1) * FRAME_SECONDS, BotStoppedSpeaking()))
    return sorted(cues, key=lambda cue: (cue.at, cue.rank))


def _tell(speech: Speech, announced: float, segment: int, *, word_by_word: bool) -> list[Cue]:
    """Return what is said of a sentence: that it is new, and how far it has come."""
    new = BotOutput(
        text=speech.text,
        output_type="sentence",
        segment_id=segment,
        spoken=False,
        will_be_spoken=True,
        spoken_status="new",
        spoken_progress=SpokenProgress(accumulated_text="", remaining_text=speech.text),
    )
    cues = [Cue(announced, new, _Rank.SENTENCE)]
    done = 0
    for word, start in zip(speech.words, speech.starts, strict=True):
        done = speech.text.index(word, done) + len(word)
        told = _word(word, segment) if word_by_word else _progress(speech.text, done, segment)
        cues += [Cue(start, BotTtsText(text=word), _Rank.WORD), Cue(start, told, _Rank.WORD)]
    return cues


def _word(word: str, segment: int) -> BotOutput:
    return BotOutput(
        text=word,
        output_type="word",
        segment_id=segment,
        spoken=True,
        will_be_spoken=True,
        spoken_status="completed",
        spoken_progress=SpokenProgress(accumulated_text=word, remaining_text=""),
    )


def _progress(text: str, done: int, segment: int) -> BotOutput:
    return BotOutput(
        text=text,
        output_type="sentence",
        segment_id=segment,
        will_be_spoken=True,
        spoken_status="in-progress" if text[done:] else "completed",
        spoken_progress=SpokenProgress(accumulated_text=text[:done], remaining_text=text[done:]),
    )
