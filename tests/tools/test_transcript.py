"""Who said what, from the events of a session."""

import trio_pipecat as tp
from trio_pipecat.tools._transcript import Transcript


def output(text: str, spoken: int | None, status: str, *, segment: int = 1) -> tp.BotOutput:
    """A segment of which so many characters were spoken."""
    progress = None
    if spoken is not None:
        progress = tp.SpokenProgress(accumulated_text=text[:spoken], remaining_text=text[spoken:])
    return tp.BotOutput(
        text=text,
        segment_id=segment,
        spoken_status=status,
        spoken_progress=progress,
        will_be_spoken=True,
        output_type="sentence",
    )


def heard(text: str, *, final: bool = True) -> tp.UserInput:
    """What the bot has understood."""
    return tp.UserInput(text=text, input_type="transcription", timestamp="", final=final)


def of(*happened: tp.Event | str) -> Transcript:
    """Return the transcript of events, and of texts that were typed."""
    transcript = Transcript()
    for item in happened:
        if isinstance(item, str):
            transcript.type(item)
        else:
            transcript.add(item)
    return transcript


def lines(*happened: tp.Event | str) -> list[tuple[str, str, str]]:
    """Return who, what was said, and what is still to be said."""
    return [(line.who, line.said, line.rest) for line in of(*happened).lines]


def test_the_bot_says_it_word_by_word() -> None:
    """What it will say is known from the beginning."""
    new, half = output("Hello there", None, "new"), output("Hello there", 6, "in-progress")
    done = output("Hello there", 11, "completed")
    assert [("bot", "", "Hello there")] == lines(new)
    assert [("bot", "Hello", "there")] == lines(new, half)
    assert [("bot", "Hello there", "")] == lines(new, half, done)


def test_segments_of_one_answer_are_one_line() -> None:
    """Until it stops."""
    one, two = output("One.", 4, "completed"), output("Two.", None, "new", segment=2)
    assert [("bot", "One.", "Two.")] == lines(tp.BotStartedSpeaking(), one, two)
    three = output("Three.", 6, "completed", segment=3)
    assert [("bot", "One.", ""), ("bot", "Three.", "")] == lines(
        tp.BotStartedSpeaking(), one, tp.BotStoppedSpeaking(), three
    )


def test_an_interruption() -> None:
    """What was not spoken never will be, whatever comes of it."""
    half, later = output("Hello there", 6, "in-progress"), output("Hello there", 11, "completed")
    transcript = of(tp.BotStartedSpeaking(), half, tp.BotInterrupted(), later)
    assert ["Hello … (interrupted)"] == [line.text for line in transcript.lines]
    assert transcript.lines[0].is_over


def test_an_interruption_of_nothing() -> None:
    """Is no news: pipecat tells it also when the bot had finished."""
    done = output("Hello", 5, "completed")
    transcript = of(tp.BotStartedSpeaking(), done, tp.BotStoppedSpeaking(), tp.BotInterrupted())
    assert ["Hello"] == [line.text for line in transcript.lines]
    assert [] == of(tp.BotInterrupted()).lines


def test_who_types_into_an_answer() -> None:
    """The answer is interrupted, and the next is a new line."""
    half, new = output("Hello there", 6, "in-progress"), output("Yes", None, "new", segment=2)
    transcript = of(tp.BotStartedSpeaking(), half, "Stop", tp.BotInterrupted(), new)
    assert ["Hello … (interrupted)", "Stop", ""] == [line.text for line in transcript.lines]
    assert "Yes" == transcript.lines[2].rest


def test_words_of_an_old_bot() -> None:
    """Come one by one, without the spaces."""
    word = {"output_type": "word", "spoken": True}
    first, second = tp.BotOutput(text="Hello", **word), tp.BotOutput(text="there", **word)
    assert [("bot", "Hello there", "")] == lines(first, second)


def test_a_bot_without_outputs() -> None:
    """Says its text all the same; one with them is not heard twice."""
    old = tp.BotTranscription(text="Hello")
    assert [("bot", "Hello", "")] == lines(old)
    assert [("bot", "Hello", "")] == lines(output("Hello", 5, "completed"), old)


def test_the_user_speaks() -> None:
    """What was understood for now gives way to what was understood."""
    assert [("you", "", "Hell")] == lines(heard("Hell", final=False))
    assert [("you", "Hello", "")] == lines(heard("Hell", final=False), heard("Hello"))
    assert [("you", "Hello you", "")] == lines(heard("Hello"), heard("you"))
    answer = output("Hi", 2, "completed")
    assert ["you", "bot", "you"] == [who for who, _, _ in lines(heard("A"), answer, heard("B"))]


def test_the_deprecated_twin_of_a_transcription() -> None:
    """Is heard only where there is no other."""
    old = tp.UserTranscription(text="Hello", user_id="", timestamp="", final=True)
    assert [("you", "Hello", "")] == lines(old)
    assert [("you", "Hello", "")] == lines(heard("Hello"), old)


def test_what_was_typed_is_acknowledged() -> None:
    """And there once; what somebody else typed is there too."""
    ack = tp.UserInput(text="Hello", input_type="chat", timestamp="", final=True)
    assert [("you", "Hello", "")] == lines("Hello", ack)
    assert [("you", "Hello", "")] == lines(ack)


def test_how_long_one_waited() -> None:
    """Stands beside the answer, whether its text or its sound came first."""
    done = output("Hello", 5, "completed")
    transcript = of("A", done)
    transcript.answered_after(0.5)
    assert [None, 0.5] == [line.latency for line in transcript.lines]
    transcript.type("B")
    transcript.answered_after(0.7)
    transcript.add(output("Bye", None, "new", segment=2))
    assert [None, 0.5, None, 0.7] == [line.latency for line in transcript.lines]


def test_errors_and_notes() -> None:
    """Are lines of nobody."""
    transcript = of(tp.Error(error="out of tea"))
    transcript.note("no sound")
    assert ["the bot reports: out of tea", "no sound"] == [line.text for line in transcript.lines]
    assert {"note"} == {line.who for line in transcript.lines}


def test_what_says_nothing() -> None:
    """Is told from what does."""
    transcript = Transcript()
    assert not transcript.add(tp.Connected())
    assert transcript.add(tp.BotStartedSpeaking())
    assert transcript.bot_is_speaking


def test_the_end() -> None:
    """What was not spoken is not shown."""
    transcript = of(output("Hello there", 6, "in-progress"))
    transcript.finish()
    assert ("Hello", True) == (transcript.lines[0].text, transcript.lines[0].is_over)
