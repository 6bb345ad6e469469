"""What ``talk`` looks like: a view of the conversation as so many lines, and the terminal's screen.

The transcript grows from the top and scrolls when it is full; the last lines stay where they are.
What the bot is going to say is there at once, dim, and lights up as it is spoken, so that nothing
moves while it speaks. Only lines that have changed are drawn.
"""

import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, final

import attrs
from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from ._console import printable
from ._transcript import Line, Transcript

#: What a level meter shows the least of, in dBFS.
_FLOOR: Final = -60.0
#: Below the transcript: a rule, the meters, a notice, the line that is typed, the keys.
_PANEL: Final = 5
_MARGIN: Final = 2
_WHO: Final = 5
_LATENCY: Final = 9
_BAR: Final = 14
_STDERR: Final = 2
_STYLES: Final = {"you": "green", "bot": "bold", "note": "yellow"}


@attrs.define(kw_only=True, eq=False)
class View:
    """All that is to be seen of a call."""

    target: str
    transcript: Transcript = attrs.field(factory=Transcript)
    state: str = ""
    seconds: float = 0.0
    #: Levels from 0 to 1; None: there is no such device.
    microphone: float | None = None
    speaker: float | None = None
    muted: bool = False
    notice: str = ""
    typed: str = ""
    cursor: int = 0
    #: Of the last turn.
    voice_to_voice: float | None = None
    text_to_voice: float | None = None

    @property
    def activity(self) -> str:
        """The state, and who is speaking."""
        return "bot is speaking" if self.transcript.bot_is_speaking else self.state


def render(view: View, width: int, height: int) -> list[Text]:
    """Return exactly `height` lines, each of them at most `width` cells wide."""
    width, room = max(width, 1), max(height - _PANEL - 2, 0)
    said = _last_rows(view, width, room)
    rows = [_header(view, width), Text("─" * width, style="dim"), *said]
    rows += [Text()] * (room - len(said))
    rows += [
        Text("─" * width, style="dim"),
        _meters(view, width),
        Text(f"  {view.notice}", style="yellow"),
        _input(view, width),
        _keys(view),
    ]
    # Of a window that is too low, the lines that are typed into are the last to go.
    rows = rows[max(len(rows) - height, 0) :]
    for row in rows:
        row.truncate(width, overflow="ellipsis")
    return rows


def _last_rows(view: View, width: int, room: int) -> list[Text]:
    """Return the end of the transcript, as much as there is room for."""
    rows: list[Text] = []
    for line in reversed(view.transcript.lines):
        if len(rows) >= room:
            break
        rows = render_line(_end_of(line, width * room), width) + rows
    return rows[max(len(rows) - room, 0) :]


def _end_of(line: Line, most: int) -> Line:
    """Return a line, or the last characters of one that fills the screen anyhow."""
    if len(line.said) <= most and len(line.rest) <= most:
        return line
    return attrs.evolve(line, said=line.said[-most:], rest=line.rest[-most:])


def render_line(line: Line, width: int) -> list[Text]:
    """Return what was said as lines: who, what, and how long one had to wait for it."""
    style = _STYLES[line.who]
    said, rest = printable(line.said.strip()), printable(line.rest.strip())
    text = Text(said, style=style if line.who != "bot" else "default")
    if rest:
        text.append(f" {rest}" if said else rest, style="dim")
    if line.interrupted:
        text.append(" … (interrupted)", style="red")
    indent = _MARGIN + _WHO
    room = max(width - indent - _LATENCY, 8)
    pieces = list(text.wrap(_PLAIN, room)) if text.plain else [Text()]
    rows = []
    for number, piece in enumerate(pieces):
        piece.rstrip()
        who = line.who if number == 0 and line.who != "note" else ""
        row = Text.assemble(" " * _MARGIN, (f"{who:<{_WHO}}", style), piece)
        if number == 0 and line.latency is not None:
            latency = f"{line.latency:.2f} s"
            row.append(latency.rjust(width - indent - piece.cell_len - 1), style="cyan")
        rows.append(row)
    return rows


#: Only to wrap text with; it prints nothing.
_PLAIN: Final = Console(width=80, force_terminal=False)


def _header(view: View, width: int) -> Text:
    clock = f"{int(view.seconds) // 60}:{int(view.seconds) % 60:02d}"
    right = f"{view.activity}   {clock} "
    left = f"  {view.target}"
    room = max(width - cell_len(right) - 1, 0)
    text = Text(left, style="bold")
    text.truncate(room, overflow="ellipsis", pad=True)
    return Text.assemble(text, " ", (right, "cyan"))


def _meters(view: View, width: int) -> Text:
    text = Text("  ")
    if view.microphone is None and view.speaker is None:
        text.append("text only", style="dim")
    else:
        heard = 0.0 if view.muted else view.microphone
        text.append("you ", style="green").append_text(_bar(heard, "green"))
        text.append("  muted    " if view.muted else " " * 11, style="red")
        text.append("bot ", style="bold").append_text(_bar(view.speaker, "blue"))
    name, seconds = "voice to voice", view.voice_to_voice
    if seconds is None:
        name, seconds = "text to voice", view.text_to_voice
    if seconds is not None:
        last = f"{name} {seconds:.2f} s"
        text.append(last.rjust(max(width - text.cell_len - 1, len(last) + 2)), style="cyan")
    return text


def _bar(level: float | None, style: str) -> Text:
    if level is None:
        return Text(f"{'none':<{_BAR}}", style="dim")
    decibels = 20 * math.log10(level) if level > 0 else _FLOOR
    filled = round(_BAR * min(max(1 - decibels / _FLOOR, 0), 1))
    return Text.assemble(("━" * filled, style), ("─" * (_BAR - filled), "dim"))


def _input(view: View, width: int) -> Text:
    """Return the line that is typed, scrolled so that the cursor is in it."""
    return Text.assemble("  › ", _visible(view, width)[0])


def _visible(view: View, width: int) -> tuple[str, int]:
    """Return what there is room for of the typed text, and in which cell of it the cursor is."""
    room = max(width - 4 - _MARGIN, 1)
    # Of what was pasted, as much as there can be room for: the rest need not be measured.
    before, after = view.typed[: view.cursor][-room:], view.typed[view.cursor :][:room]
    while cell_len(before) >= room:
        before = before[1:]
    while cell_len(before) + cell_len(after) > room:
        after = after[:-1]
    return before + after, cell_len(before)


def _keys(view: View) -> Text:
    keys = [("Enter", "send")]
    if view.microphone is not None:
        keys.append(("Tab", "unmute" if view.muted else "mute"))
    keys += [("Esc", "interrupt"), ("Ctrl-D", "hang up")]
    text = Text("  ")
    for key, what in keys:
        text.append(key, style="bold dim").append(f" {what}   ", style="dim")
    return text


@final
class Screen:
    """A terminal's screen that shows a view. Made by `open_screen`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: list[Text] = []
        self._size = (0, 0)
        self._cursor = (-1, -1)

    def show(self, view: View) -> int:
        """Draw what has changed; return how many lines that was."""
        console = self._console
        size = console.size
        width, height = size
        if (width, height) != self._size:
            self._shown = []
            self._size = (width, height)
        rows = render(view, width, height)
        cursor = (4 + _visible(view, width)[1], max(height - 2, 0))
        shown = [*self._shown, *[None] * (len(rows) - len(self._shown))]
        changed = [
            y for y, (row, old) in enumerate(zip(rows, shown, strict=False)) if not _same(row, old)
        ]
        if changed or cursor != self._cursor:
            with console:  # all of it is written at once
                for y in changed:
                    console.control(Control.move_to(0, y))
                    console.control(Control((ControlType.ERASE_IN_LINE, 2)))
                    console.print(rows[y], end="", no_wrap=True, crop=True, soft_wrap=False)
                console.control(Control.move_to(*cursor))
        self._shown, self._cursor = rows, cursor
        return len(changed)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Give the terminal back for a block, and draw everything anew afterwards."""
        self._console.set_alt_screen(enable=False)
        try:
            yield
        finally:
            self._console.set_alt_screen(enable=True)
            self._shown = []


def _same(row: Text, old: Text | None) -> bool:
    return old is not None and row == old and row.spans == old.spans


@contextmanager
def open_screen(console: Console) -> Iterator[Screen]:
    """Take the terminal's screen for a block; what was there before comes back at the end.

    What anybody, PortAudio for one, prints to the standard error meanwhile is printed afterwards.
    """
    with _errors_kept(), console.screen(hide_cursor=False):
        yield Screen(console)


@contextmanager
def _errors_kept() -> Iterator[None]:
    if not os.isatty(_STDERR):
        yield
        return
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        before = os.dup(_STDERR)
        os.dup2(kept.fileno(), _STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, _STDERR)
            os.close(before)
            kept.seek(0)
            with suppress(OSError):  # the terminal was hung up
                sys.stderr.write(kept.read().decode(errors="replace"))
                sys.stderr.flush()
