"""Ask the bot's application something, and be told when it can't answer."""

import sys

import trio

from trio_pipecat import RequestError, RequestTimeoutError, open_session


async def main(address: str) -> None:
    async with open_session(address) as session:
        await session.wait_ready()
        print("answer:", await session.request("ping", {"n": 1}))
        try:
            await session.request("fail")
        except RequestError as error:
            print("refused:", error.error)
        try:
            await session.request("silent", timeout=0.2)
        except RequestTimeoutError as error:
            print(f"no answer within {error.timeout} s")


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:")
