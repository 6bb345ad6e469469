"""What comes out of a session's block, and what `end` says afterwards."""

import sys

import trio

from trio_pipecat import (
    ConnectionLostError,
    FatalBotError,
    StartBotError,
    TransportStartError,
    open_session,
)


async def converse(address: str, request: str) -> None:
    async with open_session(address) as session:
        await session.wait_ready()
        await session.send_client_message(request, {"text": "as you wished"})
        await trio.sleep_forever()  # the block ends with the session
    print(f"{request}: ended normally, {session.end}")


async def main(address: str) -> None:
    for request in ("end", "fatal", "crash"):  # what the simulated bot does when it is asked to
        try:
            await converse(address, request)
        except FatalBotError as error:
            print(f"{request}: the bot reported {error.error!r}")
        except ConnectionLostError as error:
            print(f"{request}: the link was lost, code {error.end.code}")
        except (StartBotError, TransportStartError) as error:
            sys.exit(f"the bot is not there: {error}")


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:")
