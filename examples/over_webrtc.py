"""The same session over WebRTC. Needs the extra webrtc."""

import sys

import trio

from trio_pipecat import BotOutput, open_session


async def main(address: str) -> None:
    async with open_session(address, transport="webrtc") as session:
        bot = await session.wait_ready()
        print("ready:", bot.version)
        await session.send_text("Good morning!")
        said = await session.wait_event(
            BotOutput, where=lambda output: output.spoken_status == "completed"
        )
        print("bot:", said.text)


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:")
