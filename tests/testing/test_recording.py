"""Reading recordings: what is in them, and what is wrong with what is none."""

import json
from array import array
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.audio._pcm import pcm_of
from trio_pipecat.audio._stereo import BOT, USER, StereoWriter
from trio_pipecat.testing import Recorder, load_recording
from trio_pipecat.testing._recording import (
    RecordedAudio,
    RecordedInterruption,
    RecordedMessage,
    RecordedUndecodable,
)

HEADER: dict[str, Any] = {
    "trio-pipecat-recording": 1,
    "began": "2026-05-04T09:30:00.000+00:00",
    "library": "0.1.0",
    "target": "sim",
    "complete": True,
    "audio": "x.wav",
}
END: dict[str, Any] = {
    "reason": "client",
    "first": "client",
    "last_state": "ready",
    "code": 1000,
    "text": "",
    "error": None,
}
AUDIO: dict[str, Any] = {"rate": 1000, "channels": 1, "frames": 4, "at_frame": 0}


def at(t: float = 1.0, **what: Any) -> dict[str, Any]:
    """Return a line."""
    return {"t": t, "wall": 1e9, **what}


def write(folder: Path, *lines: Any, end: Any = END, header: Any = HEADER) -> Path:
    """Write a recording."""
    path = folder / "x.jsonl"
    every = [header, *lines, *([at(9, end=end)] if end != "none" else [])]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in every))
    return path


def write_wav(folder: Path, *, user: Any = (), bot: Any = (), rate: int = 1000) -> None:
    """Write the sound beside it."""
    writer = StereoWriter(folder / "x.wav", rate)
    writer.write(USER, 0, array("h", user))
    writer.write(BOT, 0, array("h", bot))
    writer.close()


def complaint(path: Path) -> str:
    """Return what is said against a file, after its name."""
    with pytest.raises(tp.RecordingError) as wrong:
        load_recording(path)
    return str(wrong.value).removeprefix(str(path.with_suffix(""))).partition(", ")[2]


def test_everything_in_it_is_typed(tmp_path: Path) -> None:
    """Lines become values, in their order."""
    write_wav(tmp_path, bot=[1, 2, 3, 4])
    hello = {"label": "rtvi-ai", "type": "client-ready", "id": "1"}
    recording = load_recording(
        write(
            tmp_path,
            at(0, state="idle"),
            at(0.5, sent=hello),
            at(1, received="text", text="oops"),
            at(1, received="audio", **AUDIO),
            at(1, received="interruption"),
            at(1, received="undecodable", detail="no frame", raw="/w=="),
            at(2, sent="interruption"),
        )
    )
    state, sent, text, audio, interrupted, undecodable, ours = recording.events
    assert (tp.State.IDLE,) == tuple(event.state for event in recording.states)
    assert (0, 1e9, 2) == (state.t, state.wall, state.line)
    assert (sent,) == recording.messages("client")
    assert ("client-ready", hello) == (sent.type, json.loads(sent.text))
    assert (text,) == recording.messages("bot")
    assert ("", "oops") == (text.type, text.text)
    assert (audio,) == recording.audio("bot")
    assert (0.004, 0.004, 0) == (
        audio.seconds,
        recording.audio_seconds("bot"),
        recording.audio_seconds("client"),
    )
    assert isinstance(interrupted, RecordedInterruption)
    assert isinstance(undecodable, RecordedUndecodable)
    assert ("bot", b"\xff", "client") == (interrupted.by, undecodable.raw, ours.by)
    assert ("sim", "0.1.0", True, 2026) == (
        recording.target,
        recording.library,
        recording.complete,
        recording.began.year,
    )
    assert recording.end is not None
    assert (9, "client", 1000, None) == (
        recording.duration,
        recording.end.reason,
        recording.end.code,
        recording.end.error,
    )


def test_neither_the_time_of_day_nor_the_line_counts(tmp_path: Path) -> None:
    """What happened is equal when it happened after the same time."""
    (one,) = load_recording(write(tmp_path, at(1, state="idle"))).events
    assert one == attrs.evolve(one, wall=5, line=9)
    assert one != attrs.evolve(one, t=2)


def test_an_error_is_told_by_name(tmp_path: Path) -> None:
    """With its text."""
    error = {"type": "FatalBotError", "text": "no more tea"}
    end = load_recording(write(tmp_path, end={**END, "error": error, "code": None})).end
    assert end is not None
    assert ("FatalBotError", "no more tea", None) == (end.error_type, end.error, end.code)


def test_an_empty_one_is_one(tmp_path: Path) -> None:
    """A recording that was stopped at once."""
    recording = load_recording(write(tmp_path, end=None))
    assert (None, 0, ()) == (recording.end, recording.duration, recording.events)
    assert 3 == load_recording(write(tmp_path, at(3, state="idle"), end=None)).duration


# -- sound ---------------------------------------------------------------------------------------


def test_a_chunk_sounds_as_it_did(tmp_path: Path) -> None:
    """From the side of whoever said it, with as many channels."""
    write_wav(tmp_path, user=[9, 8, 7], bot=[1, 2, 3, 4, 5])
    recording = load_recording(
        write(
            tmp_path,
            at(received="audio", **{**AUDIO, "at_frame": 1}),
            at(sent="audio", **{**AUDIO, "frames": 2, "channels": 2}),
            at(received="audio", **{**AUDIO, "at_frame": None}),
        )
    )
    with recording.open_sound() as sound:
        one, two, lost = (sound.chunk(a) for a in recording.events if isinstance(a, RecordedAudio))
    assert tp.AudioChunk(pcm_of(array("h", [2, 3, 4, 5])), 1000) == one
    assert tp.AudioChunk(pcm_of(array("h", [9, 9, 8, 8])), 1000, 2) == two
    assert tp.AudioChunk(bytes(8), 1000) == lost


def test_another_rate_is_converted_back(tmp_path: Path) -> None:
    """To as many frames as there were."""
    write_wav(tmp_path, user=[0, 10, 20, 30, 40, 50])
    recording = load_recording(
        write(tmp_path, at(sent="audio", **{**AUDIO, "rate": 500, "frames": 2, "at_frame": 1}))
    )
    with recording.open_sound() as sound:
        chunk = sound.chunk(recording.audio("client")[0])
    assert tp.AudioChunk(pcm_of(array("h", [20, 40])), 500) == chunk


def test_what_was_never_heard_is_silent(tmp_path: Path) -> None:
    """Of every chunk that an interruption has cut, and of no other."""
    write_wav(tmp_path, bot=[1, 2, 3, 4, 5, 6, 7, 8, 9])
    recording = load_recording(
        write(
            tmp_path,
            at(0, received="audio", **AUDIO),
            at(0, received="audio", **{**AUDIO, "at_frame": 4}),
            at(0, received="audio", **{**AUDIO, "at_frame": None}),
            at(0, sent="audio", **AUDIO),
            at(0.003, received="interruption", cut_at=3),
            at(0.003, received="audio", **{**AUDIO, "at_frame": 3}),
            at(0.005, received={"type": "bot-interrupted"}, cut_at=5),
        )
    )
    assert [3, 0, 4, 2] == [audio.heard for audio in recording.audio("bot")]
    assert [4] == [audio.heard for audio in recording.audio("client")]
    with recording.open_sound() as sound:
        chunks = [sound.chunk(audio).pcm for audio in recording.audio("bot")]
    assert [[1, 2, 3, 0], [0, 0, 0, 0], [0, 0, 0, 0], [4, 5, 0, 0]] == [
        list(array("h", pcm)) for pcm in chunks
    ]


def test_without_sound_there_is_no_file(tmp_path: Path) -> None:
    """And nothing to open."""
    with load_recording(write(tmp_path)).open_sound():
        pass


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "the sound of the recording is missing"),
        (lambda path: path.write_bytes(b"x" * 99), "not the WAV file of a recording"),
        (
            lambda path: write_wav(path.parent, bot=[1, 2]),
            "the sound is too short: 2 frames, line 3 of x.jsonl needs 4",
        ),
    ],
)
def test_sound_that_is_not_there(make: Any, why: str, tmp_path: Path) -> None:
    """The file is named."""
    make(tmp_path / "x.wav")
    path = write(tmp_path, at(0, state="idle"), at(received="audio", **AUDIO))
    with pytest.raises(tp.RecordingError) as wrong:
        load_recording(path)
    assert (str(tmp_path / "x.wav"), None, why) == (
        wrong.value.path,
        wrong.value.line,
        wrong.value.detail,
    )


# -- what is none --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "line 1: the file is empty"),
        (b"hello\n", "line 1: not a recording: it does not begin with 'trio-pipecat-recording'"),
        (b"\xff\xfe\x00", "line 1: not a recording: it does not begin with"),
        (b"{}\n", "line 1: not a recording: it does not begin with"),
        (b"[1]", "line 1: not a recording: it does not begin with"),
        (b"RIFF" * 100_000, "line 1: not a recording: it does not begin with"),
        (b'{"trio-pipecat-recording": 1, "beg', "line 1: the header breaks off, or is not JSON"),
    ],
)
def test_a_foreign_file(content: bytes, why: str, tmp_path: Path) -> None:
    """Is none of ours."""
    (tmp_path / "x.jsonl").write_bytes(content)
    assert complaint(tmp_path / "x.jsonl").startswith(why)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("trio-pipecat-recording", 2, "format 2 of 'trio-pipecat-recording'; this library reads 1"),
        ("trio-pipecat-recording", "1", "'trio-pipecat-recording' is not an integer"),
        ("trio-pipecat-recording", True, "'trio-pipecat-recording' is not an integer"),
        ("began", "yesterday", "'began' is no date: 'yesterday'"),
        ("began", 1, "'began' is not a string"),
        ("library", None, "'library' is not a string"),
        ("target", {}, "'target' is not a string"),
        ("complete", 1, "'complete' is not true or false"),
        ("audio", "../../etc/passwd", "'audio' is no file beside this one: '../../etc/passwd'"),
        ("audio", "", "'audio' is no file beside this one: ''"),
        ("audio", "..", "'audio' is no file beside this one: '..'"),
    ],
)
def test_a_header_that_can_not_be(key: str, value: Any, why: str, tmp_path: Path) -> None:
    """The key is named."""
    assert f"line 1: {why}" == complaint(write(tmp_path, header={**HEADER, key: value}))


@pytest.mark.parametrize("key", sorted(HEADER.keys() - {"trio-pipecat-recording"}))
def test_a_header_without_a_key(key: str, tmp_path: Path) -> None:
    """The key is named."""
    header = {name: value for name, value in HEADER.items() if name != key}
    assert f"line 1: {key!r} is missing" == complaint(write(tmp_path, header=header))


NEITHER = "none of 'state', 'sent', 'received' and 'end', or several"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ([], "not a JSON object"),
        (at(), NEITHER),
        (at(state="idle", sent={}), NEITHER),
        ({"wall": 1, "state": "idle"}, "'t' is missing"),
        ({"t": 1, "state": "idle"}, "'wall' is missing"),
        ({"t": "1", "wall": 1, "state": "idle"}, "'t' is not an integer or a number"),
        (at(-1, state="idle"), "'t' is no time"),
        (at(float("nan"), state="idle"), "'t' is no time"),
        (at(float("inf"), state="idle"), "'t' is no time"),
        (at(state="confused"), "'state' can't be 'confused'"),
        (at(state=1), "'state' is not a string"),
        (at(sent=5), "'sent' is not an object or a string"),
        (at(sent="smoke"), "'sent' is an object or a known kind, not 'smoke'"),
        (at(sent="undecodable"), "'sent' is an object or a known kind, not 'undecodable'"),
        (at(received="text"), "'text' is missing"),
        (at(received="undecodable", raw="!", detail=""), "'raw' is not base64"),
        (at(received="undecodable", raw=""), "'detail' is missing"),
        (at(received="audio", **{**AUDIO, "rate": 0}), "'rate' can't be 0"),
        (at(received="audio", **{**AUDIO, "rate": 2.5}), "'rate' is not an integer"),
        (at(received="audio", **{**AUDIO, "frames": -1}), "'frames' can't be -1"),
        (at(received="audio", **{**AUDIO, "frames": 2**40}), f"'frames' can't be {2**40}"),
        (
            at(received="audio", **{**AUDIO, "at_frame": "1"}),
            "'at_frame' is not an integer or null",
        ),
        (at(received="audio", **{**AUDIO, "at_frame": -2}), "'at_frame' can't be -2"),
        (at(received="interruption", cut_at=None), "'cut_at' is not an integer"),
        (at(end=5), "'end' is not an object or null"),
        (at(end={**END, "reason": "boredom"}), "'end.reason' can't be 'boredom'"),
        (at(end={**END, "code": "1"}), "'end.code' is not an integer or null"),
        (at(end={**END, "error": {"type": "x"}}), "'end.error.text' is missing"),
        (at(end={}), "'end.error' is missing"),
        (at(10**400, state="idle"), "'t' is no time"),
    ],
)
def test_a_line_that_can_not_be(line: Any, why: str, tmp_path: Path) -> None:
    """Line and key are named."""
    assert f"line 3: {why}" == complaint(write(tmp_path, at(0, state="idle"), line))


def test_what_comes_after_the_end(tmp_path: Path) -> None:
    """Is not of this recording."""
    path = write(tmp_path, at(end=END))
    assert "line 3: there is something after the end" == complaint(path)


# -- what broke off ------------------------------------------------------------------------------


@given(st.data())
def test_wherever_it_breaks_off_it_is_told(data: st.DataObject) -> None:
    """One error that names a line; and what is there can be had."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), at(0, state="idle"), at(1, state="connecting"), at(2, sent={}))
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(tp.RecordingError) as wrong:
            load_recording(path)
        assert wrong.value.line == max(len(path.read_bytes().splitlines()), 1)
        if wrong.value.line > 1:
            partial = load_recording(path, partial=True)
            assert partial.end is None
            whole = path.read_bytes().count(b"\n")
            assert len(partial.events) == whole - 1


def test_a_recording_without_its_end(tmp_path: Path) -> None:
    """That of a program that was killed."""
    path = write(tmp_path, at(0, state="idle"), end="none")
    assert "line 2: the recording breaks off after this line: it has no end" == complaint(path)
    assert 1 == len(load_recording(path, partial=True).events)


def test_a_partial_one_may_lack_its_sound(tmp_path: Path) -> None:
    """What is not there is silence."""
    path = write(tmp_path, at(received="audio", **AUDIO), end="none")
    assert 1 == len(load_recording(path, partial=True).events)
    write_wav(tmp_path, bot=[1])
    recording = load_recording(path, partial=True)
    with recording.open_sound() as sound:
        assert [1, 0, 0, 0] == list(array("h", sound.chunk(recording.audio("bot")[0]).pcm))


def test_a_file_that_is_not_there_is_pythons_own_error(tmp_path: Path) -> None:
    """As for any file."""
    with pytest.raises(FileNotFoundError):
        load_recording(tmp_path / "nowhere.jsonl")


async def test_what_a_recorder_writes_is_read(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Every message as it was."""
    events: list[tp.Event] = []
    async with tp.open_session("sim:") as session:
        Recorder(session, tmp_path / "x.jsonl")
        async for event in session:
            events.append(event)
            if isinstance(event, tp.BotStoppedSpeaking):
                break
    recording = load_recording(str(tmp_path / "x.jsonl"))
    raw = [event.raw for event in events if isinstance(event, tp.BotMessage)]
    assert raw == [message.message for message in recording.messages("bot")]
    assert all(isinstance(message, RecordedMessage) for message in recording.messages("bot"))
    assert [state for state, _ in session.history] == [state.state for state in recording.states]
    assert session.end.reason == recording.end.reason
