"""Talk to a bot with the microphone and the speaker: pip install "trio-pipecat[audio]"."""

import sys

import trio

from trio_pipecat import (
    BotOutput,
    DeviceError,
    UnsupportedFeatureError,
    open_microphone,
    open_session,
    open_speaker,
)


async def main(address: str) -> None:
    async with (
        open_session(address) as session,
        open_speaker() as speaker,
        open_microphone() as microphone,
        trio.open_nursery() as nursery,
    ):
        await session.wait_ready()
        nursery.start_soon(session.stream_audio, microphone)
        nursery.start_soon(speaker.follow, session.audio)
        async for event in session:
            if isinstance(event, BotOutput) and event.spoken_status == "new":
                print("bot:", event.text)


try:
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:?leave_after=3")
except* (DeviceError, UnsupportedFeatureError) as errors:
    print("no sound here:", *errors.exceptions)
print("the call is over")
