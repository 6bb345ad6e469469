"""The kit for clients: ours passes every case, and a naive one fails by what it does wrong."""

from typing import Any

import pytest
import trio

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
