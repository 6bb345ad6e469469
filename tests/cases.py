"""What a session does with a bot: one list of cases, run on the simulated bot and on the real one.

A case is an async function of a `BotUnderTest`. It opens sessions, asserts what they do, and what
the *bot* saw of them. `CASES` lists them all.
"""

import itertools
import math
import statistics
from abc import ABC, abstractmethod
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, TypeAlias

import attrs
import pytest
import trio

import trio_pipecat as tp

Wire: TypeAlias = Literal["websocket", "webrtc"]
TONE_HZ = 440

_numbers = itertools.count(1)


@attrs.frozen
class Seen:
    """What the bot saw of a connection: how the client closed, and which messages came.

    Where closing has no code: 1000 with a goodbye, 1006 without.
    """

    code: int
    messages: list[str]


class BotUnderTest(ABC):
    """A bot that the cases run on."""

    #: What carries the sessions. A case asks for it where it is about the wire's own nature.
    wire: Wire = "websocket"

    @property
    def losing(self) -> str:
        """The request after which the link is lost.

        A WebSocket is lost when the bot crashes. Over WebRTC a pipeline says goodbye however it
        ends: there the bot has to vanish from the network.
        """
        return "vanish" if self.wire == "webrtc" else "crash"

    @abstractmethod
    def open(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        """Open a session whose connection is called `case`."""

    @abstractmethod
    async def seen(self, case: str) -> Seen:
        """Return what the bot saw of that connection, once it is closed."""

    @abstractmethod
    def echo(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        """Open a session with a bot that sends the user's sound back."""

    @abstractmethod
    def refused(self, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        """Open a session that the start endpoint refuses."""

    @abstractmethod
    def never_ready(self, case: str, **keywords: Any) -> AbstractAsyncContextManager[tp.Session]:
        """Open a session with a bot that accepts, and never is ready."""


Case = Callable[[BotUnderTest], Awaitable[None]]
CASES: list[Case] = []


def case(function: Case) -> Case:
    """Add a case to the list."""
    CASES.append(function)
    return function


def name() -> str:
    """Return a name that no other connection has."""
    return f"case-{next(_numbers)}"


@asynccontextmanager
async def ready(
    bot: BotUnderTest, case: str | None = None, **keywords: Any
) -> AsyncGenerator[tp.Session, None]:
    async with bot.open(case or name(), **keywords) as session:
        await session.wait_ready()
        yield session


def types_of(events: list[tp.Event]) -> list[str]:
    return [event.TYPE for event in events if isinstance(event, tp.BotMessage)]


# -- messages ----------------------------------------------------------------------------------


@case
async def wait_ready_gives_what_the_bot_said(bot: BotUnderTest) -> None:
    """The bot's version, what it says of itself, and its capabilities."""
    async with ready(bot) as session:
        said = await session.wait_ready()
        assert "2.2.0" == said.version
        assert said.capabilities is not None and said.capabilities.audio_out is True
        assert said is session.bot
        assert "2.2.0" == session.protocol.bot
        assert session.protocol.problem is None


@case
async def request_returns_the_answers_data(bot: BotUnderTest) -> None:
    """Whatever JSON was asked with comes back."""
    async with ready(bot) as session:
        for value in (None, 1, "é✓", [1, {"a": None}], {"deep": {"er": [True]}}):
            assert {"pong": value} == await session.request("ping", value)


@case
async def request_that_is_refused_raises_with_the_bots_text(bot: BotUnderTest) -> None:
    """An error-response becomes `RequestError`, and the session goes on."""
    async with ready(bot) as session:
        with pytest.raises(tp.RequestError) as refused:
            await session.request("fail")
        assert ("fail", "as requested") == (refused.value.t, refused.value.error)
        assert {"pong": 1} == await session.request("ping", 1)


@case
async def request_without_an_answer_times_out(bot: BotUnderTest) -> None:
    """An application that is silent costs the timeout, and the session goes on."""
    async with ready(bot) as session:
        with pytest.raises(tp.RequestTimeoutError) as late:
            await session.request("silent", timeout=0.2)
        assert ("silent", 0.2) == (late.value.t, late.value.timeout)
        assert {"pong": 1} == await session.request("ping", 1)


@case
async def many_requests_at_once_get_their_own_answers(bot: BotUnderTest) -> None:
    """Answers are matched by id, not by order."""
    answers: dict[int, Any] = {}

    async def ask(session: tp.Session, number: int) -> None:
        answers[number] = await session.request("ping", number)

    async with ready(bot) as session, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(ask, session, number)
    assert {number: {"pong": number} for number in range(20)} == answers


@case
async def send_text_is_acknowledged_and_answered(bot: BotUnderTest) -> None:
    """A whole turn: acknowledgement, LLM, synthesis, words as they are spoken."""
    async with ready(bot) as session:
        with session.subscribe() as stream:
            id_ = await session.send_text("good morning to you")
            events: list[tp.Event] = []
            async for event in stream:
                events.append(event)
                if isinstance(event, tp.BotStoppedSpeaking):
                    break
        kinds = types_of(events)
        assert [id_] == [event.msg_id for event in events if isinstance(event, tp.UserInput)]
        expected = [
            "bot-interrupted",
            "user-input",
            "user-llm-text",
            "bot-llm-started",
            "bot-llm-text",
            "bot-llm-stopped",
            "bot-tts-started",
            "bot-started-speaking",
            "bot-output",
            "bot-tts-text",
            "bot-stopped-speaking",
        ]
        assert expected == [kind for kind in dict.fromkeys(kinds) if kind in expected]
        outputs = [event for event in events if isinstance(event, tp.BotOutput)]
        said = "You said: good morning to you"
        assert {said} == {output.text for output in outputs}
        assert ["new", *["in-progress"] * 5, "completed"] == [o.spoken_status for o in outputs]
        assert said == outputs[-1].spoken_progress.accumulated_text
        assert "" == outputs[-1].spoken_progress.remaining_text


@case
async def send_text_need_not_be_answered(bot: BotUnderTest) -> None:
    """`run_immediately=False` only adds to the conversation."""
    async with ready(bot) as session:
        with session.subscribe(tp.UserInput, tp.BotLlmStarted) as stream:
            id_ = await session.send_text("remember this", run_immediately=False)
            first = await stream.receive()
            assert isinstance(first, tp.UserInput) and id_ == first.msg_id
            await session.request("ping")
            assert 0 == stream.unread


@case
async def send_text_can_be_answered_without_sound(bot: BotUnderTest) -> None:
    """`audio_response=False`: the LLM answers, and nothing is synthesised."""
    async with ready(bot) as session:
        with session.subscribe(tp.BotLlmStopped, tp.BotTtsStarted) as stream:
            await session.send_text("quietly", audio_response=False)
            assert isinstance(await stream.receive(), tp.BotLlmStopped)
            await session.request("ping")
            assert 0 == stream.unread


@case
async def the_bot_can_say_something_unasked(bot: BotUnderTest) -> None:
    """Speech without an LLM."""
    async with ready(bot) as session:
        with session.subscribe(tp.BotOutput) as outputs:
            assert {"said": "two words"} == await session.request("say", {"text": "two words"})
            assert "two words" == (await outputs.receive()).text


@case
async def the_users_speech_is_transcribed(bot: BotUnderTest) -> None:
    """Both families of transcription events, interim and final, then the answer."""
    async with ready(bot) as session:
        with session.subscribe(
            tp.UserStartedSpeaking, tp.UserInput, tp.UserTranscription, tp.UserStoppedSpeaking
        ) as stream:
            await session.send_client_message("user", {"text": "please listen to me"})
            events = [await stream.receive() for _ in range(6)]
        assert [
            "user-started-speaking",
            "user-input",
            "user-transcription",
            "user-input",
            "user-transcription",
            "user-stopped-speaking",
        ] == types_of(events)
        assert [False, False, True, True] == [event.final for event in events[1:5]]
        await session.wait_event(tp.BotOutput, where=lambda o: "please listen" in o.text)


@case
async def a_bots_error_is_an_event(bot: BotUnderTest) -> None:
    """An error that is not fatal does not end the session."""
    async with ready(bot) as session:
        await session.send_client_message("error", {"text": "out of tea"})
        error = await session.wait_event(tp.Error)
        assert ("out of tea", False) == (error.error, error.fatal)
        assert {"pong": 1} == await session.request("ping", 1)


@case
async def an_interruption_silences_the_bot(bot: BotUnderTest) -> None:
    """What is buffered of its audio is forgotten, and its segment is never completed."""
    async with ready(bot) as session:
        with session.subscribe(tp.BotOutput) as outputs:
            await session.send_text(" ".join(f"w{n}" for n in range(60)))
            while (await outputs.receive()).spoken_status != "in-progress":
                pass
            if bot.wire == "webrtc":  # which has no signal for it: words have to do
                with pytest.raises(tp.UnsupportedFeatureError):
                    await session.interrupt()
                await session.send_client_message("interrupt")
            else:
                await session.interrupt()
            await session.wait_event(tp.BotInterrupted)
            await session.wait_event(tp.BotStoppedSpeaking)
            await session.request("ping")
            unread = [outputs.receive_nowait() for _ in range(outputs.unread)]
        assert "completed" not in [output.spoken_status for output in unread]


@case
async def a_flood_of_messages_loses_none(bot: BotUnderTest) -> None:
    """Ten thousand messages in a burst, to a body that does not read meanwhile."""
    async with ready(bot) as session:
        with session.subscribe(tp.ServerMessage) as stream:
            answer = await session.request("flood", {"count": 10_000}, timeout=60)
            assert {"flooded": 10_000} == answer
            got = [stream.receive_nowait().data["n"] for _ in range(stream.unread)]
        assert list(range(10_000)) == got


@case
async def dtmf_and_raw_messages_are_accepted(bot: BotUnderTest) -> None:
    """Keys, UI events and messages of our own making are taken without complaint."""
    case_ = name()
    async with ready(bot, case_) as session:
        with session.subscribe(tp.ErrorResponse, tp.Error) as complaints:
            await session.send_dtmf("12*#")
            await session.send_ui_event("clicked", {"button": "ok"})
            root = tp.UiNode(ref="e1", role="document", name="Page")
            await session.send_ui_snapshot(tp.UiTree(root=root, captured_at=1))
            await session.cancel_ui_job_group("job-1", "enough")
            await session.send_raw("client-message", {"t": "silent"})
            await session.request("ping")
            assert 0 == complaints.unread
    assert [
        "client-ready",
        "dtmf",
        "ui-event",
        "ui-snapshot",
        "ui-cancel-job-group",
        "client-message",
        "client-message",
    ] == (await bot.seen(case_)).messages


@case
async def a_message_the_bot_does_not_know_is_refused_with_an_event(bot: BotUnderTest) -> None:
    """The refusal names the message by its id, and the session goes on."""
    async with ready(bot) as session:
        with pytest.warns(DeprecationWarning, match="send_text"):
            await session.append_to_context("user", "hello")
        refusal = await session.wait_event(tp.ErrorResponse)
        assert refusal.id.startswith("append-to-context-")
        assert "append-to-context" in refusal.error
        assert {"pong": 1} == await session.request("ping", 1)


@case
async def a_file_can_be_sent_inside_a_message(bot: BotUnderTest) -> None:
    """The bot gets its bytes and its name."""
    file = tp.File(format="text/plain", name="a.txt", source=tp.InlineSource(content=b"0123456789"))
    async with ready(bot) as session:
        with session.subscribe(tp.BotOutput) as outputs:
            await session.send_file(file, "a caption")
            text = (await outputs.receive()).text
        assert "a caption" in text and "a.txt" in text


# -- functions ---------------------------------------------------------------------------------


@case
async def a_function_call_is_answered_by_its_handler(bot: BotUnderTest) -> None:
    """The handler gets name, arguments and id; its result comes back, and is spoken."""
    calls: list[tp.FunctionCall] = []

    async def get_weather(call: tp.FunctionCall) -> dict[str, Any]:
        calls.append(call)
        return {"sky": "clear", "c": 3}

    async with ready(bot) as session:
        session.handle_function_call("get_weather", get_weather)
        with session.subscribe(tp.LlmFunctionCallStopped, tp.BotOutput) as stream:
            await session.send_client_message("function", {"city": "Oslo"})
            stopped = await stream.receive()
            output = await stream.receive()
        assert isinstance(stopped, tp.LlmFunctionCallStopped)
        assert (False, {"sky": "clear", "c": 3}) == (stopped.cancelled, stopped.result)
        assert isinstance(output, tp.BotOutput) and "clear" in output.text
    assert [("get_weather", {"city": "Oslo"})] == [(c.function_name, c.arguments) for c in calls]
    assert stopped.tool_call_id == calls[0].tool_call_id


@case
async def a_function_call_that_the_bot_cancels_cancels_its_handler(bot: BotUnderTest) -> None:
    """An interruption ends the call, and with it the handler."""
    entered, cancelled = trio.Event(), trio.Event()

    async def get_weather(call: tp.FunctionCall) -> None:
        entered.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with ready(bot) as session:
        session.handle_function_call("get_weather", get_weather)
        await session.send_client_message("function", {"city": "Oslo"})
        await entered.wait()
        await session.send_client_message("interrupt")
        stopped = await session.wait_event(tp.LlmFunctionCallStopped)
        assert stopped.cancelled
        await cancelled.wait()
        assert {"pong": 1} == await session.request("ping", 1)


@case
async def a_handler_that_raises_ends_the_session_with_what_it_raised(bot: BotUnderTest) -> None:
    """The bot gets an error as the result, and the block raises the very exception, bare."""
    case_, boom = name(), ValueError("boom")

    async def get_weather(call: tp.FunctionCall) -> None:
        raise boom

    session = None
    with pytest.raises(ValueError, match="boom") as raised:
        async with ready(bot, case_) as session:
            session.handle_function_call("get_weather", get_weather)
            await session.send_client_message("function", {"city": "Oslo"})
            await trio.sleep_forever()
    assert boom is raised.value
    assert ("client", boom) == (session.end.reason, session.end.error)
    seen = await bot.seen(case_)
    assert (1000, "llm-function-call-result") == (seen.code, seen.messages[-1])


# -- how a session ends -------------------------------------------------------------------------


@case
async def a_body_that_finishes_hangs_up(bot: BotUnderTest) -> None:
    """Nothing leaves; the bot sees a clean close."""
    case_ = name()
    async with ready(bot, case_) as session:
        pass
    assert ("client", "client", 1000) == (session.end.reason, session.end.first, session.end.code)
    assert (tp.State.READY, None) == (session.end.last_state, session.end.error)
    assert 1000 == (await bot.seen(case_)).code


@case
async def a_body_that_raises_hangs_up_and_raises_that_very_exception(bot: BotUnderTest) -> None:
    """Bare, and with nothing of ours hung on to it."""
    case_, mine = name(), ValueError("mine")
    with pytest.raises(ValueError, match="mine") as raised:
        async with ready(bot, case_) as session:
            raise mine
    assert mine is raised.value
    assert (None, None) == (mine.__context__, mine.__cause__)
    assert "client" == session.end.reason
    assert 1000 == (await bot.seen(case_)).code


@case
async def a_group_that_the_body_raised_passes_untouched(bot: BotUnderTest) -> None:
    """The very group, not one inside another."""
    mine = ExceptionGroup("mine", [ValueError(), TypeError()])
    with pytest.raises(ExceptionGroup) as raised:
        async with ready(bot):
            raise mine
    assert mine is raised.value


@case
async def a_caller_that_is_cancelled_still_says_goodbye(bot: BotUnderTest) -> None:
    """`Cancelled` goes on, and the bot sees a clean close all the same."""
    case_ = name()
    with trio.CancelScope() as scope:
        async with ready(bot, case_) as session:
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert "cancelled" == session.end.reason
    assert 1000 == (await bot.seen(case_)).code


@case
async def ctrl_c_in_the_body_hangs_up(bot: BotUnderTest) -> None:
    """`KeyboardInterrupt` leaves the block bare, after the goodbye."""
    case_ = name()
    with pytest.raises(KeyboardInterrupt):
        async with ready(bot, case_):
            raise KeyboardInterrupt
    assert 1000 == (await bot.seen(case_)).code


@case
async def a_start_that_fails_is_raised_to_who_waits(bot: BotUnderTest) -> None:
    """`wait_ready` raises it, the body may handle it, and it does not leave the block again."""
    async with bot.refused() as session:
        with pytest.raises(tp.StartBotError) as refused:
            await session.wait_ready()
        await trio.lowlevel.checkpoint()
    assert 404 == refused.value.status
    assert ("startup_failed", refused.value) == (session.end.reason, session.end.error)
    assert tp.State.AUTHENTICATING == session.end.last_state


@case
async def a_start_that_fails_cancels_a_body_that_waits_on_something_else(
    bot: BotUnderTest,
) -> None:
    """The error leaves the block, once and bare."""
    with pytest.raises(tp.StartBotError):
        async with bot.refused():
            await trio.sleep_forever()


@case
async def a_bot_that_is_never_ready_is_given_up(bot: BotUnderTest) -> None:
    """`ReadyTimeoutError` says the stage and what came; the bot sees a clean close."""
    case_ = name()
    with pytest.raises(tp.ReadyTimeoutError) as late:
        async with bot.never_ready(case_, ready_timeout=0.3) as session:
            await session.wait_ready()
    assert (tp.State.CONNECTED, None, 0) == (
        late.value.stage,
        late.value.last_message,
        late.value.received,
    )
    assert ("startup_failed", "client") == (session.end.reason, session.end.first)
    assert 1000 == (await bot.seen(case_)).code


@case
async def a_bot_that_leaves_ends_the_block(bot: BotUnderTest) -> None:
    """What it said last is delivered, the body is cancelled, and nothing leaves."""
    events: list[tp.Event] = []
    with trio.CancelScope() as outer:
        async with ready(bot) as session:
            await session.send_client_message("say", "goodbye")
            await session.send_client_message("end")
            async for event in session:
                events.append(event)
            raise AssertionError("the body was cancelled before it got here")
    assert not outer.cancelled_caught
    assert ("bot", "bot", 1000) == (session.end.reason, session.end.first, session.end.code)
    assert session.end.error is None
    texts = [event.text for event in events if isinstance(event, tp.BotOutput)]
    assert texts and {"goodbye"} == set(texts)
    assert [tp.BotDisconnected, tp.StateChanged, tp.Disconnected] == [
        type(event) for event in events[-3:]
    ]


@case
async def a_bot_that_leaves_cancels_a_body_that_does_not_read(bot: BotUnderTest) -> None:
    """At once, whatever it waits for."""
    async with ready(bot) as session:
        await session.send_client_message("cancel")
        await trio.sleep_forever()
    assert "bot" == session.end.reason


@case
async def a_bot_that_is_asked_to_leave_leaves(bot: BotUnderTest) -> None:
    """`disconnect_bot`: two seconds of silence, in one frame, and a goodbye."""
    chunks: list[tp.AudioChunk] = []
    async with ready(bot) as session:
        await session.disconnect_bot()
        async for chunk in session.audio:
            chunks.append(chunk)
    assert "bot" == session.end.reason
    if bot.wire == "webrtc":  # which has all sound in frames of its own, on the beat of real time
        assert sum(chunk.duration for chunk in chunks) > 1.5
        assert max(chunk.peak for chunk in chunks) < 0.01
    else:
        assert 2.0 == chunks[-1].duration


@case
async def a_fatal_error_ends_the_block_with_it(bot: BotUnderTest) -> None:
    """`FatalBotError`, bare, with the bot's text."""
    with pytest.raises(tp.FatalBotError) as fatal:
        async with ready(bot) as session:
            await session.send_client_message("fatal", {"text": "no more tea"})
            await trio.sleep_forever()
    assert "no more tea" == fatal.value.error
    assert ("fatal_error", "bot") == (session.end.reason, session.end.first)
    assert fatal.value is session.end.error


@case
async def a_lost_link_ends_the_block_with_an_error(bot: BotUnderTest) -> None:
    """`ConnectionLostError`, bare, with close code 1006."""
    with pytest.raises(tp.ConnectionLostError) as lost:
        async with ready(bot) as session:
            await session.send_client_message(bot.losing)
            await trio.sleep_forever()
    assert 1006 == lost.value.end.code
    assert ("connection_lost", "network") == (session.end.reason, session.end.first)


@case
async def a_lost_link_is_raised_to_a_request_that_waits(bot: BotUnderTest) -> None:
    """There and only there: the body may go on, with nothing left to say."""
    async with ready(bot) as session:
        with pytest.raises(tp.ConnectionLostError):
            await session.request(bot.losing, timeout=30)
        with pytest.raises(tp.SessionEndedError):
            await session.send_text("hello?")
    assert "connection_lost" == session.end.reason


@case
async def a_request_does_not_outlive_a_bot_that_leaves(bot: BotUnderTest) -> None:
    """It is cancelled with the block, which ends normally."""
    async with ready(bot) as session:
        await session.request("cancel", timeout=60)
    assert "bot" == session.end.reason


async def _stay(bot: BotUnderTest, request: str) -> tuple[tp.Session, BaseException]:
    """Be in a block that the bot's end does not end; return what sending raises there."""
    async with ready(bot, disconnect_on_bot_disconnect=False) as session:
        await session.send_client_message(request, {"text": "x"})
        last: tp.Event | None = None
        async for event in session:
            last = event
        assert isinstance(last, tp.Disconnected)
        with pytest.raises(tp.SessionEndedError) as ended:
            await session.send_text("anybody there?")
        with pytest.raises(tp.SessionEndedError):
            await session.request("ping")
        await trio.lowlevel.checkpoint()
    return session, ended.value


@case
async def a_bot_that_leaves_may_leave_the_block_alone(bot: BotUnderTest) -> None:
    """With the option: the event is delivered, sending raises, nothing leaves."""
    session, error = await _stay(bot, "cancel")
    assert ("bot", tp.SessionEndedError) == (session.end.reason, type(error))


@case
async def a_fatal_error_may_leave_the_block_alone(bot: BotUnderTest) -> None:
    """With the option: sending raises `FatalBotError`, nothing leaves."""
    session, error = await _stay(bot, "fatal")
    assert ("fatal_error", tp.FatalBotError) == (session.end.reason, type(error))


@case
async def a_lost_link_may_leave_the_block_alone(bot: BotUnderTest) -> None:
    """With the option: sending raises `ConnectionLostError`, nothing leaves."""
    session, error = await _stay(bot, bot.losing)
    assert ("connection_lost", tp.ConnectionLostError) == (session.end.reason, type(error))


@case
async def hanging_up_does_not_end_the_block(bot: BotUnderTest) -> None:
    """`disconnect` says goodbye and returns; streams end, sending raises, the body goes on."""
    case_ = name()
    async with ready(bot, case_) as session:
        await session.disconnect()
        assert tp.State.DISCONNECTED is session.state
        assert 1000 == (await bot.seen(case_)).code
        events = [event async for event in session]
        assert isinstance(events[-1], tp.Disconnected)
        with pytest.raises(tp.SessionEndedError):
            await session.send_text("hello?")
        await session.disconnect()
    assert ("client", None) == (session.end.reason, session.end.error)


@case
async def the_history_tells_what_happened(bot: BotUnderTest) -> None:
    """Every state once, in order, on trio's clock; and every state has its event set."""
    async with ready(bot) as session:
        pass
    states = [state for state, _ in session.history]
    times = [at for _, at in session.history]
    assert sorted(times) == times
    assert [state for state in tp.State if state in states] == states
    assert {tp.State.IDLE, tp.State.READY, tp.State.DISCONNECTED} <= set(states)
    assert all(session.states.of(state).is_set() for state in tp.State)


# -- audio -------------------------------------------------------------------------------------


@case
async def the_bots_audio_comes_in_frames(bot: BotUnderTest) -> None:
    """24 kHz, mono, 40 ms, and its first is announced; it is the tone that the bot speaks in."""
    chunks: list[tp.AudioChunk] = []

    async def listen(session: tp.Session) -> None:
        async for chunk in session.audio:
            chunks.append(chunk)

    async with bot.open(name()) as session, trio.open_nursery() as nursery:
        nursery.start_soon(listen, session)
        with session.subscribe(tp.AudioStarted) as started:
            await session.wait_ready()
            await session.send_text("one two three")
            first = await started.receive()
            await session.wait_event(tp.BotStoppedSpeaking)
        nursery.cancel_scope.cancel()
    assert (24_000, 1) == (first.sample_rate, first.num_channels)
    samples = 480 if bot.wire == "webrtc" else 960  # Opus comes in frames of 20 ms
    assert {(24_000, 1, samples)} == {(c.sample_rate, c.num_channels, c.num_frames) for c in chunks}
    assert TONE_HZ == pytest.approx(pitch(chunks), rel=0.01)


@case
async def the_users_audio_reaches_the_bot(bot: BotUnderTest) -> None:
    """A tone that is sent comes back as that tone, and as loud."""
    rate, heard = 16_000, []
    wave = (math.sin(2 * math.pi * TONE_HZ * n / rate) for n in range(rate))
    sent = tp.AudioChunk(array("h", (round(10_000 * s) for s in wave)).tobytes(), rate)

    async def listen(session: tp.Session) -> None:
        async for chunk in session.audio:
            if chunk.peak > 0.1:
                heard.append(chunk)

    async with bot.echo(name()) as session, trio.open_nursery() as nursery:
        nursery.start_soon(listen, session)
        await session.wait_ready()
        await session.stream_audio(sent)
        with trio.fail_after(10):
            while sum(chunk.duration for chunk in heard) < 0.9:
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    assert TONE_HZ == pytest.approx(pitch(heard), rel=0.01)
    assert sent.peak == pytest.approx(max(chunk.peak for chunk in heard), rel=0.3)


def pitch(chunks: list[tp.AudioChunk]) -> float:
    """Return how many hertz a tone has, whatever pauses are in it: the median of its periods."""
    samples = array("h", b"".join(chunk.pcm for chunk in chunks))
    crossings: list[float] = []
    periods: list[float] = []
    peak = 0
    for place, (before, after) in enumerate(itertools.pairwise(samples)):
        peak = max(peak, after)
        if before < 0 <= after:
            crossings.append(place + before / (before - after))
            if peak > 2_000 and len(crossings) > 1:
                periods.append(crossings[-1] - crossings[-2])
            peak = 0
    return chunks[0].sample_rate / statistics.median(periods)
