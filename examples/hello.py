import trio
from trio_pipecat import BotOutput, open_session

async def main():
    async with open_session("sim:") as session:  # or "http://localhost:7860/start"
        await session.wait_ready()
        await session.send_text("What is the capital of Japan?")
        async for event in session:
            if isinstance(event, BotOutput) and event.spoken_status == "completed":
                print("bot:", event.text)
                break

trio.run(main)
