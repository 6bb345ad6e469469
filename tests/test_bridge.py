"""Two bots that talk to each other, in virtual time; and once over sockets."""

import json
import math
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from scripted import ScriptedBot, scripted
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat import _bridge
from trio_pipecat.audio import AudioChunk, Resampler
from trio_pipecat.audio._pcm import pcm_of, samples_of
from trio_pipecat.testing import SimulatedBot, Voice, interrupt_on_speech, serve_bot
from trio_pipecat.testing._conversation import Conversation

RATE = 16_000
#: The beat on which the sound goes out, and what a source may be late by.
BEAT = 0.02

Step = tuple[float, Callable[[ScriptedBot], Awaitable[Any]]]


def numbered(seconds: float, rate: int = RATE, begin: int = 1) -> AudioChunk:
    """Return sound in which no sample is silent, and each is one more than the one before."""
    count = round(seconds * rate)
    return AudioChunk(pcm_of(array("h", (begin + n % 32_000 for n in range(count)))), rate)


def voice(seconds: float, rate: int = 24_000) -> AudioChunk:
    """Return sound that comes and goes as syllables do."""
    frames = round(seconds * rate)
    wave = (
        round(9_000 * math.sin(n * math.tau * 300 / rate))
        if n % (rate // 5) < rate // 7 or frames - n < rate // 10
        else 0
        for n in range(frames)
    )
    return AudioChunk(pcm_of(array("h", wave)), rate)


def says(sound: AudioChunk, *, lead: int = 1) -> Callable[[ScriptedBot], Awaitable[None]]:
    """Return what speaks as pipecat does: on the beat, with a frame of lead."""

    async def speak(bot: ScriptedBot) -> None:
        began = trio.current_time()
        await bot.say(tp.BotStartedSpeaking())
        for number, frame in enumerate(sound.split(round(sound.sample_rate * 0.04) * 2)):
            await trio.sleep_until(began + max(number - lead, 0) * 0.04)
            await bot.link.send_audio(frame)
        await trio.sleep_until(began + sound.duration)
        await bot.say(tp.BotStoppedSpeaking())

    return speak


def bursts(sound: AudioChunk) -> Callable[[ScriptedBot], Awaitable[None]]:
    """Return what says all of it at once."""

    async def speak(bot: ScriptedBot) -> None:
        for frame in sound.split(round(sound.sample_rate * 0.04) * 2):
            await bot.link.send_audio(frame)

    return speak


async def is_interrupted(bot: ScriptedBot) -> None:
    await bot.say(tp.BotInterrupted())


async def leaves(bot: ScriptedBot) -> None:
    await bot.leave()


async def breaks(bot: ScriptedBot) -> None:
    bot.link.vanish("the cable")
    await trio.lowlevel.checkpoint()


async def fails(bot: ScriptedBot) -> None:
    await bot.say(tp.Error(error="out of tea", fatal=True))


class Actor:
    """A bot that plays a part: each step so many seconds after it was ready. It hears all."""

    def __init__(self, *steps: Step, ready_delay: float = 0) -> None:
        self._steps = steps
        self._ready_delay = ready_delay
        self.bot: ScriptedBot

    @property
    def connect(self) -> Any:
        return scripted(self._play)

    @property
    def heard(self) -> list[int]:
        """Every sample that came and was not silent."""
        pcm = b"".join(chunk.pcm for chunk in self.bot.sounds)
        return [sample for sample in samples_of(pcm) if sample]

    @property
    def rates(self) -> set[int]:
        """The rates of what came."""
        return {chunk.sample_rate for chunk in self.bot.sounds}

    def times(self) -> list[float]:
        """When what is not silent came."""
        return [chunk.at or 0 for chunk in self.bot.sounds if any(chunk.pcm)]

    async def _play(self, bot: ScriptedBot) -> None:
        self.bot = bot
        await trio.sleep(self._ready_delay)
        await bot.become_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._act, bot)
            await bot.listen()
            nursery.cancel_scope.cancel()

    async def _act(self, bot: ScriptedBot) -> None:
        ready = trio.current_time()
        with suppress(trio.BrokenResourceError):
            for seconds, step in self._steps:
                await trio.sleep_until(ready + seconds)
                await step(bot)


@asynccontextmanager
async def opened(
    a: Any, b: Any, *, a_rate: int = RATE, b_rate: int = RATE, **keywords: Any
) -> AsyncGenerator[tuple[tp.Session, tp.Session], None]:
    """Open two sessions, one in the other."""
    async with (
        tp.open_session(transport=a.connect, audio_in_sample_rate=a_rate, **keywords) as one,
        tp.open_session(transport=b.connect, audio_in_sample_rate=b_rate, **keywords) as other,
    ):
        yield one, other


async def bridged(a: Any, b: Any, seconds: float, **options: Any) -> tp.BridgeReport:
    """Have two bots talk for so long, and return the report."""
    report = tp.BridgeReport()
    first = options.pop("first", None)
    async with opened(a, b, **options) as (one, other):
        with trio.move_on_after(seconds):
            await tp.bridge(one, other, first=first, report=report)
        for session in (one, other):
            assert [] == session._driver.taps
            assert "bridge()" not in [stream.name for stream in session._driver.streams()]
    return report


# -- sound -----------------------------------------------------------------------------------------


async def test_each_hears_the_other(autojump_clock: MockClock) -> None:
    """Every sample, at once, none twice; and silence in between, as from a microphone."""
    one, other = numbered(1.0), numbered(0.5, begin=500)
    a, b = Actor((1, says(one))), Actor((1.5, says(other)))
    report = await bridged(a, b, 4)
    assert [*samples_of(one.pcm)] == b.heard
    assert [*samples_of(other.pcm)] == a.heard
    assert 1 <= b.times()[0] <= 1 + 2 * BEAT
    assert 3.8 < sum(chunk.duration for chunk in b.bot.sounds) < 4.1
    assert (1.0, 0.5) == (
        pytest.approx(report.a.sent.seconds),
        pytest.approx(report.b.sent.seconds),
    )
    assert 2.8 < report.a.sent.silence_seconds < 3.1
    for side in (report.a, report.b):
        assert (0, 0, 0, 0) == (
            side.unsent_seconds,
            side.dropped_seconds,
            side.interruptions,
            side.underruns,
        )
        assert 0 < side.delay.count
        assert side.delay.max <= 2 * BEAT


@pytest.mark.parametrize("rates", [(24_000, 16_000), (8_000, 16_000), (44_100, 24_000)])
async def test_each_hears_at_its_own_rate(
    rates: tuple[int, int], autojump_clock: MockClock
) -> None:
    """Which is the one that its session was opened with."""
    of_a, of_b = rates
    sound = voice(0.5, of_a)
    a, b = Actor((1, says(sound))), Actor((2, says(voice(0.5, 24_000))))
    await bridged(a, b, 4, a_rate=8_000, b_rate=of_b)
    assert ({8_000}, {of_b}) == (a.rates, b.rates)
    resampler = Resampler(of_a, of_b, engine="python")
    expected = resampler.resample(sound.pcm) + resampler.flush()
    heard = b.heard
    wanted = [sample for sample in samples_of(expected) if sample]
    # What silence after it would ring on, and what the filter did at its end, is a millisecond.
    assert wanted[: -of_b // 100] == heard[: len(wanted[: -of_b // 100])]
    assert len(wanted) == pytest.approx(len(heard), abs=of_b // 100)


async def test_the_end_of_what_is_said_does_not_wait_for_more(autojump_clock: MockClock) -> None:
    """Though it is half a frame."""
    sound = numbered(0.25, 24_000)
    a, b = Actor((1, says(sound)), (9, says(sound))), Actor()
    await bridged(a, b, 12)
    early = [at for at in b.times() if at < 5]
    assert 1.25 - BEAT <= early[-1] <= 1.25 + 0.1
    late = [at for at in b.times() if at > 5]
    assert late[-1] - late[0] == pytest.approx(early[-1] - early[0], abs=BEAT)


async def test_a_burst_is_heard_in_real_time(autojump_clock: MockClock) -> None:
    """Whoever says five seconds at once is heard for five seconds, and not late."""
    sound = numbered(5)
    a, b = Actor((1, bursts(sound))), Actor()
    report = await bridged(a, b, 8)
    assert [*samples_of(sound.pcm)] == b.heard
    assert 5 - BEAT <= b.times()[-1] - b.times()[0] + BEAT <= 5 + 2 * BEAT
    assert report.a.delay.max <= 2 * BEAT
    assert 0 == report.a.sent.hurried_seconds


async def test_what_is_said_too_fast_is_dropped(autojump_clock: MockClock) -> None:
    """From the old end, as a session's audio is; and counted."""
    a, b = Actor((1, bursts(numbered(20)))), Actor()
    report = await bridged(a, b, 30, audio_buffer=5)
    assert 14 < report.a.dropped_seconds < 15.1
    assert 20 == pytest.approx(report.a.dropped_seconds + report.a.sent.seconds, abs=0.01)


async def test_what_comes_late_leaves_a_pause(autojump_clock: MockClock) -> None:
    """In the middle of it, and that is counted; a pause between sentences is none."""

    async def stammer(bot: ScriptedBot) -> None:
        for pause in (0.0, 0.2, 0.15, 1.0):
            await trio.sleep(pause)
            await says(numbered(0.2), lead=0)(bot)

    a, b = Actor((1, stammer)), Actor()
    report = await bridged(a, b, 6)
    assert 4 * [*samples_of(numbered(0.2).pcm)] == b.heard
    assert (2, 0) == (report.a.underruns, report.b.underruns)
    assert 0.8 == pytest.approx(report.a.sent.seconds)


async def test_an_interrupted_bot_is_silent(autojump_clock: MockClock) -> None:
    """At once: what was still to be sent to the other is forgotten. What it says next is heard."""
    sound, more = numbered(5), numbered(0.5, begin=10_000)
    a = Actor((1, bursts(sound)), (2, is_interrupted), (3, says(more)), (6, is_interrupted))
    b = Actor()
    report = await bridged(a, b, 7)
    stop = next(place for place, sample in enumerate(b.heard) if sample == 10_000 and place > 100)
    first = b.heard[:stop] if b.heard[stop - 1] != 9_999 else b.heard[: -more.num_frames]
    assert [*samples_of(sound.pcm)][: len(first)] == first
    assert 1.0 == pytest.approx(len(first) / RATE, abs=2 * BEAT)
    assert [*samples_of(more.pcm)] == b.heard[len(first) :]
    assert 1 == report.a.interruptions
    assert 4.0 == pytest.approx(report.a.unsent_seconds, abs=2 * BEAT)
    assert 5.5 == pytest.approx(report.a.unsent_seconds + report.a.sent.seconds, abs=0.001)
    assert 0 == report.b.interruptions


async def test_who_comes_later_hears_all(autojump_clock: MockClock) -> None:
    """What is said before is kept, and is late; what is said next is not."""
    sound, more = numbered(0.5), numbered(0.5, begin=10_000)
    a, b = Actor((0.5, says(sound)), (6, says(more))), Actor(ready_delay=3)
    report = await bridged(a, b, 8)
    assert [*samples_of(sound.pcm), *samples_of(more.pcm)] == b.heard
    assert 3 <= b.times()[0] <= 3 + 2 * BEAT
    assert 2.5 == pytest.approx(report.a.delay.max, abs=2 * BEAT)
    late = [at for at in b.times() if at > 5]
    assert 6 <= late[0] <= 6 + 2 * BEAT


@pytest.mark.parametrize("first", ["a", "b"])
async def test_who_begins(first: str, autojump_clock: MockClock) -> None:
    """The other is not heard until this one has spoken."""
    greeting, answer = voice(1.0, RATE), voice(0.6, RATE)
    bots = {"a": Actor((1, says(greeting)), (5, says(answer)))}
    bots["b"] = Actor((0.8, says(greeting)), (5, says(answer)))
    report = await bridged(bots["a"], bots["b"], 8, first=first)
    other = "b" if first == "a" else "a"
    # Who begins hears the answer alone, the other both.
    assert 5 <= bots[first].times()[0] <= 5 + 2 * BEAT
    assert 1.1 <= bots[other].times()[0] + 0.3 <= 1.5
    sides = {"a": report.a, "b": report.b}
    assert (0, 1.0) == (sides[first].unsent_seconds, pytest.approx(sides[other].unsent_seconds))
    assert 0.6 == pytest.approx(sides[other].sent.seconds)


# -- conversations ---------------------------------------------------------------------------------


def listener(text: str, **traits: Any) -> SimulatedBot:
    """Return a bot that understands this, and answers it."""
    return SimulatedBot([interrupt_on_speech(text)], echo_audio=False, **traits)


async def test_a_conversation(autojump_clock: MockClock) -> None:
    """Each answers the other, and for each it is known how long the other had to wait."""
    a, b = listener("Hi", greeting="Good morning, dear bot."), listener("Hello")
    report = await bridged(a, b, 20, a_rate=24_000)
    said = [turn.bot_text for turn in report.a.turns]
    assert "Good morning, dear bot." == said[0]
    assert {"You said: Hi"} == set(said[1:-1])
    assert {"You said: Hello"} == {turn.bot_text for turn in report.b.turns[:-1]}
    for turns in (report.a.turns[1:-1], report.b.turns[:-1]):
        assert len(turns) > 3
        # They have heard for 0.8 s that nobody speaks.
        assert all(0.8 < (turn.voice_to_voice or 0) < 1.2 for turn in turns)
    for side in (report.a, report.b):
        assert 0 == side.underruns
        assert side.delay.max <= 0.1
    # What one said is what the other was sent, and its user has said.
    for turns, others in (
        (report.a.turns[1:-1], report.b.turns),
        (report.b.turns[:-1], report.a.turns),
    ):
        for turn in turns:
            assert any(abs((t.bot_started or 0) - (turn.user_started or 0)) < 0.05 for t in others)


async def test_one_that_interrupts_the_other(autojump_clock: MockClock) -> None:
    """By its voice: the story is over, for both."""
    story = "Once upon a time there was a bot that had a very long story to tell to other bots."
    a = listener("Stop", greeting=story)
    b = SimulatedBot([_interrupts_after(1.5)], echo_audio=False)
    report = await bridged(a, b, 5)
    interrupted = report.a.turns[0].interrupted
    assert interrupted is not None and 1.6 < interrupted < 2.2
    assert 1 == report.a.interruptions
    # The other is sent nothing of it any more from then on; the answer comes later.
    heard = b.conversations[0].heard_seconds
    assert 4.8 < heard < 5.2
    assert report.a.sent.seconds < interrupted + 2.5


def _interrupts_after(seconds: float) -> Any:
    async def behaviour(conversation: Conversation) -> None:
        await conversation.ready.wait()
        await trio.sleep(seconds)
        conversation.say("Stop it now please.")

    return behaviour


async def test_an_echo_comes_back(autojump_clock: MockClock) -> None:
    """One of them may send back what it hears: the other hears itself."""
    sound = numbered(0.5)
    a = Actor((1, says(sound)))
    report = await bridged(a, SimulatedBot(), 4)
    assert [*samples_of(sound.pcm)] == a.heard
    assert report.b.sent.seconds > 2  # the silence comes back, too


async def test_two_echoes_never_end(autojump_clock: MockClock) -> None:
    """As the documentation warns: what was said once goes round."""
    report = await bridged(SimulatedBot(greeting="Hello there."), SimulatedBot(), 30)
    assert report.a.turns[0].bot_text == "Hello there."
    assert report.a.sent.seconds > 25
    assert report.b.sent.seconds > 25


# -- how it ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["a", "b"])
async def test_one_leaves(who: str, autojump_clock: MockClock) -> None:
    """Where that cancels nothing, it returns; the last words are still sent to the other."""
    words = numbered(2)

    async def say_goodbye(bot: ScriptedBot) -> None:
        await bursts(words)(bot)
        await bot.leave()

    leaver, other = Actor((1, say_goodbye)), Actor()
    bots = (leaver, other) if who == "a" else (other, leaver)
    async with opened(*bots, disconnect_on_bot_disconnect=False) as (a, b):
        with trio.fail_after(10):
            report = await tp.bridge(a, b)
        side = report.a if who == "a" else report.b
        assert 2 == pytest.approx(side.sent.seconds)
        assert 3 == pytest.approx(trio.current_time(), abs=0.1)
        assert [*samples_of(words.pcm)] == other.heard
        ends = [None if session.end is None else session.end.reason for session in (a, b)]
        assert ["bot", None] == (ends if who == "a" else ends[::-1])


@pytest.mark.parametrize("who", ["a", "b"])
async def test_one_leaves_and_ends_its_block(who: str, autojump_clock: MockClock) -> None:
    """That is no error: the block is over, and the report is filled."""
    words = numbered(1)
    leaver, other = Actor((1, says(words)), (3, leaves)), Actor()
    report = tp.BridgeReport()
    bots = (leaver, other) if who == "a" else (other, leaver)
    async with opened(*bots) as (a, b):
        await tp.bridge(a, b, report=report)
        await trio.sleep_forever()
    side = report.a if who == "a" else report.b
    assert 1 == pytest.approx(side.sent.seconds)
    assert 3 == pytest.approx(trio.current_time(), abs=0.1)
    assert [*samples_of(words.pcm)] == other.heard


@pytest.mark.parametrize("disconnect", [True, False])
@pytest.mark.parametrize("who", ["a", "b"])
@pytest.mark.parametrize(
    ("how", "error"), [(fails, tp.FatalBotError), (breaks, tp.ConnectionLostError)]
)
async def test_one_fails(
    how: Any, error: type[Exception], who: str, disconnect: bool, autojump_clock: MockClock
) -> None:
    """Its error comes out, bare and once; nothing stays behind."""
    bad, good = Actor((1, says(numbered(5))), (2, how)), Actor()
    report = tp.BridgeReport()
    bots = (bad, good) if who == "a" else (good, bad)
    with pytest.raises(error):
        async with opened(*bots, disconnect_on_bot_disconnect=disconnect) as (a, b):
            await tp.bridge(a, b, report=report)
    side = report.a if who == "a" else report.b
    assert side.sent.seconds > 0.5
    assert trio.current_time() < 8


@pytest.mark.parametrize("who", ["a", "b"])
async def test_one_never_comes(who: str, autojump_clock: MockClock) -> None:
    """Then there is no talk, and it is told why."""
    missing, other = Actor(ready_delay=100), Actor()
    bots = (missing, other) if who == "a" else (other, missing)
    with pytest.raises(tp.ReadyTimeoutError):
        async with opened(*bots, ready_timeout=5) as (a, b):
            await tp.bridge(a, b)
    assert 5 == pytest.approx(trio.current_time(), abs=0.1)


async def test_a_task_outside_of_the_blocks(autojump_clock: MockClock) -> None:
    """It is told what the blocks are told: it returns if one leaves, and fails if one does."""
    for how, error in ((leaves, None), (fails, tp.FatalBotError)):
        sessions: list[tp.Session] = []

        async def hold(bot: Actor, started: Any, sessions: list[tp.Session] = sessions) -> None:
            with suppress(tp.FatalBotError):
                async with tp.open_session(transport=bot.connect) as session:
                    sessions.append(session)
                    started.set()
                    await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            for bot in (Actor((2, how)), Actor((1, says(numbered(3))))):
                started = trio.Event()
                nursery.start_soon(hold, bot, started)
                await started.wait()
            if error is None:
                report = await tp.bridge(*sessions)
                assert report.b.sent.seconds < 1.1
            else:
                with pytest.raises(error):
                    await tp.bridge(*sessions)
            nursery.cancel_scope.cancel()


async def test_both_fail_at_once() -> None:
    """One error comes out, bare, and the other one is its context."""

    class Failing:
        async def run(self, failures: list[Exception], scope: trio.CancelScope) -> None:
            failures.append(ValueError(len(failures)))
            scope.cancel()
            await trio.lowlevel.checkpoint()

    with pytest.raises(ValueError, match="0") as raised:
        await _bridge._run((Failing(), Failing()))  # type: ignore[arg-type]
    assert "1" == str(raised.value.__context__)


async def test_somebody_hangs_up(autojump_clock: MockClock) -> None:
    """Who says goodbye from another task ends it, and that is no error."""
    a, b = Actor(), Actor((0, says(numbered(9))))
    async with opened(a, b) as (one, other), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def hang_up() -> None:
            await trio.sleep(2)
            await one.disconnect()

        report = await tp.bridge(one, other)
        assert 2 == pytest.approx(report.b.sent.seconds, abs=0.1)


async def test_cancelling(autojump_clock: MockClock) -> None:
    """Loses what was not sent by then, and says how much that was; the sessions go on."""
    a, b = Actor((1, bursts(numbered(5)))), Actor()
    report = tp.BridgeReport()
    async with opened(a, b) as (one, other):
        with trio.move_on_after(3) as scope:
            await tp.bridge(one, other, report=report)
        assert scope.cancelled_caught
        assert 2 == pytest.approx(report.a.sent.seconds, abs=2 * BEAT)
        assert 5 == pytest.approx(report.a.sent.seconds + report.a.unsent_seconds)
        assert 0 == report.a.interruptions
        await trio.sleep(BEAT)  # what was sent by then arrives
        heard = len(b.heard)
        await trio.sleep(1)
        assert heard == len(b.heard)
        assert tp.State.READY is one.state is other.state
        # There may be another one after it.
        with trio.move_on_after(1):
            await tp.bridge(other, one)


async def test_somebody_else_is_streaming(autojump_clock: MockClock) -> None:
    """To one of them: that is told, bare."""
    async with opened(Actor(), Actor()) as (a, b), trio.open_nursery() as nursery:
        await a.wait_ready()
        nursery.start_soon(a.stream_audio, numbered(60))
        await trio.sleep(1)
        with pytest.raises(trio.BusyResourceError):
            await tp.bridge(a, b)
        nursery.cancel_scope.cancel()


async def test_ctrl_c(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it strikes, comes out as it is."""

    def strike(self: Any, chunk: AudioChunk) -> AudioChunk:
        raise KeyboardInterrupt

    monkeypatch.setattr(_bridge._Way, "_put_chunk", strike)
    with pytest.raises(KeyboardInterrupt):
        async with opened(Actor((1, says(numbered(1)))), Actor()) as (a, b):
            await tp.bridge(a, b)


async def test_what_can_not_be(autojump_clock: MockClock) -> None:
    """Is refused at once."""
    async with opened(Actor(), Actor()) as (a, b):
        with pytest.raises(ValueError, match="itself"):
            await tp.bridge(a, a)
        with pytest.raises(ValueError, match="'c'"):
            await tp.bridge(a, b, first="c")  # type: ignore[arg-type]


async def test_sessions_that_are_over(autojump_clock: MockClock) -> None:
    """Have nothing to say to each other."""
    async with opened(Actor(), Actor(), disconnect_on_bot_disconnect=False) as (a, b):
        await a.wait_ready()
        await b.wait_ready()
        await a.disconnect()
        await b.disconnect()
        report = await tp.bridge(a, b)
    assert (0, []) == (report.a.sent.seconds, report.b.turns)


async def test_the_report_is_json(autojump_clock: MockClock) -> None:
    """All of it, rounded."""
    report = await bridged(listener("Hi", greeting="Hello."), listener("Hello"), 6)
    facts = json.loads(json.dumps(report.as_json()))
    assert {"a", "b"} == set(facts)
    for side in facts.values():
        assert {"p50_ms", "p99_ms", "max_ms"} == set(side["delay"])
        assert len(side["turns"]) >= 1
        assert round(side["seconds"], 4) == side["seconds"]
    assert "1> " not in repr(report)


# -- over sockets ----------------------------------------------------------------------------------


async def test_over_sockets() -> None:
    """Two bots on ports: what one says goes over two WebSockets, and the answer comes back."""
    slow = Voice(word_seconds=0.2)
    a, b = listener("Hi", greeting="Good morning.", voice=slow), listener("Hello")
    async with AsyncExitStack() as stack:
        served = [await stack.enter_async_context(serve_bot(bot)) for bot in (a, b)]
        one, other = [
            await stack.enter_async_context(tp.open_session(bot.start_url)) for bot in served
        ]
        report = tp.BridgeReport()
        with one.subscribe(tp.UserTranscription) as understood, trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: tp.bridge(one, other, report=report))
                while not (await understood.receive()).final:
                    pass
                nursery.cancel_scope.cancel()
    assert "Good morning." == report.a.turns[0].bot_text
    assert "You said: Hello" == report.b.turns[0].bot_text
    assert report.b.turns[0].voice_to_voice is not None
