"""The fuzz targets: each runs, finds nothing, and would find something."""

import importlib
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent.parent / "fuzz"


@pytest.fixture(autouse=True)
def fuzz_on_path(monkeypatch):
    monkeypatch.syspath_prepend(FUZZ)


@pytest.mark.parametrize("target", ["fuzz_codec", "fuzz_envelope"])
def test_invariant_holds(target, capsys):
    """A short run of a target finds nothing."""
    importlib.import_module(target).main(["--plain", "--runs", "400", "--seed", "1"])
    assert "400 inputs, seed 1: the invariant holds\n" == capsys.readouterr().out


@pytest.mark.parametrize("target", ["fuzz_codec", "fuzz_envelope"])
def test_seeds_are_valid(target):
    """What a target starts from satisfies its own check."""
    module = importlib.import_module(target)
    for seed in module.SEEDS:
        module.check(seed)


def test_every_target_is_tested_here():
    """There is no fuzz target that the tests do not run."""
    targets = {path.stem for path in FUZZ.glob("fuzz_*.py")} - {"fuzz_loop"}
    assert {"fuzz_codec", "fuzz_envelope"} == targets


def test_input_that_breaks_the_invariant_is_shown():
    """A target that finds something raises what it found, with the input beside it."""

    def check(data):
        assert data != b"bad"

    with pytest.raises(AssertionError) as found:
        importlib.import_module("fuzz_loop").fuzz(check, [b"bad"], arguments=["--plain"])
    assert ["input 1 of seed 0: b'bad'"] == found.value.__notes__


def test_runs_with_one_seed_are_alike():
    """The same seed makes the same inputs, and another seed makes others."""
    loop = importlib.import_module("fuzz_loop")
    runs = []
    for seed in ("7", "7", "8"):
        seen = []
        arguments = ["--plain", "--runs", "50", "--seed", seed]
        loop.fuzz(seen.append, [b"abc", b"defgh"], [b"xy"], arguments)
        runs.append(seen)
    assert runs[0] == runs[1] != runs[2]
    assert 50 == len(runs[0])


def test_run_ends_in_time():
    """A run without a number of inputs ends when its seconds are over."""
    importlib.import_module("fuzz_loop").fuzz(
        lambda data: None, [b"abc"], arguments=["--plain", "--seconds", "0.01"]
    )
