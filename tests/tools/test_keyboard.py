"""Keys of a terminal: decoded however they are cut, and a terminal that is as it was before."""

import itertools
import os
import pty
import termios
from collections.abc import Iterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.tools._keyboard import Key, KeyDecoder, Typed, open_keyboard

CASES: list[tuple[bytes, list[Typed]]] = [
    (b"hello", ["hello"]),
    ("日本é".encode(), ["日本é"]),
    (b"a\r", ["a", Key.ENTER]),
    (b"a\nb\n", ["a", Key.ENTER, "b", Key.ENTER]),
    (b"\t", [Key.TAB]),
    (b"\x7f\x08", [Key.BACKSPACE, Key.BACKSPACE]),
    (b"\x04", [Key.HANG_UP]),
    (b"\x01\x05\x15\x17\x0c", [Key.HOME, Key.END, Key.ERASE_LINE, Key.ERASE_WORD, Key.REDRAW]),
    (b"\x1b[C\x1b[D\x1bOC\x1bOD", [Key.RIGHT, Key.LEFT, Key.RIGHT, Key.LEFT]),
    (b"\x1b[H\x1b[F\x1b[1~\x1b[4~\x1b[3~", [Key.HOME, Key.END, Key.HOME, Key.END, Key.DELETE]),
    # Of no use here: up, F5, a mouse, a colour's report.
    (b"\x1b[A\x1b[15~\x1b[<0;1;1Mx", ["x"]),
    (b"\x1b[200~one\r\ntwo\tthree \x1b[A\x1b[201~!", ["one two three [A", "!"]),
    (b"\x1b[200~\x1b[201~", []),
    (b"\x1bx", [Key.ESCAPE, "x"]),
    (b"\x1b\x1b[C", [Key.ESCAPE, Key.RIGHT]),
    (b"a\xffb", ["a\ufffdb"]),
    (b"\x00\x1ca", ["a"]),
]


def joined(typed: list[Typed]) -> list[Typed]:
    """Characters that came one by one are what they are together."""
    result: list[Typed] = []
    for item in typed:
        if isinstance(item, str) and result and isinstance(result[-1], str):
            result[-1] += item
        else:
            result.append(item)
    return result


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_what_is_typed(data: bytes, expected: list[Typed]) -> None:
    """Keys and characters; what was pasted is one line."""
    decoder = KeyDecoder()
    assert expected == decoder.feed(data)
    assert [] == decoder.settle()


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_byte_by_byte(data: bytes, expected: list[Typed]) -> None:
    """It makes no difference."""
    decoder = KeyDecoder()
    typed = [item for byte in data for item in decoder.feed(bytes([byte]))]
    assert joined(expected) == joined(typed)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_nothing_confuses_it(data: bytes, cuts: list[int]) -> None:
    """However it is cut, the same comes of it, and only what can be printed."""
    whole = KeyDecoder()
    expected = whole.feed(data)
    pieces = KeyDecoder()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    typed = [
        item for start, end in itertools.pairwise(places) for item in pieces.feed(data[start:end])
    ]
    # Two halves of one line end are one Enter, if they come together.
    if b"\r\n" not in data:
        assert joined(expected) == joined(typed)
    assert all(isinstance(item, Key) or item.isprintable() for item in typed)
    assert all(isinstance(item, Key) or item.isprintable() for item in pieces.settle())


def test_an_escape_on_its_own() -> None:
    """Only the time tells."""
    decoder = KeyDecoder()
    assert [] == decoder.feed(b"\x1b")
    assert decoder.is_waiting
    assert [Key.ESCAPE] == decoder.settle()
    assert not decoder.is_waiting
    assert [] == decoder.feed(b"\x1b[1")
    assert [Key.ESCAPE, "[1"] == decoder.settle()


# -- a terminal ----------------------------------------------------------------------------------


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of one: a person's, and a program's."""
    person, program = pty.openpty()
    try:
        yield person, program
    finally:
        for fd in (person, program):
            try:
                os.close(fd)
            except OSError:
                pass


def modes(fd: int) -> tuple[bool, bool, bool]:
    """Does it wait for whole lines, show what is typed, and make signals?"""
    local = termios.tcgetattr(fd)[3]
    return bool(local & termios.ICANON), bool(local & termios.ECHO), bool(local & termios.ISIG)


async def test_keys_come_one_by_one(terminal: tuple[int, int]) -> None:
    """Without Enter, and an Escape after a moment."""
    person, program = terminal
    with open_keyboard(program) as keyboard:
        assert (False, False, True) == modes(program)
        for data, expected in ((b"x", "x"), (b"\t", Key.TAB), (b"\x1b", Key.ESCAPE)):
            os.write(person, data)
            assert expected == await anext(keyboard)
        os.write(person, b"ab\x7f")
        assert ["ab", Key.BACKSPACE] == [await anext(keyboard), await anext(keyboard)]
    assert (True, True, True) == modes(program)


async def test_cancelling_loses_nothing(terminal: tuple[int, int]) -> None:
    """Who comes back reads on."""
    person, program = terminal
    with open_keyboard(program) as keyboard:
        with trio.move_on_after(0.01) as scope:
            await anext(keyboard)
        assert scope.cancelled_caught
        os.write(person, b"x")
        assert "x" == await anext(keyboard)


async def test_a_terminal_that_is_hung_up(terminal: tuple[int, int]) -> None:
    """Is the end of the keys, and no error."""
    person, program = terminal
    with open_keyboard(program) as keyboard:
        os.close(person)
        assert [] == [key async for key in keyboard]


def test_it_is_restored_after_an_error(terminal: tuple[int, int]) -> None:
    """All of it."""
    _, program = terminal
    before = termios.tcgetattr(program)
    with pytest.raises(ZeroDivisionError), open_keyboard(program):
        raise ZeroDivisionError
    assert before == termios.tcgetattr(program)


def test_no_key_ends_the_process_at_once(terminal: tuple[int, int]) -> None:
    """Ctrl-\\ does nothing: nobody would restore the terminal. Ctrl-C is a signal still."""
    with open_keyboard(terminal[1]):
        characters = termios.tcgetattr(terminal[1])[6]
    assert (b"\0", b"\x03") == (characters[termios.VQUIT], characters[termios.VINTR])
    assert b"\x1c" == termios.tcgetattr(terminal[1])[6][termios.VQUIT]


def test_it_can_be_given_back_for_a_while(terminal: tuple[int, int]) -> None:
    """As Ctrl-Z wants."""
    _, program = terminal
    with open_keyboard(program) as keyboard:
        with keyboard.paused():
            assert (True, True, True) == modes(program)
        assert (False, False, True) == modes(program)
