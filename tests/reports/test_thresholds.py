"""Conditions under which a load run has failed: how they are written, and what comes of them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_pipecat.reports import LoadResult, Threshold, ThresholdError, Verdict, parse_threshold


@pytest.mark.parametrize(
    ("text", "quantity", "statistic", "operator", "limit"),
    [
        ("v2v.p95 > 1.5s", "v2v", "p95", ">", 1.5),
        ("v2v.p95>1500ms", "v2v", "p95", ">", 1.5),
        ("  t2v.p50  >=  .5 s  ", "t2v", "p50", ">=", 0.5),
        ("first_event.p99.9 > 2.s", "first_event", "p99.9", ">", 2.0),
        ("start.p0 < 250us", "start", "p0", "<", 0.00025),
        ("connect.p100 <= 1m", "connect", "p100", "<=", 60.0),
        ("call.mean > 1h", "call", "mean", ">", 3_600.0),
        ("ready.max != 10s", "ready", "max", "!=", 10.0),
        ("dead_air.min == 0s", "dead_air", "min", "==", 0.0),
        ("stale.count > 3", "stale", "count", ">", 3.0),
        ("lateness.p99 > 20ms", "lateness", "p99", ">", 0.02),
        ("loop_lag.p99 > 50 ms", "loop_lag", "p99", ">", 0.05),
        ("server.OpenAILLMService#0.p95 > 1s", "server.OpenAILLMService#0", "p95", ">", 1.0),
        ("server.a.b.c.p99.5 > 1s", "server.a.b.c", "p99.5", ">", 1.0),
        ("error_rate > 1%", "error_rate", None, ">", 0.01),
        ("error_rate > 1 %", "error_rate", None, ">", 0.01),
        ("answer_rate < .99", "answer_rate", None, "<", 0.99),
        ("calls < 100", "calls", None, "<", 100.0),
        ("failed!=0", "failed", None, "!=", 0.0),
        *((f"{count} == 1", count, None, "==", 1.0) for count in ("turns", "answered")),
        *((f"{count} > 0", count, None, ">", 0.0) for count in ("interruptions", "dropped")),
    ],
)
def test_what_can_be_said(
    text: str, quantity: str, statistic: str | None, operator: str, limit: float
) -> None:
    """Every metric, statistic, operator and unit; blanks do not matter."""
    threshold = parse_threshold(text)
    assert (quantity, statistic, operator) == (
        threshold.quantity,
        threshold.statistic,
        threshold.operator,
    )
    assert pytest.approx(limit) == threshold.limit
    assert text.strip() == str(threshold)
    assert threshold == parse_threshold(str(threshold))


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("", 0, "expected a quantity"),
        ("   ", 3, "expected a quantity"),
        ("> 1s", 0, "expected a quantity"),
        ("latency.p95 > 1s", 0, "there is no latency"),
        ("  v2w.p95 > 1s", 2, "there is no v2w"),
        ("p95 > 1s", 0, "there is no p95"),
        ("server.p95 > 1s", 0, "there is no server"),
        ("error_rate.p95 > 1s", 0, "there is no error_rate"),
        ("v2v > 1s", 3, "expected a statistic, as in v2v.p95"),
        ("v2v. > 1s", 4, "expected p0 to p100"),
        ("v2v.median > 1s", 4, "expected p0 to p100"),
        (" v2v.p > 1s", 5, "expected p0 to p100"),
        ("v2v.p101 > 1s", 4, "a percentile is from p0 to p100"),
        ("v2v.p100.1 > 1s", 4, "a percentile is from p0 to p100"),
        ("v2v.p95", 7, "expected one of"),
        ("v2v.p95 = 1s", 8, "expected one of"),
        ("v2v.p95 is 1s", 8, "expected one of"),
        ("v2v.p95 >", 9, "expected a number"),
        ("v2v.p95 > fast", 10, "expected a number"),
        ("v2v.p95 > -1s", 10, "expected a number"),
        ("v2v.p95 > .s", 10, "expected a number"),
        ("v2v.p95 > 1", 11, "a time needs a unit: us, ms, s, m, h"),
        ("v2v.p95 > 1 sec", 12, "a time needs a unit"),
        ("v2v.p95 > 1%", 11, "a time needs a unit"),
        ("v2v.p95 > 1.5s or so", 15, "nothing is expected after it"),
        ("v2v.p95 > 1s && error_rate > 1%", 13, "nothing is expected after it"),
        ("error_rate > 1s", 14, "a rate has the unit %, or none"),
        ("error_rate > 1 % %", 17, "nothing is expected after it"),
        ("calls < 1s", 9, "a count has no unit"),
        ("v2v.count < 1s", 13, "a count has no unit"),
    ],
)
def test_what_can_not(text: str, position: int, problem: str) -> None:
    """It is told what is wrong, and at which character."""
    with pytest.raises(ThresholdError) as caught:
        parse_threshold(text)
    error = caught.value
    assert (text, position) == (error.text, error.position)
    assert problem in error.problem
    first, second, third = str(error).split("\n")
    assert (error.problem, text) == (first, second[2:])
    assert position == third.index("^") - 2


PIECES = st.sampled_from(
    [
        *("v2v", "server.", "error_rate", "calls", ".", "p", "p95", "max", " ", "\t", "\n", ">="),
        *("<", "=", "!=", "1", "0.5", ".", "9" * 400, "ms", "s", "%", "٣", "²", "é", "\0", "p٣"),
    ]
)


@given(st.text() | st.lists(PIECES, max_size=12).map("".join))
@example("v2v.p" + "9" * 5_000 + " > 1s")
def test_whatever_is_said(text: str) -> None:
    """It is a condition, which can be checked and told of, or a ThresholdError within the text."""
    refused = None
    try:
        threshold = parse_threshold(text)
    except ThresholdError as error:
        refused = error
    if refused is None:
        assert text.strip() == threshold.text
        assert str(threshold.check(LoadResult()))
    else:
        assert 0 <= refused.position <= len(text)
        assert "^" in str(refused)


def result() -> LoadResult:
    """Return a run: 100 turns that took 10 ms to 1 s, of which one was not answered."""
    made = LoadResult()
    for number in range(1, 101):
        made.metric("v2v").add(number / 100)
    made.counts.update(calls=40, failed=1, turns=100, answered=99)
    return made


@pytest.mark.parametrize(
    ("text", "value", "failed", "told"),
    [
        ("v2v.p95 > 1.5s", 0.95, False, "950 ms"),
        ("v2v.p95 > 900ms", 0.95, True, "950 ms"),
        ("v2v.max >= 1s", 1.0, True, "1.00 s"),
        ("v2v.min < 5ms", 0.01, False, "10 ms"),
        ("v2v.mean > 1s", 0.505, False, "505 ms"),
        ("v2v.count < 100", 100, False, "100"),
        ("v2v.count != 99", 100, True, "100"),
        ("error_rate > 2%", 0.025, True, "2.5 %"),
        ("error_rate > 0.03", 0.025, False, "2.5 %"),
        ("answer_rate < 99%", 0.99, False, "99 %"),
        ("calls < 50", 40, True, "40"),
        ("dropped > 0", 0, False, "0"),
        ("interruptions == 0", 0, True, "0"),
        ("t2v.count > 0", 0, False, "0"),
        ("t2v.p95 > 1s", None, True, "not measured"),
        ("server.STT.p95 > 1s", None, True, "not measured"),
    ],
)
def test_verdicts(text: str, value: float | None, failed: bool, told: str) -> None:
    """What was never measured has failed."""
    verdict = parse_threshold(text).check(result())
    assert (failed, text) == (verdict.failed, verdict.threshold.text)
    assert (value if value is None else pytest.approx(value, rel=2e-3)) == verdict.value
    assert f"{'failed' if failed else 'kept'}: {text} ({told})" == str(verdict)
    document = verdict.as_json()
    assert (text, failed, told, verdict.value) == (
        document["condition"],
        document["failed"],
        document["told"],
        document["value"],
    )


@pytest.mark.parametrize("text", ["error_rate > 100%", "answer_rate < 0"])
def test_of_nothing_there_is_no_rate(text: str) -> None:
    """So it has failed."""
    assert parse_threshold(text).check(LoadResult()) == Verdict(
        threshold=parse_threshold(text), value=None, failed=True
    )


def test_a_threshold_is_a_value() -> None:
    """It can be compared, and put into a set."""
    assert {parse_threshold("calls < 1")} == {Threshold("calls < 1", "calls", None, "<", 1.0)}
