"""One line of text that is being typed. No I/O."""

from typing import final

from ._keyboard import Key, Typed


@final
class LineEditor:
    """Text, and where in it the next character goes."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0

    def type(self, typed: Typed) -> bool:
        """Do what a key does to a line. False: it does nothing to one."""
        before, after = self.text[: self.cursor], self.text[self.cursor :]
        match typed:
            case str():
                before += typed
            case Key.BACKSPACE:
                before = before[:-1]
            case Key.DELETE:
                after = after[1:]
            case Key.LEFT:
                before, after = before[:-1], before[-1:] + after
            case Key.RIGHT:
                before, after = before + after[:1], after[1:]
            case Key.HOME:
                before, after = "", before + after
            case Key.END:
                before, after = before + after, ""
            case Key.ERASE_WORD:
                before = before.rstrip().rpartition(" ")[0] + " "
                before = before.lstrip()
            case Key.ERASE_LINE:
                before = ""
            case _:
                return False
        self.text, self.cursor = before + after, len(before)
        return True

    def take(self) -> str:
        """Return what was typed, without space around it, and begin a new line."""
        text, self.text, self.cursor = self.text.strip(), "", 0
        return text
