"""An utterance as a list: what is sent while a bot speaks, and when."""

from itertools import count, pairwise

from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat import (
    BotOutput,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    BotTtsStarted,
    BotTtsStopped,
    BotTtsText,
)
from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing import Voice
from trio_pipecat.testing._utterance import utterance

VOICE = Voice(sample_rate=8_000, word_seconds=0.08)
TEXTS = st.text(st.sampled_from("ab .!?é\n"), max_size=40)


def test_two_words_in_order() -> None:
    """Everything of it, in the order pipecat sends it."""
    cues = utterance("Good day", VOICE, count(7), word_by_word=False)
    assert [
        (0.0, BotTtsStarted),
        (0.0, AudioChunk),
        (0.0, BotStartedSpeaking),
        (0.0, BotOutput),  # new
        (0.0, AudioChunk),  # the frame of lead
        (0.01, BotTtsStopped),
        (0.04, BotTtsText),
        (0.04, BotOutput),  # Good
        (0.04, AudioChunk),
        (0.08, AudioChunk),
        (0.12, BotTtsText),
        (0.12, BotOutput),  # day: completed
        (0.12, AudioChunk),
        (0.16, BotStoppedSpeaking),
    ] == [(round(cue.at, 6), type(cue.item)) for cue in cues]
    outputs = [cue.item for cue in cues if isinstance(cue.item, BotOutput)]
    assert ["new", "in-progress", "completed"] == [output.spoken_status for output in outputs]
    assert {7} == {output.segment_id for output in outputs}


def test_word_by_word_for_old_clients() -> None:
    """The sentence once, and then each word as a message."""
    cues = utterance("Good day", VOICE, count(), word_by_word=True)
    outputs = [cue.item for cue in cues if isinstance(cue.item, BotOutput)]
    assert [("sentence", "Good day"), ("word", "Good"), ("word", "day")] == [
        (output.output_type, output.text) for output in outputs
    ]


@given(TEXTS)
def test_every_text_is_spoken_whole(text: str) -> None:
    """In whole frames on the beat, each word told once, each sentence announced before its end."""
    cues = utterance(text, VOICE, count(), word_by_word=False)
    assert bool(text.split()) == bool(cues)
    assert all(one.at <= two.at for one, two in pairwise(cues))
    words = [cue.item.text for cue in cues if isinstance(cue.item, BotTtsText)]
    assert text.split() == words
    frames = [cue for cue in cues if isinstance(cue.item, AudioChunk)]
    assert {VOICE.frame_bytes} >= {len(frame.item.pcm) for frame in frames}
    assert [0.04] * (len(frames) - 2) == [
        round(two.at - one.at, 6) for one, two in pairwise(frames[1:])
    ]
    states: dict[int, list[str]] = {}
    for cue in cues:
        if isinstance(cue.item, BotOutput):
            states.setdefault(cue.item.segment_id, []).append(cue.item.spoken_status)
            progress = cue.item.spoken_progress
            assert cue.item.text == progress.accumulated_text + progress.remaining_text
    for said in states.values():
        assert "new" == said[0]
        assert "completed" == said[-1]
        assert ["in-progress"] * (len(said) - 2) == said[1:-1]
    if cues:
        assert isinstance(cues[0].item, BotTtsStarted)
        assert isinstance(cues[-1].item, BotStoppedSpeaking)
