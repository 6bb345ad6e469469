"""``bridge``: two bots talk, in virtual time; and as a user runs it."""

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio
from test_cli import COMMAND, Serving, cli
from trio.testing import MockClock

from trio_pipecat.audio import WavReader
from trio_pipecat.audio._stereo import StereoWriter
from trio_pipecat.testing import (
    SimulatedBot,
    crash,
    fatal_error,
    interrupt_on_speech,
    leave_after,
    report_error,
)
from trio_pipecat.tools._bridge import BotToBridge, bridge


def bot(*behaviours: Any, hear: str = "Hello", **traits: Any) -> Any:
    """Return a connector to a bot that understands this."""
    listening = interrupt_on_speech(hear)
    return SimulatedBot([listening, *behaviours], echo_audio=False, **traits).connect


async def bridged(a: Any, b: Any, **options: Any) -> int:
    """Return the exit code."""
    return await bridge(
        BotToBridge(name="a", target=None, keywords={"transport": a}),
        BotToBridge(name="b", target=None, keywords={"transport": b}),
        **options,
    )


async def facts_of(
    a: Any, b: Any, capsys: pytest.CaptureFixture[str], **options: Any
) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the JSON object, and what went to the standard error."""
    code = await bridged(a, b, as_json=True, **options)
    output = capsys.readouterr()
    return code, json.loads(output.out), output.err


async def test_who_says_what(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Line by line, in the order in which it was said; then how long each waited."""
    code = await bridged(bot(hear="Hi", greeting="Good morning."), bot(), duration=8)
    assert 0 == code
    *lines, about_a, about_b, end = capsys.readouterr().out.splitlines()
    times = [float(line.split()[0]) for line in lines]
    assert sorted(times) == times
    said = [line.split(maxsplit=1)[1] for line in lines]
    assert ["a  Good morning.", "b  You said: Hello", "a  You said: Hi"] == said[:3]
    assert re.fullmatch(
        r"a  spoke \d\.\d s in \d turns; b waited p50 \d\.\d\d s, max \d\.\d\d s; "
        r"heard \d+ ms later, p99 \d+ ms",
        about_a,
    )
    assert about_b.startswith("b  spoke ")
    assert "ended: the time is over" == end


async def test_somebody_starts(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who is told something: A, or who is to begin."""
    for first, other in (("a", "b"), ("b", "a")):
        code, facts, errors = await facts_of(
            bot(), bot(), capsys, text="Good morning", duration=6, first=first
        )
        assert (0, "", None) == (code, errors, facts["error"])
        assert "You said: Good morning" == facts[first]["turns"][0]["bot_text"]
        assert "You said: Hello" == facts[other]["turns"][0]["bot_text"]
    code, facts, _ = await facts_of(bot(), bot(), capsys, text="Good morning", duration=6)
    assert "Good morning" == facts["a"]["turns"][0]["user_text"]
    for side in (facts["a"], facts["b"]):
        latency = side["voice_to_voice"]
        assert 0.8 < latency["p50"] <= latency["p95"] <= latency["max"] < 1.2
        assert ("client", None) == (side["end"], side["target"])


async def test_one_begins(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Though both greet: the other is not heard until this one has spoken."""
    a, b = bot(greeting="I am A, good morning."), bot(greeting="And I am B.")
    _, facts, _ = await facts_of(a, b, capsys, first="a", duration=5)
    assert None is facts["a"]["turns"][0]["interrupted"]
    assert "I am A, good morning." == facts["a"]["turns"][0]["bot_text"]
    assert None is not facts["b"]["turns"][0]["interrupted"]
    assert facts["b"]["unsent_seconds"] > 0.1


@pytest.mark.parametrize("who", ["a", "b"])
async def test_one_leaves(
    who: str, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is an end like any other: exit code 0, and it is told who it was."""
    leaver, other = bot(leave_after(2), greeting="Only a word."), bot(hear="Hi")
    bots = (leaver, other) if who == "a" else (other, leaver)
    assert 0 == await bridged(*bots)
    output = capsys.readouterr()
    assert ("", f"ended: {who}: it has left") == (output.err, output.out.splitlines()[-1])
    code, facts, _ = await facts_of(*bots, capsys)
    assert (0, "bot") == (code, facts[who]["end"])
    assert "client" == facts["b" if who == "a" else "a"]["end"]


@pytest.mark.parametrize("who", ["a", "b"])
@pytest.mark.parametrize(
    ("behaviour", "error", "end"),
    [
        (fatal_error("out of tea", 2), "FatalBotError: the bot failed: out of tea", "fatal_error"),
        (crash(2), "ConnectionLostError: the link to the bot was lost", "connection_lost"),
    ],
)
async def test_one_fails(
    behaviour: Any,
    error: str,
    end: str,
    who: str,
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1, with its words, and what there was."""
    bad, good = bot(behaviour, greeting="Hello you."), bot()
    bots = (bad, good) if who == "a" else (good, bad)
    code, facts, errors = await facts_of(*bots, capsys)
    assert (1, end) == (code, facts[who]["end"])
    assert errors.startswith(error)
    assert facts["error"].startswith(error)
    assert facts[who]["seconds"] > 0.2
    assert 1 == await bridged(*bots)
    assert f"ended: {who}: " in capsys.readouterr().out


async def test_one_does_not_come(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then nobody talks."""
    code = await bridged(bot(ready_delay=100), bot(greeting="Hello?"))
    output = capsys.readouterr()
    assert 1 == code
    assert output.err.startswith("ReadyTimeoutError: ")
    assert "ended: a: it did not come" == output.out.splitlines()[-1]


async def test_what_a_bot_reports_is_told(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though it goes on; and what it was saying when the time was over is told, too."""
    story = "A very long story, and it is not over when the time is."
    await bridged(bot(report_error("no more tea", 0.1), greeting=story), bot(), duration=1)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith("a  the bot reports: no more tea") for line in lines)
    assert any(re.search(r"a  A very long story,", line) for line in lines)


async def test_it_is_recorded(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """In stereo, with both bots on it."""
    path = tmp_path / "talk.wav"
    a, b = bot(hear="Hi", greeting="Good morning."), bot()
    _, facts, _ = await facts_of(a, b, capsys, duration=4, record=path)
    assert str(path) == facts["record"]
    with WavReader(path) as reader:
        assert (2, 24_000) == (reader.num_channels, reader.sample_rate)
        sound = reader.read(24_000 * 5)
    left, right = sound.pcm[0::4], sound.pcm[2::4]
    assert any(left) and any(right)
    await bridged(a, b, duration=1, record=path)
    assert f"written: {path}" in capsys.readouterr().out


async def test_a_recording_that_can_not_be(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is a failure before anything is said."""
    path = tmp_path / "gone" / "talk.wav"
    code, facts, errors = await facts_of(bot(greeting="Hello."), bot(), capsys, record=path)
    assert (1, f"{path}: No such file or directory\n") == (code, errors)
    assert [] == facts["a"]["turns"]


async def test_a_recording_that_is_not_whole(
    tmp_path: Path,
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Is a failure, too; the talk goes on."""

    def full(self: object, *_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StereoWriter, "write", full)
    path = tmp_path / "talk.wav"
    a, b = bot(hear="Hi", greeting="Good morning."), bot()
    code, facts, errors = await facts_of(a, b, capsys, duration=4, record=path)
    assert (1, f"{path} is not whole: No space left on device\n") == (code, errors)
    assert "You said: Hello" == facts["b"]["turns"][0]["bot_text"]


async def test_it_is_interrupted(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """What there was is told all the same."""
    with trio.move_on_after(3):
        await bridged(bot(greeting="Good morning."), bot())
    lines = capsys.readouterr().out.splitlines()
    assert "ended: interrupted" == lines[-1]
    assert any(line.endswith("a  Good morning.") for line in lines)


# -- as a user runs it -----------------------------------------------------------------------------


def test_over_sockets(tmp_path: Path) -> None:
    """Two bots on ports, with a token for each."""
    path = tmp_path / "talk.wav"
    with (
        Serving("--greeting", "Good morning.", "--hear", "Hi", "--token-auth") as a,
        Serving("--greeting", "", "--hear", "Hello", "--token-auth") as b,
    ):
        done = cli("bridge", a.url, b.url, "--duration", "4", "--record", str(path), "--json")
    assert (0, "") == (done.returncode, done.stderr)
    facts = json.loads(done.stdout)
    assert (a.url, b.url) == (facts["a"]["target"], facts["b"]["target"])
    assert "Good morning." == facts["a"]["turns"][0]["bot_text"]
    assert "You said: Hello" == facts["b"]["turns"][0]["bot_text"]
    assert "gone (the client closed with 1000)" in a.said
    assert "gone (the client closed with 1000)" in b.said
    assert path.stat().st_size > 100_000


def test_ctrl_c() -> None:
    """Both bots see a clean close, and the exit code says that it was interrupted."""
    with Serving() as a, Serving("--greeting", "") as b:
        process = subprocess.Popen(
            [*COMMAND, "bridge", a.url, b.url], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert "a  Hello! I am the simulated bot." in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert 130 == process.returncode
    assert "ended: interrupted" in output
    for served in (a, b):
        assert "gone (the client closed with 1000)" in served.said


def test_a_pipe_that_nobody_reads() -> None:
    """Ends it quietly."""
    process = subprocess.Popen(
        [*COMMAND, "bridge", "sim:?hear=Hi", "sim:?greeting=&hear=Hello"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert "" == process.stderr.read()
    assert 141 == process.wait(timeout=60)
    process.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["sim:"], "Missing argument 'B'"),
        (["sim:", "nonsense"], "expected a ws://"),
        (["sim:?x=1", "sim:"], "no option 'x'"),
        (["sim:", "http://x/start", "--b-data", "[]"], "Invalid value for --b-data"),
        (["sim:", "ws://x/", "--b-header", "nocolon"], "Invalid value for --b-header"),
        (["sim:", "ws://bot.example/", "--b-token", "s3cret"], "unencrypted"),
        (["ws://bot.example/", "sim:", "--token", "s3cret"], "unencrypted"),
        (["sim:", "sim:", "--first", "c"], "--first"),
        (["sim:", "sim:", "--record", "nowhere/talk.wav"], "nowhere/talk.wav: No such file"),
    ],
)
def test_wrong_usage(arguments: list[str], what: str) -> None:
    """Is told in one line, before there is a session."""
    done = cli("bridge", *arguments)
    assert (2, "") == (done.returncode, done.stdout)
    assert what in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr


def test_each_has_a_token_of_its_own() -> None:
    """A's is not B's, also in the environment."""
    done = cli("bridge", "sim:", "ws://bot.example/", TRIO_PIPECAT_B_TOKEN="s3cret")
    assert 2 == done.returncode
    assert "unencrypted" in done.stderr
    assert "[env var: TRIO_PIPECAT_B_TOKEN]" in " ".join(cli("bridge", "-h").stdout.split())
