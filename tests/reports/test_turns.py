"""A conversation as turns, in virtual time: it is known who speaks when; the log has to find it."""

import math
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from scripted import ScriptedBot, scripted
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk
from trio_pipecat.audio._pcm import pcm_of
from trio_pipecat.reports import Turn, TurnLog
from trio_pipecat.testing import SimulatedBot

#: What is measured from sound is right to so many seconds.
NEAR = 0.011
#: A stream begins with a frame of the beat that there may be already.
TICK = 0.021


def near(seconds: float) -> Any:
    """Return what is that, as exactly as sound tells."""
    return pytest.approx(seconds, abs=NEAR + TICK)


def tone(seconds: float, rate: int = 16_000) -> AudioChunk:
    """Return sound that comes and goes as syllables do; it begins and ends with one."""
    frames = round(seconds * rate)
    wave = (
        round(9_000 * math.sin(n * math.tau * 300 / rate))
        if n % (rate // 5) < rate // 7 or frames - n < rate // 10
        else 0
        for n in range(frames)
    )
    return AudioChunk(pcm_of(array("h", wave)), rate)


async def speaks(bot: ScriptedBot, seconds: float, rate: int = 24_000) -> None:
    """Speak in real time, with pipecat's events around it."""
    await bot.say(tp.BotStartedSpeaking())
    for frame in tone(seconds, rate).split(round(rate * 0.04) * 2):
        await bot.link.send_audio(frame)
        await trio.sleep(frame.duration)
    await bot.say(tp.BotStoppedSpeaking())


def at_times(
    *steps: tuple[float, Callable[[ScriptedBot], Awaitable[Any]]], version: str = "2.2.0"
) -> Any:
    """Return a connector to a bot that does each step so many seconds after it became ready."""

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready(version)
        ready = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bot.listen)
            for seconds, step in steps:
                await trio.sleep_until(ready + seconds)
                await step(bot)

    return scripted(script)


async def converse(
    bot: Any, *steps: tuple[float, Callable[[tp.Session], Awaitable[Any]]], seconds: float = 10
) -> TurnLog:
    """Hold a session: each step is done so many seconds after the bot is ready."""
    async with tp.open_session(transport=bot) as session:
        log = TurnLog(session)
        await session.wait_ready()
        async with trio.open_nursery() as nursery:
            ready = trio.current_time()
            for at, step in steps:
                await trio.sleep_until(ready + at)
                nursery.start_soon(step, session)
            await trio.sleep_until(ready + seconds)
            nursery.cancel_scope.cancel()
    return log


def says(seconds: float) -> Callable[[tp.Session], Awaitable[Any]]:
    """Speak for so long."""
    return lambda session: session.stream_audio(tone(seconds))


async def test_voice_to_voice_is_from_sound_to_sound(autojump_clock: MockClock) -> None:
    """From the last of the user's to the first of the bot's, whatever the events say."""
    bot = at_times((2.8, lambda bot: speaks(bot, 1.0)))
    log = await converse(bot, (1, says(1.5)))
    (turn,) = log.turns
    assert (near(1), near(2.5)) == (turn.user_started, turn.user_ended)
    assert (near(2.8), near(3.8)) == (turn.bot_started, turn.bot_ended)
    assert near(0.3) == turn.voice_to_voice
    assert (2.8, 3.8) == (
        pytest.approx(turn.bot_started_speaking),
        pytest.approx(turn.bot_stopped_speaking),
    )
    assert 0 == log.bot_ready


async def test_a_bot_that_begins_with_silence_is_heard_when_it_sounds(
    autojump_clock: MockClock,
) -> None:
    """The first frame is not the first sound."""

    async def hesitates(bot: ScriptedBot) -> None:
        await bot.say(tp.BotStartedSpeaking())
        for _ in range(10):
            await bot.link.send_audio(AudioChunk.silence(0.04, 24_000))
            await trio.sleep(0.04)
        await speaks(bot, 0.5)

    (turn,) = (await converse(at_times((2, hesitates)), (0.5, says(1)))).turns
    assert (2, near(2.4)) == (pytest.approx(turn.bot_started_speaking), turn.bot_started)
    assert near(0.9) == turn.voice_to_voice


async def test_a_burst_is_heard_in_real_time(autojump_clock: MockClock) -> None:
    """A bot that sends all at once is heard for as long as it sounds."""

    async def bursts(bot: ScriptedBot) -> None:
        await bot.link.send_audio(AudioChunk.silence(0.5, 24_000))
        await bot.link.send_audio(tone(2, 24_000))

    (turn,) = (await converse(at_times((2, bursts)), (0.5, says(1)))).turns
    assert (near(2.5), near(4.5)) == (turn.bot_started, turn.bot_ended)


async def test_without_events_there_are_turns_all_the_same(autojump_clock: MockClock) -> None:
    """Sound tells enough."""

    async def only_sounds(bot: ScriptedBot) -> None:
        for frame in tone(1, 24_000).split(1920):
            await bot.link.send_audio(frame)
            await trio.sleep(frame.duration)

    bot = at_times((2, only_sounds), (5, only_sounds))
    log = await converse(bot, (0.5, says(1)), (3.5, says(1)))
    assert [near(0.5), near(0.5)] == [turn.voice_to_voice for turn in log.turns]
    assert [near(3), near(6)] == [turn.bot_ended for turn in log.turns]


async def test_a_greeting_is_a_turn_without_a_user(autojump_clock: MockClock) -> None:
    """It has no latency."""
    bot = at_times((0.5, lambda bot: speaks(bot, 1)), (4, lambda bot: speaks(bot, 1)))
    log = await converse(bot, (2, says(1)))
    greeting, answer = log.turns
    assert (None, None, None) == (
        greeting.user_started,
        greeting.user_ended,
        greeting.voice_to_voice,
    )
    assert (near(0.5), near(1)) == (greeting.bot_started, answer.voice_to_voice)


async def test_who_pauses_and_goes_on_is_in_the_same_turn(autojump_clock: MockClock) -> None:
    """Until the bot answers; the latency is from the last of it."""
    log = await converse(
        at_times((5, lambda bot: speaks(bot, 1))), (0.5, says(1)), (2.5, says(1)), (7, says(1))
    )
    first, second = log.turns
    assert (near(0.5), near(3.5)) == (first.user_started, first.user_ended)
    assert near(1.5) == first.voice_to_voice
    assert (near(7), None) == (second.user_started, second.bot_started)


async def test_a_bot_that_is_interrupted_stops_then(autojump_clock: MockClock) -> None:
    """What was still to sound is not heard; the next turn is the user's."""

    async def is_interrupted(bot: ScriptedBot) -> None:
        await bot.interrupt()
        await bot.say(tp.BotInterrupted(), tp.BotStoppedSpeaking())

    async def bursts(bot: ScriptedBot) -> None:
        await bot.say(tp.BotStartedSpeaking())
        await bot.link.send_audio(tone(5, 24_000))

    bot = at_times((1, bursts), (3, is_interrupted), (4.5, lambda bot: speaks(bot, 1)))
    log = await converse(bot, (2.8, says(1)))
    first, second = log.turns
    assert (3, near(3)) == (pytest.approx(first.interrupted), first.bot_ended)
    assert 3 == pytest.approx(first.bot_stopped_speaking)
    assert (near(2.8), near(3.8)) == (second.user_started, second.user_ended)
    assert (None, near(0.7)) == (second.interrupted, second.voice_to_voice)


async def test_a_burst_is_interrupted_without_a_word_of_the_bots(
    autojump_clock: MockClock,
) -> None:
    """A bot that does not say when it speaks is heard to."""
    bot = at_times(
        (1, lambda bot: bot.link.send_audio(tone(3, 24_000))), (2, lambda bot: bot.interrupt())
    )
    (turn,) = (await converse(bot, (0, says(0.5)))).turns
    assert (near(1), near(2), near(2)) == (turn.bot_started, turn.bot_ended, turn.interrupted)


async def test_stale_audio_is_told_by_turn(autojump_clock: MockClock) -> None:
    """What was read of an utterance and should not have been heard."""

    async def is_interrupted(bot: ScriptedBot) -> None:
        await bot.interrupt()
        await bot.say(tp.BotInterrupted(), tp.BotStoppedSpeaking())

    async def bursts(bot: ScriptedBot) -> None:
        await bot.say(tp.BotStartedSpeaking())
        await bot.link.send_audio(tone(5, 24_000))

    async def reads(session: tp.Session) -> None:
        async for _ in session.audio:
            pass

    log = await converse(at_times((1, bursts), (3, is_interrupted)), (0, reads))
    assert [pytest.approx(3_000)] == [turn.stale_ms for turn in log.turns]


async def test_a_typed_text_begins_a_turn(autojump_clock: MockClock) -> None:
    """Its latency is from text to voice."""

    async def texts(session: tp.Session) -> None:
        await session.send_text("Hello!")

    log = await converse(
        at_times((1.5, lambda bot: speaks(bot, 1)), (4.5, lambda bot: speaks(bot, 1))),
        (1, texts),
        (4, texts),
    )
    assert [(1, "Hello!"), (4, "Hello!")] == [
        (pytest.approx(turn.text_sent), turn.user_text) for turn in log.turns
    ]
    assert [near(0.5), near(0.5)] == [turn.text_to_voice for turn in log.turns]
    assert [None, None] == [turn.voice_to_voice for turn in log.turns]


async def test_text_that_only_joins_the_context_is_no_turn(autojump_clock: MockClock) -> None:
    """Nobody answers it."""

    async def texts(session: tp.Session) -> None:
        await session.send_text("By the way.", run_immediately=False)

    assert [] == (await converse(at_times(), (1, texts))).turns


async def test_the_servers_own_times_stand_beside(autojump_clock: MockClock) -> None:
    """Its events, the first of each kind, and its metrics; and what was said."""

    async def answers(bot: ScriptedBot) -> None:
        await bot.say(
            tp.UserStoppedSpeaking(),
            tp.UserInput(text="What's up", input_type="transcription", timestamp="", final=False),
            tp.UserInput(text="What's up?", input_type="transcription", timestamp="", final=True),
            tp.BotLlmStarted(),
            tp.Metrics(ttfb=(tp.Timing(processor="LLM#0", value=0.12),)),
        )
        await trio.sleep(0.2)
        await bot.say(tp.BotLlmStopped(), tp.BotTtsStarted(), tp.BotTtsStopped())
        await bot.say(
            tp.BotOutput(
                text="The sky.",
                segment_id=1,
                spoken_status="completed",
                will_be_spoken=True,
            )
        )
        await speaks(bot, 1)

    log = await converse(at_times((2, answers)), (0.5, says(1)))
    (turn,) = log.turns
    told = (turn.user_stopped_speaking, turn.llm_started, turn.llm_stopped, turn.tts_started)
    assert [2, 2, 2.2, 2.2] == pytest.approx(told)
    assert {"LLM#0": 0.12} == turn.server_ttfb
    assert ("What's up?", "The sky.") == (turn.user_text, turn.bot_text)


async def test_an_interrupted_sentence_is_told_as_far_as_it_was_spoken(
    autojump_clock: MockClock,
) -> None:
    """By the bot's own progress; words of a 1.x bot are put together."""

    def output(said: str, left: str) -> tp.BotOutput:
        return tp.BotOutput(
            text=said + left,
            segment_id=1,
            spoken_status="in-progress",
            will_be_spoken=True,
            spoken_progress=tp.SpokenProgress(accumulated_text=said, remaining_text=left),
        )

    async def is_cut(bot: ScriptedBot) -> None:
        await bot.say(output("", "One two"), output("One", " two"), tp.BotInterrupted())

    async def words(bot: ScriptedBot) -> None:
        await bot.say(*[tp.BotOutput(text=text, output_type="word") for text in ("One", "two")])

    for step, heard in ((is_cut, "One"), (words, "One two")):
        (turn,) = (await converse(at_times((1, step)))).turns
        assert heard == turn.bot_text


async def test_who_speaks_at_the_end_is_cut_off(autojump_clock: MockClock) -> None:
    """Turns that have begun are whole."""
    bot = at_times((1, lambda bot: speaks(bot, 60)))
    (turn,) = (await converse(bot, (0, says(0.5)), seconds=3.1)).turns
    assert (near(1), near(3.1)) == (turn.bot_started, turn.bot_ended)


async def test_a_log_can_be_stopped(autojump_clock: MockClock) -> None:
    """And keeps what it has."""
    bot = at_times((1, lambda bot: speaks(bot, 1)), (3, lambda bot: speaks(bot, 1)))
    async with tp.open_session(transport=bot) as session:
        with TurnLog(session) as log:
            await session.wait_event(tp.BotStoppedSpeaking)
        await session.wait_event(tp.BotStoppedSpeaking)
        assert [near(2)] == [turn.bot_ended for turn in log.turns]
        log.stop()
        with trio.fail_after(1):
            await log.wait_change()


async def test_changes_can_be_waited_for(autojump_clock: MockClock) -> None:
    """The end of the session is one."""
    bot = at_times((1, lambda bot: speaks(bot, 1)))
    async with tp.open_session(transport=bot) as session:
        log = TurnLog(session)
        while not (log.turns and log.turns[0].bot_started is not None):
            await log.wait_change()
        assert 1 <= trio.current_time() <= 1.2
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def hang_up() -> None:
                await trio.sleep(5)
                await session.disconnect()

            while session.end is None:
                await log.wait_change()
        await log.wait_change()


async def test_it_goes_out_as_json(autojump_clock: MockClock) -> None:
    """Rounded; what did not happen is null."""
    log = await converse(at_times((2, lambda bot: speaks(bot, 1))), (0.5, says(1)))
    told = log.as_json()
    (turn,) = told["turns"]
    assert {*turn} > {
        "number",
        "user_ended",
        "bot_started",
        "voice_to_voice",
        "stale_ms",
        "bot_text",
    }
    assert (1, None, near(0.5)) == (turn["number"], turn["interrupted"], turn["voice_to_voice"])
    assert turn["voice_to_voice"] == round(turn["voice_to_voice"], 4)
    assert 0 == told["bot_ready"]
    assert "<TurnLog: 1 turns>" == repr(log)


async def test_percentiles_of_all_turns(autojump_clock: MockClock) -> None:
    """Those that have a latency."""
    bot = at_times((2, lambda bot: speaks(bot, 1)), (5, lambda bot: speaks(bot, 1)))
    log = await converse(bot, (0.5, says(1)), (3.3, says(1)), (7, says(1)))
    latencies = log.voice_to_voice
    assert 2 == len(latencies)
    assert (near(0.5), near(0.7)) == (latencies.min, latencies.max)


async def test_of_a_session_that_is_over_nothing_is_heard(autojump_clock: MockClock) -> None:
    """It is too late."""
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        await session.wait_ready()
        await session.disconnect()
        assert [] == TurnLog(session).turns


def test_a_latency_may_be_negative() -> None:
    """Of a bot that spoke before the user was done."""
    assert -0.5 == Turn(number=1, user_ended=2.0, bot_started=1.5).voice_to_voice


async def test_the_simulated_bot_is_heard_when_it_speaks(autojump_clock: MockClock) -> None:
    """The same as it says, to the silence that it begins with."""
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        log = TurnLog(session)
        await session.wait_ready()
        await session.send_text("Hello!")
        await session.wait_event(tp.BotStoppedSpeaking)
        await trio.sleep(1)
    (turn,) = [turn for turn in log.turns if turn.text_sent is not None]
    assert turn.bot_started == pytest.approx(turn.bot_started_speaking + 0.04, abs=NEAR)
    assert turn.bot_ended == pytest.approx(turn.bot_stopped_speaking, abs=0.08)
    assert "You said: Hello!" == turn.bot_text
