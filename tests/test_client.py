"""The front door: sessions and clients, and what they refuse before anything is tried."""

import json
import math
from contextlib import asynccontextmanager

import pytest
import trio
from http_server import answering, serve_http

from trio_pipecat import (
    AboutClient,
    ConnectParams,
    InvalidParamsError,
    PipecatClient,
    SessionEndedError,
    StartBotError,
    StartedBot,
    UnsupportedFeatureError,
    open_session,
)
from trio_pipecat.transports import memory_transport_pair

ENDPOINT = "http://localhost:7860/start"
WS_URL = "ws://localhost:7860/ws-client"
SECRET = "s3cret-word"


class Bot:
    """A bot in memory: its `connect` is a connector, and it is ready when it is asked."""

    def __init__(self):
        self.seen = []
        self.open = 0

    @asynccontextmanager
    async def connect(self, params, options):
        """Open a link to this bot."""
        self.seen.append((params, options))
        client, bot = memory_transport_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, bot)
            self.open += 1
            try:
                yield client
            finally:
                self.open -= 1
                nursery.cancel_scope.cancel()

    async def _serve(self, link):
        hello = json.loads(await link.receive())
        answer = {"id": hello["id"], "type": "bot-ready", "data": {"version": "2.2.0"}}
        await link.send_message(json.dumps({"label": "rtvi-ai", **answer}))


# -- sessions ----------------------------------------------------------------------------


async def test_a_session_is_a_block(autojump_clock):
    """The block is the conversation: entering begins it, leaving it hangs up."""
    bot = Bot()
    async with open_session(WS_URL, transport=bot.connect, token="abc") as session:
        assert "2.2.0" == (await session.wait_ready()).version
        assert 1 == bot.open
    assert "client" == session.end.reason
    assert 0 == bot.open
    ((params, _),) = bot.seen
    expected = ConnectParams(transport="websocket", ws_url=WS_URL, token="abc")
    assert expected == params


async def test_the_connector_gets_what_the_caller_said(autojump_clock):
    """Headers, deadlines and sizes reach whoever opens the link."""
    bot = Bot()
    keywords = {
        "headers": {"X-Name": "a"},
        "origin": "https://app.example",
        "token_in": "query",
        "allow_insecure_token": True,
        "ping_interval": 1,
        "ping_timeout": 2,
        "disconnect_timeout": 4,
        "max_message_size": 5000,
        "max_receive_size": 6000,
    }
    async with open_session(WS_URL, transport=bot.connect, **keywords) as session:
        await session.wait_ready()
    ((_, options),) = bot.seen
    keywords["grace"] = keywords.pop("disconnect_timeout")
    assert keywords == {name: getattr(options, name) for name in keywords}


@pytest.mark.socket
async def test_an_endpoint_is_asked_first():
    """With an endpoint the bot is started, and what it answers is connected to."""
    bot = Bot()
    answer = {"wsUrl": "wss://eu.bot.example/ws", "token": "abc"}
    async with serve_http(answering(200, answer)) as server:
        headers = {"Authorization": "Bearer x"}
        async with open_session(server.url(), transport=bot.connect, headers=headers) as session:
            await session.wait_ready()
            assert answer == session.started.answer
    ((params, options),) = bot.seen
    assert ("wss://eu.bot.example/ws", "abc") == (params.ws_url, params.token)
    assert {} == options.headers


@pytest.mark.socket
async def test_a_start_that_fails_is_told_where_it_is_waited_for():
    """The endpoint's refusal is raised by `wait_ready`, bare."""
    handler = answering(503, {"detail": "no bot today"})
    async with serve_http(handler) as server, open_session(server.url()) as session:
        with pytest.raises(StartBotError, match="no bot today"):
            await session.wait_ready()
    assert "startup_failed" == session.end.reason


@pytest.mark.socket
async def test_a_bot_can_be_started_by_hand():
    """A started bot can be looked at and changed before it is connected to."""
    bot = Bot()
    async with serve_http(answering(200, {"wsUrl": "wss://eu.bot.example/ws"})) as server:
        started = await PipecatClient(endpoint=server.url()).start_bot()
    started.params.token = "abc"
    async with open_session(started, transport=bot.connect) as session:
        await session.wait_ready()
        assert started is session.started
    assert "abc" == bot.seen[0][0].token


# -- clients -----------------------------------------------------------------------------


async def test_a_client_opens_one_session_after_another(autojump_clock):
    """A client keeps nothing of a session that is over."""
    bot = Bot()
    client = PipecatClient(WS_URL, transport=bot.connect)
    for _ in range(3):
        async with client.open_session() as session:
            await session.wait_ready()
        with pytest.raises(SessionEndedError):
            await session.send_text("too late")
    assert 3 == len(bot.seen)


async def test_a_client_opens_sessions_at_once(autojump_clock):
    """Sessions of one client know nothing of each other."""
    bot = Bot()
    client = PipecatClient(transport=bot.connect)
    async with client.open_session() as first, client.open_session() as second:
        await first.wait_ready()
        await second.wait_ready()
        assert 2 == bot.open
        await first.disconnect()
        assert "ready" == second.state


async def test_a_session_may_differ_from_its_client(autojump_clock):
    """Keywords of one session win over the client's, for that session."""
    bot = Bot()
    client = PipecatClient(ws_url=WS_URL, transport=bot.connect, token="ours", ping_timeout=7)
    async with client.open_session(token="another", token_in="query") as session:
        await session.wait_ready()
    async with client.open_session() as session:
        await session.wait_ready()
    seen = [(params.token, options.token_in, options.ping_timeout) for params, options in bot.seen]
    assert [("another", "query", 7), ("ours", "header", 7)] == seen


@pytest.mark.parametrize(
    "client",
    [
        PipecatClient(WS_URL),
        PipecatClient(ConnectParams(transport="websocket", ws_url=WS_URL)),
        PipecatClient(transport=Bot().connect),
    ],
)
async def test_a_client_without_an_endpoint_starts_no_bot(client):
    """What connects directly has nothing to start."""
    with pytest.raises(InvalidParamsError, match="it has no start endpoint"):
        await client.start_bot()


def test_the_repr_of_a_client_has_no_secret():
    """A client can be shown, with whatever it was made of."""
    url = f"//{SECRET}:{SECRET}@bot.example/x?token={SECRET}"
    keywords = {
        "token": SECRET,
        "headers": {"Authorization": SECRET},
        "request_data": {"api_key": SECRET},
        "ice_servers": [{"urls": "turn:x", "credential": SECRET}],
        "allow_insecure_token": True,
    }
    params = ConnectParams(transport="websocket", ws_url=f"wss:{url}", token=SECRET)
    started = StartedBot(endpoint=f"https:{url}", answer={"token": SECRET}, params=params)
    for client in (
        PipecatClient(f"https:{url}", base_url=f"https:{url}", **keywords),
        PipecatClient(endpoint=f"https:{url}", **keywords),
        PipecatClient(f"wss:{url}", token=SECRET, headers={"X": SECRET}),
        PipecatClient(ws_url=f"wss:{url}", token=SECRET, headers={"X": SECRET}),
        PipecatClient(webrtc_url=f"https:{url}", transport=Bot().connect, **keywords),
        PipecatClient(params, **keywords),
        PipecatClient(started, **keywords),
    ):
        assert SECRET not in repr(client)
        assert repr(client).startswith("<PipecatClient ")
    assert repr(PipecatClient(ENDPOINT)).startswith(f"<PipecatClient {ENDPOINT!r} SessionOptions(")


# -- what is refused at the call ---------------------------------------------------------

REFUSED = [
    (None, {}, "nothing to connect to"),
    (None, {"endpoint": ENDPOINT, "ws_url": WS_URL}, "endpoint and ws_url were given"),
    (WS_URL, {"endpoint": ENDPOINT}, "endpoint and ws_url were given"),
    ("ftp://localhost", {}, "expected a ws://, wss://, http://, https:// or sim: address"),
    (7, {}, "the first argument is an address, a StartedBot or ConnectParams, not int"),
    (None, {"endpoint": WS_URL}, "expected a http:// or https:// URL"),
    (None, {"ws_url": ENDPOINT}, "expected a ws:// or wss:// URL"),
    (None, {"webrtc_url": WS_URL}, "expected a http:// or https:// URL"),
    (None, {"endpoint": 7}, "a URL is a string, not int"),
    (ENDPOINT, {"base_url": "proxy.example"}, "expected a http:// or https:// or ws://"),
    ("http://bot..example/start", {}, "without a usable host or port"),
    ("http://bot.example/start", {"headers": {"Cookie": "x"}}, "credentials would go to"),
    (ENDPOINT, {"start_timeout": 0}, "start_timeout is a positive number, not 0"),
    (ENDPOINT, {"connect_timeout": -1}, "connect_timeout is a positive number, not -1"),
    (ENDPOINT, {"ready_timeout": math.nan}, "ready_timeout is a positive number, not nan"),
    (ENDPOINT, {"disconnect_timeout": True}, "disconnect_timeout is a positive number, not True"),
    (ENDPOINT, {"ping_interval": "20"}, "ping_interval is a positive number, not '20'"),
    (ENDPOINT, {"event_buffer": 1.5}, "event_buffer is a positive integer, not 1.5"),
    (ENDPOINT, {"headers": {"X-Name": "a\r\nX-Other: b"}}, "the header X-Name holds a line break"),
    (ENDPOINT, {"headers": {"X-Name": "€"}}, "the header X-Name is not Latin-1 text"),
    (ENDPOINT, {"headers": {"X Name": "a"}}, "not the name of a header"),
    (ENDPOINT, {"headers": 7}, "headers are a mapping"),
    (ENDPOINT, {"request_data": [1]}, "request_data is an object (a mapping)"),
    (ENDPOINT, {"request_data": {"a": {1}}}, "request_data can't be JSON"),
    (ENDPOINT, {"token": "a\nb"}, "token is a string of printable ASCII characters"),
    (ENDPOINT, {"token_in": "cookie"}, "token_in is one of"),
    (ENDPOINT, {"transport": 7}, "transport is a name or a connector"),
    (ConnectParams(transport="websocket"), {}, "a WebSocket needs a ws_url"),
]


@pytest.mark.parametrize(("target", "keywords", "why"), REFUSED)
def test_parameters_that_cannot_work_are_refused_at_the_call(target, keywords, why):
    """Neither a session nor a client is made of them: the block need not be entered to know."""
    for make in (open_session, PipecatClient):
        with pytest.raises(InvalidParamsError) as caught:
            make(target, **keywords)
        assert why in str(caught.value)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("keywords", "why"), [(words, why) for target, words, why in REFUSED if target == ENDPOINT]
)
def test_changes_that_cannot_work_are_refused_at_the_call(keywords, why):
    """What is changed for one session is checked as if it had been there from the beginning."""
    client = PipecatClient(ENDPOINT)
    with pytest.raises(InvalidParamsError) as caught:
        client.open_session(**keywords)
    assert why in str(caught.value)


@pytest.mark.parametrize("name", ["endpiont", "timeout", "url", "enable_mic"])
def test_an_unknown_keyword_is_a_type_error(name):
    """What is no keyword is a slip, at the call as well."""
    for make in (open_session, PipecatClient, PipecatClient(ENDPOINT).open_session):
        with pytest.raises(TypeError, match=name):
            make(**{name: 1})


@pytest.mark.parametrize("name", ["smoke", "daily", ""])
def test_a_transport_that_is_not_available_is_refused_at_the_call(name):
    """What can't be had is known before a bot is started."""
    for make in (open_session, PipecatClient):
        with pytest.raises(UnsupportedFeatureError):
            make(ENDPOINT, transport=name)
    with pytest.raises(UnsupportedFeatureError):
        PipecatClient(ENDPOINT).open_session(transport=name)


def test_about_is_the_callers_to_say():
    """An application may give its own name."""
    about = AboutClient(library="kiosk")
    assert "library='kiosk'" in repr(PipecatClient(ENDPOINT, about=about))


async def test_a_started_bot_is_connected_to_with_the_clients_own_options(autojump_clock):
    """Origin, deadlines and the like go for it too; what led to it does not."""
    client = PipecatClient("sim:?greeting=", request_data={"a": 1}, ready_timeout=7)
    started = await client.start_bot()
    async with client.open_session(started, ping_interval=9) as session:
        await session.wait_ready()
        options = session._driver.options
        assert (7, 9, None) == (options.ready_timeout, options.ping_interval, options.request_data)
        assert started is session.started
