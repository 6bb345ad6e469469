"""The commands of ``trio-pipecat``. Each is imported when it is used."""

import inspect
import sys
from typing import Any

import click

from .. import InvalidParamsError, UnsupportedFeatureError, __version__
from ..testing import GREETING
from ._options import TARGET_HELP, bot_options, keywords
from ._run import run


class _Group(click.Group):
    """Turns parameters that can't work into click's own kind of error."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (InvalidParamsError, UnsupportedFeatureError) as error:
            raise click.UsageError(str(error)) from error


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="First time here? Type: trio-pipecat demo",
)
@click.version_option(__version__, prog_name="trio-pipecat")
def cli() -> None:
    """Talk to Pipecat voice bots from the command line."""


@cli.command()
@click.option("--fast", is_flag=True, help="On a virtual clock: the same story in no time.")
def demo(fast: bool) -> None:
    """A whole conversation with the simulated bot, told line by line.

    Needs no server, no keys and no network.
    """
    from ._demo import demo as command

    sys.exit(command(fast=fast))


@cli.command(
    epilog="""\
\b
Exit codes: 0 all stages passed, 2 wrong usage, and for the stage that failed:
3 resolve, 4 start, 5 connect, 6 ready, 7 first event. 130 interrupted."""
)
@bot_options
@click.option("--text", help="Say this when the bot is ready, and time its first answer.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10,
    show_default=True,
    help="Seconds that each stage may take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def probe(target: str, text: str | None, timeout: float, as_json: bool, **options: Any) -> None:
    """Is the bot up, and if not, which part is broken?

    Goes through the stages resolve, start, connect, ready and first event, and says how long each
    took, or why it failed.
    """
    from ._probe import probe as command

    bot = keywords(**options)
    sys.exit(run(lambda: command(target, bot, text=text, timeout=timeout, as_json=as_json)))


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7860,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--greeting", default=GREETING, show_default=True)
@click.option("--token-auth", is_flag=True, help="Only let in who brings a token of /start.")
@click.option("--allowed-origin", "origins", multiple=True, help="Only let in this Origin.")
def serve(host: str, port: int, greeting: str, token_auth: bool, origins: tuple[str, ...]) -> None:
    """Serve the simulated bot on a port, until Ctrl-C.

    It has the routes of Pipecat's development runner: POST /start, GET /status and the WebSocket
    /ws-client, so browsers and every other RTVI client may come too.
    """
    from ._serve import serve as command

    sys.exit(
        run(
            lambda: command(
                host=host, port=port, greeting=greeting, token_auth=token_auth, origins=origins
            ),
            interrupted=0,
        )
    )


@cli.command(
    epilog="""\
\b
Exit codes: 0 the session ended as it should, 1 it failed, 2 wrong usage, 130 interrupted."""
)
@bot_options
@click.option(
    "--text", "texts", multiple=True, help="Say this. May be repeated: one after another."
)
@click.option("--duration", type=click.FloatRange(min=0), help="Hang up after so many seconds.")
@click.option(
    "--until",
    metavar="TYPE",
    help="Hang up after this event, such as bot-stopped-speaking or BotReady. With --text, the "
    "first that comes when all is said.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def events(
    target: str,
    texts: tuple[str, ...],
    duration: float | None,
    until: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Print what happens in a session, as it happens, until the bot leaves or Ctrl-C.

    With several --text, each is said when the bot has finished answering the one before.
    """
    from ._events import events as command
    from ._events import known_types

    bot = keywords(**options)
    if until is not None and until not in known_types():
        raise click.BadParameter(f"there is no event {until!r}", param_hint="--until")
    sys.exit(
        run(
            lambda: command(
                target, bot, texts=texts, duration=duration, until=until, as_json=as_json
            )
        )
    )


for _command in (probe, events):
    _command.help = f"{inspect.cleandoc(_command.help or '')}\n\n{TARGET_HELP}"
