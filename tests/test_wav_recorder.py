"""The recorder of a session's sound."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import wave
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.audio import _soundtrack
from trio_pipecat.audio._pcm import pcm_of
from trio_pipecat.audio._stereo import BOT, USER, StereoReader
from trio_pipecat.testing import BotLink, SimulatedBot, crash
from trio_pipecat.testing._memory_link import connect_in_memory

FULL = Path("/dev/full")


class Saying:
    """A bot that is ready, says what it is told to, and waits for the end."""

    def __init__(self, *said: Any) -> None:
        self.said = said

    async def converse(self, link: BotLink) -> None:
        await link.receive()
        await link.send_message(json.dumps(message("bot-ready", version="2.2.0")))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, link)
            # What nobody receives would hold up who sends it.
            with suppress(trio.EndOfChannel):
                while True:
                    await link.receive()
            nursery.cancel_scope.cancel()

    async def _speak(self, link: BotLink) -> None:
        for item in self.said:
            match item:
                case float():
                    await trio.sleep(item)
                case tp.AudioChunk():
                    await link.send_audio(item)
                case _:
                    await link.send_message(json.dumps(item))

    def connect(self, params: tp.ConnectParams, options: Any) -> Any:
        return connect_in_memory(self, options)


def message(type_: str, **data: Any) -> dict[str, Any]:
    return {"label": "rtvi-ai", "type": type_, "id": "", "data": data}


def tone(seconds: float, rate: int, value: int = 1_000) -> tp.AudioChunk:
    return tp.AudioChunk(pcm_of(array("h", [value] * round(seconds * rate))), rate)


def marks(path: Path) -> list[tuple[float, str]]:
    """Return the marks of a file, in seconds."""
    reader = StereoReader(path)
    found = [(round(frame / reader.rate, 3), label) for frame, label in reader.cues()]
    reader.close()
    return found


def sounds(path: Path) -> tuple[int, list[int], list[int]]:
    """Return the rate and both sides of a file."""
    reader = StereoReader(path)
    user, bot = (reader.read(side, 0, reader.frames).tolist() for side in (USER, BOT))
    reader.close()
    return reader.rate, user, bot


async def test_a_conversation_is_there_with_its_marks(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Sound where it was heard, states, who spoke, and what was said."""
    bot = Saying(
        1.0,
        message("bot-started-speaking"),
        message("bot-output", text="Hello \n you", output_type="sentence", spoken_status="new"),
        message("bot-output", text="word", output_type="word", spoken=True),
        tone(5, 24_000),
        0.5,
        message("user-started-speaking"),
        message("bot-interrupted"),
        message("bot-stopped-speaking"),
        0.5,
        message("user-input", text="Stop.", input_type="x", timestamp="", final=True),
        message("user-transcription", text="Stop.", user_id="", timestamp="", final=True),
        message("error", error="no tea", fatal=False),
    )
    path = tmp_path / "call.wav"
    async with tp.open_session(transport=bot.connect) as session:
        with tp.WavRecorder(session, path) as recorder:
            await session.wait_ready()
            for _ in range(50):
                await session.send_audio(tone(0.02, 16_000).pcm, sample_rate=16_000)
                await trio.sleep(0.02)
            await trio.sleep(0.25)
            await session.send_text("and bye")
            await trio.sleep(2)
            assert "recording" in repr(recorder)
    assert "closed, 3.2 s" in repr(recorder)
    assert 3.25 == recorder.seconds
    assert [
        *((0, f"state: {state}") for state in ("idle", "connecting", "connected")),
        (0, "bot-ready"),
        (0, "state: ready"),
        (1.0, "bot-started-speaking"),
        (1.0, "bot-output: Hello you"),
        (1.25, "send-text: and bye"),
        (1.5, "user-started-speaking"),
        (1.5, "bot-interrupted"),
        (1.5, "bot-stopped-speaking"),
        (2.0, "user-input: Stop."),
        (2.0, "error: no tea"),
        (3.25, "state: disconnecting"),
        (3.25, "state: disconnected"),
    ] == marks(path)
    rate, user, heard = sounds(path)
    assert 24_000 == rate
    assert [1_000] * 12_000 == heard[24_000:36_000]
    assert {0} == set(heard[:24_000] + heard[36_000:])
    assert {1_000} == set(user[100:23_900])
    assert {0} == set(user[24_000:])


async def test_the_whole_chain_does_not_drift(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Impulses of both sides, sent on the beat for half a minute, are at their frames."""
    path = tmp_path / "call.wav"
    pcm = array("h", [0] * 16_000 * 30)
    pcm[::16_000] = array("h", [20_000] * 30)
    said: list[Any] = []
    for number in range(750):
        samples = [0] * 960
        samples[0] = 20_000 if number % 25 == 0 else 0
        said += [tp.AudioChunk(pcm_of(array("h", samples)), 24_000), 0.04]
    async with tp.open_session(transport=Saying(*said).connect) as session:
        tp.WavRecorder(session, path)
        await session.wait_ready()
        for begin in range(0, len(pcm), 320):
            await session.send_audio(pcm_of(pcm[begin : begin + 320]), sample_rate=16_000)
            await trio.sleep(0.02)
    _, user, bot = sounds(path)
    assert list(range(0, 720_000, 24_000)) == [at for at, sample in enumerate(bot) if sample]
    for second in range(1, 30):
        around = user[second * 24_000 - 20 : second * 24_000 + 21]
        assert 20 == around.index(max(around))


async def test_a_link_that_breaks_leaves_no_tail(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The bot was in the middle of something that nobody heard."""
    path = tmp_path / "call.wav"
    bot = SimulatedBot([crash(after=1)], greeting="A greeting that takes its time, and more.")
    with pytest.raises(tp.ConnectionLostError):
        async with tp.open_session(transport=bot.connect) as session:
            tp.WavRecorder(session, path)
            await trio.sleep_forever()
    assert session.end is not None
    ended = session.history[-1][1] - session.history[0][1]
    _, _, heard = sounds(path)
    assert abs(len(heard) - ended * 24_000) <= 1


async def test_secrets_are_not_in_marks(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Not even where the label is cut."""
    async with tp.open_session("sim:?greeting=", token="tok-123456") as session:
        tp.WavRecorder(session, tmp_path / "x.wav")
        await session.wait_ready()
        for size in range(80, 120):
            await session.send_text("x" * size + " tok-123456")
        await trio.sleep(1)
    assert b"tok-" not in (tmp_path / "x.wav").read_bytes()


async def test_it_can_be_stopped_and_comes_late(tmp_path: Path, autojump_clock: MockClock) -> None:
    """States from before are there; what is after is not."""
    async with tp.open_session("sim:?greeting=") as session:
        await session.wait_ready()
        await trio.sleep(1)
        recorder = tp.WavRecorder(session, tmp_path / "x.wav")
        await trio.sleep(1)
        recorder.stop()
        recorder.stop()
        await session.send_text("off the record")
        await trio.sleep(1)
    assert (0, "state: ready") == marks(tmp_path / "x.wav")[-1]
    tp.WavRecorder(session, tmp_path / "y.wav")
    assert "state: disconnected" == marks(tmp_path / "y.wav")[-1][1]


async def test_what_cannot_be_is_told_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """No such folder, no such rate. The session does not mind."""
    async with tp.open_session("sim:") as session:
        with pytest.raises(OSError):
            tp.WavRecorder(session, tmp_path / "nowhere" / "x.wav")
        with pytest.raises(ValueError, match="sample rate"):
            tp.WavRecorder(session, tmp_path / "x.wav", sample_rate=0)
        await session.wait_ready()
    assert "client" == session.end.reason


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
async def test_a_full_disk_ends_the_recording_and_not_the_session(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The error is kept, and raised on leaving the block."""
    with pytest.raises(OSError, match="No space left"):
        async with tp.open_session("sim:?greeting=One%20two%20three%20four") as session:
            with tp.WavRecorder(session, tmp_path / "x.wav") as recorder:
                await session.wait_event(tp.AudioStarted)
                recorder._sound._writer._file.close()
                recorder._sound._writer._file = io.FileIO(FULL, "r+")
                await session.wait_event(tp.BotStoppedSpeaking)
                await session.request("ping", 1)
    assert recorder.error is not None
    assert "client" == session.end.reason
    assert [] == session._driver.taps


async def test_a_file_that_has_no_room_for_more_is_not_whole(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes in a WAV file have an end. What was heard before is there."""
    monkeypatch.setattr(_soundtrack, "MAX_FRAMES", 24_000)
    path = tmp_path / "x.wav"
    bot = Saying(tone(0.5, 24_000), 1.0, tone(0.5, 24_000), 1.0)
    async with tp.open_session(transport=bot.connect) as session:
        recorder = tp.WavRecorder(session, path)
        await session.wait_ready()
        await trio.sleep(3)
    assert recorder.error is not None
    assert errno.EFBIG == recorder.error.errno
    assert "client" == session.end.reason
    reader = StereoReader(path)
    assert (24_000, 1_000) == (reader.rate, reader.read(BOT, 11_000, 1)[0])
    reader.close()


PROGRAM = """
import sys, trio, trio_pipecat as tp

async def main():
    async with tp.open_session("sim:?echo=0&greeting=" + "word%20" * 40) as session:
        tp.WavRecorder(session, sys.argv[1])
        began = session.history[0][1]
        await session.wait_ready()
        for _ in range(1_000):
            await session.send_audio(b"\\x10\\x27" * 320, sample_rate=16_000)
            print(trio.current_time() - began, flush=True)
            await trio.sleep(0.02)

trio.run(main)
"""


def test_a_process_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    """With all sound of both sides, but for some milliseconds that a filter still had."""
    path = tmp_path / "x.wav"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(100):
        sent = float(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    with wave.open(str(path)) as file:
        frames = file.getnframes()
        assert 4 * frames == len(file.readframes(frames))
    rate, user, bot = sounds(path)
    assert 24_000 == rate
    heard = [at for at, sample in enumerate(user) if sample > 9_000]
    assert heard[-1] / rate > sent - 0.1
    assert max(at for at, sample in enumerate(bot) if sample) / rate > sent - 0.1
    assert (0, "state: connected") in [(int(at), label) for at, label in marks(path)]
    if shutil.which("soxi"):
        told = subprocess.run(["soxi", "-s", str(path)], capture_output=True, text=True, check=True)
        assert (str(frames), "") == (told.stdout.strip(), told.stderr)


async def test_a_message_that_is_none_is_not_marked(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Whatever somebody sends as it is."""
    async with tp.open_session("sim:?greeting=") as session:
        tp.WavRecorder(session, tmp_path / "call.wav")
        await session.wait_ready()
        for data in (None, "send-text", [1], {"content": 5}):
            await session.send_raw("send-text", data)
        await session.request("ping", "send-text")
    assert None is session.end.error
