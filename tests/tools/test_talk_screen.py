"""What ``talk`` looks like, drawn without a terminal."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from trio_pipecat.tools import _talk_screen
from trio_pipecat.tools._talk_screen import Screen, View, open_screen, render, render_line
from trio_pipecat.tools._transcript import Line


def view(*lines: Line, **keywords: object) -> View:
    """Return a view of a call in which this was said."""
    result = View(target="sim:", state="ready", **keywords)  # type: ignore[arg-type]
    result.transcript.lines += lines
    return result


def drawn(shown: View, width: int = 60, height: int = 12) -> list[str]:
    """Return it as text."""
    return [row.plain.rstrip() for row in render(shown, width, height)]


ANSWER = Line("bot", "You said: Hello", "and more", latency=0.4321)


def test_a_call_by_text() -> None:
    """All of it."""
    shown = view(Line("you", "Hello"), ANSWER, seconds=75.9, typed="Hi", cursor=2, notice="so")
    shown.text_to_voice = 0.4321
    assert [
        f"  sim:{'ready   1:15':>53}",
        "─" * 60,
        "  you  Hello",
        f"  bot  You said: Hello and more{'0.43 s':>28}",
        *[""] * 3,
        "─" * 60,
        f"  text only{'text to voice 0.43 s':>48}",
        "  so",
        "  › Hi",
        "  Enter send   Esc interrupt   Ctrl-D hang up",
    ] == drawn(shown)


def test_a_call_by_voice() -> None:
    """Has meters, and can be muted."""
    shown = view(microphone=0.1, speaker=0.001, voice_to_voice=1.2)
    assert "  you ━━━━━━━━━─────           bot ──────────────" in drawn(shown, 90)[-4]
    assert drawn(shown, 90)[-4].endswith("voice to voice 1.20 s")
    assert "Tab mute" in drawn(shown)[-1]
    shown.muted = True
    assert "  you ──────────────  muted    bot" in drawn(shown)[-4]
    assert "Tab unmute" in drawn(shown)[-1]


def test_a_device_that_is_gone() -> None:
    """Leaves the other where it is."""
    assert "  you none                     bot ━━━━" in drawn(view(speaker=0.5))[-4]


def test_the_state_is_who_is_speaking() -> None:
    """While the bot speaks."""
    shown = view()
    shown.transcript.bot_is_speaking = True
    assert "bot is speaking" in drawn(shown)[0]


def test_nothing_moves_while_the_bot_speaks() -> None:
    """The text is there from the beginning, and lights up."""
    text = "It was the best of times, it was the worst of times, it was the age of wisdom"
    words = text.split()
    pictures = set()
    for spoken in range(len(words) + 1):
        line = Line("bot", " ".join(words[:spoken]), " ".join(words[spoken:]))
        pictures.add("\n".join(row.plain for row in render_line(line, 60)))
    assert 1 == len(pictures)


def test_what_was_cut_off() -> None:
    """Says so."""
    line = Line("bot", "Once upon", interrupted=True)
    assert ["  bot  Once upon … (interrupted)"] == [row.plain for row in render_line(line, 60)]


def test_a_full_transcript_scrolls() -> None:
    """The newest is there, the rest of the screen where it was."""
    lines = [Line("you", f"line {number}") for number in range(50)]
    rows = drawn(view(*lines))
    assert ["line 45", "line 49"] == [rows[2][7:], rows[6][7:]]
    assert "─" * 60 == rows[7]


def test_a_long_line_is_typed() -> None:
    """One sees where one is typing."""
    text = "x" * 100 + "end"
    assert drawn(view(typed=text, cursor=len(text)))[-2].endswith("xend")
    start = drawn(view(typed=f"begin{text}", cursor=0))[-2]
    assert start.startswith("  › beginxxx")


@given(
    st.integers(1, 200),
    st.integers(1, 60),
    st.lists(st.builds(Line, st.sampled_from(["you", "bot", "note"]), st.text(), st.text())),
    st.text(),
    st.floats(0, 1) | st.none(),
)
def test_it_fits_any_window(
    width: int, height: int, lines: list[Line], typed: str, level: float | None
) -> None:
    """As many lines as there are, and none that is too wide."""
    typed = "".join(filter(str.isprintable, typed))
    shown = view(*lines, typed=typed, cursor=len(typed), microphone=level, notice=typed)
    rows = render(shown, width, height)
    assert height == len(rows)
    assert all(row.cell_len <= width for row in rows)
    assert all("\n" not in row.plain for row in rows)


@pytest.fixture
def console() -> Console:
    """A terminal that is nowhere."""
    return Console(
        file=io.StringIO(), force_terminal=True, width=60, height=12, color_system="standard"
    )


def test_a_book_is_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not measured character by character, nor wrapped to its beginning at each frame."""
    measured = 0

    def cell_len(text: str) -> int:
        nonlocal measured
        measured += len(text)
        return len(text)

    monkeypatch.setattr(_talk_screen, "cell_len", cell_len)
    book = "word " * 20_000
    shown = view(Line("you", f"{book}end"), typed=book, cursor=len(book) // 2)
    rows = drawn(shown)
    assert measured < 20_000
    assert ("word end", "word word") == (rows[6][-8:], rows[10][-11:-2])


def test_only_what_has_changed_is_drawn(console: Console) -> None:
    """So that nothing flickers."""
    screen, shown = Screen(console), view(Line("you", "Hello"))
    assert 12 == screen.show(shown)
    assert 0 == screen.show(shown)
    shown.typed, shown.cursor = "x", 1
    assert 1 == screen.show(shown)
    # Another style is another picture.
    shown.transcript.lines.append(Line("bot", "", "Hi"))
    assert 1 == screen.show(shown)
    shown.transcript.lines[-1].said, shown.transcript.lines[-1].rest = "Hi", ""
    assert 1 == screen.show(shown)
    console.size = (50, 12)
    assert 12 == screen.show(shown)


def test_the_screen_is_given_back(console: Console) -> None:
    """At the end, and for a while."""
    file = console.file
    assert isinstance(file, io.StringIO)
    with open_screen(console) as screen:
        assert file.getvalue().startswith("\x1b[?1049h")
        screen.show(view())
        with screen.paused():
            assert file.getvalue().count("\x1b[?1049l") == 1
        assert 12 == screen.show(view())
    assert file.getvalue().count("\x1b[?1049l") == 2
