"""Answer the bot's function calls in Python."""

import sys

import trio

from trio_pipecat import (
    BotStartedSpeaking,
    BotStoppedSpeaking,
    FunctionCall,
    LlmFunctionCallStopped,
    open_session,
)


async def get_weather(call: FunctionCall) -> dict[str, str]:
    print("the bot asks:", call.function_name, dict(call.arguments))
    await trio.sleep(0.1)  # a look at the sky; cancelled if the bot loses interest
    return {"sky": "clear"}


async def main(address: str) -> None:
    async with open_session(address) as session:
        session.handle_function_call("get_weather", get_weather)
        await session.wait_ready()
        # The simulated bot calls the function when it is told to. Yours has its own reasons.
        await session.send_client_message("function", {"city": "Oslo"})
        await session.wait_event(LlmFunctionCallStopped)  # it has the result
        await session.wait_event(BotStartedSpeaking)
        await session.wait_event(BotStoppedSpeaking)


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:")
