"""The official JavaScript client, in a browser, takes a simulated bot for a real one.

On both wires: what is expected is the same, but where a test names one of them. What the client
does with a bot's interruption and with its goodbye is not what it should; it is what it does with a
real one, too.
"""

import importlib.util
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs
import pytest
import trio
from browser import Told, visit
from bundle import bundled_page
from needed import missing, program
from tone import BotEars

from trio_pipecat import (
    ClientMessage,
    ClientReady,
    Command,
    DisconnectBot,
    LlmFunctionCallResult,
    SendText,
)
from trio_pipecat.audio import AudioChunk
from trio_pipecat.testing import Conversation, SimulatedBot, Voice, serve_bot
from trio_pipecat.testing._webrtc_bot import WebRtcBotTransport

Wire: TypeAlias = Literal["websocket", "webrtc"]

_INITIALIZING = ["initializing", "initialized"]
_AUTHENTICATING = ["authenticating", "authenticated"]
_IN_A_CALL = ["connecting", "connected", "ready", "disconnecting", "disconnected"]

#: Both voices are tones; the pauses between the words tell the user's from noise, which a browser
#: suppresses.
_BOT = Voice(tone_hz=440, word_seconds=0.08)
_USER = Voice(tone_hz=523, word_seconds=0.4, amplitude=0.5, sample_rate=48_000)
#: Words that the bot says in the first call.
_WORDS = 9
#: How much of a word sounds.
_SOUNDING = 0.75
#: What is no louder than this is silence: Opus may not be exact.
_SILENT = 0.001
#: How long the bot listens before it says what it has heard, in seconds.
_HEARD = 1.0
#: After so many seconds of silence the bot takes a client for lost.
_PATIENCE = 5.0


@attrs.frozen
class Call:
    """A conversation from both sides."""

    told: Sequence[Told]
    conversation: Conversation
    #: When the bot saw it begin and end, on trio's clock.
    began: float
    ended: float

    def of(self, kind: str) -> list[Any]:
        """Return what the page told of a kind."""
        return [told.data for told in self.told if kind == told.kind]

    def when(self, kind: str) -> float:
        """Return when the page told of a kind."""
        return next(told.at for told in self.told if kind == told.kind)

    @property
    def commands(self) -> list[Command]:
        """What the bot was told."""
        return [command for _, command in self.conversation.received]


Calls: TypeAlias = tuple[Call, Call]


async def _calls(wire: Wire, chromium: str, page: Path) -> Calls:
    ears = BotEars()
    times: list[tuple[float, float]] = []

    async def note_times(conversation: Conversation) -> None:
        began = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            times.append((began, trio.current_time()))

    async def heard(conversation: Conversation, d: Any) -> Any:
        return {**ears.take(conversation), "tracks": getattr(conversation.link, "tracks", None)}

    async def renegotiate(conversation: Conversation, d: Any) -> None:
        assert isinstance(conversation.link, WebRtcBotTransport)
        conversation.link.ask_to_renegotiate()

    bot = SimulatedBot([ears.listen, note_times], greeting="Hello.", echo_audio=False, voice=_BOT)
    bot.requests |= {"heard": heard, "renegotiate": renegotiate}
    async with serve_bot(bot, webrtc=wire == "webrtc") as served:
        told = await visit(
            chromium,
            page,
            microphone=AudioChunk(_USER.word(), _USER.sample_rate),
            wire=wire,
            url=served.webrtc_url if wire == "webrtc" else served.ws_url,
            start=served.start_url,
        )
        assert 2 == len(bot.conversations), told
        with trio.fail_after(10):
            while len(times) < 2:
                await trio.sleep(0.02)
    cut = told.index(Told("second call"))
    first, second = bot.conversations
    return Call(told[:cut], first, *times[0]), Call(told[cut:], second, *times[1])


@pytest.fixture(scope="module")
def hold() -> Callable[[Wire], Calls]:
    """Have the page hold its conversations on a wire, once for all tests."""

    @cache
    def hold(wire: Wire) -> Calls:
        if wire == "webrtc" and importlib.util.find_spec("aiortc") is None:
            missing("aiortc", 'pip install "trio-pipecat[webrtc]"')
        chromium = program("chromium", "apt-get install chromium")
        return trio.run(_calls, wire, chromium, bundled_page())

    return hold


@pytest.fixture(params=["websocket", "webrtc"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """Both."""
    wire: Wire = request.param
    return wire


@pytest.fixture
def calls(hold: Callable[[Wire], Calls], wire: Wire) -> Calls:
    """The conversations on each wire."""
    return hold(wire)


@pytest.fixture
def call(calls: Calls) -> Call:
    """The conversation that the client ends."""
    return calls[0]


@pytest.fixture
def other_call(calls: Calls) -> Call:
    """The conversation that the bot ends, which begins with a request."""
    return calls[1]


@pytest.fixture
def websocket_calls(hold: Callable[[Wire], Calls]) -> Calls:
    """The conversations on a WebSocket."""
    return hold("websocket")


@pytest.fixture
def webrtc_calls(hold: Callable[[Wire], Calls]) -> Calls:
    """The conversations on WebRTC."""
    return hold("webrtc")


# -- on both wires --


def test_every_state_is_passed(call: Call) -> None:
    """In the client's own order, and both ends of the connection are told."""
    assert _INITIALIZING + _IN_A_CALL == call.of("state")
    assert ([None], [None]) == (call.of("connected"), call.of("disconnected"))


def test_the_bot_is_ready(call: Call) -> None:
    """It answers a client of RTVI 2.1.0, and `connect` returns what it says."""
    (ready,) = call.of("bot-ready")
    assert "2.2.0" == ready["version"]
    assert ready["capabilities"]["audio_out"] is True
    assert [ready] == call.of("connect returned")
    (hello, *_) = call.commands
    assert isinstance(hello, ClientReady)
    assert "2.1.0" == hello.version
    assert ("@pipecat-ai/client-js", "1.13.1") == (hello.about.library, hello.about.library_version)


def test_what_the_bot_says_is_read(call: Call) -> None:
    """Its greeting, its answer to the text, its report of the function; word by word."""
    outputs = call.of("bot-output")
    finished = [output["text"] for output in outputs if output["spoken_status"] == "completed"]
    assert ["Hello.", "You said: good morning", 'The weather: {"sky": "clear"}'] == finished
    assert {"sentence"} == {output["aggregated_by"] for output in outputs}
    assert ["good morning", "What is the weather in Oslo?"] == call.of("user-llm-text")
    assert _WORDS == len(call.of("bot-tts-text"))
    assert 3 == len(call.of("bot-started-speaking")) == len(call.of("bot-stopped-speaking"))


def test_a_request_and_a_refused_one(call: Call) -> None:
    """The one returns the answer, the other raises the refusal."""
    assert [{"pong": {"deep": [1, None, "é"]}}] == call.of("response")
    (refusal,) = call.of("refusal")
    assert ("error-response", {"error": "as requested"}) == (refusal["type"], refusal["data"])
    assert [refusal] == call.of("message-error")


def test_a_function_call(call: Call) -> None:
    """The page's function is called, and the bot has its result."""
    assert [{"name": "get_weather", "arguments": {"city": "Oslo"}}] == call.of("function called")
    (stopped,) = call.of("function-stopped")
    assert (False, {"sky": "clear"}) == (stopped["cancelled"], stopped["result"])


def test_the_page_hears_the_bot(call: Call, wire: Wire) -> None:
    """The tone of its voice, while it speaks; WebRTC may change how loud and how long it is."""
    exact = wire == "websocket"
    (heard,) = call.of("ears")
    assert pytest.approx(_BOT.tone_hz, abs=2) == heard["hertz"]
    spoken = _WORDS * _BOT.word_seconds * _SOUNDING
    assert spoken * 0.5 < heard["seconds"] < spoken * (1 if exact else 1.5)
    peak = round(32767 * _BOT.amplitude) / 32768
    assert pytest.approx(peak, rel=1e-6 if exact else 0.5) == heard["peak"]


@pytest.mark.parametrize("when", ["heard", "heard again"])
def test_the_bot_hears_the_microphone(call: Call, when: str) -> None:
    """The tone that it is, as long as the bot listens; before the user was mute, and after."""
    (heard,) = call.of(when)
    assert pytest.approx(_USER.tone_hz, abs=2) == heard["hertz"]
    assert _HEARD * _SOUNDING * 0.5 < heard["seconds"]


def test_a_muted_microphone(call: Call) -> None:
    """The bot hears nothing at all."""
    (heard,) = call.of("heard while muted")
    assert pytest.approx(0, abs=_SILENT) == heard["peak"]


def test_what_the_bot_saw(call: Call) -> None:
    """Every command once, in order."""
    assert [
        SendText(content="good morning"),
        ClientMessage(t="ping", d={"deep": [1, None, "é"]}),
        ClientMessage(t="fail", d={}),
        ClientMessage(t="function", d={"city": "Oslo"}),
        LlmFunctionCallResult(
            function_name="get_weather",
            tool_call_id="call-1",
            arguments={"city": "Oslo"},
            result={"sky": "clear"},
        ),
        *[ClientMessage(t="heard", d={})] * 6,
    ] == call.commands[1:]


def test_a_client_that_leaves(call: Call, wire: Wire) -> None:
    """The bot sees it soon, and that all is well: no goodbye of this client has a code."""
    end = call.conversation.end
    assert end is not None
    assert (1005 if wire == "websocket" else 1000, "client") == (end.code, end.first)
    assert call.ended - call.when("hanging up") < 2
    assert None is call.conversation.failure
    assert [] == call.of("error")


def test_a_bot_that_is_started(other_call: Call) -> None:
    """Asked for first, and then connected to; the client initializes its devices twice."""
    assert ["POST", "/start", 200] == other_call.of("request")[0]
    assert _INITIALIZING + _AUTHENTICATING + _INITIALIZING + _IN_A_CALL == other_call.of("state")


def test_a_bot_that_leaves(other_call: Call) -> None:
    """As it was told to; the client has nothing to do but to see it."""
    assert DisconnectBot() == other_call.commands[-1]
    end = other_call.conversation.end
    assert end is not None
    assert (1000, "bot") == (end.code, end.first)
    assert ([None], [None]) == (other_call.of("connected"), other_call.of("disconnected"))
    assert None is other_call.conversation.failure


_COMPLAINTS: dict[Wire, list[str]] = {
    "websocket": [
        "complaint: Failed to deserialize incoming message Error: Unknown frame kind",
        "complaint: Fatal error reported. Disconnecting...",
    ],
    "webrtc": [],
}


#: The microphone may be faster than the news that the bot has left.
_TOO_LATE = "attempt to send to closed socket"


def test_nothing_else_is_wrong(calls: Calls, wire: Wire) -> None:
    """On a WebSocket the client complains of the interruption frame and of the end, no more."""
    assert _COMPLAINTS[wire] == [
        f"{told.kind}: {told.data}"
        for call in calls
        for told in call.told
        if told.kind in ("complaint", "uncaught", "failed", "device-error")
        if wire == "webrtc" or told.data != _TOO_LATE
    ]


# -- on a WebSocket --


def test_to_a_websocket_every_end_is_fatal(websocket_calls: Calls) -> None:
    """The client takes the bot's goodbye for an error, but ends as it should."""
    (error,) = websocket_calls[1].of("error")
    assert error["data"]["fatal"] is True
    assert "websocket connection closed. Code: 1000" == error["data"]["error"]


# -- on WebRTC --


def _requests(call: Call) -> list[tuple[str, str, int]]:
    """Return what the page has requested, but for what `/start` is asked; ids are masked."""
    return [
        (method, re.sub(r"/[0-9a-f-]{36}/", "/<id>/", path), status)
        for method, path, status in call.of("request")
        if path != "/start"
    ]


def test_offers_and_candidates(webrtc_calls: Calls) -> None:
    """The client offers first, and sends its candidates when it has the answer."""
    first, *others = _requests(webrtc_calls[0])
    assert ("POST", "/api/offer", 200) == first
    assert {("PATCH", "/api/offer", 200)} == set(others)


def test_offers_of_a_session(webrtc_calls: Calls) -> None:
    """Where `/start` has sent the client; one offer each to connect, renegotiate and restart."""
    place = "/sessions/<id>/api/offer"
    requests = _requests(webrtc_calls[1])
    assert {("POST", place, 200), ("PATCH", place, 200)} == set(requests)
    assert 3 == requests.count(("POST", place, 200))


def test_the_status_of_the_tracks(webrtc_calls: Calls) -> None:
    """The client tells it when the connection opens, and when the user becomes mute."""
    call = webrtc_calls[0]
    tracks = [call.of(kind)[0]["tracks"] for kind in ("heard", "heard while muted", "heard again")]
    others = {"camera": False, "screen": False}
    assert [{"microphone": on, **others} for on in (True, False, True)] == tracks


def test_the_bot_trusts_in_pings(webrtc_calls: Calls) -> None:
    """One comes each second, and the call outlasts the bot's patience."""
    call = webrtc_calls[0]
    assert _PATIENCE < call.ended - call.began
    assert pytest.approx(call.ended - call.began, abs=2) == len(call.of("pinged"))


def test_renegotiating(webrtc_calls: Calls) -> None:
    """The bot asks for it, and hears as before."""
    (heard,) = webrtc_calls[1].of("heard after renegotiating")
    assert pytest.approx(_USER.tone_hz, abs=2) == heard["hertz"]


def test_restarting(webrtc_calls: Calls) -> None:
    """The conversation goes on, but the client has stopped its own microphone for good."""
    (heard,) = webrtc_calls[1].of("heard after restarting")
    assert pytest.approx(0, abs=_SILENT) == heard["peak"]
    assert ["ended"] == webrtc_calls[1].of("microphone")
    assert 1 == len(webrtc_calls[1].of("connected"))


def test_the_bots_goodbye(webrtc_calls: Calls) -> None:
    """The client is told that the bot has left, and disconnects; there is no error."""
    call = webrtc_calls[1]
    assert ([None], [None]) == (call.of("bot-connected"), call.of("bot-disconnected"))
    assert [] == call.of("error")
