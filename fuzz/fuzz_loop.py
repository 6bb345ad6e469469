"""The loop of every fuzz target: atheris where it is installed, seeded random mutation elsewhere.

A target calls `fuzz` with a check and some valid inputs. The check is called with bytes, and raises
if its invariant does not hold. Options, the same for all targets:

    --runs N      stop after N inputs (0: no limit)
    --seconds S   stop after S seconds (0: no limit)
    --seed N      of the random numbers
    --plain       mutate at random even where atheris is installed
"""

import argparse
import contextlib
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

#: A value of JSON that holds no others, or what looks like one.
_WORD = re.compile(rb'"[^"]*"|[\w.+-]+')


def instrumented() -> contextlib.AbstractContextManager:
    """Around the import of the code under test, so that atheris sees which lines it reaches."""
    if atheris is None:
        return contextlib.nullcontext()
    return atheris.instrument_imports(include=["trio_pipecat"])


def fuzz(
    check: Callable[[bytes], object],
    seeds: Sequence[bytes],
    tokens: Sequence[bytes] = (),
    arguments: Sequence[str] | None = None,
) -> None:
    """Call `check` with many inputs that are like `seeds`; `tokens` are worth inserting."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args(arguments)
    if atheris is not None and not options.plain:
        _guided(check, seeds, options)
    else:
        _plain(check, Mutator(seeds, tokens, options.seed), options)


def _guided(
    check: Callable[[bytes], object], seeds: Sequence[bytes], options: argparse.Namespace
) -> None:
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={options.seconds:.0f}", f"-seed={options.seed}"]
        if options.runs:
            limits.append(f"-atheris_runs={options.runs}")
        atheris.Setup([sys.argv[0], *limits, corpus], check)
        atheris.Fuzz()


def _plain(
    check: Callable[[bytes], object], mutator: "Mutator", options: argparse.Namespace
) -> None:
    started, runs = time.monotonic(), 0
    while not options.runs or runs < options.runs:
        if options.seconds and time.monotonic() - started > options.seconds:
            break
        data = mutator.next()
        runs += 1
        try:
            check(data)
        except Exception as error:
            error.add_note(f"input {runs} of seed {options.seed}: {data!r}")
            raise
    print(f"{runs} inputs, seed {options.seed}: the invariant holds")


class Mutator:
    """Makes inputs out of valid ones: first themselves, then with a few random changes."""

    def __init__(self, seeds: Sequence[bytes], tokens: Sequence[bytes], seed: int) -> None:
        self._fresh = list(seeds)
        self._seeds = seeds
        self._tokens = tokens or [b"\x00"]
        self._random = random.Random(seed)
        self._changes = (
            self._flip,
            self._insert,
            self._delete,
            self._repeat,
            self._splice,
            self._swap,
        )

    def next(self) -> bytes:
        """Return the next input."""
        if self._fresh:
            return self._fresh.pop()
        data = self._random.choice(self._seeds)
        for _ in range(self._random.choice((1, 1, 2, 4, 8))):
            data = self._random.choice(self._changes)(data)
        return data

    def _cut(self, data: bytes) -> tuple[int, int]:
        start = self._random.randint(0, len(data))
        return start, min(start + self._random.choice((0, 1, 2, 4, 16)), len(data))

    def _flip(self, data: bytes) -> bytes:
        start, _ = self._cut(data)
        return data[:start] + self._random.randbytes(1) + data[start + 1 :]

    def _insert(self, data: bytes) -> bytes:
        start, end = self._cut(data)
        return data[:start] + self._random.choice(self._tokens) + data[end:]

    def _delete(self, data: bytes) -> bytes:
        start, end = self._cut(data)
        return data[:start] + data[end:]

    def _repeat(self, data: bytes) -> bytes:
        start, end = self._cut(data)
        return data[:start] + data[start:end] * self._random.choice((2, 3, 50)) + data[end:]

    def _splice(self, data: bytes) -> bytes:
        other = self._random.choice(self._seeds)
        return data[: self._cut(data)[0]] + other[self._cut(other)[0] :]

    def _swap(self, data: bytes) -> bytes:
        words = [*_WORD.finditer(data)]
        if not words:
            return data
        word = self._random.choice(words)
        return data[: word.start()] + self._random.choice(self._tokens) + data[word.end() :]
