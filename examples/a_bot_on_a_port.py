"""A simulated bot that does what you say, on a real port, and a session with it."""

import trio

from trio_pipecat import BotOutput, open_session
from trio_pipecat.testing import Conversation, RefusedError, SimulatedBot, serve_bot


async def price(conversation: Conversation, data: object) -> object:
    if data != "tea":
        raise RefusedError("we only have tea")
    conversation.say("Tea is three euros.")
    return {"euros": 3}


async def main() -> None:
    bot = SimulatedBot(reply=lambda text: text.upper())
    bot.requests["price"] = price
    async with serve_bot(bot) as served, open_session(served.start_url) as session:
        await session.wait_ready()
        print(await session.request("price", "tea"))
        said = await session.wait_event(BotOutput)
        print("bot:", said.text)
        await session.send_text("thank you")
        said = await session.wait_event(BotOutput, where=lambda o: o.text == "THANK YOU")
        print("bot:", said.text)


trio.run(main)
