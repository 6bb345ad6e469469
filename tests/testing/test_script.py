"""A bot that follows a script, and scripts that are none."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.testing import SimulatedBot, Voice, script

QUICK = Voice(word_seconds=0.04)


async def _follow(steps: Any, say: list[str], seconds: float = 60) -> tuple[list[tp.Event], Any]:
    """Hold a session with a scripted bot, say some texts a second apart, return what came."""
    bot = SimulatedBot([script(steps)], voice=QUICK)
    events: list[tp.Event] = []

    async def talk(session: tp.Session) -> None:
        await session.wait_ready()
        for text in say:
            await trio.sleep(1)
            await session.send_text(text)

    with trio.move_on_after(seconds):
        async with (
            tp.open_session(transport=bot.connect, disconnect_on_bot_disconnect=False) as session,
            trio.open_nursery() as nursery,
        ):

            async def find_guest(call: tp.FunctionCall) -> str:
                return f"{call.arguments['name']} sits at table 5"

            session.handle_function_call("find_guest", find_guest)
            nursery.start_soon(talk, session)
            async for event in session:
                events.append(event)
    return events, session


def _said(events: list[tp.Event]) -> list[str]:
    outputs = [event for event in events if isinstance(event, tp.BotOutput)]
    return [output.text for output in outputs if output.spoken_status == "completed"]


async def test_a_script_is_followed(autojump_clock: MockClock) -> None:
    """Each step when the one before is over; texts that no step waits for get no answer."""
    steps = [
        "Hello, who is there?",
        {"hear": "ALICE"},
        {"call": "find_guest", "arguments": {"name": "Alice"}},
        {"pause": 10},
        {"answer": "Welcome."},
        {"leave": True},
    ]
    events, session = await _follow(steps, ["nobody", "it is alice"])
    assert ["Hello, who is there?", "The find guest: Alice sits at table 5", "Welcome."] == _said(
        events
    )
    assert "bot" == session.end.reason
    assert 12 < trio.current_time() < 30


async def test_steps_that_are_not_spoken(autojump_clock: MockClock) -> None:
    """Messages of any kind, errors, a user who is heard, an interruption."""
    steps: list[Any] = [
        {"message": {"a": 1}},
        {"send": {"type": "from-the-future", "data": [1]}},
        {"error": "odd"},
        {"user": "tea please"},
        {"interrupt": True},
        {"fatal": "that was all"},
    ]
    events, session = await _follow(steps, [])
    messages = [event for event in events if isinstance(event, tp.BotMessage)][1:]
    assert [
        tp.ServerMessage,
        tp.UnknownMessage,
        tp.Error,
        tp.BotInterrupted,
        tp.UserStartedSpeaking,
        tp.UserInput,
        tp.UserTranscription,
        tp.UserInput,
        tp.UserTranscription,
        tp.UserStoppedSpeaking,
        tp.BotInterrupted,
        tp.Error,
    ] == [type(message) for message in messages]
    assert "fatal_error" == session.end.reason


async def test_a_script_may_crash(autojump_clock: MockClock) -> None:
    """Without a goodbye."""
    _, session = await _follow(["Wait.", {"crash": True}], [])
    assert ("connection_lost", 1006) == (session.end.reason, session.end.code)


async def test_a_script_that_is_over_leaves_the_bot_there(autojump_clock: MockClock) -> None:
    """It says no more, and answers requests."""
    bot = SimulatedBot([script([])])
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        for _ in range(200):
            await session.send_text("anybody?")
        assert {"pong": 1} == await session.request("ping", 1)


async def test_dtmf_and_files_are_heard(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A key that is pressed is a text, and what stands beside a file."""
    path = tmp_path / "cat.txt"
    path.write_text("meow")
    bot = SimulatedBot([script([{"hear": "1#"}, "Thanks.", {"hear": "cat"}, "Nice."])], voice=QUICK)
    async with tp.open_session(transport=bot.connect) as session:
        await session.wait_ready()
        await session.send_dtmf("1#")
        assert "Thanks." == (await session.wait_event(tp.BotOutput)).text
        await session.wait_event(tp.BotStoppedSpeaking)
        await session.send_file(path, "my cat")
        assert "Nice." == (await session.wait_event(tp.BotOutput)).text


async def test_a_script_may_be_a_file(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Of JSON; also by the address ``sim:``."""
    path = tmp_path / "call.json"
    path.write_text(json.dumps(["From a file."]))
    events, _ = await _follow(path, [], seconds=5)
    assert ["From a file."] == _said(events)
    async with tp.open_session(f"sim:?greeting=&script={path}") as session:
        assert "From a file." == (await session.wait_event(tp.BotOutput)).text


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ("Hello", "script: a script is a list of steps"),
        ({"say": "x"}, "script: a script is a list of steps"),
        (["ok", 5], "script, step 2: a step is a text or a mapping, not 5"),
        (["ok", {"sya": "x"}], "script, step 2: 'sya' is not one of say, answer, hear"),
        ([{}], "script, step 1: nothing is not one of say"),
        ([{"say": "x", "hear": "y"}], "script, step 1: 'say', 'hear' is not one of"),
        ([{"say": 5}], "script, step 1: 'say' can't be 5"),
        ([{"pause": "1"}], "script, step 1: 'pause' can't be '1'"),
        ([{"pause": True}], "script, step 1: 'pause' can't be True"),
        ([{"pause": -1}], "script, step 1: 'pause' is a number of seconds, not -1"),
        ([{"pause": float("nan")}], "script, step 1: 'pause' is a number of seconds, not nan"),
        ([{"leave": 1}], "script, step 1: 'leave' can't be 1"),
        ([{"call": "f", "arguments": []}], "script, step 1: 'arguments' can't be \\[\\]"),
        ([{"call": "f", "args": {}}], "script, step 1: 'call' knows no 'args'"),
        ([{"send": {"data": {}}}], "script, step 1: 'send' has no 'type'"),
        ([{"leave": False}], "script, step 1: 'leave' is true, or left out"),
        ([{"message": {1}}], "script, step 1: this can't be JSON"),
        ([{"message": float("nan")}], "script, step 1: this can't be JSON"),
        ([{"call": "f", "arguments": {"x": {1}}}], "script, step 1: this can't be JSON"),
        ([{"pause": 10**400}], "script, step 1: 'pause' is a number of seconds"),
    ],
)
def test_what_is_no_script_is_refused(steps: Any, what: str) -> None:
    """With the step and the key."""
    with pytest.raises(tp.InvalidParamsError, match=what):
        script(steps)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'["a",\n "b"\n "c"]', "call.json, line 3: Expecting ',' delimiter"),
        (b"", "call.json, line 1: Expecting value"),
        (b'["\xff"]', "call.json is not UTF-8 text"),
        (b'{"a": 1}', "call.json: a script is a list of steps"),
        (b'["a", 5]', "call.json, step 2: a step is a text or a mapping"),
    ],
)
def test_a_file_that_is_no_script_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    """With the file, and the line or the step."""
    path = tmp_path / "call.json"
    path.write_bytes(content)
    with pytest.raises(tp.InvalidParamsError, match=what):
        script(path)
    with pytest.raises(tp.InvalidParamsError, match=what):
        tp.open_session(f"sim:?script={path}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The system's own error, or the address's."""
    with pytest.raises(FileNotFoundError):
        script(tmp_path / "nowhere")
    with pytest.raises(tp.InvalidParamsError, match="No such file"):
        tp.open_session(f"sim:?script={tmp_path / 'nowhere'}")


async def test_a_call_that_is_interrupted_is_over(autojump_clock: MockClock) -> None:
    """The user speaks while the function runs: the bot goes on with its script."""
    bot = SimulatedBot([script([{"call": "f"}, "Never mind.", {"leave": True}])], voice=QUICK)
    async with tp.open_session(transport=bot.connect) as session:

        async def slow(call: tp.FunctionCall) -> str:
            await trio.sleep(50)
            return "too late"

        session.handle_function_call("f", slow)
        await session.wait_ready()
        await trio.sleep(1)
        await session.send_text("forget it")
        assert "Never mind." == (await session.wait_event(tp.BotOutput)).text
        await trio.sleep_forever()
    assert trio.current_time() < 20
