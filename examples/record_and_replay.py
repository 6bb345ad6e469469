"""Record a conversation, then hold it again with what was recorded: no server, and no waiting."""

import sys

import trio
from trio.testing import MockClock

from trio_pipecat import BotOutput, BotStoppedSpeaking, Session, open_session
from trio_pipecat.testing import Recorder, ReplayBot, diff, load_recording


async def converse(session: Session) -> None:
    await session.wait_event(BotStoppedSpeaking)  # the greeting
    await session.send_text("What is the capital of Japan?")
    answer = await session.wait_event(BotOutput)
    print("bot:", answer.text)
    await session.wait_event(BotStoppedSpeaking)


async def record(address: str, path: str) -> None:
    async with open_session(address) as session:
        Recorder(session, path)  # before the first await, so that nothing is missed
        await converse(session)


async def replay(path: str, again: str) -> None:
    bot = ReplayBot(load_recording(path))
    async with open_session(transport=bot.connect) as session:
        Recorder(session, again)
        await converse(session)


trio.run(record, sys.argv[1] if len(sys.argv) > 1 else "sim:", "call.jsonl")
trio.run(replay, "call.jsonl", "again.jsonl", clock=MockClock(autojump_threshold=0))

first, second = load_recording("call.jsonl"), load_recording("again.jsonl")
print(f"{first.audio_seconds('bot'):.2f} s of sound, and again {second.audio_seconds('bot'):.2f} s")
for difference in diff(first, second):
    print(difference)
