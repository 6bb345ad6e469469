"""Send the bot a file: uploaded where it takes uploads, else inside the message."""

import sys
from pathlib import Path

import trio

from trio_pipecat import BotOutput, UserLlmText, open_session


async def main(address: str, path: Path) -> None:
    async with open_session(address) as session:
        await session.wait_ready()
        await session.send_file(path, "What is this?")
        # Files are not acknowledged. What comes before this may be the bot's greeting.
        await session.wait_event(UserLlmText, where=lambda asked: "What is this?" in asked.text)
        answer = await session.wait_event(BotOutput)
        print("bot:", answer.text)


trio.run(
    main,
    sys.argv[1] if len(sys.argv) > 1 else "sim:",
    Path(sys.argv[2] if len(sys.argv) > 2 else __file__),
)
