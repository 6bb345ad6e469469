"""A simulated bot with a script, a behaviour of one's own, and an end that was arranged."""

import trio

from trio_pipecat import BotOutput, ServerMessage, open_session
from trio_pipecat.testing import Conversation, SimulatedBot, leave_after, script

DOOR = [
    "Who is there?",
    {"hear": "Alice"},
    {"pause": 0.2},
    {"answer": "Come in.", "to": "Alice"},
    {"message": {"door": "open"}},
]


async def watch_the_clock(conversation: Conversation) -> None:
    await conversation.ready.wait()
    for minute in range(60):
        await conversation.send(ServerMessage(data={"minute": minute}))
        await trio.sleep(60)


async def main() -> None:
    bot = SimulatedBot([script(DOOR), watch_the_clock, leave_after(3)])
    async with open_session(transport=bot.connect) as session:
        await session.wait_ready()
        await session.wait_event(BotOutput, where=lambda o: o.spoken_status == "completed")
        await session.send_text("It is Alice.")
        async for event in session:
            match event:
                case BotOutput(spoken_status="completed", text=text):
                    print("bot:", text)
                case ServerMessage(data=data):
                    print("the bot's application:", data)
    print("ended:", session.end.reason)


trio.run(main)
