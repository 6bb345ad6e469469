"""What the commands share: how a bot is named on the command line, and how answers look."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import attrs
import click

from .. import BotMessage, Event, SessionKeywords
from ._times import parse_duration

F = TypeVar("F", bound=Callable[..., Any])

_TARGETS: Final = """\
\b
  http://host:7860/start      a start endpoint (recommended)
  http://host:7860/api/offer  a WebRTC offer endpoint
  ws://host:7860/ws-client    a WebSocket
  sim:                        the simulated bot that comes with this package
"""
TARGET_HELP: Final = f"TARGET is where the bot is:\n\n{_TARGETS}"
TWO_TARGETS_HELP: Final = f"A and B are where the bots are:\n\n{_TARGETS}"


def bot_options(command: F) -> F:
    """Add the target and the options that say how to get in."""
    return click.argument("target")(_way_options("", "", "")(command))


def two_bots_options(command: F) -> F:
    """Add two targets, A and B, and for each the options that say how to get in."""
    for name in ("b", "a"):
        prefix = "" if name == "a" else f"{name}-"
        command = _way_options(prefix, f"{name}_", f"{name.upper()}: ")(command)
    return click.argument("a")(click.argument("b")(command))


def _way_options(prefix: str, parameter: str, whose: str) -> Callable[[F], F]:
    """Return what adds the options that say how to get in.

    `prefix` is that of their names, `parameter` that of the command's parameters, `whose` that of
    their help.
    """
    env = f"TRIO_PIPECAT_{prefix.replace('-', '_').upper()}TOKEN"
    options = (
        click.option(
            f"--{prefix}webrtc",
            f"{parameter}webrtc",
            is_flag=True,
            help=f"{whose}Connect over WebRTC; an address ending in /api/offer says so itself.",
        ),
        click.option(
            f"--{prefix}token",
            f"{parameter}token",
            envvar=env,
            show_envvar=True,
            help=f"{whose}Token for the link, where no start endpoint gives one.",
        ),
        click.option(
            f"--{prefix}token-in",
            f"{parameter}token_in",
            type=click.Choice(["header", "query", "path"]),
            default="header",
            show_default=True,
            help=f"{whose}How the token is presented.",
        ),
        click.option(
            f"--{prefix}header",
            f"{parameter}headers",
            multiple=True,
            metavar="NAME:VALUE",
            help=f"{whose}HTTP header for the start request (or the upgrade, or the offer). May be "
            "repeated.",
        ),
        click.option(
            f"--{prefix}origin",
            f"{parameter}origin",
            help=f"{whose}Origin header of the upgrade or the offer.",
        ),
        click.option(
            f"--{prefix}data",
            f"{parameter}data",
            metavar="JSON",
            help=f"{whose}The JSON object that the start request (or the offer) carries.",
        ),
        click.option(
            f"--{prefix}base-url",
            f"{parameter}base_url",
            metavar="URL",
            help=f"{whose}Use this instead of the host the answer names.",
        ),
        click.option(
            f"--{prefix}allow-insecure-token",
            f"{parameter}allow_insecure_token",
            is_flag=True,
            help=f"{whose}Send tokens unencrypted to other machines.",
        ),
    )

    def add(command: F) -> F:
        for decorate in reversed(options):
            command = decorate(command)
        return command

    return add


def conversation_options(command: F) -> F:
    """Add the options that say what to say, and when to hang up."""
    for decorate in reversed(
        (
            click.option(
                "--text",
                "texts",
                multiple=True,
                help="Say this. May be repeated: one after another.",
            ),
            click.option(
                "--duration", type=click.FloatRange(min=0), help="Hang up after so many seconds."
            ),
            click.option(
                "--until",
                metavar="TYPE",
                help="Hang up after this event, such as bot-stopped-speaking or BotReady. With "
                "--text, the first that comes when all is said.",
            ),
        )
    ):
        command = decorate(command)
    return command


def recording_argument(name: str) -> Callable[[F], F]:
    """Add the file of a recording."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.argument(name, type=file)


def time_span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return in seconds what ``30``, ``30s``, ``500ms``, ``5m`` or ``1.5h`` means: a callback.

    Raises:
        click.BadParameter: it is no time, or no time at all.
    """
    if value is None:
        return None
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not seconds:
        raise click.BadParameter(f"{value!r} is no time at all")
    return seconds


def keywords(
    *,
    webrtc: bool,
    token: str | None,
    token_in: Any,
    headers: tuple[str, ...],
    origin: str | None,
    data: str | None,
    base_url: str | None,
    allow_insecure_token: bool,
    prefix: str = "",
) -> SessionKeywords:
    """Return the keywords that the options mean, whose names begin with `prefix`.

    Raises:
        click.BadParameter: one of them can't be read.
    """
    return {
        "transport": "webrtc" if webrtc else None,
        "token": token,
        "token_in": token_in,
        "headers": dict(_header(header, prefix) for header in headers),
        "origin": origin,
        "request_data": None if data is None else _json_object(data, prefix),
        "base_url": base_url,
        "allow_insecure_token": allow_insecure_token,
    }


def keywords_of_two(options: dict[str, Any]) -> tuple[SessionKeywords, SessionKeywords]:
    """Return the keywords that the options of two bots mean: A's, and B's.

    Raises:
        click.BadParameter: one of them can't be read.
    """
    mine, others = (
        {key[2:]: value for key, value in options.items() if key.startswith(f"{name}_")}
        for name in ("a", "b")
    )
    return keywords(**mine), keywords(**others, prefix="b-")


def _header(text: str, prefix: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.BadParameter("expected NAME:VALUE", param_hint=f"--{prefix}header")
    return name.strip(), value.strip()


def _json_object(text: str, prefix: str) -> dict[str, Any]:
    hint = f"--{prefix}data"
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint=hint) from None
    if not isinstance(value, dict):
        raise click.BadParameter("expected a JSON object", param_hint=hint)
    return value


def shown_target(target: str) -> str:
    """Return an address without what may be secret in it: its user and its query."""
    parts = urlsplit(target)
    host = (parts.hostname or "") + ("" if parts.port is None else f":{parts.port}")
    return f"{parts.scheme}:{'//' if host else ''}{host}{parts.path}"


def event_as_json(event: Event, *, since: float) -> dict[str, Any]:
    """Return an event for a machine: its class, when it came in seconds, and what it says."""
    facts: dict[str, Any] = {"event": type(event).__name__, "at": round(event.at - since, 6)}
    if isinstance(event, BotMessage) and event.raw is not None:
        return {**facts, "message": event.raw}
    fields = attrs.fields(type(event))  # type: ignore[arg-type]  # every event is an attrs class
    named = {field.name: getattr(event, field.name) for field in fields}
    return {**facts, **{k: v for k, v in named.items() if k not in ("raw", "at")}}
