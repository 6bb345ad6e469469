"""A client of one's own, put through the faults of bots. This one takes any error for the end."""

import trio

from trio_pipecat import BotOutput, Error, FunctionCall, open_session
from trio_pipecat.testing import ServedBot, check_client


async def my_client(served: ServedBot) -> None:
    """Do the client's part: say hello, answer calls, hang up when the bot says goodbye."""

    async def get_weather(call: FunctionCall) -> dict[str, str]:
        return {"sky": "clear"}

    async with open_session(served.start_url, ready_timeout=20) as session:
        session.handle_function_call("get_weather", get_weather)
        with session.subscribe(BotOutput, Error) as stream:
            await session.wait_ready()
            await session.send_text("hello")
            async for event in stream:
                match event:
                    case BotOutput(text=text) if "goodbye" in text:
                        return
                    case Error():
                        return


async def main() -> None:
    report = await check_client(my_client, cases=["early-events", "error", "crash"])
    print(report)


trio.run(main)
