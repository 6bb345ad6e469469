"""Five callers at once, each in a task: one of them failing ends them all."""

import sys

import trio

from trio_pipecat import BotStartedSpeaking, BotStoppedSpeaking, PipecatClient, UserInput


async def call(client: PipecatClient, number: int) -> None:
    async with client.open_session() as session:
        await session.wait_ready()
        sent = await session.send_text(f"This is caller {number}.")
        await session.wait_event(UserInput, where=lambda taken: taken.msg_id == sent)
        await session.wait_event(BotStartedSpeaking)
        await session.wait_event(BotStoppedSpeaking)
    print(f"caller {number}: {session.end.reason}")


async def main(address: str) -> None:
    client = PipecatClient(address)
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(call, client, number)


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:")
