"""A load run as build servers read it."""

from xml.etree import ElementTree as ET

import pytest
from load_samples import plausible

from trio_pipecat.reports import LoadResult, Part, load_as_junit, parse_threshold

#: The attributes of each element, which Jenkins and GitLab know.
KNOWN = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {
        *("name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"),
    },
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"classname", "name", "time"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
}


def read(result: LoadResult, *conditions: str) -> ET.Element:
    """Return the document, read back."""
    verdicts = [parse_threshold(condition).check(result) for condition in conditions]
    written = load_as_junit(result, verdicts)
    assert written.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    return ET.fromstring(written.encode())


def outcomes(root: ET.Element) -> dict[str, str]:
    """Return what came of each test case."""
    return {
        case.attrib["name"]: next((told.tag for told in case), "passed")
        for case in root.iter("testcase")
    }


def test_a_run_that_passed() -> None:
    """Is valid, its bot lives, and each threshold is a case."""
    root = read(plausible(), "v2v.p50 > 60s", "error_rate > 50%")
    assert {
        "the run is valid": "passed",
        "the bot lives": "passed",
        "v2v.p50 > 60s": "passed",
        "error_rate > 50%": "passed",
    } == outcomes(root)
    (suite,) = root
    for element in (root, suite):
        numbers = [element.attrib[name] for name in ("tests", "failures", "errors", "skipped")]
        assert ["4", "0", "0", "0"] == numbers
        assert "300.000" == element.attrib["time"]
    assert "2026-05-28T20:26:40" == suite.attrib["timestamp"]
    assert "load-1.example" == suite.attrib["hostname"]
    assert 300 == sum(float(case.attrib["time"]) for case in root.iter("testcase"))


def test_a_threshold_that_was_not_kept() -> None:
    """Is a failure, with the value."""
    result = plausible()
    root = read(result, "v2v.p50 > 60s", "calls >= 1", "t2v.max > 1s")
    assert ["5", "2", "0"] == [root.attrib[name] for name in ("tests", "failures", "errors")]
    told = [failure.attrib["message"] for failure in root.iter("failure")]
    assert [f"it was {result.counts['calls']}", "it was not measured"] == told
    texts = [failure.text for failure in root.iter("failure")]
    assert "The run has failed if t2v.max > 1s, and it was not measured." == texts[1]


def test_a_run_that_is_not_valid() -> None:
    """Is an error, with the reasons."""
    result = LoadResult(parts=[Part(index=0, problems=["it was late", "it was slow"])])
    root = read(result)
    assert {"the run is valid": "error", "the bot lives": "passed"} == outcomes(root)
    assert ("0", "1") == (root.attrib["failures"], root.attrib["errors"])
    (error,) = root.iter("error")
    assert "it was late\nit was slow" == error.text
    assert error.attrib["message"].startswith("NOT VALID")


def test_a_bot_that_died() -> None:
    """Is a failure, with what the calls failed of."""
    result = LoadResult(bot_died=65)
    result.errors.update({"StartBotError 503": 7})
    root = read(result)
    assert {"the run is valid": "passed", "the bot lives": "failure"} == outcomes(root)
    (failure,) = root.iter("failure")
    assert "it died after 1:05: no call succeeded since" == failure.attrib["message"]
    assert "7 × StartBotError 503" == failure.text


def test_a_bot_that_died_of_nothing_known() -> None:
    """The reason is said all the same."""
    (failure,) = read(LoadResult(bot_died=5)).iter("failure")
    assert failure.text == failure.attrib["message"]


def test_what_xml_can_not_hold_is_replaced() -> None:
    """And what means something in it is escaped."""
    evil = "<a> & \"b\" 'c' ]]> \0\x1b\ud800\ufffe"
    result = LoadResult(target=evil, bot_died=1, parts=[Part(index=0, host=evil, problems=[evil])])
    result.errors[evil] += 1
    clean = "<a> & \"b\" 'c' ]]> \ufffd\ufffd\ufffd\ufffd"
    root = read(result)
    (suite,) = root
    assert (f"trio-pipecat load: {clean}", clean) == (
        suite.attrib["name"],
        suite.attrib["hostname"],
    )
    assert [clean] == [error.text for error in root.iter("error")]
    assert [f"1 × {clean}"] == [failure.text for failure in root.iter("failure")]
    (target,) = [p for p in root.iter("property") if p.attrib["name"] == "target"]
    assert clean == target.attrib["value"]


@pytest.mark.parametrize("result", [LoadResult(), plausible()], ids=["empty", "plausible"])
def test_nothing_is_there_that_readers_do_not_know(result: LoadResult) -> None:
    """Nor is anything missing that they ask for."""
    root = read(result, "v2v.p95 > 1ms", "calls < 0")
    for element in root.iter():
        assert KNOWN[element.tag] == set(element.attrib)
