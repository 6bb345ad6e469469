"""``trio-pipecat events``: what happens in a session, as it happens."""

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import attrs
import trio
from rich.console import Console
from rich.text import Text

import trio_pipecat

from .. import (
    BotMessage,
    BotOutput,
    BotStartedSpeaking,
    BotStoppedSpeaking,
    Event,
    EventStream,
    PipecatError,
    Session,
    SessionEnd,
    SessionKeywords,
    UnknownMessage,
    open_session,
)
from ._console import open_console, print_error
from ._options import event_as_json
from ._run import leaves

#: How long to wait, in seconds, for a bot that speaks first, and for the answer to a text.
_GREETING_MAY_BEGIN: Final[float] = 0.5
_ANSWER_MAY_BEGIN: Final[float] = 30


async def events(
    target: str | None,
    bot: SessionKeywords,
    *,
    texts: tuple[str, ...] = (),
    duration: float | None = None,
    until: str | None = None,
    as_json: bool = False,
) -> int:
    """Print events until the bot leaves, `duration` is over or `until` has come."""
    console = open_console()
    began = trio.current_time()

    def show(event: Event) -> None:
        _print(event, began, console, as_json=as_json)

    return await follow(target, bot, show, texts=texts, duration=duration, until=until)


async def follow(
    target: str | None,
    bot: SessionKeywords,
    show: Callable[[Event], object],
    *,
    texts: tuple[str, ...],
    duration: float | None,
    until: str | None,
    on_open: Callable[[Session], object] = lambda session: None,
) -> int:
    """Hold a session and `show` each event, until one of its ends; return the exit code.

    `on_open` gets the session before anything has happened in it.
    """
    all_said = trio.Event()
    sessions: list[Session] = []
    failures: list[BaseException] = []
    block = open_session(target, **bot)  # what can't be is a usage error, and raised here
    try:
        async with block as session:
            sessions.append(session)
            on_open(session)
            async with trio.open_nursery() as nursery:
                if texts:
                    nursery.start_soon(_say, session, texts, all_said)
                else:
                    all_said.set()
                with trio.move_on_after(float("inf") if duration is None else duration):
                    async for event in session:
                        show(event)
                        if all_said.is_set() and until in (type_of(event), type(event).__name__):
                            break
                nursery.cancel_scope.cancel()
    except* PipecatError as group:
        failures.append(next(leaves(group)))
    for session in sessions:
        async for event in session:  # what there is left: how it ended
            show(event)
    for error in failures:
        print_error(f"{type(error).__name__}: {error}")
    return 1 if failures else 0


async def _say(session: Session, texts: tuple[str, ...], all_said: trio.Event) -> None:
    """Say one text after the other, each when the bot has finished speaking."""
    with session.subscribe(BotStartedSpeaking, BotStoppedSpeaking) as speech:
        await session.wait_ready()
        patience = _GREETING_MAY_BEGIN
        for text in texts:
            await _hear_out(speech, patience)
            await session.send_text(text)
            patience = _ANSWER_MAY_BEGIN
    all_said.set()


async def _hear_out(
    speech: EventStream[BotStartedSpeaking | BotStoppedSpeaking], patience: float
) -> None:
    """Wait until the bot has spoken, if it begins to within `patience` seconds."""
    with trio.move_on_after(patience) as scope:
        async for event in speech:
            if isinstance(event, BotStoppedSpeaking):
                return
            scope.deadline = float("inf")


def _print(event: Event, began: float, console: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(event_as_json(event, since=began), default=str), flush=True)
    else:
        console.print(_line(event, began))


def type_of(event: Event) -> str:
    """Return the wire type of a message, the class name of one of the session's own events."""
    if isinstance(event, UnknownMessage):
        return event.type
    wire_type = event.TYPE if isinstance(event, BotMessage) else ""
    return wire_type or type(event).__name__


def known_types() -> set[str]:
    """Return the name of every event there is: its class, and the wire type of a message."""
    events = [cls for cls in vars(trio_pipecat).values() if isinstance(cls, type)]
    events = [cls for cls in events if issubclass(cls, Event)]
    wire_types = {cls.TYPE for cls in events if issubclass(cls, BotMessage)}
    return ({cls.__name__ for cls in events} | wire_types) - {""}


def _line(event: Event, began: float) -> Text:
    own = not isinstance(event, BotMessage)
    line = Text(f"{event.at - began:9.3f}  ", style="dim")
    line.append(f"{type_of(event):<30} ", style="cyan" if own else "bold")
    return line.append(_describe(event), style="dim" if own else "default")


def _describe(event: Event) -> str:
    if isinstance(event, BotOutput):
        return _describe_output(event)
    fields: Any = attrs.fields(type(event))  # type: ignore[arg-type]
    parts = []
    for field in fields:
        value = getattr(event, field.name)
        default = field.default
        if isinstance(default, attrs.Factory) and not default.takes_self:  # type: ignore[arg-type]
            default = default.factory()
        if field.name in ("raw", "at") or value is None or value == default:
            continue
        shown = value if isinstance(value, Enum | SessionEnd) else repr(value)
        parts.append(f"{field.name}={shown}")
    return " ".join(parts)


def _describe_output(output: BotOutput) -> str:
    """Show how far a text was spoken by a bar in it."""
    progress = output.spoken_progress
    text = output.text
    if progress is not None:
        text = f"{progress.accumulated_text}|{progress.remaining_text}"
    silent = "" if output.will_be_spoken is not False else "not spoken"
    parts = (output.spoken_status, repr(text), output.output_type, silent)
    return " ".join(str(part) for part in parts if part)
