"""The kit for clients: ours passes every case, and a naive one fails by what it does wrong."""

import itertools
import json
import math
from typing import Any

import attrs
import pytest
import trio
import trio_websocket

import trio_pipecat as tp
from trio_pipecat.testing import (
    ClientPatience,
    ServedBot,
    check_client,
    list_client_cases,
    virtual_network,
)


async def our_client(served: ServedBot, address: str | None = None) -> None:
    """Do the client's part with a session."""

    async def get_weather(call: tp.FunctionCall) -> dict[str, Any]:
        return {"sky": "clear"}

    async with tp.open_session(address or served.start_url) as session:
        session.handle_function_call("get_weather", get_weather)
        with session.subscribe(tp.BotOutput) as outputs:
            await session.wait_ready()
            await session.send_text("hello")
            async for output in outputs:
                if "goodbye" in output.text:
                    return


@pytest.mark.parametrize("case", list_client_cases(), ids=lambda case: case.name)
async def test_our_client_passes(case: Any, autojump_clock: Any) -> None:
    """Every case, on the protobuf wire, in no time."""
    with virtual_network() as network:
        report = await check_client(our_client, cases=[case])
        assert 0 == network.open_sockets
    assert () == report.failed
    assert report[case.name].passed is True


# -- a client of few lines, and what may be wrong with it ----------------------------------------

CONVERSING = {
    case.name for case in list_client_cases() if not case.name.startswith(("start-", "upgrade-"))
}
GOING_ON = {case.name for case in list_client_cases() if case.duty.startswith("go on")} & CONVERSING


class Plain:
    """A client for the JSON wire, that reads what it needs and does nothing else.

    Each of `faults` makes it do one thing wrong.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        self._numbers = itertools.count(1)

    async def send(self, type_: str, data: Any) -> None:
        number = next(self._numbers)
        id_: Any = number if "integer ids" in self.faults else str(number)
        if "one id for all" in self.faults:
            id_ = "me"
        message = {"label": "rtvi-ai", "type": type_, "id": id_, "data": data}
        await self.ws.send_message(json.dumps(message))

    async def receive(self, seconds: float) -> Any:
        """Return the next message that can be read."""
        while True:
            with trio.fail_after(seconds):
                text = await self.ws.get_message()
            try:
                message = json.loads(text)
                known = message["type"].startswith(("bot", "user", "llm", "server", "err", "metr"))
            except (ValueError, TypeError, KeyError):
                if "dies of garbage" in self.faults:
                    raise
                continue
            if not known and "dies of unknown types" in self.faults:
                raise KeyError(message["type"])
            if message["type"] == "error-response" and "takes error-response for the end" in (
                self.faults
            ):
                raise RuntimeError("error-response")
            return message

    async def __call__(self, served: ServedBot) -> None:
        limit = 2**20 if "1 MiB at most" in self.faults else 2**24
        # Its own deadline for connecting does not end its reader.
        with trio.fail_after(10) as connecting:
            async with trio_websocket.open_websocket_url(
                served.json_url, max_message_size=limit, disconnect_timeout=5
            ) as self.ws:
                connecting.deadline = math.inf
                try:
                    await self.converse()
                finally:
                    if "no goodbye" in self.faults:
                        await trio.aclose_forcefully(self.ws._stream)

    async def converse(self) -> None:
        about = {"about": {"library": "plain"}}
        version = "2.2" if "two numbers" in self.faults else "2.2.0"
        await self.send("client-ready", {"version": version, **about})
        if "talks before ready" in self.faults:
            await self.send("send-text", {"content": "hello"})
        patience = 1e9 if "waits for ever" in self.faults else 20
        with trio.fail_after(patience):
            while (await self.receive(patience))["type"] != "bot-ready":
                pass
        if "talks before ready" not in self.faults:
            await self.send("send-text", {"content": "hello"})
        while True:
            message = await self.receive(1e9 if "waits for ever" in self.faults else 20)
            match message.get("type"), message.get("data"):
                case "error", {"fatal": True}:
                    if "ignores errors" not in self.faults:
                        return
                case "error", {"error": _}:
                    pass
                case "error", _ if "reads error only" in self.faults:
                    raise KeyError("error")
                case "bot-output", {"text": "goodbye", "output_type": _}:
                    return
                case "bot-output", {"text": "goodbye"} if "new servers only" not in self.faults:
                    return
                case "llm-function-call-in-progress", data if "answers anything" in self.faults:
                    answer = {"function_name": "f", "arguments": {}, "result": {}}
                    await self.send(
                        "llm-function-call-result",
                        {**answer, "tool_call_id": data["tool_call_id"]},
                    )
                case _:
                    pass


FAILS = {
    "": set(),
    "integer ids": CONVERSING,
    "one id for all": CONVERSING - {"never-ready", "early-leave", "early-crash", "early-fatal"},
    "two numbers": CONVERSING,
    "talks before ready": CONVERSING,
    "waits for ever": {"never-ready", "half-open"},
    "no goodbye": GOING_ON | {"never-ready", "fatal-error-stays"},
    "dies of unknown types": {"garbage-unknown-type"},
    "dies of garbage": {
        *("garbage-frame", "garbage-half-a-frame"),
        *("garbage-no-json", "garbage-no-object", "garbage-no-type"),
    },
    "takes error-response for the end": {"version-complaint", "version-1", "error-response"},
    "reads error only": {"error-message"},
    "ignores errors": {"fatal-error-stays"},
    "1 MiB at most": {"big-message"},
    "new servers only": {"text-type", "aggregated-by"},
    "answers anything": {"function-call", "function-nameless"},
}


@pytest.mark.parametrize("fault", FAILS)
async def test_a_naive_client_fails_by_what_it_does_wrong(fault: str, autojump_clock: Any) -> None:
    """And passes everything else; what is about the start endpoint does not apply to it."""
    with virtual_network():
        report = await check_client(lambda served: Plain(fault)(served))
    assert FAILS[fault] == {result.name for result in report.failed}, str(report)
    skipped = {result.name for result in report if result.passed is None}
    assert {case.name for case in list_client_cases() if case.name.startswith("start-")} == skipped


# -- the kit itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["ws_url", "json_url"])
async def test_a_client_may_connect_by_itself(wire: str, autojump_clock: Any) -> None:
    """Then cases about the start endpoint do not apply to it."""

    async def client(served: ServedBot) -> None:
        if wire == "json_url":
            await Plain()(served)
        else:
            await our_client(served, served.ws_url)

    with virtual_network():
        report = await check_client(client, cases=["start-40*", "no-fault"])
    assert [None, None, None, True] == [result.passed for result in report]


async def test_the_code_of_a_close_arrives(autojump_clock: Any) -> None:
    """However much the bot was doing when it closed."""
    with virtual_network():
        report = await check_client(Plain(), cases=["close-*"])
    assert "code=1001" in report["close-1001"].detail
    assert "code=1011" in report["close-1011"].detail


@pytest.mark.socket
async def test_real_sockets() -> None:
    """Make no difference."""
    patience = ClientPatience(answer=0.1)
    cases = ["start-422", "start-token", "no-fault", "garbage-deep", "crash", "last-words", "leave"]
    report = await check_client(our_client, cases=cases, patience=patience)
    assert [True] * len(cases) == [result.passed for result in report], str(report)


async def test_a_client_that_does_not_answer_pings_is_noticed(autojump_clock: Any) -> None:
    """By the server, which hangs up."""

    async def deaf(served: ServedBot) -> None:
        stream = await trio.open_tcp_stream(served.host, served.port)
        async with stream:
            await stream.send_all(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            while await stream.receive_some():
                pass

    with virtual_network():
        report = await check_client(deaf, cases=["pings"])
    assert "it does not answer pings" in report["pings"].detail


async def test_a_client_that_does_nothing_fails(autojump_clock: Any) -> None:
    """It never connected."""

    async def nothing(served: ServedBot) -> None:
        await trio.sleep(1)

    with virtual_network():
        report = await check_client(nothing, cases=["no-fault", "leave", "upgrade-403"])
    assert [False, False, False] == [result.passed for result in report]
    assert "it never connected" in report["leave"].detail
    assert "it never connected" in report["upgrade-403"].detail


async def test_a_client_that_stays_behind_is_noticed(autojump_clock: Any) -> None:
    """It says that it is done, and its connection is still there."""

    async def stay(served: ServedBot) -> None:
        try:
            await Plain("ignores errors")(served)
        except* trio_websocket.ConnectionClosed:
            pass

    async def forgetful(served: ServedBot) -> None:
        nursery.start_soon(stay, served)
        await trio.sleep(2)

    with virtual_network():
        async with trio.open_nursery() as nursery:
            report = await check_client(forgetful, cases=["fatal-error-stays"])
    assert "still open though it is done" in report["fatal-error-stays"].detail


async def test_the_report_is_a_table(autojump_clock: Any) -> None:
    """A line for each case, and what it comes to."""
    with virtual_network():
        report = await check_client(
            Plain("1 MiB at most"), cases=["no-fault", "big-message", "start-400"]
        )
    lines = str(report).splitlines()
    assert lines[0].split() == ["no-fault", "passed", "0.80", "s"]
    assert lines[1].startswith("big-message  FAILED")
    assert "it closes with 1009" in lines[1]
    assert lines[2].startswith("start-400    –")
    assert "1 passed, 1 failed, 1 not applicable" == lines[3]
    with pytest.raises(KeyError):
        report["another"]


async def test_a_case_may_be_ones_own(autojump_clock: Any) -> None:
    """Made from one that there is; each is run once."""
    (case,) = [case for case in list_client_cases() if case.name == "no-fault"]
    own = attrs.evolve(case, name="mine")
    with virtual_network():
        report = await check_client(our_client, cases=[own, "no-f*", "no-fault"])
    assert ["mine", "no-fault"] == [result.name for result in report]


async def test_a_case_has_a_name() -> None:
    """One that there isn't is refused."""
    with pytest.raises(tp.InvalidParamsError, match="no such case: bananas"):
        await check_client(our_client, cases=["bananas"])


def test_every_case_is_told_in_a_line() -> None:
    """Each has a name of its own, and a description."""
    cases = list_client_cases()
    assert len(cases) == len({case.name for case in cases}) == len({c.description for c in cases})
    assert all(0 < len(case.description) < 60 for case in cases)
