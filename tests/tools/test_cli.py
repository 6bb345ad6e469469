"""The command line, run as a user runs it: what it prints, and how it exits."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trio_pipecat.audio import AudioChunk, write_wav

COMMAND = [sys.executable, "-W", "error", "-m", "trio_pipecat"]


def cli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


class Serving:
    """A ``serve`` in a process of its own, on a free port."""

    def __init__(self, *options: str) -> None:
        self._command = [*COMMAND, "serve", "--port", "0", *options]
        self.said = ""
        self.code: int | None = None

    def __enter__(self) -> "Serving":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        found = re.search(r"http://\S+/start", self._process.stdout.readline())
        assert found is not None
        self.url = found[0]
        return self

    def __exit__(self, *_: object) -> None:
        """End it as a person would, and keep what it said."""
        self._process.send_signal(signal.SIGINT)
        self.said, _ = self._process.communicate(timeout=20)
        self.code = self._process.returncode


# -- help and usage --------------------------------------------------------------------------


def test_help_lists_the_commands() -> None:
    """And says where to begin."""
    done = cli("--help")
    assert 0 == done.returncode
    for command in COMMANDS:
        assert f"  {command} " in done.stdout
    assert "trio-pipecat demo" in done.stdout


COMMANDS = ["bridge", "demo", "diff", "events", "probe", "record", "replay", "say", "serve", "talk"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    """Without the marks of our docstrings."""
    done = cli(command, "-h")
    assert 0 == done.returncode
    assert "``" not in done.stdout


def test_version() -> None:
    """The package's."""
    import trio_pipecat

    assert f"trio-pipecat, version {trio_pipecat.__version__}\n" == cli("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["probe"], "Missing argument 'TARGET'"),
        (["probe", "nonsense"], "expected a ws://"),
        (["probe", "sim:?x=1"], "no option 'x'"),
        (["probe", "sim:", "--timeout", "0"], "--timeout"),
        (["probe", "http://x/start", "--data", "[]"], "JSON object"),
        (["probe", "http://x/start", "--data", "{"], "not JSON"),
        (["events", "ws://x/", "--header", "nocolon"], "NAME:VALUE"),
        (["events", "ws://bot.example/", "--token", "s3cret-token"], "unencrypted"),
        (["serve", "--port", "99999"], "--port"),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], what: str) -> None:
    """With one line that says what is wrong, and nothing secret."""
    done = cli(*arguments)
    assert 2 == done.returncode
    assert what in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr


def test_an_address_may_not_fit_the_wire() -> None:
    """What was said twice was said differently."""
    pytest.importorskip("aiortc")
    done = cli("events", "ws://localhost:1/", "--webrtc")
    assert 2 == done.returncode
    assert "Error: transport 'webrtc' does not fit a websocket address" in done.stderr


def test_help_says_what_an_address_may_be() -> None:
    """One line for each kind."""
    told = cli("events", "-h").stdout
    for address in ("http://host:7860/start ", "http://host:7860/api/offer ", "ws://", "sim: "):
        assert f"\n    {address}" in told
    assert "--webrtc" in told


# -- demo --------------------------------------------------------------------------------------


def test_demo_tells_a_whole_conversation() -> None:
    """States, both voices, a request, a function, an interruption, the end, and what is next."""
    done = cli("demo", "--fast")
    assert (0, "") == (done.returncode, done.stderr)
    told = [
        "state  authenticating",
        "state  ready",
        "bot    Hello!",
        "you    What is the capital of Japan?",
        "bot    You said: What is the capital of Japan?",
        "answer {'pong': 42}",
        "call   get_weather({'city': 'Oslo'})",
        'bot    The weather: {"sky": "clear"}',
        "(interrupted)",
        "end    client in state ready",
        "disconnected",
        "What next?",
    ]
    places = [done.stdout.find(line) for line in told]
    assert -1 not in places
    assert sorted(places) == places


def test_demo_in_a_terminal() -> None:
    """Coloured, word by word, in real time."""
    reader, writer = pty.openpty()
    began = time.monotonic()
    process = subprocess.Popen(
        [*COMMAND, "demo"],
        stdout=writer,
        stderr=writer,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(writer)
    output = b""
    while True:
        ready, _, _ = select.select([reader], [], [], 30)
        try:
            chunk = os.read(reader, 65_536) if ready else b""
        except OSError:
            break
        if not chunk:
            break
        output += chunk
    os.close(reader)
    assert 0 == process.wait(20)
    assert time.monotonic() - began > 2
    assert b"\x1b[" in output
    assert b"What next?" in output


# -- probe -------------------------------------------------------------------------------------


def probe(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = cli("probe", *arguments, "--json")
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


def stages(result: dict[str, Any]) -> dict[str, bool | None]:
    return {stage["name"]: stage["ok"] for stage in result["stages"]}


def test_probe_of_a_bot_that_is_up() -> None:
    """Every stage passed, with its time; exit code 0."""
    with Serving() as served:
        code, result = probe(served.url, "--text", "Hello")
        human = cli("probe", served.url)
    assert (0, True, "client") == (code, result["ok"], result["end"])
    expected = ["resolve", "start", "connect", "ready", "first event"]
    assert dict.fromkeys(expected, True) == stages(result)
    assert all(stage["seconds"] >= 0 for stage in result["stages"])
    assert "2.2.0" == result["bot"]["version"]
    assert 5 == human.stdout.count("✔")
    assert "the bot is up" in human.stdout


def test_probe_of_the_simulated_bot() -> None:
    """There is nothing to resolve."""
    code, result = probe("sim:")
    assert 0 == code
    assert None is stages(result)["resolve"]
    assert None is stages(probe("sim:?greeting=", "--timeout", "0.2")[1])["first event"]


@pytest.mark.parametrize(
    ("target", "options", "code", "stage", "detail"),
    [
        ("http://bot.invalid/start", [], 3, "resolve", ""),
        ("http://127.0.0.1:1/start", [], 4, "start", "Connection refused"),
        ("ws://127.0.0.1:1/ws-client", [], 5, "connect", "Connection refused"),
        ("{served}/nowhere", [], 4, "start", "HTTP 404"),
        ("{ws}/nowhere", [], 5, "connect", "HTTP 403"),
        ("sim:?ready_delay=9", ["--timeout", "0.2"], 6, "ready", "not ready after 0.2 s"),
        (
            "sim:?greeting=&think=9",
            ["--timeout", "0.2", "--text", "Hello"],
            7,
            "first event",
            "no bot-output within 0.2 s",
        ),
    ],
)
def test_probe_says_which_stage_is_broken(
    target: str, options: list[str], code: int, stage: str, detail: str
) -> None:
    """With its cause, and an exit code of its own."""
    with Serving() as served:
        base = served.url.removesuffix("/start")
        target = target.format(served=base, ws=base.replace("http", "ws"))
        got, result = probe(target, *options)
        human = cli("probe", target, *options)
    broken = [item for item in result["stages"] if item["ok"] is False]
    assert (code, [stage]) == (got, [item["name"] for item in broken])
    assert detail in broken[0]["detail"]
    assert result["ok"] is False
    assert code == human.returncode
    assert f"broken: {stage}" in human.stdout


def test_probe_shows_no_secret() -> None:
    """Neither of the address nor of the options."""
    target = "ws://127.0.0.1:1/ws-client?token=s3cret-token"
    done = cli("probe", target, "--header", "X-Key: s3cret-key", TRIO_PIPECAT_TOKEN="s3cret-env")
    machine = cli("probe", target, "--json")
    assert 5 == done.returncode == machine.returncode
    assert "s3cret" not in done.stdout + done.stderr + machine.stdout + machine.stderr


# -- serve -------------------------------------------------------------------------------------


def test_serve_ends_in_order() -> None:
    """Ctrl-C is how it ends: exit code 0."""
    with Serving("--greeting", "") as served:
        assert 0 == cli("probe", served.url, "--text", "Hello").returncode
    assert 0 == served.code
    assert "#1 connected" in served.said
    assert "#1 gone (the client closed with 1000)" in served.said


def test_serve_understands_what_it_is_told_to(tmp_path: Path) -> None:
    """When it is spoken to, whatever was said."""
    path = tmp_path / "a.wav"
    square = (b"\x00\x20" * 40 + b"\x00\xe0" * 40) * 100  # half a second of 200 Hz
    write_wav(path, AudioChunk(square, 16_000))
    with Serving("--greeting", "", "--hear", "What now?") as served:
        done = cli("say", served.url, str(path), "--json")
    (turn,) = json.loads(done.stdout)["turns"]
    assert ("What now?", "You said: What now?") == (turn["user_text"], turn["bot_text"])


def test_serve_may_want_a_token() -> None:
    """Which its start endpoint gives."""
    with Serving("--token-auth") as served:
        assert 0 == cli("probe", served.url).returncode
        direct = served.url.replace("http", "ws").replace("/start", "/ws-client")
        assert 5 == cli("probe", direct).returncode


def test_serve_may_take_webrtc_offers() -> None:
    """And says where."""
    pytest.importorskip("aiortc")
    with Serving("--webrtc") as served:
        pass
    base = served.url.removesuffix("/start")
    assert f"it takes WebRTC offers at {base}/api/offer" in served.said


def test_serve_on_a_port_that_is_taken() -> None:
    """One line, and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("serve", "--port", str(taken.getsockname()[1]))
    assert 1 == done.returncode
    assert "can't listen on 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


# -- events ------------------------------------------------------------------------------------


def test_events_prints_lines_of_json() -> None:
    """Each event with its time and what the wire said."""
    done = cli(
        "events", "sim:?greeting=", "--text", "one", "--until", "bot-stopped-speaking", "--json"
    )
    assert (0, "") == (done.returncode, done.stderr)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"event": "StateChanged", "state": "authenticating", "previous": "idle"} == {
        key: value for key, value in lines[0].items() if key != "at"
    }
    names = [line["event"] for line in lines]
    assert "BotStoppedSpeaking" in names
    assert ["StateChanged", "Disconnected"] == names[-2:]
    outputs = [line["message"]["data"] for line in lines if line["event"] == "BotOutput"]
    assert {"You said: one"} == {output["text"] for output in outputs}
    times = [line["at"] for line in lines]
    assert sorted(times) == times


def test_events_says_several_texts_one_after_the_other() -> None:
    """Each when the bot has finished with the one before, its greeting included."""
    done = cli(
        *("events", "sim:", "--text", "one", "--text", "two"),
        *("--until", "bot-stopped-speaking", "--json"),
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ends = [
        line["message"]["data"]["text"]
        for line in lines
        if line["event"] == "BotOutput" and line["message"]["data"]["spoken_status"] == "completed"
    ]
    assert ["Hello!", "I am the simulated bot.", "You said: one", "You said: two"] == ends


def test_events_for_people() -> None:
    """One line each: when, what, and what it says."""
    done = cli("events", "sim:", "--duration", "0.3")
    assert 0 == done.returncode
    assert re.search(r"^ +0\.\d{3}  bot-ready +.*version='2.2.0'", done.stdout, re.MULTILINE)
    assert re.search(
        r"^ +0\.\d{3}  StateChanged +state=ready previous=connected", done.stdout, re.MULTILINE
    )


def test_events_of_a_bot_that_is_not_there() -> None:
    """The error in one line, and exit code 1."""
    done = cli("events", "ws://127.0.0.1:1/")
    assert 1 == done.returncode
    assert done.stderr.startswith("TransportStartError: ")
    assert "Traceback" not in done.stderr


def test_events_into_a_pipe_that_closes() -> None:
    """Ends quietly, as commands do."""
    process = subprocess.Popen(
        [*COMMAND, "events", "sim:", "--duration", "5", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert b"" == process.stderr.read()
    assert 141 == process.wait(20)
    process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_hangs_up_properly(number: signal.Signals) -> None:
    """The bot sees a clean close, and the exit code says that it was interrupted."""
    with Serving("--greeting", "") as served:
        process = subprocess.Popen(
            [*COMMAND, "events", served.url, "--json"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        while "BotReady" not in process.stdout.readline():
            pass
        process.send_signal(number)
        assert 130 == process.wait(20)
        process.stdout.close()
    assert "gone (the client closed with 1000)" in served.said


# -- what newcomers found ----------------------------------------------------------------------


def test_until_knows_both_spellings() -> None:
    """The class's name and the wire's type; anything else is wrong usage."""
    for name in ("BotOutput", "bot-output"):
        done = cli("events", "sim:?greeting=", "--text", "hello", "--until", name, "--json")
        assert (0, "") == (done.returncode, done.stderr)
    done = cli("events", "sim:", "--until", "bot-outptu")
    assert 2 == done.returncode
    assert "there is no event 'bot-outptu'" in done.stderr


def test_until_counts_from_the_beginning_without_texts() -> None:
    """So that one can wait for a state."""
    done = cli("events", "sim:?ready_delay=60", "--until", "Connected")
    assert (0, "") == (done.returncode, done.stderr)


def test_a_stage_lasts_until_it_failed() -> None:
    """Not until the goodbye was said."""
    done = cli("probe", "sim:?ready_delay=9", "--timeout", "0.3", "--json")
    (failed,) = [stage for stage in json.loads(done.stdout)["stages"] if stage["ok"] is False]
    assert "ready" == failed["name"]
    assert failed["seconds"] >= 0.3


def test_a_pipe_that_nobody_reads_ends_the_command() -> None:
    """As with head: without a word, and with the code that shells know."""
    for command in (["demo", "--fast"], ["events", "sim:", "--text", "hello"], ["probe", "sim:"]):
        process = subprocess.Popen(
            [*COMMAND, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert "" == process.stderr.read()
        assert 141 == process.wait(timeout=30)
        process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_told() -> None:
    """In one line."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "probe", "sim:"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (1, "can't print: No space left on device\n") == (done.returncode, done.stderr)


def test_what_the_output_can_not_show_is_replaced() -> None:
    """A pipe on Windows, say."""
    done = cli("probe", "sim:", PYTHONIOENCODING="ascii")
    assert (0, "") == (done.returncode, done.stderr)
    assert "? connect" in done.stdout


def test_demo_is_interrupted_in_order() -> None:
    """Ctrl-C is no traceback."""
    process = subprocess.Popen(
        [*COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (130, "") == (process.returncode, errors)
