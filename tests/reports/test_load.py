"""What a load run has measured: filled, merged, written down and read back."""

import copy
import json
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from load_samples import plausible

from trio_pipecat.reports import Latencies, LoadResult, Moment, Part, TurnRecord
from trio_pipecat.reports._load import MOST_RECORDED, MOST_WORST

SECONDS = st.floats(0, 100)
COUNTS = st.integers(0, 1_000)
WORDS = st.sampled_from(["", "who", "what", "why"])


def latencies(times: Sequence[float]) -> Latencies:
    """Return a distribution of these."""
    made = Latencies()
    for seconds in times:
        made.add(seconds)
    return made


LATENCIES = st.builds(latencies, st.lists(SECONDS, max_size=3))
MOMENTS = st.builds(
    Moment,
    **dict.fromkeys(("starting", "ready", "calls", "turns", "errors"), COUNTS),
    waited=LATENCIES,
)
TURNS = st.builds(
    TurnRecord,
    caller=st.just(0),
    call=COUNTS,
    turn=COUNTS,
    at=SECONDS,
    said=WORDS,
    v2v=st.none() | SECONDS,
    audio=st.none() | WORDS,
    spoken=st.lists(st.tuples(st.sampled_from(["caller", "bot"]), SECONDS, SECONDS), max_size=2),
)
COUNTERS = st.dictionaries(WORDS, COUNTS).map(Counter)
RESULTS = st.builds(
    LoadResult,
    target=st.just("sim:"),
    seconds=SECONDS,
    interrupted=st.booleans(),
    metrics=st.dictionaries(st.sampled_from(["v2v", "ready", "server.x"]), LATENCIES),
    counts=COUNTERS,
    errors=COUNTERS,
    endings=COUNTERS,
    timeline=st.lists(MOMENTS, max_size=2),
    worst=st.lists(TURNS, max_size=MOST_WORST // 2),
    bot_died=st.none() | SECONDS,
    cut_starting=st.lists(SECONDS, max_size=2),
    slowest_ready=st.none() | SECONDS,
    notes=st.lists(WORDS, max_size=2, unique=True).map(sorted),
    lost=st.lists(WORDS, max_size=2).map(sorted),
)


@st.composite
def parts_of_a_run(draw: st.DrawFn) -> list[LoadResult]:
    """Results of different processes: each its own callers, and its own number."""
    results = draw(st.lists(RESULTS, min_size=3, max_size=3))
    callers = count()
    for number, result in enumerate(results):
        problems, had = draw(st.lists(WORDS, max_size=1)), draw(st.integers(0, 2))
        result.parts = [Part(index=number, callers=had, problems=problems)]
        if not had:
            result.bot_died = None
        for turn in result.worst:
            turn.caller = next(callers)
        result.turns = [attrs.evolve(turn, audio=None, spoken=[]) for turn in result.worst]
        worst, result.worst = result.worst, []
        for turn in worst:
            result.keep_if_bad(turn)
    return results


def merged(*results: LoadResult) -> LoadResult:
    """Return the results in one, and leave them as they were."""
    whole, *others = map(copy.deepcopy, results)
    for other in others:
        whole.merge(other)
    return whole


@settings(max_examples=20)
@given(parts_of_a_run(), st.permutations(range(3)))
def test_in_whatever_order_they_are_merged(results: list[LoadResult], order: Sequence[int]) -> None:
    """It is the same document."""
    document = merged(*results).as_json()
    assert document == merged(*(results[number] for number in order)).as_json()


@settings(max_examples=20)
@given(parts_of_a_run())
def test_however_they_are_grouped(results: list[LoadResult]) -> None:
    """It is the same document."""
    one, two, three = results
    assert merged(merged(one, two), three).as_json() == merged(one, merged(two, three)).as_json()


@settings(max_examples=20)
@given(parts_of_a_run())
def test_a_document_is_read_back(results: list[LoadResult]) -> None:
    """As text, whatever is in it."""
    for result in (results[0], merged(*results)):
        document = result.as_json()
        sent = json.dumps(document, allow_nan=False)
        assert document == LoadResult.from_json(json.loads(sent)).as_json()


@settings(max_examples=20)
@given(parts_of_a_run())
def test_what_was_cut_is_judged_by_the_whole(results: list[LoadResult]) -> None:
    """Once: who had waited longer than anybody has failed, and is in all that counts calls."""
    whole = merged(*results)
    waits = [waited for result in results for waited in result.cut_starting]
    slowest = max((r.slowest_ready for r in results if r.slowest_ready is not None), default=None)
    failed = sum(slowest is not None and waited > slowest for waited in waits)
    before = copy.deepcopy(whole)
    for _ in range(2):
        whole.settle()
        assert len(waits) - failed == len(whole.cut_starting)
        for name in ("calls", "failed"):
            assert failed == whole.counts[name] - before.counts[name]
        assert failed == whole.errors.total() - before.errors.total()
        assert failed == whole.endings.total() - before.endings.total()
        assert failed == sum(m.errors for m in whole.timeline) - sum(
            moment.errors for moment in before.timeline
        )


def test_a_result_that_looks_like_a_real_one() -> None:
    """There and back."""
    document = plausible().as_json()
    assert document == LoadResult.from_json(json.loads(json.dumps(document))).as_json()
    assert (True, []) == (document["valid"], document["problems"])
    assert 60 == len(document["timeline"])
    v2v = document["metrics"]["v2v"]
    assert 0 < v2v["min"] < v2v["p50"] < v2v["p90"] < v2v["p95"] < v2v["p99"] <= v2v["max"]


def test_merging_adds_up() -> None:
    """Histograms, counts and stretches; a percentile is of all that was measured."""
    one, other = LoadResult(seconds=1), LoadResult(seconds=2, interrupted=True, bot_died=1.5)
    for result, seconds in ((one, 0.1), (other, 0.9)):
        for _ in range(3):
            result.metric("v2v").add(seconds)
        result.counts.update(calls=2, failed=1)
        result.moment(0.5).ready = 3
    other.moment(1.5).starting = 1
    one.merge(other)
    assert (6, pytest.approx(0.9, rel=1e-3)) == (len(one.metric("v2v")), one.metric("v2v").max)
    assert {"calls": 4, "failed": 2} == one.counts
    assert [(6, 0), (0, 1)] == [(moment.ready, moment.starting) for moment in one.timeline]
    assert (2, True, 1.5) == (one.seconds, one.interrupted, one.bot_died)


def test_what_is_not_valid_is_told() -> None:
    """Of each part, by its number if there are several; and what is lost."""
    alone = LoadResult(parts=[Part(index=0, problems=["it was late"])])
    assert ["it was late"] == alone.problems
    alone.merge(LoadResult(parts=[Part(index=1, problems=["so was it"])], lost=["part 2: gone"]))
    told = ["part 0: it was late", "part 1: so was it", "part 2: gone"]
    assert told == alone.problems
    assert (False, told) == (alone.as_json()["valid"], alone.as_json()["problems"])


def test_the_error_rate() -> None:
    """Of no calls, it is 0."""
    result = LoadResult()
    assert 0.0 == result.error_rate
    result.counts.update(calls=8, failed=2)
    assert 0.25 == result.error_rate


@pytest.mark.parametrize(("at", "index"), [(-1, 0), (0, 0), (4.99, 0), (5, 1), (27, 5)])
def test_a_moment_is_a_stretch_of_the_run(at: float, index: int) -> None:
    """All before it are there, too."""
    result = LoadResult(step=5)
    moment = result.moment(at)
    assert index + 1 == len(result.timeline)
    assert moment is result.timeline[index]
    assert moment is result.moment(at)


def turn(waited: float | None, number: int = 0, **facts: Any) -> TurnRecord:
    """Return a turn that took so long to be answered."""
    return TurnRecord(caller=0, call=0, turn=number, at=0, v2v=waited, **facts)


def test_the_slowest_turns_are_kept() -> None:
    """As many as there is room for; it is said whether one is."""
    result = LoadResult()
    kept = [result.keep_if_bad(turn(waited)) for waited in range(MOST_WORST)]
    assert [True] * MOST_WORST == kept
    assert not result.keep_if_bad(turn(-1))
    assert result.keep_if_bad(turn(4.5))
    expected = [9, 8, 7, 6, 5, 4.5, 4, 3, 2, 1]
    assert expected == [kept.v2v for kept in result.worst]


def test_a_turn_without_an_answer_is_worst() -> None:
    """Nobody knows how long it would have been."""
    result = LoadResult()
    for waited in (3, None, 5):
        result.keep_if_bad(turn(waited))
    assert [None, 5, 3] == [kept.v2v for kept in result.worst]


def test_some_turns_that_were_recorded_are_kept_beside_the_worst() -> None:
    """They can be listened to."""
    result = LoadResult()
    for number in range(MOST_WORST):
        result.keep_if_bad(turn(10, number))
    for waited in range(2 * MOST_RECORDED):
        assert result.keep_if_bad(turn(waited, audio="turn.wav"))
    assert not result.keep_if_bad(turn(1))
    assert MOST_WORST + MOST_RECORDED == len(result.worst)
    heard = [kept.v2v for kept in result.worst if kept.audio is not None]
    assert [9, 8, 7, 6, 5] == heard


@pytest.mark.parametrize(
    ("facts", "waited"),
    [
        ({}, float("inf")),
        ({"first_event": 3}, 3),
        ({"first_event": 3, "t2v": 2}, 2),
        ({"first_event": 3, "t2v": 2, "v2v": 1}, 1),
    ],
)
def test_what_a_turn_is_compared_by(facts: dict[str, Any], waited: float) -> None:
    """The wait that matters most, of those that are known."""
    assert waited == TurnRecord(caller=0, call=0, turn=0, at=0, **facts).waited


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_another_version_is_refused(version: Any) -> None:
    """By its number."""
    document = {**LoadResult().as_json(), "version": version}
    with pytest.raises(ValueError, match=f"in version 1: {version!r}"):
        LoadResult.from_json(document)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, None) for key in ("plan", "metrics", "timeline", "worst", "parts", "began")),
        *(("metrics", value) for value in ([], {"v2v": {}}, {"v2v": {"histogram": "?"}})),
        ("timeline", [{"waited": None, "unheard": 1}]),
        ("worst", [{}]),
        ("seconds", "soon"),
    ],
)
def test_what_is_not_whole_is_refused(key: str, value: Any) -> None:
    """As a ValueError."""
    with pytest.raises(ValueError):
        LoadResult.from_json({**LoadResult().as_json(), key: value})


@pytest.mark.parametrize(
    "key", sorted(set(LoadResult().as_json()) - {"valid", "problems", "error_rate"})
)
def test_what_is_missing_is_noticed(key: str) -> None:
    """Whatever it is, but for what follows from the rest."""
    document = LoadResult().as_json()
    del document[key]
    with pytest.raises(ValueError):
        LoadResult.from_json(document)
