"""``say``: files as the user's voice, in virtual time; and as a user runs it."""

import json
import math
import os
import re
from array import array
from pathlib import Path
from typing import Any

import pytest
import trio
from scripted import ScriptedBot, scripted
from test_cli import cli
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.audio import AudioChunk, WavReader, write_wav
from trio_pipecat.audio._pcm import pcm_of
from trio_pipecat.testing import SimulatedBot, interrupt_on_speech
from trio_pipecat.tools._recording_path import check_writable
from trio_pipecat.tools._say import check_files, say


def voice(path: Path, *utterances: float, pause: float = 1.0, rate: int = 16_000) -> Path:
    """Write a file in which somebody speaks for so many seconds, once or more often."""
    samples = array("h")
    for seconds in utterances:
        samples.extend(
            round(9_000 * math.sin(n * 1885 / rate)) if n % (rate * 2 // 5) < rate * 3 // 10 else 0
            for n in range(round(seconds * rate))
        )
        samples.extend(array("h", bytes(2 * round(pause * rate))))
    write_wav(path, AudioChunk(pcm_of(samples), rate))
    return path


async def said(
    bot: Any, *paths: Path, capsys: pytest.CaptureFixture[str], **options: Any
) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the JSON object, and what went to the standard error."""
    keywords = {"record": None, "timeout": 5, "turn_pause": 1, "at_once": False, **options}
    code = await say(None, {"transport": bot}, paths=paths, as_json=True, **keywords)
    output = capsys.readouterr()
    return code, json.loads(output.out), output.err


def listener(text: str = "Hello", **traits: Any) -> Any:
    """Return a bot that understands this, and answers it."""
    return SimulatedBot([interrupt_on_speech(text)], echo_audio=False, **traits).connect


async def test_a_file_is_answered(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its turn is told, with what both sides said, and the file with when it was played."""
    path = voice(tmp_path / "a.wav", 1.0)
    code, facts, errors = await said(listener(), path, capsys=capsys)
    assert (0, "", None, "client") == (code, errors, facts["error"], facts["end"])
    (turn,) = facts["turns"]
    assert ("Hello", "You said: Hello") == (turn["user_text"], turn["bot_text"])
    (file,) = facts["files"]
    assert (str(path), True, 2.0) == (file["path"], file["answered"], file["seconds"])
    # There was no greeting to wait for longer than a second.
    assert 1.0 <= file["began"] <= 1.1
    assert pytest.approx(file["began"] + 2.0, abs=0.06) == file["ended"]
    assert pytest.approx(file["began"], abs=0.06) == turn["user_started"]
    # It has heard for 0.8 s that nobody speaks.
    assert pytest.approx(0.85, abs=0.1) == turn["voice_to_voice"]
    assert facts["pacing"]["frames"] > 100


async def test_several_files(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is played when the bot has greeted, and has answered the one before."""
    paths = [voice(tmp_path / "a.wav", 1.0), voice(tmp_path / "b.wav", 0.6, rate=8_000)]
    code, facts, _ = await said(listener(greeting="Good morning"), *paths, capsys=capsys)
    assert 0 == code
    greeting, first, second = facts["turns"]
    assert (None, "Good morning") == (greeting["user_started"], greeting["bot_text"])
    assert greeting["bot_ended"] + 0.9 < facts["files"][0]["began"]
    assert first["bot_ended"] + 0.9 < facts["files"][1]["began"] < second["user_started"] + 0.1


async def test_at_once(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into the greeting, which is interrupted."""
    bot = listener(greeting="Good morning to you all, and to all a good night, my friends")
    path = voice(tmp_path / "a.wav", 1.0)
    code, facts, _ = await said(bot, path, at_once=True, capsys=capsys)
    assert 0 == code
    assert facts["files"][0]["began"] < 0.1
    assert None is not facts["turns"][0]["interrupted"]


async def test_a_file_with_two_utterances(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """May be answered in between; it is the last that has to be."""
    path = voice(tmp_path / "a.wav", 0.8, 0.8, pause=3.0)
    code, facts, _ = await said(listener(), path, capsys=capsys)
    assert 0 == code
    assert 2 == len(facts["turns"])
    assert all(turn["voice_to_voice"] > 0.5 for turn in facts["turns"])


@pytest.mark.parametrize("greeting", [None, "Good morning"])
async def test_an_echo_is_an_answer(
    greeting: str | None,
    tmp_path: Path,
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Though it comes at once, and without events; a greeting is none."""
    path = voice(tmp_path / "a.wav", 1.0)
    bot = SimulatedBot(greeting=greeting).connect
    code, facts, _ = await said(bot, path, capsys=capsys)
    assert (0, True) == (code, facts["files"][0]["answered"])


async def test_no_answer(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is told when it should have come by now, with what there was."""
    paths = [voice(tmp_path / "a.wav", 1.0), voice(tmp_path / "b.wav", 1.0)]
    bot = SimulatedBot(echo_audio=False).connect
    began = trio.current_time()
    code, facts, errors = await said(bot, *paths, capsys=capsys)
    assert 1 == code
    assert f"the bot did not answer {paths[0]} within 5 s\n" == errors
    assert [False, False] == [file["answered"] for file in facts["files"]]
    assert None is facts["files"][1]["began"]
    assert 1 == len(facts["turns"])
    assert trio.current_time() - began < 10


async def test_a_bot_that_is_never_quiet(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is not waited for for ever: there may be music behind its voice."""

    tone = (b"\0\x10" * 30 + b"\0\xf0" * 30) * 400

    def music(after: float) -> Any:
        async def script(bot: ScriptedBot) -> None:
            await bot.become_ready()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bot.listen)
                await trio.sleep(after)
                while True:
                    await bot.link.send_audio(AudioChunk(tone, 24_000))
                    await trio.sleep(1)

        return scripted(script)

    path = voice(tmp_path / "a.wav", 1.0)
    for after, what in ((0, "its greeting"), (4, f"its answer to {path}")):
        code, _, errors = await said(music(after), path, capsys=capsys)
        assert (1, f"the bot has not finished {what} in 300 s\n") == (code, errors)


async def test_a_bot_that_leaves(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it has answered, is a failure; whatever is told."""

    async def leaves(bot: ScriptedBot) -> None:
        await bot.become_ready()
        await trio.sleep(2)
        await bot.link.aclose()

    code, facts, errors = await said(
        scripted(leaves), voice(tmp_path / "a.wav", 2.0), capsys=capsys
    )
    assert (1, "bot") == (code, facts["end"])
    assert errors.startswith("the bot has left: bot in state ready")


async def test_a_bot_that_fails(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is told with its own words."""

    async def fails(bot: ScriptedBot) -> None:
        await bot.become_ready()
        await trio.sleep(2)
        await bot.say(tp.Error(error="out of tea", fatal=True))
        await bot.listen()

    code, facts, errors = await said(scripted(fails), voice(tmp_path / "a.wav", 2.0), capsys=capsys)
    assert (1, "fatal_error") == (code, facts["end"])
    assert "FatalBotError: " in errors
    assert "out of tea" in facts["error"]


async def test_a_file_that_vanishes(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is told like any other failure, and what came of the others too."""
    paths = [voice(tmp_path / "a.wav", 1.0), tmp_path / "b.wav"]
    record = tmp_path / "call.wav"
    code, facts, errors = await said(listener(), *paths, record=record, capsys=capsys)
    assert (1, f"{paths[1]}: No such file or directory\n") == (code, errors)
    assert [True, False] == [file["answered"] for file in facts["files"]]
    with WavReader(record) as reader:
        assert (reader.num_frames or 0) > reader.sample_rate


async def test_a_recording_that_can_be_written_no_more(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is a failure, before anything is said."""
    path, record = voice(tmp_path / "a.wav", 1.0), tmp_path / "gone" / "call.wav"
    code, facts, errors = await said(listener(), path, record=record, capsys=capsys)
    assert (1, f"{record}: No such file or directory\n") == (code, errors)
    assert None is facts["files"][0]["began"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_to_a_recording_stays(is_there: bool, tmp_path: Path) -> None:
    """To look whether it can be written leaves everything as it was."""
    target, link = tmp_path / "target.wav", tmp_path / "link.wav"
    link.symlink_to(target)
    if is_there:
        target.write_bytes(b"old")
    check_writable(link)
    assert (True, is_there) == (link.is_symlink(), target.exists())


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    """Neither to play one nor to record to it."""
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="no regular file"):
        check_files((pipe,), None)
    with pytest.raises(ValueError, match="no regular file"):
        check_writable(pipe)


async def test_it_is_recorded(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """In stereo."""
    record = tmp_path / "call.wav"
    code, facts, _ = await said(
        listener(), voice(tmp_path / "a.wav", 1.0), record=record, capsys=capsys
    )
    assert (0, str(record)) == (code, facts["record"])
    with WavReader(record) as reader:
        assert (2, 24_000) == (reader.num_channels, reader.sample_rate)
        assert reader.num_frames is not None
        assert reader.num_frames / 24_000 > facts["turns"][0]["bot_ended"]


async def test_for_people(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line with the numbers, and who said what."""
    path, record = voice(tmp_path / "a.wav", 1.0), tmp_path / "call.wav"
    code = await say(
        None,
        {"transport": listener(greeting="Good morning")},
        paths=(path,),
        record=record,
        timeout=5,
        turn_pause=1,  # type: ignore[arg-type]
        at_once=False,
        as_json=False,
    )
    assert 0 == code
    head, first, greeting, second, user, bot, pacing, written = capsys.readouterr().out.splitlines()
    assert ["turn", "you", "voice", "to", "voice", "bot"] == head.split()
    assert re.fullmatch(r" +1 +– +– +0\.\d\d – 0\.\d\d", first)
    assert re.fullmatch(r" +2 +\d\.\d\d – \d\.\d\d +0\.\d\d s +\d\.\d\d – \d\.\d\d", second)
    assert ["bot  Good morning", "you  Hello", "bot  You said: Hello"] == [
        line.strip() for line in (greeting, user, bot)
    ]
    assert "frames sent, late by p50" in pacing
    assert f"written: {record}" == written


# -- as a user runs it -----------------------------------------------------------------------------


def test_in_real_time(tmp_path: Path) -> None:
    """The progress is nothing for a pipe."""
    path = voice(tmp_path / "a.wav", 0.6, pause=0.2)
    done = cli("say", "sim:?greeting=&hear=Hello", str(path), "--json")
    assert (0, "") == (done.returncode, done.stderr)
    (turn,) = json.loads(done.stdout)["turns"]
    assert "You said: Hello" == turn["bot_text"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["sim:"], "Missing argument 'FILES...'"),
        (["sim:", "nowhere.wav"], "nowhere.wav: No such file"),
        (["sim:", "GOOD", "TEXT"], "text.wav, byte 0: not a WAV file"),
        (["sim:", "GOOD", "EMPTY"], "empty.wav: there is no sound in it"),
        (["sim:", "GOOD", "--record", "nowhere/x.wav"], "nowhere/x.wav: No such file"),
        (["sim:", "GOOD", "--record", "GOOD"], "is one of the files that are played"),
        (["sim:", "GOOD", "--timeout", "0"], "--timeout"),
        (["sim:?x=1", "GOOD"], "no option 'x'"),
    ],
)
def test_bad_input_is_exit_code_2(arguments: list[str], what: str, tmp_path: Path) -> None:
    """Told in one line, before there is a session."""
    text = tmp_path / "text.wav"
    text.write_text("hello, this is no sound at all, and it is long enough for a header")
    write_wav(tmp_path / "empty.wav", AudioChunk(b"", 16_000))
    names = {
        "EMPTY": str(tmp_path / "empty.wav"),
        "GOOD": str(voice(tmp_path / "good.wav", 0.1)),
        "TEXT": str(text),
    }
    done = cli("say", *[names.get(argument, argument) for argument in arguments])
    assert (2, "") == (done.returncode, done.stdout)
    assert what in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
