"""Show what startup is doing, under a deadline of one's own."""

import sys

import trio

from trio_pipecat import Session, State, open_session


async def show_progress(session: Session) -> None:
    await session.states.connecting.wait()
    print("calling …")
    await session.wait_for(State.CONNECTED)
    print("somebody is there …")


async def main(address: str) -> None:
    with trio.fail_after(20):
        async with open_session(address) as session, trio.open_nursery() as nursery:
            nursery.start_soon(show_progress, session)
            await session.wait_ready()
            print("ready")
    for state, at in session.history:
        print(f"{at - session.history[0][1]:6.3f} s  {state}")


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "sim:?ready_delay=0.2")
