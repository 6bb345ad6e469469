"""What is to be played."""

from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.audio._playlist import Playlist


@given(st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 50))))
def test_what_is_taken_is_what_was_put_in(steps: "list[bytes | int]") -> None:
    """In order, none twice, none lost, and never more than was asked for."""
    playlist, put, taken = Playlist(), b"", b""
    for step in steps:
        if isinstance(step, bytes):
            playlist.add(step)
            put += step
        else:
            expected = put[len(taken) : len(taken) + step]
            assert expected == playlist.take(step)
            taken += expected
        assert (len(put), len(taken)) == (playlist.put, playlist.taken)
        assert len(put) - len(taken) == playlist.queued


def test_one_thread_puts_and_another_takes() -> None:
    """What comes out is what went in."""
    playlist, heard = Playlist(), bytearray()
    pieces = [bytes([number % 251]) * (number % 97) for number in range(20_000)]
    put = b"".join(pieces)

    def take() -> None:
        while len(heard) < len(put):
            heard.extend(playlist.take(len(heard) % 61 + 1))

    taker = Thread(target=take)
    taker.start()
    for piece in pieces:
        playlist.add(piece)
    taker.join()
    assert put == heard
    assert 0 == playlist.queued
