"""``trio-pipecat say``: files are the user's voice; what came of it is told."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, final

import attrs
import trio
from rich.console import Console
from rich.status import Status
from rich.text import Text

from .. import PipecatError, Session, SessionKeywords, WavRecorder, open_session
from ..audio import AudioChunk, WavReader
from ..reports import Turn, TurnLog
from ._bot_voice import LONGEST_ANSWER, BotVoice, wait_until
from ._console import open_console, print_error
from ._recording_path import check_writable
from ._run import leaves

#: How long to wait, in seconds, for a bot that speaks first.
_GREETING_MAY_BEGIN: Final = 1.0
#: So much of a file is read at once.
_BLOCK_SECONDS: Final = 0.2
#: How often the progress is told, in seconds.
_PROGRESS_STEP: Final = 0.1
#: Who begins within so many seconds, begins together.
_TOGETHER: Final = 0.1


class NotAnsweredError(Exception):
    """The bot did not do what was waited for; the message says what."""


@attrs.define(kw_only=True, eq=False)
class _File:
    """One of the files, and what became of it. Times are in seconds since the session began."""

    path: Path
    seconds: float | None = None
    began: float | None = None
    ended: float | None = None
    answered: bool = False

    def as_json(self) -> dict[str, Any]:
        facts = attrs.asdict(self) | {"path": str(self.path)}
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in facts.items()}


def check_files(paths: tuple[Path, ...], record: Path | None) -> None:
    """Refuse what can't be read, and what can't be written.

    Raises:
        WavError: a file is no WAV file, or none that can be read.
        OSError: a file can't be opened, or the recording can't be written.
        ValueError: there is no sound in a file, or it is a pipe, which can't be looked at and then
            played; the recording would be written over one of the files.
    """
    for path in paths:
        if path.is_fifo():
            raise ValueError(f"{path} is no regular file")
        with WavReader(path) as reader:
            if reader.num_frames == 0:
                raise ValueError(f"{path}: there is no sound in it")
    if record is None:
        return
    if record.exists() and any(record.samefile(path) for path in paths):
        raise ValueError(f"{record} is one of the files that are played")
    check_writable(record)


async def say(
    target: str | None,
    bot: SessionKeywords,
    *,
    paths: tuple[Path, ...],
    record: Path | None,
    timeout: float,  # noqa: ASYNC109  # the option's
    turn_pause: float,
    at_once: bool,
    as_json: bool,
) -> int:
    """Play files to a bot, each when it has answered the one before; return the exit code."""
    call = _Call(
        files=[_File(path=path) for path in paths], patience=timeout, turn_pause=turn_pause
    )
    failures: list[str] = []
    recorders: list[WavRecorder] = []
    block = open_session(target, **bot)  # what can't be is a usage error, and raised here
    # In a terminal only; a pipe gets nothing of it.
    with open_console(stderr=True).status("connecting …") as status:
        try:
            async with block as session:
                call.begin(session)
                if record is not None:
                    recorders.append(WavRecorder(session, record))
                await call.hold(status, at_once=at_once)
        except* PipecatError as group:
            failures += [f"{type(error).__name__}: {error}" for error in leaves(group)]
        except* NotAnsweredError as group:
            failures += [str(error) for error in leaves(group)]
        except* OSError as group:  # a file has gone since it was looked at
            failures += [
                f"{error.filename or 'a file'}: {error.strerror or error}"
                for error in leaves(group)
            ]
    if not failures and not all(file.answered for file in call.files):
        failures.append(f"the bot has left: {call.session.end}")
    for recorder in recorders:
        if recorder.error is not None:
            error = recorder.error
            failures.append(f"{record} is not whole: {error.strerror or error}")
    if as_json:
        facts = call.as_json() | {"record": None if record is None else str(record)}
        print(json.dumps(facts | {"error": failures[0] if failures else None}), flush=True)
    else:
        call.tell(open_console())
        if recorders:
            open_console().print(f"written: {record}", style="bold", markup=False)
    for failure in failures[:1]:
        print_error(failure)
    return 1 if failures else 0


@final
class _Pieces:
    """A file piece by piece, as an async iterable; and how far it was read, in words."""

    def __init__(self, file: _File, reader: WavReader, tell: Callable[[str], object]) -> None:
        self._file = file
        self._reader = reader
        self._tell = tell
        self._block = max(round(_BLOCK_SECONDS * reader.sample_rate), 1)
        frames = reader.num_frames
        self._whole = "" if frames is None else f" of {frames / reader.sample_rate:.1f}"
        file.seconds = 0.0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AudioChunk:
        await trio.lowlevel.checkpoint()
        chunk = self._reader.read(self._block)
        if not chunk.pcm:
            raise StopAsyncIteration
        self._file.seconds = (self._file.seconds or 0.0) + chunk.duration
        self._tell(f"{self._file.seconds:.1f}{self._whole} s")
        return chunk


@final
@attrs.define(kw_only=True, eq=False)
class _Call:
    files: list[_File]
    patience: float
    turn_pause: float
    session: Session = attrs.field(init=False)
    log: TurnLog = attrs.field(init=False)
    voice: BotVoice = attrs.field(init=False)
    doing: str = ""

    def begin(self, session: Session) -> None:
        """Begin with a session in which nothing has happened yet."""
        self.session, self.log, self.voice = session, TurnLog(session), BotVoice(session)

    async def hold(self, status: Status, *, at_once: bool) -> None:
        """Hold the conversation.

        Raises:
            NotAnsweredError: a file was not answered in time.
            OSError: a file can't be read any more.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.voice.listen)
            nursery.start_soon(self._show, status)
            self.doing = "waiting until the bot is ready"
            await self.session.wait_ready()
            if not at_once:
                await self._hear_greeting()
            for file in self.files:
                await self._play(file)
            nursery.cancel_scope.cancel()

    async def _hear_greeting(self) -> None:
        self.doing = "listening whether the bot speaks first"
        with trio.move_on_after(_GREETING_MAY_BEGIN):
            await self.voice.wait_speaking(since=self.session.history[0][1])
        if self.voice.is_speaking:
            await self._hear_out("its greeting")

    async def _play(self, file: _File) -> None:
        turns = len(self.log.turns)
        began = trio.current_time()
        file.began = self._since_start(began)
        with WavReader(file.path) as reader:
            tell = partial(self._note, file)
            await self.session.stream_audio(_Pieces(file, reader, tell))
        file.ended = self._since_start(trio.current_time())
        self.doing = f"{self._name(file)}: waiting for the answer"
        with trio.move_on_after(self.patience):
            await wait_until(lambda: self._is_answered(turns, began))
            file.answered = True
        if not file.answered:
            raise NotAnsweredError(f"the bot did not answer {file.path} within {self.patience:g} s")
        self.doing = f"{self._name(file)}: the bot is answering"
        await self._hear_out(f"its answer to {file.path}")

    async def _hear_out(self, what: str) -> None:
        with trio.move_on_after(LONGEST_ANSWER) as limit:
            await self.voice.wait_quiet(self.turn_pause)
        if limit.cancelled_caught:
            raise NotAnsweredError(f"the bot has not finished {what} in {LONGEST_ANSWER:g} s")

    def _is_answered(self, turns: int, began: float) -> bool:
        """Has the bot begun to answer the last of what was said since?"""
        said = [turn for turn in self.log.turns[turns:] if turn.user_started is not None]
        if not said:
            return self.voice.has_spoken_since(began)
        last = said[-1]
        if last.bot_started is not None or last.bot_started_speaking is not None:
            return True
        # A bot that sends back what it hears may be heard first.
        since = (last.user_started or 0.0) - _TOGETHER
        return self.voice.began_since(self.session.history[0][1] + since)

    def _since_start(self, at: float) -> float:
        return at - self.session.history[0][1]

    def _note(self, file: _File, read: str) -> None:
        """So much of a file was read."""
        self.doing = f"{self._name(file)}: {read}"

    def _name(self, file: _File) -> str:
        number = self.files.index(file) + 1
        return f"{number}/{len(self.files)} {file.path.name}"

    async def _show(self, status: Status) -> None:
        while True:
            speaks = ", the bot is speaking" if self.voice.is_speaking else ""
            status.update(f"{self.doing}{speaks}")
            await trio.sleep(_PROGRESS_STEP)

    # -- afterwards --

    def as_json(self) -> dict[str, Any]:
        """Return what came of it."""
        pacing, end = self.session.pacing, self.session.end
        return {
            **self.log.as_json(),
            "pacing": {
                "frames": pacing.count,
                "p50_ms": round(1000 * pacing.percentile(50), 2),
                "p99_ms": round(1000 * pacing.percentile(99), 2),
                "max_ms": round(1000 * pacing.max, 2),
            },
            "end": None if end is None else end.reason,
            "files": [file.as_json() for file in self.files],
        }

    def tell(self, console: Console) -> None:
        """Print what came of it."""
        for line in turn_lines(self.log.turns):
            console.print(line)
        pacing = self.session.pacing
        if pacing.count:
            p50, p99 = (1000 * pacing.percentile(percent) for percent in (50, 99))
            console.print(
                f"{pacing.count} frames sent, late by p50 {p50:.1f} ms, p99 {p99:.1f} ms",
                style="dim",
            )


def turn_lines(turns: list[Turn]) -> Iterator[Text]:
    """Yield turns as lines, in seconds since the session began: numbers, and then who said what."""
    yield Text(f"turn  {'you':^17}{'voice to voice':^16}{'bot':^17}".rstrip(), style="dim")
    for turn in turns:
        first = _seconds(turn.voice_to_voice)
        if turn.voice_to_voice is None and turn.text_to_voice is not None:
            first = f"text {_seconds(turn.text_to_voice)}"
        users = _span(turn.user_started, turn.user_ended)
        if turn.user_started is None and turn.text_sent is not None:
            users = f"text {turn.text_sent:.2f}"
        bots = _span(turn.bot_started, turn.bot_ended)
        yield Text(f"{turn.number:4}  {users:^17}{first:^16}{bots:^17}".rstrip())
        for who, text, style in (("you", turn.user_text, "green"), ("bot", turn.bot_text, "bold")):
            if text:
                yield Text.assemble(f"{'':6}", (who, style), f"  {text}")
        if turn.interrupted is not None:
            stale = f", {turn.stale_ms:.0f} ms of it stale" if turn.stale_ms else ""
            yield Text(f"{'':6}interrupted at {turn.interrupted:.2f}{stale}", style="red")


def _span(began: float | None, ended: float | None) -> str:
    if began is None:
        return "–"
    return f"{began:.2f} – {'…' if ended is None else f'{ended:.2f}'}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"
