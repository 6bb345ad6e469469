"""``record``, ``replay`` and ``diff``, run as a user runs them."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from test_cli import COMMAND, Serving, cli

from trio_pipecat.testing import load_recording


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a short call."""
    path = tmp_path_factory.mktemp("calls") / "call.jsonl"
    until = ["--text", "Hello there", "--until", "bot-stopped-speaking"]
    done = cli("record", "sim:", "-o", str(path), *until)
    assert (0, "") == (done.returncode, done.stderr)
    assert f"written: {path} and {path.with_suffix('.wav')}" in done.stdout
    assert re.search(
        r"\d\.\d s, 2 messages sent and \d+ received, 0\.0 s of sound sent", done.stdout
    )
    return path


def types(output: str) -> list[str]:
    """Return the events that were printed as JSON."""
    return [json.loads(line)["event"] for line in output.splitlines()]


def test_record_writes_a_recording(call: Path) -> None:
    """Of the whole session."""
    recording = load_recording(call)
    assert recording.complete
    assert recording.end is not None
    assert "client" == recording.end.reason
    assert recording.audio_seconds("bot") > 1


def test_record_for_machines(tmp_path: Path) -> None:
    """One object, at the end; without sound there is no file of it."""
    path = tmp_path / "x.jsonl"
    done = cli("record", "sim:?greeting=", "-o", str(path), "--duration", "0.2", "--json")
    assert (0, "") == (done.returncode, done.stderr)
    facts = json.loads(done.stdout)
    seconds = facts.pop("seconds")
    assert 0.2 <= seconds < 5
    assert {
        "file": str(path),
        "audio": None,
        "sent": 1,
        "received": 1,
        "sent_audio_seconds": 0,
        "received_audio_seconds": 0,
        "end": "client",
    } == facts


def test_a_call_that_fails_is_recorded(tmp_path: Path) -> None:
    """Exit code 1, and why."""
    path = tmp_path / "x.jsonl"
    done = cli("record", "ws://127.0.0.1:1/", "-o", str(path))
    assert 1 == done.returncode
    assert "Connection refused" in done.stderr
    end = load_recording(path).end
    assert end is not None
    assert "startup_failed" == end.reason
    again = cli("replay", str(path), "--fast")
    assert 1 == again.returncode
    assert "Connection refused" in again.stderr


def test_ctrl_c_keeps_what_there_is(tmp_path: Path) -> None:
    """The goodbye is said and recorded, and what was written is told."""
    path = tmp_path / "x.jsonl"
    with Serving("--greeting", "") as served:
        process = subprocess.Popen(
            [*COMMAND, "record", served.url, "-o", str(path)], stdout=subprocess.PIPE, text=True
        )
        while not (path.exists() and served.url):
            pass
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert 130 == process.returncode
    assert f"written: {path}" in output
    end = load_recording(path).end
    assert end is not None
    assert "cancelled" == end.reason


@pytest.mark.parametrize(
    ("path", "what"),
    [("nowhere/x.jsonl", "can't write"), ("x.wav", "the sound goes to the .wav file")],
)
def test_where_nothing_can_be_written(path: str, what: str, tmp_path: Path) -> None:
    """Exit code 2."""
    done = cli("record", "sim:", "-o", str(tmp_path / path))
    assert 2 == done.returncode
    assert what in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """With exit code 1."""
    (tmp_path / "x.jsonl").symlink_to("/dev/full")
    done = cli("record", "sim:", "-o", str(tmp_path / "x.jsonl"), "--duration", "0.1")
    assert "No space left" in done.stderr
    assert done.returncode in (1, 2)


def test_replay_prints_what_happens(call: Path) -> None:
    """The same, in no time, as events does."""
    done = cli("replay", str(call), "--fast")
    assert (0, "") == (done.returncode, done.stderr)
    assert "You said: Hello there" in done.stdout
    machine = types(cli("replay", str(call), "--fast", "--json").stdout)
    recorded = [message.type for message in load_recording(call).messages("bot")]
    assert recorded.count("bot-output") == machine.count("BotOutput")
    assert "Disconnected" == machine[-1]


def test_replay_in_real_time(call: Path) -> None:
    """By default."""
    done = cli("replay", str(call), "--json")
    assert (0, "") == (done.returncode, done.stderr)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["at"] > load_recording(call).duration - 0.1


def test_a_recorded_bot_is_served(call: Path, tmp_path: Path) -> None:
    """To whoever holds the conversation again: the two recordings do not differ."""
    command = [*COMMAND, "replay", str(call), "--serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://\S+/start", process.stdout.readline())
    assert found is not None
    again = tmp_path / "again.jsonl"
    until = ["--text", "Hello there", "--until", "bot-stopped-speaking"]
    done = cli("record", found[0], "-o", str(again), *until)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert (0, 0) == (done.returncode, process.returncode)
    compared = cli("diff", str(call), str(again))
    assert (0, "", "") == (compared.returncode, compared.stdout, compared.stderr)


def test_a_port_that_is_taken(call: Path) -> None:
    """Is told in one line."""
    with Serving() as served:
        port = served.url.rpartition(":")[2].partition("/")[0]
        done = cli("replay", str(call), "--serve", "--port", port)
    assert 1 == done.returncode
    assert f"can't listen on 127.0.0.1:{port}" in done.stderr


def test_diff_tells_what_differs(call: Path, tmp_path: Path) -> None:
    """What it is, both sides of it, and exit code 1."""
    path = tmp_path / "other.jsonl"
    path.write_text(call.read_text().replace("Hello there", "Good morning"))
    path.write_text(path.read_text().replace('"audio":"call.wav"', '"audio":"other.wav"'))
    path.with_suffix(".wav").write_bytes(call.with_suffix(".wav").read_bytes())
    done = cli("diff", str(call), str(path))
    assert (1, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    assert "sent" == lines[0]
    assert lines[1].startswith('  - send-text {"content": "Hello there')
    assert lines[2].startswith('  + send-text {"content": "Good morning')
    assert 0 == cli("diff", str(call), str(call)).returncode


@pytest.mark.parametrize("command", [["replay"], ["replay", "--serve"], ["diff"]])
def test_a_file_that_is_no_recording(command: list[str], call: Path, tmp_path: Path) -> None:
    """One line that names file and line, and exit code 2."""
    name, *options = command
    broken, foreign = tmp_path / "broken.jsonl", tmp_path / "foreign.jsonl"
    broken.write_text(call.read_text()[:-20])
    foreign.write_text("hello\n")
    for path, what in ((broken, "the line breaks off"), (foreign, "line 1: not a recording")):
        files = [str(path), str(call)] if name == "diff" else [str(path)]
        done = cli(name, *files, *options)
        assert 2 == done.returncode
        assert "" == done.stdout
        assert 1 == len(done.stderr.splitlines())
        assert done.stderr.startswith(f"Error: {path}, line ")
        assert what in done.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["replay", "nowhere.jsonl"], "does not exist"),
        (["replay", "CALL", "--serve", "--fast"], "not for --serve"),
        (["record", "sim:"], "Missing option '-o'"),
        (["record", "sim:", "-o", "x", "--until", "never"], "there is no event 'never'"),
        (["diff", "CALL"], "Missing argument 'B'"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], what: str, call: Path) -> None:
    """As for every command."""
    done = cli(*[str(call) if argument == "CALL" else argument for argument in arguments])
    assert 2 == done.returncode
    assert what in " ".join(done.stderr.split())
