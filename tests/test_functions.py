"""Function calls that the client answers."""

from typing import Any

import pytest
import trio
from scripted import ScriptedBot, scripted
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_pipecat as tp


def call(id_: str = "c1", name: str | None = "f", **arguments: Any) -> tp.LlmFunctionCallInProgress:
    return tp.LlmFunctionCallInProgress(
        tool_call_id=id_, function_name=name, arguments=arguments or None
    )


class CallingBot:
    """A bot that says some events once it is told to go on, and keeps the results."""

    def __init__(self, *events: tp.BotMessage) -> None:
        self.results: list[tp.LlmFunctionCallResult] = []
        self.go_on = trio.Event()
        self._events = events

    async def script(self, bot: ScriptedBot) -> None:
        await bot.become_ready()
        await self.go_on.wait()
        await bot.say(*self._events)
        try:
            while True:
                _, command = await bot.hear()
                if isinstance(command, tp.LlmFunctionCallResult):
                    self.results.append(command)
        except trio.EndOfChannel:
            pass


async def _run(bot: CallingBot, handlers: dict[str, Any], events: list[tp.Event]) -> tp.Session:
    async with tp.open_session(transport=scripted(bot.script)) as session:
        for name, handler in handlers.items():
            session.handle_function_call(name, handler)
        await session.wait_ready()
        with session.subscribe() as stream:
            bot.go_on.set()
            await wait_all_tasks_blocked()
            events += [stream.receive_nowait() for _ in range(stream.unread)]
    return session


@pytest.mark.parametrize(
    ("result", "sent"),
    [({"a": 1}, {"a": 1}), ("text", "text"), ("", ""), (None, {}), ({}, {})],
)
async def test_a_result_is_sent_with_the_call_it_answers(
    autojump_clock: MockClock, result: Any, sent: Any
) -> None:
    """An object or a string as it is; None as an empty object."""
    bot = CallingBot(call(city="Oslo"))

    async def handler(call: tp.FunctionCall) -> Any:
        return result

    await _run(bot, {"f": handler}, [])
    expected = tp.LlmFunctionCallResult(
        function_name="f", tool_call_id="c1", arguments={"city": "Oslo"}, result=sent
    )
    assert [expected] == bot.results


@pytest.mark.parametrize("result", [[1], 5, float("nan"), {"a": float("nan")}, b"x"])
async def test_a_result_that_cannot_be_sent_ends_the_session(
    autojump_clock: MockClock, result: Any
) -> None:
    """The bot gets an error, and the block raises why."""
    bot = CallingBot(call())

    async def handler(call: tp.FunctionCall) -> Any:
        return result

    with pytest.raises((TypeError, ValueError)):
        await _run(bot, {"f": handler}, [])
    assert [{"error"}] == [set(sent.result) for sent in bot.results]


async def test_the_error_result_does_not_tell_the_exceptions_text(
    autojump_clock: MockClock,
) -> None:
    """It may say what only this side should know."""
    bot = CallingBot(call())

    async def handler(call: tp.FunctionCall) -> None:
        raise KeyError("secret")

    with pytest.raises(KeyError, match="secret"):
        await _run(bot, {"f": handler}, [])
    assert "KeyError" in bot.results[0].result["error"]
    assert "secret" not in str(bot.results)


async def test_calls_run_at_once(autojump_clock: MockClock) -> None:
    """Each in its own task; results come in the order in which they are there."""
    bot = CallingBot(call("slow", "f", seconds=2), call("quick", "f", seconds=1))

    async def handler(call: tp.FunctionCall) -> str:
        await trio.sleep(call.arguments["seconds"])
        return call.tool_call_id

    async with tp.open_session(transport=scripted(bot.script)) as session:
        session.handle_function_call("f", handler)
        await session.wait_ready()
        bot.go_on.set()
        await trio.sleep(3)
    assert ["quick", "slow"] == [sent.result for sent in bot.results]


async def test_a_call_announced_twice_is_answered_once(autojump_clock: MockClock) -> None:
    """In progress, and by the deprecated message."""
    old = tp.LlmFunctionCall(function_name="f", tool_call_id="c1", args={})
    bot = CallingBot(call(), old, call())
    calls = []

    async def handler(call: tp.FunctionCall) -> str:
        calls.append(call)
        await trio.lowlevel.checkpoint()
        return "x"

    await _run(bot, {"f": handler}, [])
    assert (1, 1) == (len(calls), len(bot.results))


async def test_the_deprecated_message_alone_is_a_call(autojump_clock: MockClock) -> None:
    """Its arguments are called args."""
    bot = CallingBot(tp.LlmFunctionCall(function_name="f", tool_call_id="c1", args={"a": 1}))

    async def handler(call: tp.FunctionCall) -> Any:
        return {**call.arguments}

    await _run(bot, {"f": handler}, [])
    assert [{"a": 1}] == [sent.result for sent in bot.results]


async def test_a_call_without_a_name_is_announced(autojump_clock: MockClock) -> None:
    """If there are handlers that might have wanted it; nothing is sent."""
    bot = CallingBot(call(name=None))
    events: list[tp.Event] = []

    async def handler(call: tp.FunctionCall) -> str:
        return "x"

    await _run(bot, {"f": handler}, events)
    unanswerable = [e for e in events if isinstance(e, tp.FunctionCallUnanswerable)]
    assert ["c1"] == [event.tool_call_id for event in unanswerable]
    assert [] == bot.results


async def test_calls_of_others_are_left_alone(autojump_clock: MockClock) -> None:
    """A call nobody here handles is for somebody else, named or not."""
    for handlers, calls in (({}, [call(), call(name=None)]), ({"g": None}, [call()])):
        bot, events = CallingBot(*calls), []
        await _run(bot, handlers, events)
        assert [] == bot.results
        assert not any(isinstance(event, tp.FunctionCallUnanswerable) for event in events)


async def test_a_handler_can_be_taken_back(autojump_clock: MockClock) -> None:
    """None, for a name that has one or has none."""
    bot = CallingBot(call())

    async def handler(call: tp.FunctionCall) -> str:
        return "x"

    async with tp.open_session(transport=scripted(bot.script)) as session:
        session.handle_function_call("f", handler)
        session.handle_function_call("f", None)
        session.handle_function_call("g", None)
        await session.wait_ready()
        bot.go_on.set()
        await wait_all_tasks_blocked()
    assert [] == bot.results


async def test_leaving_the_block_cancels_handlers(autojump_clock: MockClock) -> None:
    """Before the goodbye, so that they cannot use a session that is ending."""
    bot, order = CallingBot(call()), []

    async def handler(call: tp.FunctionCall) -> None:
        try:
            await trio.sleep_forever()
        finally:
            order.append("handler")

    async with tp.open_session(transport=scripted(bot.script)) as session:
        session.handle_function_call("f", handler)
        await session.wait_ready()
        bot.go_on.set()
        await wait_all_tasks_blocked()
        order.append("body")
    assert ["body", "handler"] == order
    assert [] == bot.results


async def test_a_caller_that_is_cancelled_cancels_handlers(autojump_clock: MockClock) -> None:
    """At once, though the body takes its time to clean up."""
    bot, ended = CallingBot(call()), []

    async def handler(call: tp.FunctionCall) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    with trio.move_on_after(1):
        async with tp.open_session(transport=scripted(bot.script)) as session:
            session.handle_function_call("f", handler)
            await session.wait_ready()
            bot.go_on.set()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
    assert [1] == ended


async def test_a_handler_may_use_the_session(autojump_clock: MockClock) -> None:
    """It is inside the block; when the session ends meanwhile it is no error of its own."""

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready()
        await bot.say(call())
        await bot.hear_of(tp.ClientMessage)
        await bot.leave()

    async def handler(call: tp.FunctionCall) -> str:
        await session.request("something", timeout=60)
        return "not reached"

    async with tp.open_session(transport=scripted(script)) as session:
        session.handle_function_call("f", handler)
        await trio.sleep_forever()
    assert ("bot", None) == (session.end.reason, session.end.error)


async def test_a_late_stop_of_an_unknown_call_is_no_matter(autojump_clock: MockClock) -> None:
    """Pipecat stops a call twice when its result comes after a cancellation."""
    stopped = tp.LlmFunctionCallStopped(tool_call_id="c9", cancelled=True)
    await _run(CallingBot(stopped, stopped), {}, [])
