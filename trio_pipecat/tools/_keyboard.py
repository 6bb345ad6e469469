"""Keys of a terminal, one by one, while it is told to give them: and then as it was before."""

import codecs
import os
import sys
import termios
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, Final, Self, TypeAlias, final

import trio


class Key(Enum):
    """A key that is no character."""

    ENTER = "enter"
    TAB = "tab"
    ESCAPE = "escape"
    BACKSPACE = "backspace"
    DELETE = "delete"
    LEFT = "left"
    RIGHT = "right"
    HOME = "home"
    END = "end"
    ERASE_WORD = "erase word"
    ERASE_LINE = "erase line"
    REDRAW = "redraw"
    HANG_UP = "hang up"


#: What was typed: a key, or characters, many of them if they were pasted.
Typed: TypeAlias = Key | str

_CONTROL: Final = {
    "\r": Key.ENTER,
    "\n": Key.ENTER,
    "\t": Key.TAB,
    "\x7f": Key.BACKSPACE,
    "\x08": Key.BACKSPACE,
    "\x01": Key.HOME,
    "\x04": Key.HANG_UP,
    "\x05": Key.END,
    "\x0c": Key.REDRAW,
    "\x15": Key.ERASE_LINE,
    "\x17": Key.ERASE_WORD,
}
#: By what is between ``ESC [`` (or ``ESC O``) and the end, the end included.
_SEQUENCES: Final = {
    "C": Key.RIGHT,
    "D": Key.LEFT,
    "H": Key.HOME,
    "F": Key.END,
    "1~": Key.HOME,
    "7~": Key.HOME,
    "4~": Key.END,
    "8~": Key.END,
    "3~": Key.DELETE,
}
_ESC: Final = "\x1b"
_PASTE: Final = "200~"
_PASTE_END: Final = "\x1b[201~"
_LONGEST_SEQUENCE: Final = 32
#: A sequence that breaks off for so long, in seconds, is an Escape and what was typed after it.
_ESCAPE_SECONDS: Final = 0.05
_BRACKETED_PASTE: Final = ("\x1b[?2004h", "\x1b[?2004l")


@final
class KeyDecoder:
    """Makes keys of a terminal's bytes, however they are cut. No I/O."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""
        self._is_pasting = False

    @property
    def is_waiting(self) -> bool:
        """Is there an Escape of which only the time will tell whether it was one?"""
        return bool(self._text) and not self._is_pasting

    def feed(self, data: bytes) -> list[Typed]:
        """Return what was typed."""
        self._text += self._decoder.decode(data)
        typed: list[Typed] = []
        while self._text:
            if self._is_pasting:
                rest = self._pasted(typed)
            elif self._text[0] == _ESC:
                rest = self._sequence(typed)
            else:
                rest = self._plain(typed)
            if rest is None:
                break
            self._text = rest
        return typed

    def settle(self) -> list[Typed]:
        """Nothing has followed: return what the beginning of a sequence was on its own."""
        if not self.is_waiting:
            return []
        after, self._text = self._text[1:], ""
        return [Key.ESCAPE, *self.feed(after.encode())]

    def _plain(self, typed: list[Typed]) -> str:
        """Take characters up to the next that is not printable, or that one."""
        first = self._text[0]
        if not first.isprintable():
            if (key := _CONTROL.get(first)) is not None:
                typed.append(key)
            # The two halves of one line end.
            return self._text[2 if self._text.startswith("\r\n") else 1 :]
        end = next((i for i, c in enumerate(self._text) if not c.isprintable()), len(self._text))
        typed.append(self._text[:end])
        return self._text[end:]

    def _sequence(self, typed: list[Typed]) -> str | None:
        """Take an escape sequence; None: it is not whole yet."""
        text = self._text
        if len(text) == 1:
            return None
        if text[1] not in "[O":
            # Two Escapes, or Alt and a key, which is an Escape and that key.
            typed.append(Key.ESCAPE)
            return text[1:]
        end = next((i for i, c in enumerate(text[2:], 2) if "@" <= c <= "~"), None)
        if end is None:
            return text[1:] if len(text) > _LONGEST_SEQUENCE else None
        name = text[2 : end + 1]
        if name == _PASTE:
            self._is_pasting = True
        elif (key := _SEQUENCES.get(name)) is not None:
            typed.append(key)
        return text[end + 1 :]

    def _pasted(self, typed: list[Typed]) -> str | None:
        """Take what was pasted: one line, whatever it was. None: there is more to come."""
        pasted, end, rest = self._text.partition(_PASTE_END)
        if not end:
            return None
        self._is_pasting = False
        line = " ".join(pasted.split())
        line = "".join(character for character in line if character.isprintable())
        if line:
            typed.append(line)
        return rest


@final
class Keyboard:
    """What is typed, as an async iterable. Made by `open_keyboard`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before = termios.tcgetattr(fd)
        self._decoder = KeyDecoder()
        self._typed: deque[Typed] = deque()

    def take(self) -> None:
        """Have the terminal give its keys."""
        termios.tcsetattr(self._fd, termios.TCSADRAIN, _key_by_key(self._before))
        _tell(_BRACKETED_PASTE[0])

    def give_back(self) -> None:
        """Have the terminal be as it was before."""
        _tell(_BRACKETED_PASTE[1])
        with suppress(termios.error):  # it was hung up
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Have the terminal be as it was before, for a block."""
        self.give_back()
        try:
            yield
        finally:
            with suppress(termios.error):  # it was hung up
                self.take()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Typed:
        """Return what was typed next. The end is that of the terminal. Cancelling loses nothing."""
        await trio.lowlevel.checkpoint()
        while not self._typed:
            patience = _ESCAPE_SECONDS if self._decoder.is_waiting else float("inf")
            with trio.move_on_after(patience) as scope:
                await trio.lowlevel.wait_readable(self._fd)
            if scope.cancelled_caught:
                self._typed += self._decoder.settle()
                continue
            try:
                data = os.read(self._fd, 4096)
            except OSError:  # it was hung up
                data = b""
            if not data:
                raise StopAsyncIteration
            self._typed += self._decoder.feed(data)
        return self._typed.popleft()


@contextmanager
def open_keyboard(fd: int) -> Iterator[Keyboard]:
    """Have a terminal give each key at once and show none; restore it at the end.

    Ctrl-C and Ctrl-Z are still signals.
    """
    keyboard = Keyboard(fd)
    keyboard.take()
    try:
        yield keyboard
    finally:
        keyboard.give_back()


def _key_by_key(modes: list[Any]) -> list[Any]:
    changed = [*modes[:6], [*modes[6]]]
    changed[0] &= ~termios.IXON  # Ctrl-S would stop the output, and this process with it
    changed[3] &= ~(termios.ICANON | termios.ECHO)
    # Ctrl-\ would end this process at once, and leave the terminal as it is now.
    changed[6][termios.VQUIT] = b"\0"
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    return changed


def _tell(sequence: str) -> None:
    with suppress(OSError):
        sys.stdout.write(sequence)
        sys.stdout.flush()
