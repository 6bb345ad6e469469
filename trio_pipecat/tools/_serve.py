"""``trio-pipecat serve``: the simulated bot on a port."""

import sys

import attrs
import trio
from rich.console import Console

from ..testing import BotLink, SimulatedBot, interrupt_on_speech, serve_bot
from ._console import open_console


@attrs.define(kw_only=True, eq=False)
class _TellingBot(SimulatedBot):
    """A simulated bot that says who comes and goes, and forgets who has gone."""

    console: Console
    count: int = 0

    async def converse(self, link: BotLink) -> None:
        self.count += 1
        number = self.count
        self.console.print(f"#{number} connected")
        try:
            await super().converse(link)
        finally:
            # super() has put it there; another may have come since.
            conversation = next(c for c in self.conversations if c.link is link)
            self.conversations.remove(conversation)
            end = conversation.end
            how = "" if end is None else f" (the {end.first} closed with {end.code})"
            heard = f"{conversation.heard_seconds:.1f} s of sound"
            count = len(conversation.received)
            messages = "1 message" if count == 1 else f"{count} messages"
            self.console.print(f"#{number} gone{how}: {messages}, {heard}")


async def serve(
    *,
    host: str,
    port: int,
    greeting: str,
    hear: str | None,
    token_auth: bool,
    origins: tuple[str, ...],
    webrtc: bool,
) -> int:
    """Serve until cancelled."""
    console = open_console()
    bot = _TellingBot(greeting=greeting or None, console=console)
    if hear:
        bot.echo_audio = False
        bot.behaviours = [interrupt_on_speech(hear)]
    try:
        async with serve_bot(
            bot,
            host=host,
            port=port,
            token_auth=token_auth,
            allowed_origins=origins,
            webrtc=webrtc,
        ) as served:
            console.print(f"the simulated bot is at {served.start_url}", style="bold")
            console.print(f"its WebSocket is {served.ws_url}, and with JSON {served.json_url}")
            if webrtc:
                console.print(f"it takes WebRTC offers at {served.webrtc_url}")
            console.print(f"try: trio-pipecat events {served.start_url} --text 'Hello!'")
            await trio.sleep_forever()
    except OSError as error:
        print(f"can't listen on {host}:{port}: {error.strerror or error}", file=sys.stderr)
    return 1
