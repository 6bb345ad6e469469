"""``trio-pipecat demo``: a whole conversation with the simulated bot, told line by line."""

import trio
import trio.testing
from rich.console import Console
from rich.table import Table

from .. import (
    BotInterrupted,
    BotOutput,
    BotStoppedSpeaking,
    Event,
    FunctionCall,
    Session,
    StateChanged,
    open_session,
)
from ._console import open_console
from ._run import run

_NEXT = """
What next?

  trio-pipecat events sim: --text 'Hello!'   all that happens, as it happens
  trio-pipecat serve                         the same bot, on a port
  trio-pipecat probe URL                     is a bot up, or what is broken?

And in Python:

  async with open_session("sim:") as session:
      await session.wait_ready()
      await session.send_text("Hello!")
      async for event in session:
          print(event)

Put the address of your own bot where it says sim: and the rest stays as it is."""


def demo(*, fast: bool) -> int:
    """Tell the story; return the exit code."""
    clock = trio.testing.MockClock(autojump_threshold=0) if fast else None
    return run(_Story(open_console()).tell, clock=clock)


class _Story:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = 0.0
        self._told = ""
        self._line_is_open = False

    async def tell(self) -> int:
        self._console.print("async with open_session('sim:') as session:", style="dim")
        async with open_session("sim:") as session, trio.open_nursery() as nursery:
            self._began = session.history[0][1]
            nursery.start_soon(self._narrate, session)
            await self._converse(session)
            nursery.cancel_scope.cancel()
        self._say("end", str(session.end), "cyan")
        self._console.print()
        self._show_timeline(session)
        self._console.print(_NEXT, markup=False)
        return 0

    async def _converse(self, session: Session) -> None:
        await session.wait_ready()
        await session.wait_event(BotStoppedSpeaking)

        await self._ask(session, "What is the capital of Japan?")
        await session.wait_event(BotStoppedSpeaking)

        self._say("you", "request('ping', 42)", "green")
        answer = await session.request("ping", 42)
        self._say("answer", str(answer), "dim")

        async def get_weather(call: FunctionCall) -> dict[str, str]:
            self._say("call", f"{call.function_name}({dict(call.arguments)})", "magenta")
            return {"sky": "clear"}

        session.handle_function_call("get_weather", get_weather)
        self._say("you", "have the bot call a function that runs here", "green")
        await session.send_client_message("function", {"city": "Oslo"})
        await session.wait_event(BotStoppedSpeaking)

        await self._ask(session, "Tell me a very long story, I have all the time in the world.")
        await session.wait_event(BotOutput, where=lambda o: o.spoken_status == "in-progress")
        await trio.sleep(0.5)
        await session.interrupt()
        await session.wait_event(BotStoppedSpeaking)
        self._say("you", "(interrupted the bot, and now leave the block)", "green")

    async def _ask(self, session: Session, text: str) -> None:
        self._say("you", text, "green")
        await session.send_text(text)

    async def _narrate(self, session: Session) -> None:
        async for event in session:
            self._narrate_event(event)

    def _narrate_event(self, event: Event) -> None:
        match event:
            case StateChanged(state=state):
                self._say("state", state, "cyan")
            case BotOutput(spoken_progress=progress) if progress is not None:
                if event.spoken_status == "new":
                    self._say("bot", "", "bold", end="")
                    self._line_is_open, self._told = True, ""
                said = progress.accumulated_text
                self._console.print(said.removeprefix(self._told), end="", style="bold")
                self._told = said
                if event.spoken_status == "completed":
                    self._end_line("")
            case BotInterrupted():
                self._end_line(" … (interrupted)")
            case _:
                pass

    def _say(self, who: str, what: str, style: str, *, end: str = "\n") -> None:
        self._end_line("")
        at = trio.current_time() - self._began
        self._console.print(f"{at:7.2f} s  {who:<6} ", style="dim", end="")
        self._console.print(what, style=style, end=end, markup=False)

    def _end_line(self, text: str) -> None:
        if self._line_is_open:
            self._line_is_open = False
            self._console.print(text, style="red")

    def _show_timeline(self, session: Session) -> None:
        table = Table("state", "entered", "lasted", title="session.history", title_justify="left")
        times = [at for _, at in session.history]
        for (state, at), until in zip(session.history, [*times[1:], None], strict=True):
            lasted = "" if until is None else f"{until - at:.2f} s"
            table.add_row(state, f"{at - self._began:.2f} s", lasted)
        self._console.print(table)
