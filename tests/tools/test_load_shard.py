"""A load run in virtual time: what is measured of bots whose every delay is known."""

import errno
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_pipecat import Metrics, SessionKeywords, Timing
from trio_pipecat.audio import AudioChunk, write_wav
from trio_pipecat.reports import LoadResult, TurnRecord
from trio_pipecat.reports._load import MOST_RECORDED, MOST_WORST
from trio_pipecat.testing import (
    BotCrashedError,
    Conversation,
    SimulatedBot,
    crash,
    fatal_error,
    half_open,
    interrupt_on_speech,
    leave_after,
    never_ready,
)
from trio_pipecat.testing._voice import Voice
from trio_pipecat.tools.load import _call
from trio_pipecat.tools.load._command import FAILED, exit_code
from trio_pipecat.tools.load._plan import LoadPlan
from trio_pipecat.tools.load._shape import Shape, Stage, profile
from trio_pipecat.tools.load._shard import run_shard

#: The first frame of the simulated voice is silent for so long.
LEAD = Voice().lead_seconds


def plan_for(
    bot: SimulatedBot, callers: float = 5, seconds: float = 60, **changes: Any
) -> LoadPlan:
    """Return a plan of callers of a bot in memory."""
    keywords: SessionKeywords = {"transport": bot.connect}
    plan = LoadPlan(
        target="sim:",
        keywords=keywords,
        shape=profile("constant", callers, seconds),
        greeting=0.0,
        turn_pause=0.2,
    )
    return attrs.evolve(plan, **changes)


@pytest.fixture
def voice(tmp_path: Path) -> str:
    """Return a file with half a second of silence, a second of a voice, and a second of silence."""
    tone = Voice(sample_rate=16_000, word_seconds=1.0)
    word = tone.word()
    pcm = tone.silence(0.5) + word + tone.silence(1.0)
    write_wav(tmp_path / "voice.wav", AudioChunk(pcm, 16_000))
    return str(tmp_path / "voice.wav")


async def run(plan: LoadPlan, **options: Any) -> LoadResult:
    """Run a plan in this process."""
    return await run_shard(plan, **options)


def percentiles(result: LoadResult, metric: str) -> list[float]:
    """Return what percentiles a metric has."""
    return [result.metrics[metric].percentile(percent) for percent in (50, 90, 95, 99)]


async def test_a_text_is_timed_to_the_first_sound(autojump_clock: MockClock) -> None:
    """Not to the first frame, which is silent; and the first event comes before it."""
    bot = SimulatedBot(think_seconds=0.8, ready_delay=0.5)
    result = await run(plan_for(bot, think=(1.0, 1.0)))
    assert [] == [*result.errors]
    assert 0.8 + LEAD == pytest.approx(result.metrics["t2v"].percentile(50), abs=0.005)
    assert 0.8 == pytest.approx(result.metrics["first_event"].percentile(50), abs=0.005)
    assert 0.5 == pytest.approx(result.metrics["ready"].percentile(50), abs=0.005)
    assert result.counts["answered"] == result.counts["turns"] >= 50
    assert "v2v" not in result.metrics
    # The caller waits, and then the bot speaks without a pause of more than a quarter of a word.
    assert result.metrics["dead_air"].max == pytest.approx(result.metrics["t2v"].max, abs=0.001)
    assert 0 == result.counts["interruptions"]
    assert {"You said: Hello, can you hear me?"} == {turn.answer for turn in result.worst}
    assert 5 == max(moment.ready + moment.starting for moment in result.timeline)


async def test_a_voice_is_timed_from_its_end_in_the_file(
    autojump_clock: MockClock, voice: str
) -> None:
    """The silence around it does not count, nor does the pace at which the file is sent."""
    bot = SimulatedBot([interrupt_on_speech("hi", stop=0.3)], echo_audio=False, think_seconds=0.5)
    result = await run(plan_for(bot, wavs=(voice,)))
    assert {} == result.errors
    # The bot has noticed 380 ms after the voice that it is over, by its frames of 20 ms.
    assert 0.38 + 0.5 + LEAD == pytest.approx(result.metrics["v2v"].percentile(50), abs=0.002)
    assert result.metrics["v2v"].max - result.metrics["v2v"].min <= 0.025
    assert "t2v" not in result.metrics
    assert result.metrics["lateness"].max < 0.001


async def test_percentiles_are_those_of_the_bot(autojump_clock: MockClock) -> None:
    """Of a distribution that is known: within 2 % or 5 ms of the delays that were drawn."""
    rng = random.Random(7)
    drawn: list[float] = []

    def think() -> float:
        drawn.append(rng.lognormvariate(-0.5, 0.6))
        return drawn[-1]

    plan = plan_for(SimulatedBot(think_seconds=think), 12, 150, texts=("Hi",) * 9)
    result = await run(plan)
    latencies = sorted(drawn)
    measured = result.metrics["t2v"]
    assert len(measured) == pytest.approx(len(drawn), abs=15)
    assert len(measured) > 500
    for percent in (50, 90, 95, 99):
        true = latencies[round(len(latencies) * percent / 100) - 1] + LEAD
        assert true == pytest.approx(measured.percentile(percent), rel=0.02, abs=0.005)


async def test_parts_put_together_are_the_whole(autojump_clock: MockClock) -> None:
    """Callers are shared out, none twice, and histograms are added up."""
    whole = LoadResult()
    plan = plan_for(SimulatedBot(think_seconds=0.4), 10, 30)
    for index in range(4):
        part = await run(plan, index=index, of=4)
        whole.merge(part)
    alone = await run(plan)
    assert [] == whole.turns
    assert [3, 3, 2, 2] == [part.callers for part in whole.parts]
    assert whole.counts == alone.counts
    assert len(whole.metrics["t2v"]) == len(alone.metrics["t2v"])
    for percent in (50, 99):
        assert whole.metrics["t2v"].percentile(percent) == pytest.approx(
            alone.metrics["t2v"].percentile(percent), abs=0.002
        )


async def test_every_turn_is_kept_if_it_is_wanted(autojump_clock: MockClock) -> None:
    """Those of the window, in each part; a document has them too."""
    plan = plan_for(
        SimulatedBot(think_seconds=0.4), 3, 30, warm_up=10.0, keeps_turns=True, texts=("Hi", "Ho")
    )
    whole = LoadResult()
    for index in range(2):
        whole.merge(LoadResult.from_json((await run(plan, index=index, of=2)).as_json()))
    assert whole.counts["turns"] == len(whole.turns) == len({_place(turn) for turn in whole.turns})
    assert {0, 1, 2} == {turn.caller for turn in whole.turns}
    assert {1, 2} == {turn.turn for turn in whole.turns}
    assert all(10 <= turn.at < 30 for turn in whole.turns)
    times = [turn.t2v for turn in whole.turns if turn.t2v is not None]
    assert len(whole.metrics["t2v"]) == len(times)
    assert max(times) == pytest.approx(whole.metrics["t2v"].max, rel=0.01)


def _place(turn: TurnRecord) -> tuple[int, int, int]:
    return turn.caller, turn.call, turn.turn


async def test_only_what_is_late_in_the_window_counts(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """While callers come, and while they hang up, all at once, no figure is taken."""
    script = tmp_path / "late.py"
    script.write_text(
        "import trio\n\n\n"
        "async def talk(session):\n"
        "    await session.wait_ready()\n"
        "    for late in (1.0, 0.002, 0.5):\n"
        "        await trio.sleep(10)\n"
        "        session.pacing.add(late)\n"
        "    await trio.sleep_forever()\n"
    )
    plan = plan_for(SimulatedBot(), 3, 40, warm_up=15.0, cool_down=15.0)
    result = await run(attrs.evolve(plan, caller=f"{script}:talk"))
    lateness = result.metrics["lateness"]
    assert (3, pytest.approx(0.002, rel=0.01)) == (len(lateness), lateness.max)


async def test_the_closed_model_has_so_many_callers(autojump_clock: MockClock) -> None:
    """Each calls again when a call is over, and those who are too many leave."""
    bot = SimulatedBot(think_seconds=0.5)
    shape = Shape(2, (Stage(20, 2), Stage(0, 6), Stage(20, 6), Stage(0, 3), Stage(20, 3)))
    result = await run(plan_for(bot, shape=shape))
    there = [moment.ready + moment.starting for moment in result.timeline]
    assert {2} == {*there[2:19]}
    assert {6} == {*there[22:39]}
    assert {3} == {*there[45:59]}
    assert result.counts["calls"] > 60
    assert 0 == result.counts["failed"]


async def test_the_open_model_does_not_wait_for_the_bot(autojump_clock: MockClock) -> None:
    """Callers come as they come: a slow bot has more of them at once, and no fewer."""
    shape = profile("constant", 2, 60)
    plans = {
        think: plan_for(SimulatedBot(think_seconds=think), shape=shape, model="open", cool_down=20)
        for think in (0.1, 8.0)
    }
    results = {think: await run(plan) for think, plan in plans.items()}
    arrived = sum(1 for _ in plans[0.1].arrivals(0, 1))
    assert [arrived, arrived] == [result.parts[0].callers for result in results.values()]
    most = {
        think: max(moment.ready for moment in result.timeline) for think, result in results.items()
    }
    assert most[8.0] > 2 * most[0.1]
    assert 8.0 + LEAD == pytest.approx(results[8.0].metrics["t2v"].percentile(50), rel=0.01)


async def test_no_more_callers_than_there_is_place_for(autojump_clock: MockClock) -> None:
    """Who finds none is counted."""
    shape = profile("constant", 5, 30)
    bot = SimulatedBot(think_seconds=10)
    result = await run(plan_for(bot, shape=shape, model="open", max_callers=7))
    assert 7 == max(moment.ready + moment.starting for moment in result.timeline)
    assert result.counts["dropped"] > 50


async def test_only_the_window_is_measured(autojump_clock: MockClock) -> None:
    """Neither the warming up nor the cooling down."""
    times: list[float] = []

    def think() -> float:
        at = trio.current_time()
        times.append(at)
        return 5.0 if at < 20 or at >= 80 else 0.5

    bot = SimulatedBot(think_seconds=think)
    result = await run(plan_for(bot, seconds=100, warm_up=21, cool_down=21))
    assert result.metrics["t2v"].max < 1
    assert result.metrics["t2v"].min > 0.4
    assert (21, 79) == (result.measured_from, result.measured_until)
    assert all(not moment.turns for moment in result.timeline[:20])


async def test_turns_that_were_cut_are_told(autojump_clock: MockClock) -> None:
    """Nobody knows how long they would have taken: that some are missing is said."""
    result = await run(plan_for(SimulatedBot(think_seconds=3), seconds=20, wind_down=0.0))
    assert 5 == result.counts["cut"]
    assert result.counts["answered"] == result.counts["turns"] > 0
    assert 20 == pytest.approx(result.seconds, abs=1)


async def test_a_bot_that_hangs_is_not_quick(autojump_clock: MockClock) -> None:
    """Turns that were cut after nobody had waited longer count as not answered."""
    bot = SimulatedBot([half_open(10)], think_seconds=4)
    result = await run(plan_for(bot, seconds=30, texts=("Hi",) * 99))
    assert 5 == result.counts["turns"] - result.counts["answered"]
    assert 10 == result.counts["answered"]
    assert 0 == result.counts["cut"]
    assert result.metrics["t2v"].max < 5
    assert result.metrics["dead_air"].max > 20


async def test_who_never_got_to_a_bot_has_not_called(autojump_clock: MockClock) -> None:
    """A run in which nobody got through is no success, though nothing has failed yet."""
    result = await run(plan_for(SimulatedBot([never_ready()]), seconds=10))
    result.settle()
    assert (0, 0) == tuple(result.counts[name] for name in ("calls", "reached"))
    assert [15.0] * 5 == pytest.approx(result.cut_starting, abs=0.1)  # hanging up takes 5 s
    result.parts.clear()  # in virtual time this process is always busy
    assert FAILED == exit_code(result, [])


async def test_who_is_kept_waiting_longer_than_anybody_has_failed(
    autojump_clock: MockClock,
) -> None:
    """Who came when the run ended is still no failure."""
    begun = 0

    async def third_is_never_ready(conversation: Conversation) -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            await never_ready()(conversation)

    bot = SimulatedBot([third_is_never_ready], ready_delay=0.5)
    shape = Shape(3, (Stage(29.8, 3), Stage(0, 5), Stage(0.2, 5)))
    plan = plan_for(bot, seconds=30, texts=("Hi",) * 99, think=(2.0, 2.0))
    result = await run(attrs.evolve(plan, shape=shape, wind_down=0.1))
    result.settle()
    assert {"ReadyTimeoutError": 1} == result.errors  # after 30 s, when all are hanging up
    assert 2 == len(result.cut_starting)
    begun = 0
    result = await run(attrs.evolve(plan, shape=Shape(3, (Stage(20, 3),))))
    assert {} == result.errors
    result.settle()
    assert {"the bot was not ready by the end": 1} == result.errors
    assert (3, 1) == (result.counts["calls"], result.counts["failed"])
    assert result.counts["calls"] == result.endings.total()


async def test_a_bot_that_leaves_in_a_turn_has_not_answered_it(autojump_clock: MockClock) -> None:
    """And the call has failed."""
    bot = SimulatedBot([crash(2)], think_seconds=5)
    result = await run(plan_for(bot, seconds=30, cool_down=10))
    assert {"ConnectionLostError"} == set(result.errors)
    assert 0 == result.counts["answered"]
    assert result.counts["turns"] >= 5
    assert 0 == result.counts["cut"]


async def test_stopped_before_it_begins(autojump_clock: MockClock) -> None:
    """It does not wait for that."""
    stop = trio.Event()
    stop.set()
    result = await run(plan_for(SimulatedBot()), begin_at=time.time() + 600, stop=stop)
    assert trio.current_time() < 10
    assert result.interrupted


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "crash": (lambda: crash(2), "ConnectionLostError"),
    "fatal": (lambda: fatal_error("no more"), "FatalBotError"),
    "never ready": (lambda: never_ready(), "ReadyTimeoutError"),
    "leaves": (lambda: leave_after(2), "the bot left"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_failures_are_counted_by_cause(fault: str, autojump_clock: MockClock) -> None:
    """And by the reason of the end; the run goes on while anybody can talk."""
    make, cause = FAULTS[fault]
    bot = SimulatedBot(think_seconds=4)

    async def misbehave(conversation: Any) -> None:
        # Every other bot does.
        if bot.conversations.index(conversation) % 2:
            await make()(conversation)

    bot.behaviours = [misbehave]
    plan = plan_for(bot, seconds=40)
    plan = attrs.evolve(plan, keywords={**plan.keywords, "ready_timeout": 3})
    result = await run(plan)
    assert [cause] == [name[: len(cause)] for name in result.errors]
    assert result.errors.total() == result.counts["failed"] > 0
    assert result.endings.total() == result.counts["calls"]
    assert result.bot_died is None
    assert result.error_rate == result.counts["failed"] / result.counts["calls"]


async def test_a_bot_that_does_not_answer(autojump_clock: MockClock) -> None:
    """Its turns are counted as such, and its calls as failed."""
    bot = SimulatedBot(think_seconds=100)
    result = await run(plan_for(bot, turn_timeout=3, seconds=20))
    assert ["NotAnsweredError: no answer within 3 s"] == [*result.errors]
    assert 0 == result.counts["answered"]
    assert result.counts["turns"] == result.counts["failed"]


async def test_a_bot_that_dies_ends_the_run(autojump_clock: MockClock) -> None:
    """With what was measured until then, and when it was."""
    bot = SimulatedBot(think_seconds=0.5)

    async def crash_at_thirty(conversation: Any) -> None:
        await trio.sleep_until(30)
        raise BotCrashedError

    bot.behaviours = [crash_at_thirty]
    result = await run(plan_for(bot, seconds=300))
    assert result.bot_died is not None
    assert 30 <= result.bot_died <= 32
    assert result.seconds < 60
    assert result.interrupted
    assert result.counts["answered"] > 50


async def test_it_can_be_stopped(autojump_clock: MockClock) -> None:
    """Callers hang up, and what was measured is there."""
    bot, stop = SimulatedBot(think_seconds=0.5), trio.Event()
    async with trio.open_nursery() as nursery:

        async def stop_later() -> None:
            await trio.sleep(10)
            stop.set()

        nursery.start_soon(stop_later)
        result = await run(plan_for(bot, seconds=600), stop=stop)
    assert result.interrupted
    assert 10 <= result.seconds <= 16
    assert result.counts["answered"] > 20
    assert {1000} == {c.end and c.end.code for c in bot.conversations}


async def test_cancelled_it_leaves_what_it_has_measured(autojump_clock: MockClock) -> None:
    """In the result that it was given."""
    result = LoadResult()
    with trio.move_on_after(10):
        await run(plan_for(SimulatedBot(think_seconds=0.5), seconds=600), result=result)
    assert result.interrupted
    assert result.counts["answered"] >= 10
    assert 1 == len(result.parts)


async def test_a_part_that_begins_late_says_so(autojump_clock: MockClock) -> None:
    """It ends with the others, and what it has missed it has missed."""
    plan = plan_for(SimulatedBot(think_seconds=0.5), seconds=30)
    result = await run(plan, begin_at=time.time() - 12)
    assert 18 == pytest.approx(trio.current_time(), abs=6)
    assert "it began 12.0 s late" in result.problems
    assert not any(moment.turns for moment in result.timeline[:12])
    assert 30 == pytest.approx(result.seconds, abs=6)


async def test_a_function_of_the_users(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Its turns are told from what was sent and heard."""
    (tmp_path / "mine.py").write_text(
        "import trio\n"
        "from trio_pipecat import BotStoppedSpeaking\n"
        "async def caller(session):\n"
        "    await session.wait_ready()\n"
        "    for text in ('one', 'two'):\n"
        "        await session.send_text(text)\n"
        "        await session.wait_event(BotStoppedSpeaking)\n"
    )
    bot = SimulatedBot(think_seconds=0.7)
    result = await run(plan_for(bot, caller=f"{tmp_path / 'mine.py'}:caller", seconds=30))
    assert {} == result.errors
    assert 0.7 + LEAD == pytest.approx(result.metrics["t2v"].percentile(50), abs=0.02)
    assert result.counts["turns"] == pytest.approx(2 * result.counts["calls"], abs=10)
    assert result.counts["answered"] == result.counts["turns"]


async def _tell_metrics(conversation: Conversation) -> None:
    await conversation.ready.wait()
    while True:
        await trio.sleep(1)
        llm, tts = (Timing(processor=name, value=s) for name, s in (("llm", 0.25), ("tts", 0.125)))
        await conversation.send(Metrics(ttfb=(llm, tts)))


@pytest.mark.parametrize("who", ["texts", "a function"])
async def test_what_the_server_measures(
    autojump_clock: MockClock, tmp_path: Path, who: str
) -> None:
    """It is there whoever calls: so often as it was told in the window."""
    (tmp_path / "mine.py").write_text(
        "import trio\nasync def caller(session):\n    await trio.sleep_forever()\n"
    )
    plan = plan_for(SimulatedBot([_tell_metrics]), 2, 20, warm_up=5.0, cool_down=5.0)
    if who == "a function":
        plan = attrs.evolve(plan, caller=f"{tmp_path / 'mine.py'}:caller")
    else:
        plan = attrs.evolve(plan, texts=("Hi",), think=(19.0, 19.0))
    result = await run(plan)
    for name, seconds in (("server.llm", 0.25), ("server.tts", 0.125)):
        assert 2 * 10 == pytest.approx(len(result.metrics[name]), abs=2)
        assert seconds == pytest.approx(result.metrics[name].max, rel=0.01)


async def test_the_worst_turns_are_kept_with_their_sound(
    autojump_clock: MockClock, voice: str, tmp_path: Path
) -> None:
    """Both voices of a turn, and when they spoke, of callers who are recorded."""
    rng = random.Random(3)
    bot = SimulatedBot(
        [interrupt_on_speech("hi", stop=0.3)],
        echo_audio=False,
        think_seconds=lambda: rng.uniform(0.2, 2),
    )
    folder = tmp_path / "sound"
    folder.mkdir()
    plan = plan_for(bot, wavs=(voice,), audio_folder=str(folder), recorded=2, seconds=40)
    result = await run(plan)
    assert MOST_WORST <= len(result.worst) <= MOST_WORST + MOST_RECORDED
    recorded = [turn for turn in result.worst if turn.audio is not None]
    assert recorded
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        Path(turn.audio).name for turn in recorded if turn.audio
    )
    for turn in recorded:
        assert turn.audio is not None
        who = [name for name, _, _ in turn.spoken]
        assert ["caller", "bot"] == who[:2]
        (_, begin, end), (_, answered, _) = turn.spoken[:2]
        assert 0.75 == pytest.approx(end - begin, abs=0.01)
        assert turn.v2v == pytest.approx(answered - end, abs=0.03)


async def test_a_disk_that_is_full_costs_the_recordings_alone(
    autojump_clock: MockClock, voice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on, and says what is missing."""

    def refuse(session: object, path: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(_call, "WavRecorder", refuse)
    bot = SimulatedBot([interrupt_on_speech("hi", stop=0.3)], echo_audio=False)
    plan = plan_for(bot, wavs=(voice,), audio_folder=str(tmp_path), seconds=20)
    result = await run(plan)
    assert ["recordings are missing: No space left on device"] == result.notes
    assert result.counts["answered"] == result.counts["turns"] > 0
    assert {} == result.errors
    assert [] == [turn.audio for turn in result.worst if turn.audio is not None]


async def test_a_tool_that_is_overloaded_says_so(tmp_path: Path) -> None:
    """In real time: whoever blocks it does so to all of its callers."""
    (tmp_path / "busy.py").write_text(
        "import time\n"
        "async def caller(session):\n"
        "    await session.wait_ready()\n"
        "    while True:\n"
        "        await session.send_text('Hi')\n"
        "        time.sleep(0.15)\n"
    )
    plan = plan_for(SimulatedBot(), 4, 3, caller=f"{tmp_path / 'busy.py'}:caller", wind_down=0.0)
    result = await run(plan)
    assert any("event loop was late" in problem for problem in result.problems)
    assert not result.as_json()["valid"]


async def test_the_same_seed_is_the_same_run(autojump_clock: MockClock) -> None:
    """In all that is not the bot's."""
    plan = plan_for(SimulatedBot(think_seconds=0.3), 5, 30, think=(0.5, 3.0), seed=5)
    one, two, other = (
        await run(plan),
        await run(plan),
        await run(attrs.evolve(plan, seed=6)),
    )
    assert one.counts == two.counts
    assert one.metrics["call"].mean == pytest.approx(two.metrics["call"].mean, abs=0.005)
    assert other.metrics["call"].mean != pytest.approx(one.metrics["call"].mean, abs=0.005)


async def test_a_thousand_callers(autojump_clock: MockClock) -> None:
    """At once, in one process, in virtual time."""
    bot = SimulatedBot(think_seconds=1.0)
    plan = plan_for(bot, 1_000, 3, texts=("Hi",), think=(1.0, 1.0), wind_down=0.0)
    result = await run(plan)
    assert 1_000 == max(moment.ready for moment in result.timeline)
    assert 1_000 == result.counts["answered"]
    assert {} == result.errors
    assert 1.0 + LEAD == pytest.approx(result.metrics["t2v"].percentile(99), abs=0.02)
