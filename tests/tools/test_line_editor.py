"""A line that is typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.tools._keyboard import Key, Typed
from trio_pipecat.tools._line_editor import LineEditor


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["hello"], "hello|"),
        (["hello", Key.BACKSPACE, Key.BACKSPACE], "hel|"),
        (["hello", Key.LEFT, Key.LEFT, "X"], "helX|lo"),
        (["hello", Key.LEFT, Key.DELETE], "hell|"),
        (["hello", Key.HOME, Key.RIGHT, Key.BACKSPACE], "|ello"),
        (["hello", Key.HOME, Key.END, "!"], "hello!|"),
        (["one two three", Key.ERASE_WORD], "one two |"),
        (["one", Key.ERASE_WORD], "|"),
        (["one two", Key.LEFT, Key.ERASE_LINE], "|o"),
        ([Key.BACKSPACE, Key.DELETE, Key.LEFT, Key.RIGHT, Key.ERASE_WORD], "|"),
    ],
)
def test_keys_edit_the_line(typed: list[Typed], expected: str) -> None:
    """As everywhere."""
    editor = LineEditor()
    assert all(editor.type(key) for key in typed)
    assert expected == f"{editor.text[: editor.cursor]}|{editor.text[editor.cursor :]}"


def test_what_is_no_editing() -> None:
    """Is left to others."""
    editor = LineEditor()
    assert not any(editor.type(key) for key in (Key.ENTER, Key.TAB, Key.ESCAPE, Key.HANG_UP))


def test_taking_the_line() -> None:
    """The next begins empty."""
    editor = LineEditor()
    editor.type("  hello ")
    assert ("hello", "", 0) == (editor.take(), editor.text, editor.cursor)


@given(st.lists(st.text(max_size=3) | st.sampled_from(Key), max_size=40))
def test_the_cursor_is_in_the_line(typed: list[Typed]) -> None:
    """Whatever is typed."""
    editor = LineEditor()
    for key in typed:
        editor.type(key)
        assert 0 <= editor.cursor <= len(editor.text)
