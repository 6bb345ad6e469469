"""Two readers of one session: captions as they are spoken, and a log of everything else."""

import sys

import trio

from trio_pipecat import BotMessage, BotOutput, BotStoppedSpeaking, Session, open_session


async def caption(session: Session) -> None:
    with session.subscribe(BotOutput) as outputs:
        async for output in outputs:
            if output.spoken_progress is not None:
                print("\r" + output.spoken_progress.accumulated_text, end="", flush=True)


async def count(session: Session, counts: dict[str, int]) -> None:
    with session.subscribe(BotMessage) as messages:
        async for message in messages:
            counts[message.TYPE] = counts.get(message.TYPE, 0) + 1


async def main(address: str) -> None:
    counts: dict[str, int] = {}
    async with open_session(address) as session, trio.open_nursery() as nursery:
        nursery.start_soon(caption, session)
        nursery.start_soon(count, session, counts)
        await session.wait_ready()
        await session.send_text("Say this back to me, please.")
        await session.wait_event(BotStoppedSpeaking)
        nursery.cancel_scope.cancel()
    print()
    print(counts)


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:?greeting=")
