"""The recorder: what it writes, when, and what it never writes."""

import base64
import json
import os
import wave
from array import array
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.audio._pcm import pcm_of, samples_of
from trio_pipecat.testing import BotLink, Recorder, SimulatedBot, load_recording, serve_bot
from trio_pipecat.testing._memory_link import connect_in_memory

HELLO = {"label": "rtvi-ai", "type": "bot-ready", "id": "", "data": {"version": "2.2.0"}}


class Saying:
    """A bot that is ready, says what it is told to, and waits for the end."""

    def __init__(self, *said: Any) -> None:
        self.said = said

    async def converse(self, link: BotLink) -> None:
        await link.receive()
        await link.send_message(json.dumps(HELLO))
        for item in self.said:
            match item:
                case float():
                    await trio.sleep(item)
                case bytes():
                    await link.send_bytes(item)
                case tp.AudioChunk():
                    await link.send_audio(item)
                case None:
                    await link.send_interruption()
                case _:
                    await link.send_message(item if isinstance(item, str) else json.dumps(item))
        try:
            while True:
                await link.receive()
        except trio.EndOfChannel:
            pass

    def connect(self, params: tp.ConnectParams, options: Any) -> Any:
        return connect_in_memory(self, options)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what is in a recording, without the time of day."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        line.pop("wall", None)
    return found


def sounds(path: Path) -> tuple[int, list[int], list[int]]:
    """Return the rate and both sides of a WAV file."""
    with wave.open(str(path)) as file:
        both = samples_of(file.readframes(file.getnframes()))
        return file.getframerate(), both[::2].tolist(), both[1::2].tolist()


async def recorded(
    path: Path, bot: Saying, *, seconds: float = 10, say: Any = None, **keywords: Any
) -> Recorder:
    """Record a session with a bot; `say` is what the client does when it is ready."""
    async with tp.open_session(transport=bot.connect, **keywords) as session:
        with Recorder(session, path) as recorder:
            await session.wait_ready()
            if say is not None:
                await say(session)
            await trio.sleep(seconds)
    return recorder


async def test_a_session_from_its_beginning_to_its_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """States, both sides' messages, and the end, which comes after the block's last line."""
    path = tmp_path / "call.jsonl"
    async with tp.open_session(transport=SimulatedBot(ready_delay=1).connect) as session:
        with Recorder(session, path) as recorder:
            await session.wait_ready()
            await session.request("ping", 5)
        assert "recording" in repr(recorder)
        await trio.sleep(1)
    assert "closed" in repr(recorder)
    header, *rest = lines(path)
    assert {
        "trio-pipecat-recording": 1,
        "library": tp.__version__,
        "target": "custom",
        "complete": True,
        "audio": "call.wav",
    } == {key: value for key, value in header.items() if key != "began"}
    told = [
        (line["t"], what if isinstance(what, str) else what["type"])
        for line in rest[:-1]
        for what in line.values()
        if not isinstance(what, float)
    ]
    assert [
        (0.0, "idle"),
        (0.0, "connecting"),
        (0.0, "connected"),
        (0.0, "client-ready"),
        (1.0, "bot-ready"),
        (1.0, "ready"),
        (1.0, "client-message"),
        (1.0, "server-response"),
        (2.0, "disconnecting"),
        (2.0, "disconnected"),
    ] == told
    end = {"reason": "client", "first": "client", "last_state": "ready", "code": 1000, "text": ""}
    assert {"t": 2.0, "end": {**end, "error": None}} == rest[-1]
    assert {"client": 2, "bot": 2} == recorder.messages
    assert not recorder.audio_path.exists()


async def test_both_clocks_are_kept(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Seconds since the beginning, and since 1970."""
    await recorded(tmp_path / "x.jsonl", Saying())
    found = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()[1:]]
    assert [0, 10] == [found[0]["t"], found[-1]["t"]]
    assert all(line["wall"] > 1_700_000_000 for line in found)
    assert load_recording(tmp_path / "x.jsonl").began.tzinfo is not None


async def test_an_error_that_ends_a_session_is_kept(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """By its class and its text."""
    error = {"label": "rtvi-ai", "type": "error", "data": {"error": "no more tea", "fatal": True}}
    with pytest.raises(tp.FatalBotError):
        await recorded(tmp_path / "x.jsonl", Saying(error))
    end = lines(tmp_path / "x.jsonl")[-1]["end"]
    assert ("fatal_error", "bot") == (end["reason"], end["first"])
    assert {"type": "FatalBotError", "text": "the bot failed: no more tea"} == end["error"]


async def test_a_start_that_fails_is_recorded(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Its states, and why."""
    with pytest.raises(tp.TransportStartError):
        async with tp.open_session("ws://127.0.0.1:1/") as session:
            Recorder(session, tmp_path / "x.jsonl")
            await session.wait_ready()
    header, *_, end = lines(tmp_path / "x.jsonl")
    assert "websocket" == header["target"]
    assert ("startup_failed", None) == (end["end"]["reason"], end["end"]["code"])


async def test_what_is_no_json_object_is_kept_as_it_was(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Texts, lists, and bytes that are nothing."""
    surrogate = '{"label":"rtvi-ai","type":"x","data":"\\ud800 \\u00fc"}'
    deep = "[" * 100_000
    await recorded(
        tmp_path / "x.jsonl", Saying("audio", "[1]", '"text"', deep, surrogate, b"\xff\xff")
    )
    found = [line for line in lines(tmp_path / "x.jsonl") if "received" in line][1:]
    assert ["audio", "[1]", '"text"', deep] == [line["text"] for line in found[:4]]
    assert "\ud800 ü" == found[4]["received"]["data"]
    assert "undecodable" == found[5]["received"]
    assert b"\xff\xff" == base64.b64decode(found[5]["raw"])


# -- sound ---------------------------------------------------------------------------------------


async def test_both_sides_are_on_one_timeline(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The user left and the bot right, where they were heard, at the bot's rate."""
    bot = Saying(0.5, tp.AudioChunk(pcm_of(array("h", [5] * 1000)), 1000))

    async def say(session: tp.Session) -> None:
        await session.send_audio(pcm_of(array("h", [300] * 1000)), sample_rate=2000)

    recorder = await recorded(tmp_path / "x.jsonl", bot, say=say)
    rate, user, heard = sounds(recorder.audio_path)
    assert 1000 == rate
    assert 1500 == len(user)
    assert [300] * 400 == user[50:450]
    assert [0] * 1000 == user[500:]
    assert [0] * 500 + [5] * 1000 == heard
    assert {"client": 0.5, "bot": 1.0} == recorder.audio_seconds
    audio = [line for line in lines(recorder.path) if "audio" in line.values()]
    assert [
        {"t": 0.0, "sent": "audio", "rate": 2000, "channels": 1, "frames": 1000} | {"at_frame": 0},
        {"t": 0.5, "received": "audio", "rate": 1000, "channels": 1, "frames": 1000}
        | {"at_frame": 500},
    ] == audio[:1] + audio[1:]


@pytest.mark.parametrize(
    "signal", [None, {"label": "rtvi-ai", "type": "bot-interrupted"}], ids=["signal", "message"]
)
async def test_an_interruption_cuts_what_was_not_heard(
    signal: Any, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """And what comes next is heard at once."""
    bot = Saying(
        tp.AudioChunk(pcm_of(array("h", [5] * 1000)), 1000),
        0.25,
        signal,
        0.25,
        tp.AudioChunk(pcm_of(array("h", [6] * 100)), 1000),
    )
    recorder = await recorded(tmp_path / "x.jsonl", bot)
    _, _, heard = sounds(recorder.audio_path)
    assert [5] * 250 + [0] * 250 + [6] * 100 == heard
    assert [250] == [line["cut_at"] for line in lines(recorder.path) if "cut_at" in line]


async def test_what_was_cut_may_be_beyond_the_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The file is shorter then, and the recording whole: it has been told where it was cut."""
    chunk = tp.AudioChunk(pcm_of(array("h", [5] * 1000)), 1000)
    recorder = await recorded(tmp_path / "x.jsonl", Saying(chunk, chunk, chunk, 0.5, None))
    recording = load_recording(recorder.path)
    assert [500, 0, 0] == [audio.heard for audio in recording.audio("bot")]
    assert [5] * 500 == sounds(recorder.audio_path)[2]
    with recording.open_sound() as sound:
        assert bytes(2000) == sound.chunk(recording.audio("bot")[2]).pcm


async def test_an_interruption_of_silence_cuts_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Before the bot has spoken, and after."""
    bot = Saying(None, tp.AudioChunk(bytes(200), 1000), 1.0, None)
    recorder = await recorded(tmp_path / "x.jsonl", bot)
    assert [] == [line for line in lines(recorder.path) if "cut_at" in line]


async def test_many_channels_become_one(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Their mean."""
    bot = Saying(tp.AudioChunk(pcm_of(array("h", [10, 20, -10, 0])), 1000, 2))
    recorder = await recorded(tmp_path / "x.jsonl", bot)
    assert [15, -5] == sounds(recorder.audio_path)[2]


async def test_a_bot_that_only_listens_leaves_the_users_rate(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """There is nothing else to go by."""

    async def say(session: tp.Session) -> None:
        await session.send_audio(pcm_of(array("h", [1, 2, 3])), sample_rate=8_000)

    recorder = await recorded(tmp_path / "x.jsonl", Saying(), say=say)
    assert (8_000, [1, 2, 3], [0, 0, 0]) == sounds(recorder.audio_path)


async def test_a_bot_that_listens_long_is_not_waited_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Then the rate is the usual one: memory is not for keeping calls in."""

    async def say(session: tp.Session) -> None:
        for _ in range(6):
            await session.send_audio(bytes(16_000), sample_rate=8_000)
            await trio.sleep(1)

    recorder = await recorded(tmp_path / "x.jsonl", Saying(), say=say)
    rate, user, _ = sounds(recorder.audio_path)
    assert (24_000, 6 * 24_000) == (rate, len(user))


async def test_the_rate_may_be_given(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Everything is converted to it."""
    bot = Saying(tp.AudioChunk(pcm_of(array("h", [100] * 100)), 1000))
    async with tp.open_session(transport=bot.connect) as session:
        recorder = Recorder(session, tmp_path / "x.jsonl", sample_rate=2000)
        await trio.sleep(1)
    rate, _, heard = sounds(recorder.audio_path)
    assert (2000, 200, [100] * 100) == (rate, len(heard), heard[50:150])
    for rate in (0, -1, 999, 192_001, 2**32):
        with pytest.raises(ValueError, match="sample rate"):
            Recorder(session, tmp_path / "y.jsonl", sample_rate=rate)


@pytest.mark.parametrize(
    "chunk",
    [
        tp.AudioChunk(bytes(8), 2**31),
        tp.AudioChunk(bytes(8), 1000, 2**31),
    ],
    ids=["rate", "channels"],
)
async def test_what_can_be_no_sound_is_not_kept(
    chunk: tp.AudioChunk, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """But that it came is."""
    recorder = await recorded(tmp_path / "x.jsonl", Saying(chunk))
    (audio,) = load_recording(recorder.path).audio("bot")
    assert (chunk.sample_rate, chunk.num_channels, None) == (
        audio.rate,
        audio.channels,
        audio.at_frame,
    )
    assert not recorder.audio_path.exists()


async def test_half_a_sample_is_none(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A bot may send anything."""
    recorder = await recorded(tmp_path / "x.jsonl", Saying(tp.AudioChunk(b"\x01\x00\x02", 1000)))
    assert [1] == sounds(recorder.audio_path)[2]


async def test_a_sample_that_was_cut_in_two_is_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its halves came in two chunks."""
    pcm = pcm_of(array("h", [1000, 2000, 3000]))
    bot = Saying(tp.AudioChunk(pcm[:3], 1000), tp.AudioChunk(pcm[3:], 1000))
    recorder = await recorded(tmp_path / "x.jsonl", bot)
    assert [1000, 2000, 3000] == sounds(recorder.audio_path)[2]
    assert [1, 2] == [audio.frames for audio in load_recording(recorder.path).audio("bot")]


async def test_sound_after_weeks_is_not_kept(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A WAV file has room for hours."""
    chunk = tp.AudioChunk(bytes(2000), 1000)
    recorder = await recorded(
        tmp_path / "x.jsonl", Saying(chunk, 1e7, chunk), seconds=2e7, ping_interval=1e9
    )
    first, second = load_recording(recorder.path).audio("bot")
    assert (0, None) == (first.at_frame, second.at_frame)


# -- secrets -------------------------------------------------------------------------------------


SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=4).filter(
    lambda text: text.strip() == text and "*" not in text
)


@given(SECRETS, JSON, st.integers(0, 3))
def test_no_string_holds_a_secret(secret: str, filler: Any, depth: int) -> None:
    """Wherever it is in a message, and however JSON spells it."""
    hidden: Any = {f"the {secret}!": [secret, filler]}
    for _ in range(depth):
        hidden = {"a": [hidden]}
    recorder = object.__new__(Recorder)
    recorder._secrets = [secret]
    for ascii_only in (True, False):
        text = json.dumps({"type": "x", "data": hidden}, ensure_ascii=ascii_only)
        assert secret not in _strings(recorder._message("sent", text))
        assert secret not in recorder._message("sent", f"{secret} {{")["text"]


def _strings(value: Any) -> str:
    """Return all strings of a JSON value, one after the other."""
    if isinstance(value, dict):
        return "\n".join(_strings(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return "\n".join(map(_strings, value))
    return value if isinstance(value, str) else ""


async def test_what_a_session_knows_to_be_secret_is_not_written(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Tokens, headers, addresses, and what the start request's keys give away."""
    said = {"label": "rtvi-ai", "type": "server-message", "data": {}}
    secrets = ["tok-123456", "hdr/secret", "query secret", "sk-api-key", "pass-word", "turn-cred"]
    for number, secret in enumerate(secrets):
        said["data"][f"k{number}"] = f"<{secret}>"
    said["data"]["dXNlcjpwYXNzLXdvcmQ="] = "query%20secret"
    bot = Saying(said, *secrets, *(secret.encode() for secret in secrets))
    async with tp.open_session(
        tp.ConnectParams(
            transport="websocket",
            ws_url="wss://user:pass-word@bot.example/x?key=query%20secret",
            token="tok-123456",
            ice_servers=[{"urls": "turn:x", "credential": "turn-cred"}],
        ),
        transport=bot.connect,
        headers={"X-Auth": "Bearer hdr/secret"},
        request_data={"body": {"openai_api_key": "sk-api-key", "city": "Oslo"}},
    ) as session:
        Recorder(session, tmp_path / "x.jsonl")
        await session.wait_ready()
        await session.send_text("my token is tok-123456, I live in Oslo")
        await trio.sleep(1)
    written = (tmp_path / "x.jsonl").read_text()
    for secret in [*secrets, "query%20secret", "dXNlcjpwYXNzLXdvcmQ=", "bot.example"]:
        assert secret not in written
        assert base64.b64encode(secret.encode()).decode() not in written
    assert "my token is ***, I live in Oslo" in written


@pytest.mark.socket
async def test_a_token_of_a_start_answer_is_secret_too(tmp_path: Path) -> None:
    """As soon as it is known, and so is what was in the endpoint's address."""
    async with serve_bot(SimulatedBot(), token_auth=True) as served:
        async with tp.open_session(f"{served.start_url}?key=s3cret-key") as session:
            recorder = Recorder(session, tmp_path / "x.jsonl")
            await session.wait_ready()
            assert session.started is not None
            token = session.started.params.token
            assert token is not None
            await session.send_text(f"{token} s3cret-key")
            await session.wait_event(tp.UserInput)
    written = recorder.path.read_text()
    assert token not in written
    assert "s3cret-key" not in written
    assert "*** ***" in written
    assert "endpoint" == load_recording(recorder.path).target


async def test_a_known_type_is_no_secret(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Or a recording whose token is a word of the protocol could not be replayed."""
    await recorded(tmp_path / "x.jsonl", Saying(), token="ready")
    found = [line["received"] for line in lines(tmp_path / "x.jsonl") if "received" in line]
    assert "bot-ready" == found[0]["type"]


def full_disk(mode: str = "w", **options: Any) -> Any:
    """Return a file that can't be written."""
    return open("/dev/full", mode, **options)


# -- files ---------------------------------------------------------------------------------------


async def test_what_was_written_can_be_read_while_it_goes_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A program that dies leaves what there was up to a second before."""
    path = tmp_path / "x.jsonl"
    async with tp.open_session(f"sim:?greeting={'word%20' * 20}") as session:
        Recorder(session, path)
        await trio.sleep(1.2)
        left = load_recording(path, partial=True)
    assert None is left.end
    assert 0.9 < left.duration < 1.2
    assert len(left.audio("bot")) > 20


async def test_a_recording_can_be_stopped(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It is whole, and has no end."""
    async with tp.open_session("sim:") as session:
        recorder = Recorder(session, tmp_path / "x.jsonl")
        await session.wait_ready()
        recorder.stop()
        recorder.stop()
        await session.send_text("off the record")
    recording = load_recording(recorder.path)
    assert None is recording.end
    assert "off the record" not in recorder.path.read_text()


async def test_two_recorders_write_the_same(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Each for itself."""
    async with tp.open_session("sim:") as session:
        Recorder(session, tmp_path / "x.jsonl")
        Recorder(session, tmp_path / "y.jsonl")
        await session.wait_event(tp.BotStoppedSpeaking)
    assert lines(tmp_path / "x.jsonl")[1:] == lines(tmp_path / "y.jsonl")[1:]
    assert sounds(tmp_path / "x.wav") == sounds(tmp_path / "y.wav")


async def test_who_comes_late_says_so(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The states before are there, the messages are not."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
        await trio.sleep(1)
        Recorder(session, tmp_path / "x.jsonl")
    recording = load_recording(tmp_path / "x.jsonl")
    assert not recording.complete
    assert [*tp.State] == [state.state for state in recording.states]
    assert () == recording.messages("client")


async def test_who_comes_after_the_end_has_the_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """And the file is closed."""
    async with tp.open_session("sim:") as session:
        await session.wait_ready()
    Recorder(session, tmp_path / "x.jsonl")
    end = load_recording(tmp_path / "x.jsonl").end
    assert end is not None
    assert "client" == end.reason


async def test_a_leftover_of_another_call_is_gone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Sound that is not this call's would be taken for it."""
    (tmp_path / "x.wav").write_bytes(b"old")
    await recorded(tmp_path / "x.jsonl", Saying())
    assert not (tmp_path / "x.wav").exists()


async def test_where_nothing_can_be_written(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Is told at once."""
    (tmp_path / "folder.wav").mkdir()
    async with tp.open_session("sim:") as session:
        with pytest.raises(OSError):
            Recorder(session, tmp_path / "nowhere" / "x.jsonl")
        with pytest.raises(OSError):
            Recorder(session, tmp_path / "folder.jsonl")
        with pytest.raises(ValueError, match=r"x\.wav"):
            Recorder(session, tmp_path / "x.wav")
        await session.wait_ready()
    assert "client" == session.end.reason


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("what", ["messages", "sound"])
async def test_a_full_disk_ends_the_recording_and_not_the_session(
    what: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The error is kept, and raised on leaving the block."""
    with pytest.raises(OSError, match="No space left"):
        async with tp.open_session("sim:?greeting=One%20two%20three%20four%20five") as session:
            with Recorder(session, tmp_path / "x.jsonl") as recorder:
                if what == "messages":
                    recorder._file.close()
                    recorder._file = full_disk()
                else:
                    await session.wait_event(tp.AudioStarted)
                    await trio.sleep(0.1)
                    recorder._sound._writer._file.close()
                    recorder._sound._writer._file = full_disk("w+b", buffering=0)
                await session.wait_event(tp.BotStoppedSpeaking)
                await trio.sleep(1)
                await session.request("ping", 1)
                await trio.sleep(1)
                await session.request("ping", 2)
            raise AssertionError
    assert recorder.error is not None
    assert "client" == session.end.reason
    assert [] == session._driver.taps


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
async def test_what_fails_at_the_very_end_is_kept(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """There is nobody left to raise it to."""
    async with tp.open_session("sim:?greeting=") as session:
        recorder = Recorder(session, tmp_path / "x.jsonl")
        recorder._file.close()
        recorder._file = full_disk()
        await session.wait_ready()
    assert isinstance(recorder.error, OSError)
