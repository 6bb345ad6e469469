"""Two readers of one session: captions as they are spoken, and a count of everything."""

import sys

import trio

from trio_pipecat import (
    BotMessage,
    BotOutput,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    Session,
    UserInput,
    open_session,
)


async def caption(session: Session) -> None:
    with session.subscribe(BotOutput) as outputs:
        async for output in outputs:
            if output.spoken_progress is not None:
                print("\r" + output.spoken_progress.accumulated_text, end="", flush=True)


async def count(session: Session, counts: dict[str, int]) -> None:
    with session.subscribe(BotMessage) as messages:
        async for message in messages:
            counts[message.TYPE] = counts.get(message.TYPE, 0) + 1


async def ask(session: Session, text: str) -> None:
    """Send a text, and wait until the answer to it has been spoken."""
    sent = await session.send_text(text)
    await session.wait_event(UserInput, where=lambda taken: taken.msg_id == sent)
    await session.wait_event(BotStartedSpeaking)
    await session.wait_event(BotStoppedSpeaking)


async def main(address: str) -> None:
    counts: dict[str, int] = {}
    async with open_session(address) as session, trio.open_nursery() as nursery:
        nursery.start_soon(caption, session)
        nursery.start_soon(count, session, counts)
        await session.wait_ready()
        await ask(session, "Say this back to me, please.")
        nursery.cancel_scope.cancel()
    print()
    print(counts)


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:")
