"""Start a bot, look at the answer, change it, and only then connect."""

import sys

import trio

from trio_pipecat import PipecatClient, StartBotError, open_session


async def main(address: str) -> None:
    client = PipecatClient(address)
    try:
        started = await client.start_bot()
    except StartBotError as error:
        sys.exit(f"no bot: {error.detail} (HTTP {error.status})")
    print("session id:", started.params.session_id)
    print("transport:", started.params.transport)

    # started.params.ws_url = "wss://bots.example/ws-client"   # if need be

    async with open_session(started, ready_timeout=10) as session:
        bot = await session.wait_ready()
        print("the bot speaks RTVI", bot.version)


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:")
