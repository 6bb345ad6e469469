"""How late 200 sessions are because of one whose peer does its worst.

``python -m benchmarks.neighbours`` prints, for each villain of ``tests/test_neighbours.py``, how
long the neighbours had to wait for an answer at worst, without the villain and with it, one right
after the other in the same run. Only the ratio means anything on a machine that others use.
"""

import argparse
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import attrs
import trio

# It holds the villains, and what they have to come to.
sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

import test_neighbours as stage  # noqa: E402


@attrs.frozen
class Lateness:
    """How long answers took, in ms."""

    median: float
    worst: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Lateness":
        """Sum up."""
        return cls(1000 * statistics.median(seconds), 1000 * max(seconds))


async def measure(
    bots: stage.Bots, villain: stage.Villain, number: int, answers: int, *, tls: bool
) -> tuple[Lateness, Lateness]:
    """Return how late the neighbours of a villain are: before it comes, and while it is here."""
    async with stage.neighbours(bots, number) as everybody:
        await everybody.are_answered()  # they do not all begin at once any more
        everybody.late = without = []
        await everybody.are_answered(answers)
        everybody.late = with_it = []
        async with trio.open_nursery() as nursery:
            begun = trio.Event()
            where = bots.at(villain.script, tls=tls)
            nursery.start_soon(partial(stage.suffer, villain, begun, **where))
            await begun.wait()
            await everybody.are_answered(answers)
            await everybody.ask("end")
        await everybody.are_answered(1)
        everybody.late = None
    return Lateness.of(without), Lateness.of(with_it)


def main() -> None:
    """Measure all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="benchmarks.neighbours")
    parser.add_argument("--sessions", type=int, default=stage.NEIGHBOURS)
    parser.add_argument("--answers", type=int, default=10, help="of each neighbour, at least")
    options = parser.parse_args()
    print("| one session's peer | alone: median | worst | with it: median | worst | worst/worst |")
    print("|:---|---:|---:|---:|---:|---:|", flush=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        stage.running_bots(Path(folder)) as bots,
    ):
        for name, villain in stage.VILLAINS.items():
            for tls in (False, True):
                without, with_it = trio.run(
                    partial(measure, bots, villain, options.sessions, options.answers, tls=tls)
                )
                print(
                    f"| {name}{' (TLS)' if tls else ''} | {without.median:.1f} ms "
                    f"| {without.worst:.0f} ms | {with_it.median:.1f} ms | {with_it.worst:.0f} ms "
                    f"| {with_it.worst / without.worst:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
