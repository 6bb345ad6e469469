"""Two bots talk to each other: what one says, the other hears; and how long each had to wait."""

import sys

import trio

from trio_pipecat import BridgeRecorder, BridgeReport, bridge, open_session


async def main(one: str, other: str) -> None:
    report = BridgeReport()
    with trio.move_on_after(6):
        async with open_session(one) as a, open_session(other) as b:
            BridgeRecorder(a, b, "talk.wav")  # a on the left, b on the right
            await bridge(a, b, first="a", report=report)
    for name, side in (("a", report.a), ("b", report.b)):
        for turn in side.turns:
            if turn.voice_to_voice is not None:
                print(f"{name}, after {turn.voice_to_voice:.2f} s: {turn.bot_text}")


trio.run(main, *(sys.argv[1:] or ["sim:?hear=Hi", "sim:?greeting=&hear=Hello"]))
