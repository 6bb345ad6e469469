import trio
from trio_pipecat import BotOutput, open_session

async def main():
    async with open_session(endpoint="http://localhost:7860/start") as s:
        bot = await s.wait_ready()              # BotReady(version="2.2.0", about={...}, capabilities=...)
        await s.send_text("What is the capital of Japan?")
        async for event in s:
            match event:
                case BotOutput(text=text):
                    print("bot:", text)

trio.run(main)
