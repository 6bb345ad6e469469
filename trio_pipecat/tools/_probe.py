"""``trio-pipecat probe``: is the bot up, and which part is broken?"""

import json
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import trio
from rich.text import Text

from .. import (
    AudioStarted,
    BotMessage,
    BotOutput,
    PipecatError,
    Session,
    SessionKeywords,
    State,
    open_session,
)
from ._console import open_console
from ._options import shown_target

#: The exit code for each stage that can fail.
STAGES: Final = {"resolve": 3, "start": 4, "connect": 5, "ready": 6, "first event": 7}


@attrs.define(kw_only=True)
class Stage:
    """One stage: how long it took, and what came of it. `ok` is None where it did not apply."""

    name: str
    ok: bool | None
    seconds: float | None = None
    detail: str = ""


@attrs.define(kw_only=True)
class Findings:
    """What a probe has found: its stages, as far as it came, and what is known of the bot."""

    target: str
    stages: list[Stage] = attrs.field(factory=list)
    about: dict[str, Any] = attrs.field(factory=dict)

    @property
    def broken(self) -> Stage | None:
        """The stage that failed, if one did."""
        return next((stage for stage in self.stages if stage.ok is False), None)

    @property
    def code(self) -> int:
        """The exit code."""
        return 0 if self.broken is None else STAGES[self.broken.name]

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "target": shown_target(self.target),
            "ok": self.broken is None,
            "stages": [attrs.asdict(stage) for stage in self.stages],
            **self.about,
        }


async def probe(
    target: str,
    bot: SessionKeywords,
    *,
    text: str | None,
    timeout: float,  # noqa: ASYNC109  # of each stage, as the session takes it
    as_json: bool,
) -> int:
    """Go through the stages, print them as they come, and return the exit code."""
    console = open_console(stderr=as_json, quiet=as_json)
    findings = Findings(target=target)

    def show(stage: Stage) -> None:
        console.print(_line(stage))

    await look(findings, bot, text=text, timeout=timeout, show=show)
    if as_json:
        print(json.dumps(findings.as_json()))
    else:
        broken = findings.broken
        verdict = "the bot is up" if broken is None else f"broken: {broken.name}"
        console.print(Text(verdict, style="bold green" if broken is None else "bold red"))
    return findings.code


async def look(
    findings: Findings,
    bot: SessionKeywords,
    *,
    text: str | None,
    timeout: float,  # noqa: ASYNC109
    show: Callable[[Stage], object] = lambda stage: None,
) -> None:
    """Go through the stages, put down what comes of each, and `show` it."""

    def note(stage: Stage) -> None:
        findings.stages.append(stage)
        show(stage)

    target, about = findings.target, findings.about
    bot["start_timeout"] = bot["connect_timeout"] = bot["ready_timeout"] = timeout
    # The session is made first: a target that can't be is a usage error, before anything is tried.
    session_block = open_session(target, **bot)
    if await _resolve(target, timeout, note):
        visited: list[Session] = []
        try:
            async with session_block as session:
                visited.append(session)
                await _go_through(session, text, timeout, note, about)
            if session.end is not None and session.end.reason != "client":
                # The bot left in the middle of a stage, and that is no error to a session.
                detail = f"the bot left: {session.end}"
                failed = _stage_of(session)
                note(Stage(name=failed, ok=False, seconds=_since(session), detail=detail))
        except PipecatError as error:
            session = visited[0]
            failed = _stage_of(session)
            note(Stage(name=failed, ok=False, seconds=_since(session), detail=str(error)))
        about["end"] = None if session.end is None else session.end.reason


async def _resolve(target: str, timeout: float, note: Callable[[Stage], None]) -> bool:  # noqa: ASYNC109
    parts = urlsplit(target)
    if not parts.hostname:
        note(Stage(name="resolve", ok=None, detail="nothing to resolve"))
        return True
    began = trio.current_time()
    try:
        with trio.fail_after(timeout):
            found = await trio.socket.getaddrinfo(
                parts.hostname, parts.port, type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError, trio.TooSlowError) as error:
        detail = f"no answer within {timeout:g} s" if not str(error) else str(error)
        seconds = trio.current_time() - began
        note(Stage(name="resolve", ok=False, seconds=seconds, detail=detail))
        return False
    addresses = sorted({str(address[0]) for *_, address in found})
    seconds = trio.current_time() - began
    note(Stage(name="resolve", ok=True, seconds=seconds, detail=", ".join(addresses)))
    return True


async def _go_through(
    session: Session,
    text: str | None,
    timeout: float,  # noqa: ASYNC109
    note: Callable[[Stage], None],
    about: dict[str, Any],
) -> None:
    began = trio.current_time()
    await session.wait_for(State.CONNECTING)
    if session.started is None:
        note(Stage(name="start", ok=None, detail="connecting directly"))
    else:
        note(Stage(name="start", ok=True, seconds=_since(session, began)))
    began = trio.current_time()
    await session.wait_for(State.CONNECTED)
    note(Stage(name="connect", ok=True, seconds=_since(session, began)))
    began = trio.current_time()
    with session.subscribe(BotMessage, AudioStarted) as stream:
        ready = await session.wait_ready()
        about["bot"] = {"version": ready.version, "about": ready.about}
        detail = f"RTVI {ready.version}"
        if session.protocol.problem is not None:
            detail += f" ({session.protocol.problem})"
        note(Stage(name="ready", ok=True, seconds=_since(session, began), detail=detail))
        began = trio.current_time()
        first = None
        with trio.move_on_after(timeout):
            if text is not None:
                await session.send_text(text)
            async for event in stream:
                if event is not ready and (text is None or isinstance(event, BotOutput)):
                    first = event
                    break
    seconds = trio.current_time() - began
    note(_first_event(first, text, seconds, timeout))


def _first_event(
    event: BotMessage | AudioStarted | None, text: str | None, seconds: float, timeout: float
) -> Stage:
    name = "first event"
    if event is not None:
        kind = event.TYPE if isinstance(event, BotMessage) else "audio"
        return Stage(name=name, ok=True, seconds=seconds, detail=kind)
    if text is not None:
        return Stage(
            name=name, ok=False, seconds=seconds, detail=f"no bot-output within {timeout:g} s"
        )
    return Stage(name=name, ok=None, detail="the bot says nothing unasked; try --text Hello")


def _stage_of(session: Session) -> str:
    """Return the stage in which the session failed."""
    reached = {state for state, _ in session.history}
    if State.READY in reached:
        return "first event"
    if State.CONNECTED in reached:
        return "ready"
    return "connect" if State.CONNECTING in reached else "start"


def _since(session: Session, began: float | None = None) -> float:
    """Return the seconds since `began`, or since the session entered the state it failed in."""
    if began is None:
        ended = (State.DISCONNECTING, State.DISCONNECTED)
        began = max(at for state, at in session.history if state not in ended)
    return trio.current_time() - began


def _line(stage: Stage) -> Text:
    mark, style = {True: ("✔", "green"), False: ("✘", "red"), None: ("–", "dim")}[stage.ok]
    seconds = "" if stage.seconds is None else f"{stage.seconds * 1000:.0f} ms"
    line = Text(f"{mark} {stage.name:<12}", style=style)
    line.append(f"{seconds:>9}", style="default")
    detail = f"  {stage.detail}" if stage.detail else ""
    return line.append(detail, style="default" if stage.ok is False else "dim")
