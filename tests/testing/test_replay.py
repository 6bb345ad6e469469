"""The bot that says again what another one said."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.testing import (
    Recorder,
    Recording,
    ReplayBot,
    SimulatedBot,
    crash,
    diff,
    fatal_error,
    function_call,
    garbage,
    half_open,
    leave_after,
    load_recording,
    never_ready,
    serve_bot,
    slow_ready,
    wrong_version,
)

Talk = Callable[[tp.Session], Awaitable[None]]


async def talk(session: tp.Session) -> None:
    """Say a few things, interrupt, ask, and send sound."""
    await session.wait_event(tp.BotStoppedSpeaking)
    await session.send_text("What is the capital of Japan?")
    for number in range(20):
        await session.send_audio(bytes([number, 1]) * 320, sample_rate=16_000)
        await trio.sleep(0.02)
    await session.wait_event(tp.BotStoppedSpeaking)
    await session.send_text("Tell me a long story, so that it can be interrupted.")
    await session.wait_event(tp.BotOutput, where=lambda o: o.spoken_status == "in-progress")
    await trio.sleep(0.3)
    await session.interrupt()
    await session.wait_event(tp.BotStoppedSpeaking)
    assert {"pong": 3} == await session.request("ping", 3)
    with pytest.raises(tp.RequestError):
        await session.request("fail")


async def record(path: Path, connect: Any, body: Talk = talk, **keywords: Any) -> Recording:
    """Hold a session, and return what was recorded."""
    try:
        async with tp.open_session(transport=connect, **keywords) as session:
            Recorder(session, path)
            await session.wait_ready()
            await body(session)
    except tp.PipecatError:
        pass
    return load_recording(path)


def moments(recording: Recording) -> dict[str, list[Any]]:
    """Return what happened when, for each side.

    Who of two that speak at the same moment is first is up to trio, which does not say.
    """
    found: dict[str, list[Any]] = {}
    for event in (*recording.events, recording.end):
        told = getattr(event, "type", getattr(event, "at_frame", None))
        by = getattr(event, "by", "session")
        found.setdefault(by, []).append((event.t, type(event).__name__, told))
    return found


async def test_a_conversation_is_the_same_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Record, load, replay, record: no difference, not even in time or in a single sample."""
    bot = SimulatedBot(greeting="Hello, here I am!", think_seconds=0.3, echo_audio=False)
    first = await record(tmp_path / "a.jsonl", bot.connect)
    again = await record(tmp_path / "b.jsonl", ReplayBot(first).connect)
    twice = await record(tmp_path / "c.jsonl", ReplayBot(first).connect)
    thrice = await record(tmp_path / "d.jsonl", ReplayBot(again).connect)
    assert [[]] * 3 == [diff(first, other, audio_tolerance=0) for other in (again, twice, thrice)]
    assert moments(again) == moments(twice)
    for by, said in moments(first).items():
        times = [t for t, *_ in said]
        assert pytest.approx(times, abs=1e-5) == [t for t, *_ in moments(again)[by]]
    sounds = {(tmp_path / f"{name}.wav").read_bytes() for name in "abcd"}
    assert 1 == len(sounds)


WORDS = st.lists(st.sampled_from(["one", "two", "three."]), min_size=1, max_size=8).map(" ".join)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("text"), WORDS),
        st.tuples(st.just("silent"), WORDS),
        st.tuples(st.just("request"), st.integers()),
        st.tuples(st.just("sound"), st.integers(1, 2_000)),
        st.tuples(st.just("interrupt"), st.none()),
        st.tuples(st.just("wait"), st.floats(0, 2)),
    ),
    max_size=8,
)


@given(STEPS, st.floats(0, 1), st.sampled_from([8_000, 24_000, 44_100]))
def test_every_conversation_is_the_same_again(
    steps: list[tuple[str, Any]], think: float, rate: int
) -> None:
    """Whatever the client does, if it does it again."""
    import tempfile

    async def body(session: tp.Session) -> None:
        for what, argument in steps:
            match what:
                case "text":
                    await session.send_text(argument)
                case "silent":
                    await session.send_text(argument, run_immediately=False)
                case "request":
                    await session.request("ping", argument)
                case "sound":
                    await session.send_audio(bytes(argument * 2), sample_rate=rate)
                case "interrupt":
                    await session.interrupt()
                case _:
                    await trio.sleep(argument)
        # Whether what comes in the very moment of hanging up is still heard is up to trio.
        await trio.sleep(0.0123457)

    async def main(folder: Path) -> None:
        bot = SimulatedBot(greeting="Hello!", think_seconds=think)
        first = await record(folder / "a.jsonl", bot.connect, body)
        again = await record(folder / "b.jsonl", ReplayBot(first).connect, body)
        assert [] == diff(first, again)

    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, Path(folder), clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    "behaviours",
    [
        [leave_after(1.5)],
        [crash(after=1.5)],
        [fatal_error("no more tea", after=1)],
        [half_open(after=1)],
        [never_ready()],
        [slow_ready(3)],
        [wrong_version(3)],
        [garbage()],
        [function_call("get_weather", {"city": "Oslo"})],
    ],
    ids=lambda behaviours: str(len(behaviours)),
)
async def test_what_went_wrong_goes_wrong_again(
    behaviours: Any, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """With the same end."""

    async def body(session: tp.Session) -> None:
        async def weather(call: tp.FunctionCall) -> dict[str, str]:
            await trio.sleep(0.5)
            return {"sky": "clear"}

        session.handle_function_call("get_weather", weather)
        await trio.sleep(120)

    bot = SimulatedBot(behaviours)
    first = await record(tmp_path / "a.jsonl", bot.connect, body)
    again = await record(tmp_path / "b.jsonl", ReplayBot(first).connect, body)
    assert [] == diff(first, again)


async def test_a_link_that_was_never_there(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Is not there again, for the same reason and as late."""

    class Refusing:
        def __init__(self) -> None:
            self.entered = 0.0

        async def __aenter__(self) -> Any:
            await trio.sleep(2)
            raise tp.TransportStartError("tls", "too old")

        async def __aexit__(self, *_: object) -> None: ...

    async def body(session: tp.Session) -> None: ...

    first = await record(tmp_path / "a.jsonl", lambda params, options: Refusing(), body)
    began = trio.current_time()
    again = await record(tmp_path / "b.jsonl", ReplayBot(first).connect, body)
    assert 2 == trio.current_time() - began
    assert [] == diff(first, again)
    assert again.end is not None
    assert "too old" in (again.end.error or "")


# -- following the client ------------------------------------------------------------------------


@pytest.fixture
async def question(tmp_path: Path) -> Recording:
    """A question after one second, and its answer after half a second more."""

    async def body(session: tp.Session) -> None:
        await trio.sleep(1)
        await session.send_text("When?")
        await session.wait_event(tp.BotStoppedSpeaking)

    bot = SimulatedBot(think_seconds=0.5, reply=lambda text: "Now!")
    return await record(tmp_path / "q.jsonl", bot.connect, body)


@pytest.mark.parametrize("seconds", [0.25, 1, 7])
async def test_an_answer_follows_its_question(
    autojump_clock: MockClock, question: Recording, seconds: float
) -> None:
    """As late as it did, however early or late the question comes; ids are the live ones."""
    async with tp.open_session(transport=ReplayBot(question).connect) as session:
        ready = await session.wait_ready()
        assert "client-ready-1" == ready.id
        await session.send_raw("something-else", {})
        await trio.sleep(seconds)
        began = trio.current_time()
        id_ = await session.send_text("And now?")
        assert "send-text-3" == id_
        taken = await session.wait_event(tp.UserInput)
        assert (id_, "When?") == (taken.msg_id, taken.text)
        await session.wait_event(tp.BotLlmStarted)
        assert 0.5 == pytest.approx(trio.current_time() - began)


async def test_a_question_that_is_not_asked_is_waited_for(
    autojump_clock: MockClock, question: Recording
) -> None:
    """Like a real bot that has nothing to say."""
    async with tp.open_session(transport=ReplayBot(question).connect) as session:
        await session.wait_ready()
        with trio.move_on_after(60) as waiting:
            await session.wait_event(tp.BotLlmStarted)
    assert waiting.cancelled_caught


async def test_a_replay_need_not_follow(autojump_clock: MockClock, question: Recording) -> None:
    """Then all is timed from the client's first message; ids that nobody sent stay."""
    bot = ReplayBot(question, follow_client=False)
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        began = trio.current_time()
        assert "send-text-2" == (await session.wait_event(tp.UserInput)).msg_id
        assert 1 == pytest.approx(trio.current_time() - began)


async def test_requests_get_their_own_answers(tmp_path: Path, autojump_clock: MockClock) -> None:
    """By live ids, though the client numbers otherwise."""

    async def body(session: tp.Session) -> None:
        assert {"pong": 1} == await session.request("ping", 1)
        assert {"pong": 2} == await session.request("ping", 2)

    first = await record(tmp_path / "a.jsonl", SimulatedBot().connect, body)
    async with tp.open_session(transport=ReplayBot(first).connect) as session:
        await session.wait_ready()
        for _ in range(5):
            await session.send_raw("noise")
        await body(session)


async def test_an_interruption_of_the_client_is_waited_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It is no message, and counts like one."""

    async def body(session: tp.Session) -> None:
        await trio.sleep(1)
        await session.interrupt()
        await session.wait_event(tp.BotInterrupted)

    first = await record(tmp_path / "a.jsonl", SimulatedBot().connect, body)
    async with tp.open_session(transport=ReplayBot(first).connect) as session:
        await session.wait_ready()
        await trio.sleep(5)
        began = trio.current_time()
        await session.interrupt()
        await session.wait_event(tp.BotInterrupted)
        assert began == trio.current_time()


async def test_sound_of_the_client_is_only_heard(tmp_path: Path, autojump_clock: MockClock) -> None:
    """And bytes that are no message do no harm."""
    first = await record(tmp_path / "a.jsonl", SimulatedBot(greeting="Hi.").connect, _nothing)
    bot = ReplayBot(first)
    assert "a.jsonl" in repr(bot)
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        await session.send_audio(bytes(640), sample_rate=16_000)
        link = session._driver._link
        assert link is not None
        await link.send_message("no json {")
        await link.send_message("[]")
        await trio.sleep(1)
    assert session.end is not None
    assert "client" == session.end.reason


async def _nothing(session: tp.Session) -> None:
    await trio.sleep(1)


async def test_a_recording_without_an_end_goes_silent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """There is nothing more to say."""
    path = tmp_path / "a.jsonl"
    await record(path, SimulatedBot(greeting="Hi.").connect, _nothing)
    path.write_text(
        "".join(line for line in path.read_text().splitlines(True) if '"end"' not in line)
    )
    async with tp.open_session(
        transport=ReplayBot(load_recording(path, partial=True)).connect
    ) as s:
        await s.wait_event(tp.BotStoppedSpeaking)
        await trio.sleep(60)
    assert s.end is not None
    assert "client" == s.end.reason


async def test_a_recording_without_its_beginning_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nobody would ever be ready."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
        Recorder(session, tmp_path / "a.jsonl")
    with pytest.raises(tp.RecordingError, match=r"a\.jsonl, line 1: .* began too late"):
        ReplayBot(load_recording(tmp_path / "a.jsonl"))


@pytest.mark.socket
@pytest.mark.parametrize("code", [1000, 1005, 1006, 1011])
async def test_on_a_port_in_real_time(code: int, tmp_path: Path) -> None:
    """To any client: messages, sound, interruptions, garbage, and the end, on every wire."""
    path = tmp_path / "a.jsonl"
    first = await record(path, SimulatedBot(greeting="Hi.").connect, _say_and_interrupt)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    when = {"t": lines[-3]["t"], "wall": 0}
    lines.insert(-3, {**when, "received": "undecodable", "detail": "x", "raw": "/w=="})
    del lines[-1]["end"]["error"]
    lines[-1]["end"] |= {"first": "bot", "code": code, "error": None}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    bot = ReplayBot(load_recording(path))
    chunks: list[tp.AudioChunk] = []
    events: list[tp.Event] = []
    async with serve_bot(bot) as served:
        assert bot is served.bot
        keywords: Any = {"disconnect_on_bot_disconnect": False}
        async with tp.open_session(served.start_url, **keywords) as session:
            audio = session.subscribe_audio()
            async with trio.open_nursery() as nursery:

                async def listen() -> None:
                    async for chunk in audio:
                        chunks.append(chunk)

                nursery.start_soon(listen)
                nursery.start_soon(_say_and_interrupt, session)
                async for event in session:
                    events.append(event)
        async with tp.open_session(served.json_url.replace("/ws", "/ws-client")) as other:
            await other.wait_ready()
    assert session.end is not None
    expected = {1005: 1000}.get(code, code)
    assert expected == session.end.code
    assert first.audio_seconds("bot") == pytest.approx(sum(chunk.duration for chunk in chunks))
    assert any(isinstance(event, tp.MalformedMessage) for event in events)
    assert any(isinstance(event, tp.BotInterrupted) for event in events)


async def _say_and_interrupt(session: tp.Session) -> None:
    await session.wait_ready()
    await trio.sleep(0.2)
    await session.interrupt()
    await trio.sleep(0.2)
