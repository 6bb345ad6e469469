"""What the commands share: how a bot is named on the command line, and how answers look."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import click

from .. import BotMessage, Event, SessionKeywords

F = TypeVar("F", bound=Callable[..., Any])

TARGET_HELP = """\
TARGET is where the bot is:

\b
  http://host:7860/start      a start endpoint (recommended)
  http://host:7860/api/offer  a WebRTC offer endpoint
  ws://host:7860/ws-client    a WebSocket
  sim:                        the simulated bot that comes with this package
"""


def bot_options(command: F) -> F:
    """Add the target and the options that say how to get in."""
    for decorate in reversed(
        (
            click.argument("target"),
            click.option(
                "--webrtc",
                is_flag=True,
                help="Connect over WebRTC; an address ending in /api/offer says so itself.",
            ),
            click.option(
                "--token",
                envvar="TRIO_PIPECAT_TOKEN",
                show_envvar=True,
                help="Token for the link, where no start endpoint gives one.",
            ),
            click.option(
                "--token-in",
                type=click.Choice(["header", "query", "path"]),
                default="header",
                show_default=True,
                help="How the token is presented.",
            ),
            click.option(
                "--header",
                "headers",
                multiple=True,
                metavar="NAME:VALUE",
                help="HTTP header for the start request (or the upgrade, or the offer). May be "
                "repeated.",
            ),
            click.option("--origin", help="Origin header of the upgrade or the offer."),
            click.option(
                "--data",
                metavar="JSON",
                help="The JSON object that the start request (or the offer) carries.",
            ),
            click.option(
                "--base-url", metavar="URL", help="Use this instead of the host the answer names."
            ),
            click.option(
                "--allow-insecure-token",
                is_flag=True,
                help="Send tokens unencrypted to other machines.",
            ),
        )
    ):
        command = decorate(command)
    return command


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
) -> SessionKeywords:
    """Return the keywords that the options mean.

    Raises:
        click.BadParameter: one of them can't be read.
    """
    return {
        "transport": "webrtc" if webrtc else None,
        "token": token,
        "token_in": token_in,
        "headers": dict(map(_header, headers)),
        "origin": origin,
        "request_data": None if data is None else _json_object(data),
        "base_url": base_url,
        "allow_insecure_token": allow_insecure_token,
    }


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.BadParameter("expected NAME:VALUE", param_hint="--header")
    return name.strip(), value.strip()


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--data") from None
    if not isinstance(value, dict):
        raise click.BadParameter("expected a JSON object", param_hint="--data")
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
