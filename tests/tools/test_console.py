"""What is printed does not command the terminal."""

import io

import pytest
from rich.text import Text

from trio_pipecat.tools import _console
from trio_pipecat.tools._console import open_console, print_error, printable
from trio_pipecat.tools._talk_screen import Screen, View, render_line
from trio_pipecat.tools._transcript import Line

#: It clears the screen, fills the clipboard, and does the first with one character.
HOSTILE = "a\x1b[2Jb\x1b]52;c;aGk=\x07c\x9b2Jd\u202ee"
HARMLESS = "a�[2Jb�]52;c;aGk=�c�2Jd�e"


def terminal() -> tuple[io.StringIO, _console.Console]:
    """Return a terminal, and what it gets."""
    output = io.StringIO()
    return output, open_console(file=output, force_terminal=True, width=60, height=9)


def test_what_a_terminal_obeys_is_left_out() -> None:
    """All else stays: lines, letters of any script, and pictures that are made of several."""
    assert HARMLESS == printable(HOSTILE)
    kept = "one\n\ttwo é 日本 👩‍👩‍👧 עברית"
    assert kept == printable(kept)


@pytest.mark.parametrize("markup", [True, False])
def test_nothing_that_is_printed_is_obeyed(markup: bool) -> None:
    """Text or string, with the console's own colours or without."""
    output, console = terminal()
    console.print(Text(HOSTILE, style="bold"))
    console.print(HOSTILE, markup=markup)
    assert "\x1b[1m" in output.getvalue()
    for sequence in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e"):
        assert sequence not in output.getvalue()


def test_the_screen_of_a_call_obeys_nobody() -> None:
    """What takes the place of it has its width."""
    output, console = terminal()
    view = View(target="sim:", state=HOSTILE, notice=HOSTILE)
    view.transcript.lines.append(Line("bot", HOSTILE, HOSTILE))
    Screen(console).show(view)
    for sequence in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e"):
        assert sequence not in output.getvalue()
    (row,) = render_line(Line("bot", HOSTILE), 60)
    assert f"  bot  {HARMLESS}" == row.plain


def test_what_went_wrong_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    """It may be the other side's words."""
    print_error(ValueError(HOSTILE))
    assert f"{HARMLESS}\n" == capsys.readouterr().err
