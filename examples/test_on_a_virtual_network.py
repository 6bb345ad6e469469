"""Testing what a program does when the network fails: the real wire, and a clock that jumps."""

import pytest
import trio
from trio.testing import MockClock

from trio_pipecat import ConnectionLostError, State, open_session
from trio_pipecat.testing import (
    SimulatedBot,
    VirtualNetwork,
    leave_after,
    serve_bot,
    virtual_network,
)


async def stay(url: str) -> str:
    """The code under test: be in a session as long as it lasts, and say why it ended."""
    try:
        async with open_session(url) as session:
            await session.wait_ready()
            await trio.sleep_forever()
    except ConnectionLostError as error:
        return f"lost after {trio.current_time():.0f} s with {error.end.code}"
    return f"ended after {trio.current_time():.0f} s by the {session.end.first}"


async def test_a_bot_that_leaves(autojump_clock: MockClock) -> None:
    """HTTP, the upgrade and the WebSocket are real; the hour is not."""
    with virtual_network():
        async with serve_bot(SimulatedBot([leave_after(3600)])) as served:
            assert await stay(served.start_url) == "ended after 3600 s by the bot"


async def test_a_plug_that_is_pulled(autojump_clock: MockClock) -> None:
    """Nobody is told, so it is the ping of 620 s that finds out, when it was waited for."""

    async def pull_the_plug(network: VirtualNetwork) -> None:
        await trio.sleep(610)
        network.freeze()

    with virtual_network() as network:
        async with serve_bot() as served, trio.open_nursery() as nursery:
            nursery.start_soon(pull_the_plug, network)
            assert await stay(served.start_url) == "lost after 640 s with 1006"


async def test_a_name_that_means_something(autojump_clock: MockClock) -> None:
    """Names are resolved by the network, too; and a connection may take its time."""
    with virtual_network(hosts={"bots.example": "192.0.2.7"}, latency=2):
        async with (
            serve_bot(host="192.0.2.7", port=7860),
            open_session("http://bots.example:7860/start") as session,
        ):
            await session.wait_ready()
            (connected,) = [at for state, at in session.history if state is State.CONNECTED]
            assert connected == pytest.approx(4)  # the POST, and the WebSocket
