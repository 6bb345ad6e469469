"""The commands of ``trio-pipecat``. Each is imported when it is used."""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .. import InvalidParamsError, RecordingError, UnsupportedFeatureError, WavError, __version__
from ..testing import GREETING
from ._options import (
    TARGET_HELP,
    TWO_TARGETS_HELP,
    bot_options,
    conversation_options,
    keywords,
    keywords_of_two,
    recording_argument,
    time_span,
    two_bots_options,
)
from ._run import guard, run


class _BadFileError(click.ClickException):
    """A file that can't be used."""

    exit_code = 2


class _Group(click.Group):
    """Turns parameters that can't work into click's own kind of error."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (InvalidParamsError, UnsupportedFeatureError) as error:
            raise click.UsageError(str(error)) from error
        except RecordingError as error:
            raise _BadFileError(str(error)) from error


@contextmanager
def _bad_files() -> Iterator[None]:
    """Turn what is wrong with a file into click's own kind of error."""
    try:
        yield
    except OSError as error:
        raise _BadFileError(f"{error.filename}: {error.strerror or error}") from error
    except (WavError, ValueError) as error:
        raise _BadFileError(str(error)) from error


def _device(name: str | None) -> str | int | None:
    """Return what a device is called by: a number is its index."""
    return int(name) if name is not None and name.isdecimal() else name


def _list_devices(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from ._talk import print_devices

        ctx.exit(print_devices())


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
3 resolve, 4 start, 5 connect, 6 ready, 7 first event. 130 interrupted.
Of many probes: 0 all passed, else that of the last that failed. Ctrl-C is how --every
ends without --repeat: it is 130 only if the first probe was not over."""
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
@click.option(
    "--every",
    metavar="TIME",
    callback=time_span,
    help="Probe again and again, until Ctrl-C, on a beat: 30, 30s, 500ms, 5m or 1h.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    help="Probe so often; without --every one after the other.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object; of many probes, one each per line, and a summary.",
)
def probe(
    target: str,
    text: str | None,
    timeout: float,
    every: float | None,
    repeat: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Is the bot up, and if not, which part is broken?

    Goes through the stages resolve, start, connect, ready and first event, and says how long each
    took, or why it failed.

    With --every or --repeat each probe is a line, whatever becomes of it, and at the end, also at
    Ctrl-C, there is a summary: how many found the bot up, what was broken, the longest outage, how
    long the bot took to be ready. A probe that takes longer than the beat has the next one begin
    with a later beat; those between are skipped, and counted.
    """
    bot = keywords(**options)
    if every is not None or repeat is not None:
        from ._monitor import monitor

        sys.exit(
            monitor(
                *(target, bot),
                text=text,
                timeout=timeout,
                every=every,
                repeat=repeat,
                as_json=as_json,
            )
        )
    from ._probe import probe as command

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
@click.option("--greeting", default=GREETING, show_default=True, help="What it says first.")
@click.option("--hear", metavar="TEXT", help="What it understands, and answers, when spoken to.")
@click.option("--token-auth", is_flag=True, help="Only let in who brings a token of /start.")
@click.option("--allowed-origin", "origins", multiple=True, help="Only let in this Origin.")
@click.option("--webrtc", is_flag=True, help="Take WebRTC offers, too.")
def serve(
    host: str,
    port: int,
    greeting: str,
    hear: str | None,
    token_auth: bool,
    origins: tuple[str, ...],
    webrtc: bool,
) -> None:
    """Serve the simulated bot on a port, until Ctrl-C.

    It has the routes of Pipecat's development runner: POST /start, GET /status and the WebSocket
    /ws-client, and with --webrtc /api/offer, so browsers and every other RTVI client may come too.

    Spoken to, it sends the sound back, or with --hear understands that text, whatever was said.
    """
    from ._serve import serve as command

    sys.exit(
        run(
            lambda: command(
                host=host,
                port=port,
                greeting=greeting,
                hear=hear,
                token_auth=token_auth,
                origins=origins,
                webrtc=webrtc,
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
@conversation_options
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

    bot = keywords(**options)
    _check_until(until)
    sys.exit(
        run(
            lambda: command(
                target, bot, texts=texts, duration=duration, until=until, as_json=as_json
            )
        )
    )


@cli.command(
    epilog="""\
\b
Exit codes: 0 the session ended as it should, 1 it failed, 2 wrong usage, 130 interrupted."""
)
@bot_options
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where to write it. The sound goes beside it, to a .wav file of the same name.",
)
@conversation_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, at the end.")
def record(
    target: str,
    output: Path,
    texts: tuple[str, ...],
    duration: float | None,
    until: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Record a session to a file, until the bot leaves or Ctrl-C.

    With several --text, each is said when the bot has finished answering the one before. What the
    session knows to be secret is not written.
    """
    from ._record import record as command

    bot = keywords(**options)
    _check_until(until)
    if output.suffix == ".wav":
        raise click.BadParameter("the sound goes to the .wav file", param_hint="--output")
    sys.exit(
        run(
            lambda: command(
                *(target, bot),
                path=output,
                texts=texts,
                duration=duration,
                until=until,
                as_json=as_json,
            )
        )
    )


@cli.command(
    epilog="""\
\b
Exit codes: 0 one of both sides hung up, 1 it failed, 2 wrong usage, 130 interrupted."""
)
@bot_options
@click.option("--input", "input_", metavar="DEVICE", help="The microphone: number or name.")
@click.option("--output", metavar="DEVICE", help="The speaker: number or name.")
@click.option(
    "--list-devices",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_devices,
    help="Show the sound devices and exit.",
)
@click.option("--text", "text_only", is_flag=True, help="Without sound: type, and read.")
@click.option(
    "--half-duplex",
    is_flag=True,
    help="For speakers that the microphone hears: it hears nothing while the bot speaks.",
)
@click.option(
    "--record",
    metavar="FILE.wav",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what was heard to a stereo WAV file: you on the left, the bot on the right.",
)
def talk(
    target: str,
    input_: str | None,
    output: str | None,
    text_only: bool,
    half_duplex: bool,
    record: Path | None,
    **options: Any,
) -> None:
    """Talk to a bot: by microphone and speaker, or by typing.

    In a terminal the transcript is shown as it is spoken. Where there is no sound device, and with
    --text, the call goes by text. Where the input is no terminal, its lines are what you say, one
    after the other, and the transcript is printed.
    """
    from ._recording_path import check_writable
    from ._talk import talk as command

    bot = keywords(**options)
    with _bad_files():
        if record is not None:
            check_writable(record)
    sys.exit(
        run(
            lambda: command(
                *(target, bot),
                input=_device(input_),
                output=_device(output),
                text_only=text_only,
                half_duplex=half_duplex,
                record=record,
            )
        )
    )


@cli.command(
    epilog="""\
\b
Exit codes: 0 the bot answered every file, 1 it failed, left early, or did not answer in time,
2 wrong usage or a file that can't be used, 130 interrupted."""
)
@bot_options
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--record",
    metavar="FILE.wav",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what was heard to a stereo WAV file: you on the left, the bot on the right.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30,
    show_default=True,
    help="Seconds after the end of a file within which the bot must begin to answer.",
)
@click.option(
    "--turn-pause",
    type=click.FloatRange(min=0),
    default=1,
    show_default=True,
    help="Seconds of quiet after which the bot has finished speaking.",
)
@click.option("--at-once", is_flag=True, help="Do not wait for a greeting.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, at the end.")
def say(
    target: str,
    files: tuple[Path, ...],
    record: Path | None,
    timeout: float,
    turn_pause: float,
    at_once: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Play WAV files to a bot as the user's voice, and print what came of it.

    Each FILE is played in real time, when the bot has greeted and has answered the one before. Then
    its turns are told: who spoke when, and how long the user waited, measured from the sound.

    To try it without a bot of your own, TARGET is 'sim:?hear=Hello': the simulated bot then answers
    as if it had heard that. Without hear= it sends the sound back, and no latency can be told.
    """
    from ._say import check_files
    from ._say import say as command

    bot = keywords(**options)
    with _bad_files():
        check_files(files, record)
    sys.exit(
        run(
            lambda: command(
                *(target, bot),
                paths=files,
                record=record,
                timeout=timeout,
                turn_pause=turn_pause,
                at_once=at_once,
                as_json=as_json,
            )
        )
    )


@cli.command(
    epilog="""\
\b
Exit codes: 0 one of them left, or the time was over, 1 one of them failed, 2 wrong usage or a
file that can't be written, 130 interrupted."""
)
@two_bots_options
@click.option("--duration", type=click.FloatRange(min=0), help="Hang up after so many seconds.")
@click.option(
    "--record",
    metavar="FILE.wav",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what was heard to a stereo WAV file: A on the left, B on the right.",
)
@click.option(
    "--first",
    type=click.Choice(["a", "b"]),
    help="Who begins: the other is not heard until this one has spoken.",
)
@click.option(
    "--text", help="Say this to the one that begins, so that it does; to A without --first."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, at the end.")
def bridge(
    a: str,
    b: str,
    duration: float | None,
    record: Path | None,
    first: Any,
    text: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Have two bots talk to each other, until one of them leaves, or Ctrl-C.

    What A says, B hears, and the other way. Each line that is spoken is printed, and at the end how
    long each had to wait for the other, measured from the sound.

    To try it: trio-pipecat bridge 'sim:?hear=Hello' 'sim:?hear=Hi' --first a. Two bots that both
    send back what they hear, as sim: does without hear=, do so for ever.
    """
    from ._bridge import BotToBridge
    from ._bridge import bridge as command
    from ._recording_path import check_writable

    one, other = keywords_of_two(options)
    with _bad_files():
        if record is not None:
            check_writable(record)
    sys.exit(
        run(
            lambda: command(
                BotToBridge(name="a", target=a, keywords=one),
                BotToBridge(name="b", target=b, keywords=other),
                duration=duration,
                record=record,
                first=first,
                text=text,
                as_json=as_json,
            )
        )
    )


@cli.command(
    epilog="""\
\b
Exit codes: 0 the session ended as it should, 1 it failed as it did when it was recorded,
2 wrong usage or no recording, 130 interrupted."""
)
@recording_argument("file")
@click.option("--serve", is_flag=True, help="Serve the recorded bot on a port, until Ctrl-C.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="With --serve: interface to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7860,
    show_default=True,
    help="With --serve: port to listen on; 0 takes a free one.",
)
@click.option("--fast", is_flag=True, help="On a virtual clock: the same story in no time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def replay(file: Path, serve: bool, host: str, port: int, fast: bool, as_json: bool) -> None:
    """Play the bot's side of a recording back, and print what happens.

    With --serve, any client may come and hold the conversation: the bot answers when the client has
    said what the recorded one had said.
    """
    from ._record import replay as command
    from ._record import serve_replay

    if serve and (fast or as_json):
        raise click.UsageError(
            "--fast and --json are for a replay that is printed, not for --serve"
        )
    if serve:
        sys.exit(serve_replay(file, host=host, port=port))
    sys.exit(command(file, fast=fast, as_json=as_json))


@cli.command(
    epilog="""\
\b
Exit codes: 0 they are equal, 1 they differ, 2 wrong usage or no recording."""
)
@recording_argument("a")
@recording_argument("b")
def diff(a: Path, b: Path) -> None:
    """Tell how two recordings differ: states, messages, seconds of sound, and the end.

    Times are not compared, nor what is new in each session: ids and timestamps.
    """
    from ._record import diff as command

    sys.exit(guard(lambda: command(a, b)))


def _check_until(until: str | None) -> None:
    """Refuse an event that there is not."""
    from ._events import known_types

    if until is not None and until not in known_types():
        raise click.BadParameter(f"there is no event {until!r}", param_hint="--until")


from .load._cli import load, merge  # noqa: E402  # a family of its own

cli.add_command(load)
cli.add_command(merge)

for _command in (load, probe, events, record, say, talk):
    _command.help = f"{inspect.cleandoc(_command.help or '')}\n\n{TARGET_HELP}"
bridge.help = f"{inspect.cleandoc(bridge.help or '')}\n\n{TWO_TARGETS_HELP}"
