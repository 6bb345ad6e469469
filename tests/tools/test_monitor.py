"""``probe --every`` and ``--repeat``: in virtual time; and as a user runs it."""

import json
import re
import signal
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import trio
from http_server import LoopbackNames
from test_cli import COMMAND, Serving, cli
from trio.testing import MockClock

import trio_pipecat as tp
from trio_pipecat.testing import SimulatedBot, never_ready
from trio_pipecat.tools._monitor import Watch
from trio_pipecat.transports import Connector, LinkOptions, Transport

UP = SimulatedBot(greeting="Hello.").connect
SILENT = SimulatedBot([never_ready()]).connect


@asynccontextmanager
async def refuses(
    params: tp.ConnectParams, options: LinkOptions
) -> AsyncGenerator[Transport, None]:
    """A bot that is not there."""
    await trio.lowlevel.checkpoint()
    raise tp.TransportStartError("connect", "Connection refused")
    yield


def one_after_the_other(*bots: Connector) -> Connector:
    """Return a connector that leads to another bot each time, and to the last for ever."""
    coming: Iterator[Connector] = chain(bots, repeat(bots[-1]))

    def connect(params: tp.ConnectParams, options: LinkOptions) -> Any:
        return next(coming)(params, options)

    return connect


async def watched(*bots: Connector, seconds: float = 1e9, **options: Any) -> Watch:
    """Watch bots for so long, or until it is done."""
    target = options.pop("target", "sim:?greeting=Hello.")
    watch = Watch(
        target=target,
        bot={"transport": one_after_the_other(*bots)} if bots else {},
        **{"patience": 10, "as_json": True, **options},
    )
    with trio.move_on_after(seconds):
        assert 0 == await watch.keep()
    return watch


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what was printed, line by line."""
    output = capsys.readouterr()
    assert "" == output.err
    return [json.loads(line) for line in output.out.splitlines()]


async def test_on_the_beat(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """An hour of it does not drift, whatever a probe takes."""
    times: list[float] = []

    def at_times(params: tp.ConnectParams, options: LinkOptions) -> Any:
        times.append(trio.current_time())
        return SimulatedBot(ready_delay=0.3).connect(params, options)

    began = trio.current_time()
    watch = await watched(at_times, every=30.0, seconds=3601, text="Hello")
    assert [30 * number for number in range(121)] == [
        pytest.approx(at - began, abs=1e-3) for at in times
    ]
    assert (121, 121, 0) == (watch.done, watch.up, watch.skipped)
    lines = told(capsys)
    assert [*range(1, 122)] == [line["number"] for line in lines]
    assert 0 == watch.conclude()
    (line,) = told(capsys)
    assert {"p50": 0.3, "p95": 0.3, "max": 0.3} == {
        name: pytest.approx(value, abs=1e-3) for name, value in line["summary"]["ready"].items()
    }


async def test_one_after_the_other(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """So often, without a beat, and a line each: the same object as of one, when, and which."""
    watch = await watched(repeat=3)
    assert 3 == watch.done
    lines = told(capsys)
    for number, line in enumerate(lines, 1):
        assert number == line["number"]
        assert line["at"].endswith("Z")
        assert datetime.fromisoformat(line["at"]).tzinfo is not None
        assert (True, "sim:", "client") == (line["ok"], line["target"], line["end"])
        assert ["resolve", "start", "connect", "ready", "first event"] == [
            stage["name"] for stage in line["stages"]
        ]
    assert trio.current_time() < 1


async def test_a_number_and_a_beat(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with the last, and does not wait for another beat."""
    began = trio.current_time()
    watch = await watched(UP, every=60.0, repeat=3)
    assert 3 == watch.done
    assert 120 <= trio.current_time() - began < 121


async def test_a_probe_that_takes_longer_than_the_beat(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Has those beats skipped, and counted: no two at a time, and none out of the beat."""
    times: list[float] = []

    def slow(params: tp.ConnectParams, options: LinkOptions) -> Any:
        times.append(trio.current_time())
        return (SILENT if len(times) == 2 else UP)(params, options)

    began = trio.current_time()
    watch = await watched(slow, every=3.0, repeat=4)
    assert [0, 3, 15, 18] == [pytest.approx(at - began, abs=1e-3) for at in times]
    assert (4, 3, 3) == (watch.done, watch.up, watch.skipped)
    assert {"ready": 1} == watch.failed


async def test_an_outage(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Lasts from the first failure to the next success; the longest is told."""
    bots = [UP, refuses, UP, refuses, SILENT, refuses, UP, refuses, UP]
    watch = await watched(*bots, every=60.0, repeat=len(bots))
    assert 5 == watch.conclude()
    *probes, last = told(capsys)
    assert [bot is UP for bot in bots] == [probe["ok"] for probe in probes]
    summary = last["summary"]
    assert (9, 4, 0) == (summary["probes"], summary["up"], summary["skipped"])
    assert {"connect": 4, "ready": 1} == summary["failed"]
    outage = summary["longest_outage"]
    assert (180, True) == (pytest.approx(outage["seconds"]), outage["is_over"])
    assert probes[3]["at"] == outage["since"]
    assert 480 == pytest.approx(summary["seconds"], abs=1)


async def test_an_outage_that_is_not_over(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lasts until it was looked at no more."""
    watch = await watched(UP, refuses, every=60.0, seconds=200)
    assert 5 == watch.conclude()
    outage = told(capsys)[-1]["summary"]["longest_outage"]
    assert (140, False) == (pytest.approx(outage["seconds"]), outage["is_over"])


@pytest.mark.parametrize(
    ("bots", "code"),
    [([UP], 0), ([refuses, UP], 5), ([refuses, SILENT, UP], 6), ([SILENT, refuses], 5)],
)
async def test_the_exit_code_is_that_of_the_last_failure(
    bots: list[Connector],
    code: int,
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Or 0, if there was none."""
    watch = await watched(*bots, repeat=4)
    assert code == watch.conclude()


async def test_nothing_is_known(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first probe is over."""
    watch = await watched(SILENT, every=60.0, seconds=1)
    assert (0, 130) == (watch.done, watch.conclude())
    (line,) = told(capsys)
    assert (0, None, None) == tuple(
        line["summary"][key] for key in ("probes", "longest_outage", "ready")
    )


async def test_whatever_fails_is_a_probe(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the next one comes: no failure ends it, of whatever kind."""

    class Resolver(LoopbackNames):
        async def getaddrinfo(self, *_: object, **__: object) -> Any:
            raise RuntimeError("can't start\nnew thread")

    trio.socket.set_custom_hostname_resolver(Resolver("nowhere"))
    watch = await watched(target="http://bot.example/start", repeat=2)
    assert ({"resolve": 2}, 3) == (watch.failed, watch.conclude())
    assert "RuntimeError: can't start new thread" == told(capsys)[0]["stages"][0]["detail"]

    script = tmp_path / "script.json"
    script.write_text("[]")
    watch = await watched(target=f"sim:?script={script}", repeat=1)
    assert 1 == watch.up
    script.unlink()
    watch = await watched(target=f"sim:?script={script}", repeat=2)
    assert {"resolve": 2} == watch.failed
    assert "No such file" in told(capsys)[-1]["stages"][0]["detail"]


async def test_for_people(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with the times of its stages, and why it failed; then how it was."""
    watch = await watched(UP, SILENT, UP, every=3.0, repeat=3, as_json=False)
    assert 6 == watch.conclude()
    first, second, _, head, outage, ready = capsys.readouterr().out.splitlines()
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(
        time + r"  ✔ up +start \d+ ms, connect \d+ ms, ready \d+ ms, first event \d+ ms", first
    )
    assert re.fullmatch(
        time + r"  ✘ ready +start \d+ ms, connect \d+ ms, ready 10000 ms: the bot was not .*",
        second,
    )
    assert re.fullmatch(
        r"3 probes in \d\d\.\d s: 2 up, 1 broken \(ready 1\), 3 beats skipped", head
    )
    assert re.fullmatch(r"longest outage 12\.0 s, from " + time, outage)
    assert re.fullmatch(r"ready p50 \d+ ms, p95 \d+ ms, max \d+ ms", ready)


async def test_one_of_each_is_one(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one that has never been up has no time to be ready."""
    watch = await watched(refuses, repeat=1, as_json=False)
    assert 5 == watch.conclude()
    _, head, outage = capsys.readouterr().out.splitlines()
    assert "1 probe in 0.0 s: 0 up, 1 broken (connect 1)" == head
    assert outage.endswith(", not over yet")


async def test_all_is_well(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Then nothing else is told."""
    watch = await watched(UP, repeat=2, as_json=False)
    assert 0 == watch.conclude()
    *_, head, ready = capsys.readouterr().out.splitlines()
    assert "2 probes in 0.0 s: 2 up" == head
    assert ready.startswith("ready p50 ")


# -- as a user runs it -----------------------------------------------------------------------------


def test_so_often() -> None:
    """Lines of JSON, and the summary as the last; exit code 0."""
    with Serving() as served:
        done = cli("probe", served.url, "--repeat", "3", "--json")
    assert (0, "") == (done.returncode, done.stderr)
    *probes, last = map(json.loads, done.stdout.splitlines())
    assert [1, 2, 3] == [probe["number"] for probe in probes]
    assert all(probe["ok"] for probe in probes)
    assert (3, 3) == (last["summary"]["probes"], last["summary"]["up"])


def test_a_bot_that_is_not_there() -> None:
    """Is not there each time."""
    done = cli("probe", "ws://127.0.0.1:1/?token=s3cret", "--repeat", "2")
    assert (5, "") == (done.returncode, done.stderr)
    assert 2 == done.stdout.count("✘ connect")
    assert "2 probes" in done.stdout
    assert "s3cret" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("options", "code"), [([], 0), (["--repeat", "1000"], 130), (["--text", ""], 0)]
)
def test_ctrl_c_is_how_it_ends(options: list[str], code: int, number: signal.Signals) -> None:
    """With the summary; where there is a number, it was interrupted all the same."""
    process = subprocess.Popen(
        [*COMMAND, "probe", "sim:", "--every", "50ms", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    # Each line is there as soon as its probe is done.
    assert [1, 2] == [json.loads(process.stdout.readline())["number"] for _ in range(2)]
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert (code, "") == (process.returncode, errors)
    assert json.loads(output.splitlines()[-1])["summary"]["up"] >= 2


def test_a_failure_is_its_exit_code_though_it_is_interrupted() -> None:
    """That is what a script wants to know."""
    process = subprocess.Popen(
        [*COMMAND, "probe", "ws://127.0.0.1:1/", "--every", "10m"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "✘ connect" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert 5 == process.returncode
    assert "not over yet" in output


def test_a_pipe_that_nobody_reads() -> None:
    """Ends it, as it ends every command."""
    process = subprocess.Popen(
        [*COMMAND, "probe", "sim:", "--every", "20ms"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert "" == process.stderr.read()
    assert 141 == process.wait(timeout=30)
    process.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--every", "often"], "not a duration, such as 90s, 1.5m or 1h: 'often'"),
        (["--every", "0s"], "is no time"),
        (["--every", "-1s"], "not a duration"),
        (["--every", "1d"], "not a duration"),
        (["--repeat", "0"], "--repeat"),
    ],
)
def test_wrong_usage(arguments: list[str], what: str) -> None:
    """Is told before anything is tried."""
    done = cli("probe", "sim:", *arguments)
    assert (2, "") == (done.returncode, done.stdout)
    assert what in " ".join(done.stderr.split())


def test_an_address_that_can_not_be() -> None:
    """Is wrong usage, and no probe."""
    done = cli("probe", "sim:?x=1", "--every", "1s")
    assert 2 == done.returncode
    assert "no option 'x'" in done.stderr
