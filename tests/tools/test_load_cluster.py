"""A load run by a Dask cluster: a real scheduler and two workers, in processes of their own."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from load_bot import running_bot, unmeasured
from test_load_processes import ATTEMPTS, check_percentiles, plan_for

from trio_pipecat.audio import read_wav
from trio_pipecat.tools.load import _cluster
from trio_pipecat.tools.load._cluster import run_cluster
from trio_pipecat.tools.load._progress import Progress

distributed = pytest.importorskip("distributed", reason='type: pip install "trio-pipecat[cluster]"')

pytestmark = [pytest.mark.socket, pytest.mark.timeout(120)]


class Cluster:
    """A scheduler, and workers that can be killed."""

    def __init__(self, address: str, workers: "list[subprocess.Popen[bytes]]") -> None:
        self.address = address
        self.workers = workers


@contextlib.contextmanager
def running_scheduler() -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    """Run a scheduler while the block lasts, and give its address."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        # What it tells later has to be read, or it waits for that.
        reader = threading.Thread(target=process.stderr.read)
        try:
            for line in process.stderr:
                if "Scheduler at:" in line:
                    break
            reader.start()
            yield line.split()[-1], process
        finally:
            process.kill()
            reader.join()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Run a scheduler."""
    with running_scheduler() as (address, _):
        yield address


@contextlib.contextmanager
def running_workers(scheduler: str, number: int) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Run workers of a scheduler while the block lasts."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
    null = subprocess.DEVNULL
    workers = [
        subprocess.Popen([*command, *options], stdout=null, stderr=null, env=unmeasured())
        for _ in range(number)
    ]
    try:
        with distributed.Client(scheduler, set_as_default=False) as client:
            client.wait_for_workers(number, timeout=30)
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


async def test_two_workers_measure_what_the_bot_does(scheduler: str) -> None:
    """Their histograms put together have the percentiles of its delays."""
    with running_workers(scheduler, 2):
        for attempt in range(ATTEMPTS):
            with running_bot(seed=attempt) as bot:
                seen: list[Progress] = []
                plan = plan_for(bot, 8, 12)
                result = await run_cluster(plan, scheduler, seen.append, trio.Event())
                assert [] == result.lost
                assert [0, 1] == [part.index for part in result.parts]
                assert 8 == sum(part.callers for part in result.parts)
                assert seen
                if not result.problems:
                    check_percentiles(result, bot)
                    return
    raise AssertionError("this machine was too busy in all attempts")


async def test_the_worst_turns_come_with_their_sound(scheduler: str, tmp_path: Path) -> None:
    """From the disks of those who recorded them, whose folders are gone then."""
    with running_workers(scheduler, 2), running_bot() as bot:
        plan = attrs.evolve(plan_for(bot, 4, 6), audio_folder=str(tmp_path))
        result = await run_cluster(plan, scheduler, lambda _: None, trio.Event())
    heard = [turn for turn in result.worst if turn.audio is not None]
    assert {0, 1, 2, 3} >= {turn.caller for turn in heard} != set()
    for turn in heard:
        assert turn.audio is not None
        assert tmp_path == Path(turn.audio).parent
        assert 2 == read_wav(turn.audio).num_channels
    assert [] == result.notes


async def test_stopping_reaches_all_of_them(scheduler: str) -> None:
    """They hang up, and give what they have measured."""
    stop = trio.Event()

    def watch(progress: Progress) -> None:
        if progress.result.counts["turns"]:
            stop.set()

    with running_workers(scheduler, 2), running_bot() as bot:
        result = await run_cluster(plan_for(bot, 4, 600), scheduler, watch, stop)
    assert result.interrupted
    assert [] == result.lost
    assert 2 == len(result.parts)
    assert result.seconds < 60


async def test_a_bot_that_dies_ends_the_run(scheduler: str) -> None:
    """Of all workers: each alone can't know."""
    with running_workers(scheduler, 2), running_bot() as bot:

        def watch(progress: Progress) -> None:
            if progress.result.counts["turns"]:
                bot.kill()

        result = await run_cluster(plan_for(bot, 4, 120), scheduler, watch, trio.Event())
    assert result.bot_died is not None
    assert result.seconds < 60
    assert [] == result.lost


async def test_a_worker_that_is_lost_is_named(scheduler: str) -> None:
    """With its part of the plan, which nobody else takes over; the others' measures are there."""
    with running_workers(scheduler, 2) as workers, running_bot() as bot:

        def watch(progress: Progress) -> None:
            if progress.result.counts["turns"]:
                workers[0].kill()

        result = await run_cluster(plan_for(bot, 4, 8), scheduler, watch, trio.Event())
    (lost,) = result.lost
    assert "of 2 (2 of 4 callers) is lost" in lost
    assert lost in result.problems
    assert 1 == len(result.parts)
    assert result.counts["turns"]


async def test_a_scheduler_that_does_not_answer_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for, as Dask would, for ever."""
    monkeypatch.setattr(_cluster, "_ANSWER", 3.0)
    with (
        running_scheduler() as (address, process),
        running_workers(address, 1),
        running_bot() as bot,
    ):

        def watch(progress: Progress) -> None:
            process.send_signal(signal.SIGSTOP)

        with pytest.raises(OSError, match="not answered for 3 s"):
            await run_cluster(plan_for(bot, 1, 60), address, watch, trio.Event())


async def test_a_cluster_without_workers(scheduler: str) -> None:
    """There is nobody to run it."""
    with running_bot() as bot, pytest.raises(OSError, match="no workers"):
        await run_cluster(plan_for(bot, 1, 4), scheduler, lambda _: None, trio.Event())


async def test_a_worker_that_lacks_a_file_says_so(scheduler: str) -> None:
    """Before anybody calls."""
    with running_workers(scheduler, 1), running_bot() as bot:
        plan = attrs.evolve(plan_for(bot, 1, 4), texts=(), wavs=("/no/such/file.wav",))
        with pytest.raises(ValueError, match="no/such/file"):
            await run_cluster(plan, scheduler, lambda _: None, trio.Event())


async def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named."""
    monkeypatch.setattr(_cluster, "_CONNECT", 2)
    with running_bot() as bot, pytest.raises(OSError, match="no Dask scheduler"):
        await run_cluster(plan_for(bot, 1, 4), "tcp://127.0.0.1:1", lambda _: None, trio.Event())
