"""What a load run serves for Prometheus, scraped over HTTP and read with its own parser."""

import contextlib
import itertools
import json
import math
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
from click.testing import CliRunner
from load_bot import running_bot
from test_load_shard import plan_for
from trio.testing import MockClock

from trio_pipecat import InvalidParamsError, UnsupportedFeatureError
from trio_pipecat.reports import LoadResult, Moment
from trio_pipecat.testing import SimulatedBot, crash
from trio_pipecat.tools._cli import cli
from trio_pipecat.tools.load._progress import Progress
from trio_pipecat.tools.load._prometheus import Figures, serve_figures
from trio_pipecat.tools.load._run_here import run_here

parser = pytest.importorskip(
    "prometheus_client.parser", reason='type: pip install "trio-pipecat[otel]"'
)

pytestmark = pytest.mark.socket

TARGET = "ws://bot.example/ws-client"
#: A sample's value by its name, without what all begin with, and its labels but the target.
Scraped: TypeAlias = dict[str, float]


def scrape(url: str) -> Scraped:
    """Return what is served: ``calls_failed_total{cause=…}`` and its value."""
    # Whatever proxy this machine has is for elsewhere.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        text = response.read().decode()
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation.endswith(".")
        for sample in family.samples:
            labels = [f"{key}={sample.labels[key]}" for key in sample.labels if key != "target"]
            name = sample.name.removeprefix("trio_pipecat_load_")
            assert name != sample.name
            found[name + ("{" + ",".join(labels) + "}" if labels else "")] = sample.value
    return found


@pytest.fixture
def figures() -> Iterator[Figures]:
    """Figures that are served."""
    with serve_figures("127.0.0.1", 0, TARGET) as served:
        yield served


def told(result: LoadResult, *, starting: int = 0, ready: int = 0) -> Progress:
    """Return how far a run is."""
    return Progress(seconds=1, result=result, now=Moment(starting=starting, ready=ready))


async def test_figures_are_those_of_the_result(autojump_clock: MockClock, figures: Figures) -> None:
    """All of them, once nothing is measured any more; until then no counter goes back."""
    rng = random.Random(5)
    bot = SimulatedBot(think_seconds=lambda: rng.lognormvariate(-0.5, 0.6))

    async def crash_now_and_then(conversation: Any) -> None:
        if len(bot.conversations) % 3 == 0:
            await crash(1)(conversation)

    bot.behaviours = [crash_now_and_then]
    scraped: list[Scraped] = []

    def watch(progress: Progress) -> None:
        figures.watch(progress)
        scraped.append(scrape(figures.url))

    result = await run_here(plan_for(bot, 8, 60, cool_down=20.0), watch, trio.Event())
    counters = [name for name in scraped[-1] if "_total" in name or "_bucket" in name]
    for before, after in itertools.pairwise(scraped):
        assert [] == [name for name in counters if before.get(name, 0) > after.get(name, 0)]
    assert 8 == max(found["callers{state=ready}"] for found in scraped)

    last = scraped[-1]
    assert result.counts["calls"] == last["calls_total"] > 20
    assert result.counts["turns"] == last["turns_total"] > 20
    assert result.counts["answered"] == last["turns_answered_total"] > 20
    assert result.counts["interruptions"] == last["interruptions_total"]
    (cause,) = result.errors
    assert result.errors[cause] == last[f"calls_failed_total{{cause={cause}}}"] > 2
    for name in ("t2v", "first_event", "ready", "loop_lag"):
        latencies = result.metrics[name]
        assert len(latencies) == last[f"{name}_seconds_count"] > 20
        assert latencies.total == pytest.approx(last[f"{name}_seconds_sum"])
        buckets = {
            float(key.partition("le=")[2][:-1]): value
            for key, value in last.items()
            if key.startswith(f"{name}_seconds_bucket")
        }
        assert len(buckets) > 8
        assert math.inf in buckets
        assert latencies.counts_within([*buckets]) == [*buckets.values()]
    assert 0 == last["v2v_seconds_count"]


def test_before_anything_is_told(figures: Figures) -> None:
    """There is everything, and it is zero: a rate needs a beginning."""
    found = scrape(figures.url)
    assert {0} == {*found.values()}
    assert {"calls_total", "callers{state=starting}", "v2v_seconds_bucket{le=+Inf}"} < found.keys()


def test_what_was_told_stays(figures: Figures) -> None:
    """The run goes on with its own, and tells again."""
    result = LoadResult(counts=Counter(calls=1))
    result.metric("v2v").add(0.4)
    figures.watch(told(result, starting=3, ready=4))
    result.counts["calls"] += 1
    result.metric("v2v").add(0.4)
    found = scrape(figures.url)
    assert (1, 1) == (found["calls_total"], found["v2v_seconds_count"])
    assert (0, 1) == (found["v2v_seconds_bucket{le=0.3}"], found["v2v_seconds_bucket{le=0.5}"])
    assert (3, 4) == (found["callers{state=starting}"], found["callers{state=ready}"])


def test_a_flood_of_causes(figures: Figures) -> None:
    """Is one, but for the first; no counter of a cause goes back, whatever comes first later."""
    causes = [f'cause "{number}"\\ of\nmany' for number in range(30)]
    figures.watch(told(LoadResult(errors=Counter(causes))))
    figures.watch(told(LoadResult(errors=Counter(reversed(causes * 2)))))
    found = scrape(figures.url)
    by_cause = {name: value for name, value in found.items() if name.startswith("calls_failed")}
    assert 21 == len(by_cause)
    assert 20 == by_cause.pop("calls_failed_total{cause=other}")
    assert {2} == {*by_cause.values()}
    assert f"calls_failed_total{{cause={causes[0]}}}" in by_cause


def test_the_target_is_a_label(figures: Figures) -> None:
    """That of the run."""
    with urllib.request.urlopen(figures.url, timeout=10) as response:
        text = response.read().decode()
    values = set(re.findall(r'target="([^"]*)"', text))
    assert {TARGET} == values


# -- the server --------------------------------------------------------------------------


def settle(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_nothing_is_left() -> None:
    """No thread, and nobody listens; whoever is connected and says nothing holds nothing up."""
    threads = set(threading.enumerate())
    with contextlib.ExitStack() as stack:
        with serve_figures("127.0.0.1", 0, TARGET) as figures:
            port = int(figures.url.split(":")[2].partition("/")[0])
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            scrape(figures.url)
            began = time.monotonic()
        assert time.monotonic() - began < 5
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        silent.close()
    settle(lambda: set(threading.enumerate()) <= threads)


def test_a_port_that_is_taken() -> None:
    """It is refused before anybody calls."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidParamsError, match=f"at 127.0.0.1:{port}: .*in use"):
            with serve_figures("127.0.0.1", port, TARGET):
                pass
        # Whoever called there would be noticed.
        command = ["load", f"ws://127.0.0.1:{port}", "--prometheus", str(port)]
        result = CliRunner().invoke(cli, command)
        assert (2, True) == (result.exit_code, f"127.0.0.1:{port}" in result.output)
        taken.settimeout(0.2)
        with pytest.raises(TimeoutError):
            taken.accept()


def test_a_host_that_is_none() -> None:
    """It is refused as well."""
    with pytest.raises(InvalidParamsError, match=r"at no\.such\.host\.invalid:0: "):
        with serve_figures("no.such.host.invalid", 0, TARGET):
            pass


def test_other_interfaces() -> None:
    """An address has its brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serve_figures("::1", 0, TARGET) as figures:
        assert figures.url.startswith("http://[::1]:")
        assert scrape(figures.url)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a line to type."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UnsupportedFeatureError, match=r'pip install "trio-pipecat\[otel\]"'):
        with serve_figures("127.0.0.1", 0, TARGET):
            pass
    result = CliRunner().invoke(cli, ["load", "sim:", "--prometheus", "0"])
    assert (2, True) == (result.exit_code, "trio-pipecat[otel]" in result.output)


# -- the command -------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "x", "65536", "-1", "host:", "127.0.0.1:x", "9464:host"])
def test_what_is_no_place(place: str) -> None:
    """It is told what one looks like."""
    result = CliRunner().invoke(cli, ["load", "sim:", "--prometheus", place])
    assert (2, True) == (result.exit_code, "expected [HOST:]PORT" in result.output)


@pytest.mark.parametrize("processes", [1, 2])
def test_it_is_served_while_a_run_goes_on(processes: int, tmp_path: Path) -> None:
    """By one process for all, and then no more; its address is told, and nothing that is secret."""
    file = tmp_path / "run.json"
    with running_bot() as bot:
        command = [sys.executable, "-m", "trio_pipecat", "load", f"{bot.url}?key=s3cret-one"]
        options = {"callers": 4, "duration": "12s", "cool-down": "6s", "greeting": "0s"}
        options |= {"processes": processes, "prometheus": 0, "json": str(file), "text": "Hi"}
        options |= {"token": "s3cret-two", "turn-pause": "100ms", "wind-down": "0s"}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        with subprocess.Popen(
            [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line.startswith("for Prometheus: http://127.0.0.1:")
                url = line.split()[-1]
                with urllib.request.urlopen(url, timeout=10) as response:
                    assert b"s3cret" not in response.read()
                scraped = [scrape(url)]
                with contextlib.suppress(OSError):
                    while process.poll() is None:
                        scraped.append(scrape(url))
                        time.sleep(0.1)
                _, errors = process.communicate(timeout=30)
            finally:
                process.kill()
    assert process.returncode in (0, 3), errors
    with pytest.raises(OSError, match="refused"):
        scrape(url)
    counts = json.loads(file.read_text())["counts"]
    assert {"callers{state=ready}", "callers{state=starting}"} < scraped[-1].keys()
    assert 4 == max(found["callers{state=ready}"] for found in scraped)
    assert counts["turns"] == scraped[-1]["turns_total"] > 4
    assert counts["calls"] == scraped[-1]["calls_total"] > 4
