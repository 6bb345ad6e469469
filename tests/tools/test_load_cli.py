"""The commands load and merge, as they are typed."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from load_bot import running_bot

from trio_pipecat.reports import LoadResult
from trio_pipecat.tools._cli import cli

pytestmark = pytest.mark.socket

#: A machine on which other tests run meanwhile is not what is tested here.
PASSED_OR_BUSY = (0, 3)


def load(*arguments: object) -> Result:
    """Type it."""
    return CliRunner().invoke(cli, ["load", *map(str, arguments)])


def short(url: str = "sim:", **more: object) -> list[object]:
    """Return a run that is over soon."""
    options: dict[str, object] = {
        "callers": 2,
        "duration": "2s",
        "greeting": "0s",
        "turn-pause": "100ms",
        "wind-down": "0s",
        **more,
    }
    return [url, *(word for name, value in options.items() for word in (f"--{name}", value))]


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sim:", "--fail", "v2v.p95 > fast"], "expected a number\n  v2v.p95 > fast\n"),
        (["sim:", "--fail", "v2v.p95 > 1.5"], "needs a unit"),
        (["sim:", "--profile", "zigzag"], "zigzag"),
        (["sim:", "--stages", "10/soon"], "not a duration"),
        (["sim:", "--stages", "10/10s", "--callers", "3"], "--stages says it all"),
        (
            ["sim:", "--stages", "1/1s", "--profile", "ramp"],
            "--profile does nothing here: --stages",
        ),
        (
            ["sim:", "--find-capacity", "--fail", "calls < 1", "--profile", "constant"],
            "--profile does nothing here: --find-capacity",
        ),
        (["sim:", "--first", "3"], "--first does nothing here: it is for --find-capacity"),
        (["sim:", "--max-callers", "9"], "--max-callers does nothing here: it is for --arrivals"),
        (
            ["sim:", "--caller", "trio:sleep", "--turn-pause", "1s"],
            "--turn-pause does nothing here: a --caller does that",
        ),
        (
            ["sim:", "--caller", "trio:sleep", "--arrivals", "1/s", "--think", "1s"],
            "--think does nothing here",
        ),
        (["sim:", "--duration", "0s"], "no time"),
        (["sim:", "--duration", "forever"], "not a duration"),
        (["sim:", "--duration", "10s", "--warm-up", "10s"], "nothing is left to measure"),
        (["sim:", "--callers", "0"], "0 is not in the range"),
        (["sim:", "--callers", "2", "--arrivals", "1/s"], "either --callers or --arrivals"),
        (["sim:", "--arrivals", "often"], "callers per time"),
        (["sim:", "--think", "3s..1s"], "second is less"),
        (["sim:", "--wav", "absent.wav"], "absent.wav"),
        (["sim:", "--caller", "absent.py:caller"], "no absent.py"),
        (["sim:", "--caller", "json:loads"], "no async function loads"),
        (["sim:", "--caller", "json"], "FILE.py:FUNCTION"),
        (["sim:", "--text", "a", "--caller", "json:loads"], "either say texts"),
        (["gopher://x"], "gopher"),
        (["sim:?no=1"], "no option"),
        (["sim:", "--report", "/no/such/folder/r.html"], "/no/such/folder"),
        (["sim:", "--json", "/no/such/folder/r.json"], "/no/such/folder"),
        (["sim:", "--find-capacity"], "needs at least one --fail"),
        (["sim:", "--shard", "4/4"], "I/N"),
        (["sim:", "--processes", "2", "--shard", "0/2"], "either --shard or --processes"),
        (["sim:", "--processes", "2", "--begin-at", "1"], "--begin-at is for"),
        (["sim:", "--csv", "-", "--json", "-"], "only one report"),
        (
            ["sim:", "--find-capacity", "--fail", "calls < 1", "--first", "9", "--callers", "5"],
            "--first is more",
        ),
        (
            ["sim:", "--find-capacity", "--fail", "calls < 1", "--cool-down", "50s"],
            "nothing is left to measure of a step",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anybody_calls(arguments: list[str], told: str) -> None:
    """With exit code 2, and in words that help."""
    began = time.monotonic()
    result = load(*arguments)
    assert (2, True) == (result.exit_code, told in result.output), result.output
    assert time.monotonic() - began < 30


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """That brings the histograms, before anybody calls."""
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    result = load("sim:", "--duration", "2s")
    assert (2, True) == (result.exit_code, "trio-pipecat[report]" in result.output)


# -- what it tells -----------------------------------------------------------------------


def test_a_run_and_its_files(tmp_path: Path) -> None:
    """What is printed, and what is written."""
    with running_bot() as bot:
        result = load(
            *short(bot.url, duration="4s"),
            *("--report", tmp_path / "r.html", "--json", tmp_path / "r.json"),
            *("--csv", tmp_path / "r.csv", "--junit", tmp_path / "r.xml"),
            *("--turns", tmp_path / "turns.csv"),
            *("--fail", "error_rate > 0%", "--fail", "t2v.p50 > 10s"),
        )
    assert result.exit_code in PASSED_OR_BUSY, result.output
    assert "✔ error_rate > 0%" in result.output
    assert "text to voice" in result.output
    assert "<html" in (tmp_path / "r.html").read_text()
    document = json.loads((tmp_path / "r.json").read_text())
    assert [False, False] == [verdict["failed"] for verdict in document["verdicts"]]
    turns = LoadResult.from_json(document).turns
    assert document["counts"]["turns"] == len(turns) > 1
    assert len(turns) + 1 == len((tmp_path / "turns.csv").read_text().splitlines())
    assert (tmp_path / "r.csv").read_text().startswith("at,")
    assert "testsuite" in ET.parse(tmp_path / "r.xml").getroot().tag


def test_a_condition_that_is_fulfilled_is_a_failure() -> None:
    """It is marked, and told by the exit code."""
    with running_bot() as bot:
        result = load(*short(bot.url), "--fail", "t2v.p50 > 1ms")
    assert result.exit_code in (1, 3)
    assert "✘ t2v.p50 > 1ms" in result.output


def test_json_on_standard_output_is_alone_there() -> None:
    """What people read goes to the other one."""
    with running_bot() as bot:
        command = [sys.executable, "-m", "trio_pipecat", "load", *map(str, short(bot.url))]
        done = subprocess.run(
            [*command, "--json", "-"], capture_output=True, text=True, check=False
        )
    assert done.returncode in PASSED_OR_BUSY, done.stderr
    assert json.loads(done.stdout)["counts"]["turns"]
    assert "calls" in done.stderr


def test_secrets_are_in_no_report(tmp_path: Path) -> None:
    """Neither tokens nor headers nor what is in an address."""
    with running_bot() as bot:
        result = load(
            *short(f"{bot.url}?key=s3cret-one", duration="1s"),
            *("--token", "s3cret-two", "--header", "X-Key:s3cret-three"),
            *("--report", tmp_path / "r.html", "--json", tmp_path / "r.json"),
        )
    texts = [result.output, *(path.read_text() for path in tmp_path.iterdir())]
    assert 3 == len(texts)
    assert not any("s3cret" in text for text in texts)


def test_nobody_gets_through() -> None:
    """That is a failure, whatever was asked for."""
    result = load(*short("ws://127.0.0.1:1/", duration="3s"))
    assert result.exit_code in (1, 3)
    assert "TransportStartError" in result.output


def test_ctrl_c_has_callers_hang_up_and_the_report_written(tmp_path: Path) -> None:
    """For what ran."""
    with running_bot() as bot:
        process = start_load(*short(bot.url, duration="10m"), "--json", tmp_path / "r.json")
        wait_for_line(process, "ready")
        time.sleep(2)
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode in (130, 3)
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["interrupted"]
    assert document["counts"]["turns"]


def test_a_disk_that_fills_up_is_told(tmp_path: Path) -> None:
    """The other reports are written."""
    with running_bot() as bot:
        process = start_load(*short(bot.url), "--json", tmp_path / "r.json", "--csv", "/dev/full")
        _, errors = process.communicate(timeout=30)
    # A device is no place for a report, and said to be none before anybody calls.
    assert 2 == process.returncode
    assert "/dev/full is no regular file" in errors


def start_load(*arguments: object) -> "subprocess.Popen[str]":
    """Start it in a process of its own."""
    command = [sys.executable, "-m", "trio_pipecat", "load", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def wait_for_line(process: "subprocess.Popen[str]", word: str) -> None:
    """Wait until it has said something."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"it never said {word}")


# -- parts -------------------------------------------------------------------------------


def parts(folder: Path, number: int, **more: Any) -> list[Path]:
    """Run a plan by so many processes that know nothing of each other."""
    begin_at = time.time() + 8
    paths = [folder / f"part-{index}.json" for index in range(number)]
    with running_bot() as bot:
        processes = [
            start_load(
                *short(bot.url, callers=4, **more),
                *("--shard", f"{index}/{number}", "--begin-at", begin_at, "--json", path),
            )
            for index, path in enumerate(paths)
        ]
        for process in processes:
            _, errors = process.communicate(timeout=40)
            assert process.returncode in PASSED_OR_BUSY, errors
    return paths


def test_parts_are_put_together(tmp_path: Path) -> None:
    """As indexed jobs of a cluster would have written them; conditions are judged once."""
    paths = parts(tmp_path, 3, duration="4s")
    whole = tmp_path / "whole.json"
    arguments = [*map(str, paths), "--json", str(whole), "--fail", "turns < 1"]
    result = CliRunner().invoke(cli, ["merge", *arguments])
    assert result.exit_code in PASSED_OR_BUSY, result.output
    merged = json.loads(whole.read_text())
    singles = [json.loads(path.read_text()) for path in paths]
    assert merged["counts"]["turns"] == sum(single["counts"]["turns"] for single in singles)
    assert [0, 1, 2] == [part["index"] for part in merged["parts"]]
    assert [2, 1, 1] == [part["callers"] for part in merged["parts"]]
    assert [] == merged["lost"]

    some = [str(paths[0]), str(paths[2])]
    result = CliRunner().invoke(cli, ["merge", *some])
    assert 3 == result.exit_code
    assert "part 1 of 3 is missing" in result.output
    result = CliRunner().invoke(cli, ["merge", some[0], some[0]])
    assert (2, True) == (result.exit_code, "there twice" in result.output)
    result = CliRunner().invoke(cli, ["merge", *some, "--turns", str(tmp_path / "turns.csv")])
    assert (2, True) == (result.exit_code, f"{paths[0]} has no turns" in result.output)


def test_what_is_no_part(tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "y.json").write_text("no")
    for name in ("x.json", "y.json"):
        result = CliRunner().invoke(cli, ["merge", str(tmp_path / name)])
        assert (2, True) == (result.exit_code, name in result.output)
