"""Show the bot something: pictures that are made here, each at its time. With a file, that."""

import sys
from collections.abc import Iterator

import trio

from trio_pipecat import VideoFrame, open_session

WIDTH, HEIGHT, RATE = 64, 48, 15


def bars() -> Iterator[VideoFrame]:
    """Yield a second of a bright bar that moves to the right."""
    for number in range(RATE):
        row = bytearray(WIDTH)
        row[number * 4 : number * 4 + 8] = b"\xff" * 8
        grey = bytes([128]) * (WIDTH * HEIGHT // 2)  # no colour: U and V are in the middle
        yield VideoFrame(
            data=bytes(row) * HEIGHT + grey, width=WIDTH, height=HEIGHT, time=number / RATE
        )


async def main(address: str, path: str | None) -> None:
    async with open_session(address) as session:
        await session.wait_ready()
        report = await session.stream_video(path or bars())
        print(f"{report.frames} pictures sent, {report.skipped} skipped")


# From a camera it would be:
#
#     async with open_camera() as camera:
#         await session.stream_video(camera)

trio.run(
    main,
    sys.argv[1] if len(sys.argv) > 1 else "sim:",
    sys.argv[2] if len(sys.argv) > 2 else None,
)
