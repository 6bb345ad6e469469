"""``talk`` where there is no terminal: texts in, the transcript out, and a summary."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from fake_sounddevice import FakeSounddevice
from scripted import ScriptedBot, scripted
from test_cli import COMMAND, Serving, cli
from trio.testing import MockClock

from trio_pipecat import UnsupportedFeatureError
from trio_pipecat.audio import AudioChunk, WavReader, _portaudio
from trio_pipecat.tools._talk import _percentiles, print_devices
from trio_pipecat.tools._talk import talk as call


def talk(*arguments: str, typed: str) -> subprocess.CompletedProcess[str]:
    """Talk with texts from a pipe."""
    return subprocess.run(
        [*COMMAND, "talk", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_texts_from_a_pipe() -> None:
    """Each is said when the one before was answered, and all that is said is printed."""
    done = talk("sim:", typed="one\n\n  two \nthree")
    assert (0, "") == (done.returncode, done.stderr)
    *transcript, turns, latency, end = done.stdout.splitlines()
    assert [
        "bot: Hello! I am the simulated bot.",
        "you: one",
        "bot: You said: one",
        "you: two",
        "bot: You said: two",
        "you: three",
        "bot: You said: three",
    ] == transcript
    assert ("4 turns", "ended: you hung up") == (turns, end)
    assert latency.startswith("text to voice p50 0.")


def test_nothing_to_say() -> None:
    """The greeting is heard out."""
    done = talk("sim:", typed="")
    assert (0, "") == (done.returncode, done.stderr)
    assert "bot: Hello! I am the simulated bot." == done.stdout.splitlines()[0]
    assert "ended: you hung up" == talk("sim:?greeting=", typed="").stdout.strip()


def test_no_input_at_all() -> None:
    """Of a process whose standard input is closed: there is nothing to say either."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, "talk", "sim:"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert "bot: Hello! I am the simulated bot." == done.stdout.splitlines()[0]


async def test_a_bot_that_is_never_quiet(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is not heard out for ever: there may be music behind its voice."""
    tone = (b"\0\x10" * 30 + b"\0\xf0" * 30) * 400

    async def music(bot: ScriptedBot) -> None:
        await bot.become_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bot.listen)
            while True:
                await bot.link.send_audio(AudioChunk(tone, 24_000))
                await trio.sleep(1)

    monkeypatch.setattr(sys, "stdin", None)
    code = await call(
        *(None, {"transport": scripted(music)}),
        input=None,
        output=None,
        text_only=True,
        half_duplex=False,
        record=None,
    )
    output = capsys.readouterr().out.splitlines()
    told = ["the bot has not finished in 300 s", "1 turn", "ended: you hung up"]
    assert (0, told) == (code, output)


def test_a_bot_that_hangs_up() -> None:
    """Is no failure, even while there is more to say."""
    with subprocess.Popen(
        [*COMMAND, "talk", "sim:?leave_after=1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "ended: the bot hung up" == process.stdout.read().splitlines()[-1]
        assert 0 == process.wait(20)


def test_a_bot_that_fails() -> None:
    """Is told in one line, with exit code 1."""
    done = talk("sim:?fatal_error=out%20of%20tea", typed="hello\n")
    assert 1 == done.returncode
    assert "out of tea" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ended: the bot reported a fatal error" == done.stdout.splitlines()[-1]
    refused = talk("ws://127.0.0.1:1/", typed="hello\n")
    assert 1 == refused.returncode
    assert "Connection refused" in refused.stderr
    assert "ended: the call did not come about\n" == refused.stdout


def test_it_is_recorded(tmp_path: Path) -> None:
    """To a stereo file."""
    path = tmp_path / "call.wav"
    done = talk("sim:", "--record", str(path), typed="one\n")
    assert 0 == done.returncode
    assert f"recorded: {path}" in done.stdout
    with WavReader(path) as reader:
        assert 2 == reader.num_channels
        assert (reader.num_frames or 0) > reader.sample_rate


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["sim:", "--record", "nowhere/x.wav"], "nowhere/x.wav: No such file"),
        (["sim:?x=1"], "no option 'x'"),
        ([], "Missing argument 'TARGET'"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], what: str) -> None:
    """Before there is a call."""
    done = cli("talk", *arguments)
    assert 2 == done.returncode
    assert what in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_hangs_up(number: signal.Signals) -> None:
    """In order: the bot hears a goodbye, and the end is told."""
    with Serving() as served:
        with subprocess.Popen(
            [*COMMAND, "talk", served.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert "bot: Hello! I am the simulated bot.\n" == process.stdout.readline()
            process.send_signal(number)
            assert "ended: interrupted" == process.stdout.read().splitlines()[-1]
            assert 130 == process.wait(20)
    assert "#1 gone (the client closed with 1000)" in served.said


def test_the_devices_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what one calls them by."""
    devices = FakeSounddevice()
    monkeypatch.setattr(_portaudio, "load", lambda: devices)
    assert 0 == print_devices()
    head, speaker, microphone, headset = capsys.readouterr().out.splitlines()
    assert ["device", "inputs", "outputs", "Hz", "default"] == head.split()
    assert ["0", "Loud", "Speaker,", "ALSA", "2", "48000", "output"] == speaker.split()
    assert ["1", "Desk", "Microphone,", "ALSA", "2", "48000", "input"] == microphone.split()
    assert ["2", "Headset,", "ALSA", "1", "2", "44100"] == headset.split()
    devices.devices.clear()
    devices.defaults = {"input": None, "output": None}
    assert 0 == print_devices()
    assert "there is no sound device\n" == capsys.readouterr().out


def test_no_devices_can_be_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what to install."""

    def load() -> object:
        raise UnsupportedFeatureError("sound devices", 'pip install "trio-pipecat[audio]"')

    monkeypatch.setattr(_portaudio, "load", load)
    assert 1 == print_devices()
    assert 'sound devices needs pip install "trio-pipecat[audio]"\n' == capsys.readouterr().err


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([0.5], "0.50 s"),
        ([0.1, 0.3], "p50 0.10 s, p95 0.30 s"),
        ([n / 100 for n in range(1, 101)], "p50 0.50 s, p95 0.95 s"),
    ],
)
def test_percentiles(times: list[float], told: str) -> None:
    """Of one there are none."""
    assert told == _percentiles(times)
