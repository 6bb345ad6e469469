"""``trio-pipecat talk``: a call in a terminal, or in a pipe, text by text."""

import math
import os
import signal
import sys
from collections import deque
from pathlib import Path
from typing import Any, Final, Self, final

import attrs
import trio
from rich.console import Console
from rich.table import Table

from .. import (
    BotNotReadyError,
    Event,
    MessageTooLargeError,
    PipecatError,
    Session,
    SessionKeywords,
    UnsupportedFeatureError,
    WavRecorder,
    open_session,
)
from ..audio import list_devices
from ..reports import TurnLog
from ._bot_voice import LONGEST_ANSWER, BotVoice, wait_until
from ._console import open_console, print_error
from ._options import shown_target
from ._run import leaves
from ._talk_screen import Screen, View, open_screen, render_line
from ._talk_sound import CallSound
from ._transcript import Line

#: How long to wait, in seconds, for a bot that speaks first, and for an answer to begin.
_GREETING_MAY_BEGIN: Final = 1.0
_ANSWER_MAY_BEGIN: Final = 30.0
#: After so much quiet a bot has finished speaking.
_QUIET: Final = 1.0
#: The screen is drawn so often at most, and so often while there are meters on it, in seconds.
_FRAME: Final = 0.04
_TICK: Final = 0.08
_SLOW_TICK: Final = 0.5
#: A text may wait for the bot to be ready.
_WAITING_TEXTS: Final = 100


def print_devices() -> int:
    """Print the sound devices that there are; return the exit code."""
    try:
        devices = list_devices()
    except PipecatError as error:
        print_error(error)
        return 1
    console = open_console()
    table = Table("", "device", "inputs", "outputs", "Hz", "default", box=None, pad_edge=False)
    for device in devices:
        defaults = (("input", device.is_default_input), ("output", device.is_default_output))
        table.add_row(
            str(device.index),
            device.full_name,
            str(device.max_input_channels or ""),
            str(device.max_output_channels or ""),
            str(device.default_sample_rate),
            ", ".join(name for name, is_default in defaults if is_default),
        )
    if devices:
        console.print(table)
    else:
        console.print("there is no sound device")
    return 0


async def talk(
    target: str | None,
    bot: SessionKeywords,
    *,
    input: str | int | None,  # noqa: A002  # the option's name
    output: str | int | None,
    text_only: bool,
    half_duplex: bool,
    record: Path | None,
) -> int:
    """Hold a call until one side hangs up; return the exit code."""
    block = open_session(target, **bot)  # what can't be is a usage error, and raised here
    view = View(target=shown_target(target or ""), state="connecting")
    call = _Call(view=view, record=record)
    call.sound = CallSound(
        input=input, output=output, half_duplex=half_duplex, tell=call.note_in_transcript
    )
    # Of a process whose input is closed, there is none.
    is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    failures: list[PipecatError] = []
    try:
        try:
            if is_terminal:
                await _in_terminal(call, block, text_only=text_only)
            else:
                await _in_pipe(call, block, _Lines(is_over=sys.stdin is None))
        except* PipecatError as group:
            failures += leaves(group)
    finally:
        view.transcript.finish()
        call.tell_end(print_transcript=is_terminal)
    for failure in failures[:1]:
        print_error(f"{type(failure).__name__}: {failure}")
    return 1 if failures else call.recording_failed()


@final
@attrs.define(kw_only=True, eq=False)
class _Call:
    """One call: its session, what is seen of it, and what is typed."""

    view: View
    record: Path | None
    sound: CallSound = attrs.field(init=False)
    session: Session | None = None
    log: TurnLog | None = None
    recorder: WavRecorder | None = None
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _texts: Any = attrs.field(factory=lambda: trio.open_memory_channel[str](_WAITING_TEXTS))

    def attach(self, session: Session) -> TurnLog:
        """Begin with a session in which nothing has happened yet."""
        self.session, self.log = session, TurnLog(session)
        if self.record is not None:
            self.recorder = WavRecorder(session, self.record)
        return self.log

    def change(self) -> None:
        """Have it drawn."""
        self._changed.set()

    async def wait_change(self) -> None:
        """Wait until there is something new to draw."""
        await self._changed.wait()
        self._changed = trio.Event()

    def note(self, text: str) -> None:
        """Tell something that is forgotten at the next key."""
        self.view.notice = text
        self.change()

    def note_in_transcript(self, text: str) -> None:
        """Tell something that stays."""
        self.view.transcript.note(text)
        self.change()

    # -- what happens --

    async def follow(self, session: Session) -> None:
        """Keep the transcript, until the session is over."""
        async for event in session:
            self._add(event)
        self.change()

    def _add(self, event: Event) -> None:
        if self.session is not None:
            self.view.state = str(self.session.state)
        self.view.transcript.add(event)
        self.change()

    async def follow_turns(self, session: Session, log: TurnLog) -> None:
        """Show how long each turn took, until the session is over."""
        shown = 0
        while session.end is None:
            await log.wait_change()
            for turn in log.turns[-1:]:
                latency = turn.voice_to_voice if turn.text_sent is None else turn.text_to_voice
                if latency is not None and turn.number > shown:
                    shown = turn.number
                    self.view.voice_to_voice = turn.voice_to_voice
                    self.view.text_to_voice = turn.text_to_voice
                    self.view.transcript.answered_after(latency)
                    self.change()

    # -- what the user does --

    def say(self, text: str) -> None:
        """Send a text, when the bot is ready."""
        try:
            self._texts[0].send_nowait(text)
        except trio.WouldBlock:
            self.note("that is too much at once")
            return
        self.view.transcript.type(text)

    async def send_texts(self, session: Session) -> None:
        """Send what is typed, until cancelled."""
        await session.wait_ready()
        async for text in self._texts[1]:
            try:
                await session.send_text(text)
            except (MessageTooLargeError, UnsupportedFeatureError) as error:
                self.note_in_transcript(f"not sent: {error}")

    async def interrupt(self, session: Session) -> None:
        """Have the bot fall silent."""
        self.sound.silence()
        try:
            await session.interrupt()
        except UnsupportedFeatureError:
            self.note("this link can't interrupt without a word: say or type something")
        except BotNotReadyError:
            self.note("the bot is not ready yet")

    def toggle_mute(self) -> None:
        """Have the microphone hear, or not."""
        microphone = self.sound.microphone
        if microphone is None:
            self.note("there is no microphone to mute: this is a call by text")
        else:
            microphone.muted = self.view.muted = not microphone.muted

    # -- the end --

    def tell_end(self, *, print_transcript: bool) -> None:
        """Print what is left to say when all is over."""
        console = open_console()
        if print_transcript:
            for line in self.view.transcript.lines:
                print_line(console, line)
            console.print()
        for text in self._summary():
            console.print(text, style="dim", markup=False)

    def _summary(self) -> list[str]:
        lines = []
        turns = [] if self.log is None else self.log.turns
        if turns:
            lines.append(f"{len(turns)} turn{'s' * (len(turns) > 1)}")
        for name in ("voice_to_voice", "text_to_voice"):
            times = sorted(t for turn in turns if (t := getattr(turn, name)) is not None)
            if times:
                lines.append(f"{name.replace('_', ' ')} {_percentiles(times)}")
        if self.recorder is not None:
            lines.append(f"recorded: {self.recorder.path}")
        if self.session is not None and self.session.end is not None:
            lines.append(f"ended: {_ENDS.get(self.session.end.reason, self.session.end)}")
        return lines

    def recording_failed(self) -> int:
        """Return the exit code, and say what is missing of the recording."""
        error = None if self.recorder is None else self.recorder.error
        if error is None:
            return 0
        print(f"{self.record} is not whole: {error.strerror or error}", file=sys.stderr)
        return 1


_ENDS: Final = {
    "client": "you hung up",
    "bot": "the bot hung up",
    "cancelled": "interrupted",
    "connection_lost": "the connection was lost",
    "fatal_error": "the bot reported a fatal error",
    "startup_failed": "the call did not come about",
}


def _percentiles(times: list[float]) -> str:
    """Return what is to be said of sorted times: of one, only what it is."""
    if len(times) == 1:
        return f"{times[0]:.2f} s"
    p50, p95 = (times[-(-percent * len(times) // 100) - 1] for percent in (50, 95))
    return f"p50 {p50:.2f} s, p95 {p95:.2f} s"


def print_line(console: Console, line: Line) -> None:
    """Print a line of a transcript, however wide it is in a pipe."""
    if console.is_terminal:
        for row in render_line(line, console.width):
            console.print(row)
    elif line.text:
        who = "" if line.who == "note" else f"{line.who}: "
        console.print(f"{who}{line.text}", markup=False)


# -- in a terminal -------------------------------------------------------------------------------


async def _in_terminal(call: _Call, block: Any, *, text_only: bool) -> None:
    from ._keyboard import open_keyboard

    with open_screen(open_console()) as screen, open_keyboard(sys.stdin.fileno()) as keyboard:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_draw, call, screen)
            nursery.start_soon(_obey_signals, call, screen, keyboard)
            async with block as session:
                log = call.attach(session)
                async with trio.open_nursery() as inner:
                    inner.start_soon(call.follow, session)
                    inner.start_soon(call.follow_turns, session, log)
                    inner.start_soon(call.send_texts, session)
                    if not text_only:
                        inner.start_soon(call.sound.run, session)
                    await _type(call, session, keyboard, inner)
                    inner.cancel_scope.cancel()
            nursery.cancel_scope.cancel()


async def _type(call: _Call, session: Session, keyboard: Any, nursery: trio.Nursery) -> None:
    """Do what the keys say, until one of them hangs up."""
    from ._keyboard import Key
    from ._line_editor import LineEditor

    editor, view = LineEditor(), call.view
    async for typed in keyboard:
        view.notice = ""
        match typed:
            case Key.ENTER:
                if text := editor.take():
                    call.say(text)
            case Key.TAB:
                call.toggle_mute()
            case Key.ESCAPE:
                nursery.start_soon(call.interrupt, session)
            case Key.HANG_UP:
                return
            case _:
                editor.type(typed)
        view.typed, view.cursor = editor.text, editor.cursor
        call.change()


async def _draw(call: _Call, screen: Screen) -> None:
    """Draw the view when it has changed, and its meters and its clock."""
    while True:
        view, sound = call.view, call.sound
        if call.session is not None:
            view.seconds = trio.current_time() - call.session.history[0][1]
        view.microphone = None if sound.microphone is None else sound.microphone.level
        view.speaker = None if sound.speaker is None else sound.speaker.level
        view.muted = sound.microphone is not None and sound.microphone.muted
        screen.show(view)
        await trio.sleep(_FRAME)
        has_meters = view.microphone is not None or view.speaker is not None
        with trio.move_on_after(_TICK - _FRAME if has_meters else _SLOW_TICK):
            await call.wait_change()


async def _obey_signals(call: _Call, screen: Screen, keyboard: Any) -> None:
    """Draw anew at another size of the window, and leave the terminal alone when stopped."""
    with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGTSTP) as signals:
        async for number in signals:
            if number == signal.SIGTSTP:
                with screen.paused(), keyboard.paused():
                    os.kill(os.getpid(), signal.SIGSTOP)
            call.change()


# -- in a pipe -----------------------------------------------------------------------------------


async def _in_pipe(call: _Call, block: Any, texts: "_Lines") -> None:
    async with block as session:
        call.attach(session)
        voice = BotVoice(session)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.follow, session)
            nursery.start_soon(call.send_texts, session)
            nursery.start_soon(voice.listen)
            nursery.start_soon(_print, call)
            await session.wait_ready()
            with trio.move_on_after(_GREETING_MAY_BEGIN):
                await voice.wait_speaking(since=session.history[0][1])
            if voice.is_speaking:
                await _hear_out(call, voice)
            async for text in texts:
                await _exchange(call, voice, text)
            nursery.cancel_scope.cancel()


async def _exchange(call: _Call, voice: BotVoice, text: str) -> None:
    """Say a text, and wait until it is answered: in speech, or else in writing."""
    said = trio.current_time()
    lines = call.view.transcript.lines
    call.say(text)
    before = len(lines)
    with trio.move_on_after(_ANSWER_MAY_BEGIN) as waiting:
        await wait_until(lambda: voice.has_spoken_since(said) or len(lines) > before)
        waiting.deadline = math.inf
        await _hear_out(call, voice)


async def _hear_out(call: _Call, voice: BotVoice) -> None:
    """Wait until the bot has finished speaking, but not for ever."""
    with trio.move_on_after(LONGEST_ANSWER) as limit:
        await voice.wait_quiet(_QUIET)
    if limit.cancelled_caught:
        call.note_in_transcript(f"the bot has not finished in {LONGEST_ANSWER} s")


async def _print(call: _Call) -> None:
    """Print each line of the transcript when it is over."""
    console = open_console()
    printed = 0
    lines = call.view.transcript.lines
    while True:
        while printed < len(lines) and lines[printed].is_over:
            print_line(console, lines[printed])
            printed += 1
        sys.stdout.flush()
        await call.wait_change()


@final
class _Lines:
    """The lines of the standard input that are not empty, as they come."""

    def __init__(self, *, is_over: bool = False) -> None:
        self._rest = b""
        self._lines: deque[str] = deque()
        self._is_over = is_over

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        await trio.lowlevel.checkpoint()
        while not self._lines:
            if self._is_over:
                raise StopAsyncIteration
            # In a thread, because it may be a file; not by sys.stdin, whose lock a thread that is
            # left alone would keep at the end.
            data = await trio.to_thread.run_sync(os.read, 0, 65536, abandon_on_cancel=True)
            self._is_over = not data
            *whole, self._rest = (self._rest + (data or b"\n")).split(b"\n")
            texts = (line.decode(errors="replace").strip() for line in whole)
            self._lines += [text for text in texts if text]
        return self._lines.popleft()
