"""A nursery in the body of a session: its errors come in a group, and how to meet them."""

import sys

import trio

from trio_pipecat import BotOutput, ConnectionLostError, FatalBotError, Session, open_session


async def caption(session: Session) -> None:
    with session.subscribe(BotOutput) as outputs:
        async for output in outputs:
            print("bot:", output.text)


async def converse(address: str, request: str) -> None:
    async with open_session(address) as session, trio.open_nursery() as nursery:
        nursery.start_soon(caption, session)
        await session.wait_ready()
        await session.request(request, {"text": "as you wished"})


async def ask(session: Session, request: str) -> None:
    try:
        await session.request(request, {"text": "as you wished"})
    except (FatalBotError, ConnectionLostError) as error:
        print(f"{request}: the task was told {type(error).__name__}")


async def converse_in_tasks(address: str, request: str) -> None:
    async with open_session(address) as session, trio.open_nursery() as nursery:
        nursery.start_soon(caption, session)
        await session.wait_ready()
        nursery.start_soon(ask, session, request)


async def main(address: str) -> None:
    for request in ("end", "fatal", "crash"):  # what the simulated bot does when it is asked to
        try:
            await converse(address, request)
        except* FatalBotError as group:
            print(f"{request}: {group.exceptions[0]}")
        except* ConnectionLostError as group:
            print(f"{request}: {group.exceptions[0]}")
        await converse_in_tasks(address, request)


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:?greeting=")
