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


async def test_a_call_that_is_taken_back_at_once(autojump_clock: MockClock) -> None:
    """Its handler may not have begun; nothing is answered, and nothing is wrong."""
    stopped = tp.LlmFunctionCallStopped(tool_call_id="c1", cancelled=True, function_name="f")
    finished = []

    async def handler(call: tp.FunctionCall) -> None:
        await trio.sleep(1)
        finished.append(call)

    for _ in range(20):  # trio starts tasks in any order
        bot = CallingBot(call(), stopped)
        session = await _run(bot, {"f": handler}, [])
        assert ("client", [], []) == (session.end.reason, bot.results, finished)


async def test_a_call_before_the_bot_is_ready_is_answered_then(autojump_clock: MockClock) -> None:
    """Messages may precede bot-ready, and nothing is sent before it."""
    results: list[tp.Command] = []

    async def script(bot: ScriptedBot) -> None:
        id_ = await bot.hear_of(tp.ClientReady)
        await bot.say(call())
        await trio.sleep(1)
        await bot.say(tp.BotReady(id=id_, version="2.2.0"))
        _, command = await bot.hear()
        results.append(command)
        await bot.listen()

    async def handler(call: tp.FunctionCall) -> str:
        return "early"

    async with tp.open_session(transport=scripted(script)) as session:
        session.handle_function_call("f", handler)
        await session.wait_ready()
        await trio.sleep(1)
    assert "early" == results[0].result


async def test_a_call_that_is_announced_twice_runs_once(autojump_clock: MockClock) -> None:
    """In progress, and later by the deprecated message."""
    runs = []

    async def handler(call: tp.FunctionCall) -> None:
        runs.append(call.tool_call_id)

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready()
        await bot.say(call("z"))
        await bot.hear_of(tp.LlmFunctionCallResult)
        await bot.say(tp.LlmFunctionCall(function_name="f", tool_call_id="z", args={}))
        await bot.listen()

    async with tp.open_session(transport=scripted(script)) as session:
        session.handle_function_call("f", handler)
        await session.wait_ready()
        await trio.sleep(1)
    assert ["z"] == runs


async def test_the_end_is_not_swallowed_by_a_handler_that_waits(autojump_clock: MockClock) -> None:
    """A handler is told with a copy; the session's error leaves the block all the same."""

    async def script(bot: ScriptedBot) -> None:
        await bot.become_ready()
        await bot.say(call())
        await trio.sleep(1)
        bot.link.vanish()

    for _ in range(10):  # trio wakes tasks in any order
        with pytest.raises(tp.ConnectionLostError):
            async with tp.open_session(transport=scripted(script)) as session:

                async def handler(call: tp.FunctionCall, session: tp.Session = session) -> None:
                    await session.request("silent", timeout=60)

                session.handle_function_call("f", handler)
                await session.wait_ready()
                await trio.sleep_forever()


async def test_the_end_of_another_session_is_a_handlers_own_error(
    autojump_clock: MockClock,
) -> None:
    """As with a bridge, whose other side is gone: the bot gets an error, and the block raises."""
    bot = CallingBot(call())
    async with tp.open_session(transport=scripted(CallingBot().script)) as other:
        await other.wait_ready()

    async def handler(call: tp.FunctionCall) -> None:
        await other.send_text("x")

    with pytest.raises(tp.SessionEndedError) as raised:
        await _run(bot, {"f": handler}, [])
    assert other.end == raised.value.end
    assert [{"error"}] == [set(sent.result) for sent in bot.results]


async def test_what_a_handler_raises_in_its_cleanup_is_not_lost(autojump_clock: MockClock) -> None:
    """The body has left, and the handler fails while it is cancelled; in a nursery too."""

    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("mine")

    async def handler(call: tp.FunctionCall) -> None:
        await fails()

    async def handler_with_a_nursery(call: tp.FunctionCall) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            await trio.sleep_forever()

    with pytest.raises(ValueError, match="mine"):
        await _run(CallingBot(call()), {"f": handler}, [])
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="mine")):
        await _run(CallingBot(call()), {"f": handler_with_a_nursery}, [])


async def test_a_handler_that_is_no_async_function(autojump_clock: MockClock) -> None:
    """Is named, where it can be seen only by calling it; at once where it can't be called."""
    with pytest.raises(TypeError, match="the handler of 'f' is no async function"):
        await _run(CallingBot(call()), {"f": lambda call: {"a": 1}}, [])
    with pytest.raises(TypeError, match="a handler is an async function, not 5"):
        await _run(CallingBot(), {"f": 5}, [])
