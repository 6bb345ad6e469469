"""Ten callers, four at a time; one that fails does not end the others."""

import sys

import trio

from trio_pipecat import (
    BotStartedSpeaking,
    BotStoppedSpeaking,
    Session,
    UserInput,
    open_session_group,
)


async def call(session: Session, number: int) -> float:
    await session.wait_ready()
    sent = await session.send_text(f"This is caller {number}.")
    await session.wait_event(UserInput, where=lambda taken: taken.msg_id == sent)
    began = await session.wait_event(BotStartedSpeaking)
    stopped = await session.wait_event(BotStoppedSpeaking)
    return stopped.at - began.at


async def main(address: str) -> None:
    async with open_session_group(address, limit=4, on_failure="collect") as group:
        for number in range(10):
            group.start_soon(call, number)
    for outcome in group.outcomes:
        result = outcome.error or f"{outcome.value:.1f} s of an answer"
        print(f"caller {outcome.name}: {result}, {outcome.end.reason}")


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:")
