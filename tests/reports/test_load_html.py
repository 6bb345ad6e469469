"""A load run as a page: its structure, what it tells, and what can't be done with it."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from load_samples import plausible

from trio_pipecat.reports import (
    Latencies,
    LoadResult,
    Part,
    TurnRecord,
    load_as_html,
    parse_threshold,
)

CONDITIONS = ("v2v.p50 > 60s", "error_rate > 50%", "calls < 10")
EVIL = "<script>alert(1)</script> \"'><img src=https://example.com/x onerror=alert(2)> & \0\ud800"
CLEAN = EVIL.replace("\0", "\ufffd").replace("\ud800", "\ufffd")


def write(result: LoadResult, *conditions: str, **keywords: Any) -> str:
    """Return the page."""
    verdicts = [parse_threshold(condition).check(result) for condition in conditions]
    return load_as_html(result, verdicts, **keywords)


def read(page: str) -> ET.Element:
    """Return the page, read back: it is well-formed."""
    doctype, _, rest = page.partition("\n")
    assert "<!DOCTYPE html>" == doctype
    return ET.fromstring(rest)


def of(page: ET.Element, style: str) -> list[ET.Element]:
    """Return the elements that have a style, among others."""
    return [e for e in page.iter() if style in e.attrib.get("class", "").split()]


def text(element: ET.Element) -> str:
    """Return all text in an element."""
    return "".join(element.itertext())


def verdict(page: ET.Element) -> tuple[str, list[str]]:
    """Return the word at the top, and the reasons."""
    (section,) = of(page, "verdict")
    word = section.find("h2")
    assert word is not None
    return text(word), [text(item) for item in section.iter("li")]


def table(page: ET.Element, heading: str) -> list[list[str]]:
    """Return the table below a heading, or with this caption."""
    elements = list(page.iter())
    place = next(n for n, e in enumerate(elements) if heading == e.text)
    found = next(
        (e for e in elements if e.tag == "table" and elements[place] in list(e.iter())),
        None,
    ) or next(e for e in elements[place:] if e.tag == "table")
    return [[text(cell) for cell in row] for row in found.iter("tr")]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> LoadResult:
    """A run that looks like a real one, whose worst turns were recorded."""
    return plausible(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def written(recorded: LoadResult) -> str:
    """Its page."""
    return write(recorded, *CONDITIONS)


@pytest.fixture(scope="module")
def page(written: str) -> ET.Element:
    """Its page, read back."""
    return read(written)


# -- nothing leaves it, and nothing gets in --


class Outline(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.data: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.data.append(data)


def outline(written: str) -> Outline:
    """Return what a browser would find."""
    found = Outline()
    found.feed(written)
    found.close()
    return found


def test_it_refers_to_nothing_outside(written: str) -> None:
    """All that it needs is in it."""
    found = outline(written)
    addresses = {
        (value or "").partition(",")[0]
        for name, value in found.attributes
        if name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href")
    }
    assert {"data:", "data:audio/wav;base64"} == addresses
    (style,) = [data for data in found.data if ":root" in data]
    assert None is re.search(r"url\(|@import|@font-face|image-set|expression", style)


def test_it_needs_no_script(written: str) -> None:
    """Nor would one run that got in against our will."""
    found = outline(written)
    assert set() == {"script", "iframe", "object", "embed", "form", "base"} & found.tags
    assert [] == [name for name, _ in found.attributes if name.startswith("on")]
    policy = "default-src 'none'; style-src 'unsafe-inline'; media-src data:; img-src data:"
    assert ("content", policy) in found.attributes


def test_what_others_said_is_text() -> None:
    """Wherever it is shown."""
    result = LoadResult(
        target=EVIL,
        plan={EVIL: EVIL, "texts": [EVIL], "shape": {EVIL: 1}},
        worst=[TurnRecord(caller=1, call=1, turn=1, at=1, said=EVIL, answer=EVIL, audio=EVIL)],
        notes=[EVIL],
        parts=[Part(index=0, host=EVIL, problems=[EVIL])],
        lost=[EVIL],
    )
    result.metric(f"server.{EVIL}").add(1)
    result.errors[EVIL] = result.endings[EVIL] = 1
    written = write(result, "server.&\"'.p95 > 1s")
    written.encode()
    found = outline(written)
    assert {"script", "img"} & found.tags == set()
    assert [] == [name for name, _ in found.attributes if name in ("onerror", "src")]
    whole = text(read(written))
    assert whole.count(CLEAN) >= 14


# -- the verdict --


def test_passed(page: ET.Element) -> None:
    """All is well."""
    assert ("Passed", ["all 3 thresholds were kept"]) == verdict(page)
    title = page.find("head/title")
    assert title is not None
    assert "Passed: load on http://localhost:7860/start" == title.text
    rows = table(page, "Thresholds")
    assert ["", "the run has failed if", "it was"] == rows[0]
    assert [["✓ kept", condition] for condition in CONDITIONS] == [row[:2] for row in rows[1:]]


def test_failed() -> None:
    """With the values that are to blame."""
    result = plausible()
    result.bot_died = 250.0
    page = read(write(result, "calls >= 1", "t2v.p95 > 1s", "calls < 1"))
    calls = result.counts["calls"]
    assert (
        "Failed",
        [
            f"calls >= 1: it was {calls}",
            "t2v.p95 > 1s: it was not measured",
            "the bot died after 4:10: no call succeeded since",
        ],
    ) == verdict(page)
    marks = [row[0] for row in table(page, "Thresholds")[1:]]
    assert ["✗ failed", "✗ failed", "✓ kept"] == marks
    assert 3 == len(
        [mark for mark in of(page, "bad") if mark.tag == "path" and "line" in mark.attrib["class"]]
    )


def test_not_valid() -> None:
    """Comes before all else: the tool is to blame, or nobody."""
    result = plausible()
    result.parts[1].problems = ["its frames were late"]
    result.lost = ["part 2, 20 callers: its process is gone"]
    reasons = ["part 1: its frames were late", "part 2, 20 callers: its process is gone"]
    assert ("NOT VALID", reasons) == verdict(read(write(result, "calls < 1")))
    assert ("NOT VALID", [*reasons, f"calls > 1: it was {result.counts['calls']}"]) == verdict(
        read(write(result, "calls > 1"))
    )


def test_without_thresholds() -> None:
    """Nothing was judged; what else is odd is told."""
    assert ("Done", ["there were no thresholds, so nothing was judged"]) == verdict(
        read(write(plausible()))
    )
    reasons = [
        "the threshold was kept",
        "the run was stopped before its time",
        "no call ended in the measuring window",
    ]
    assert ("Passed", reasons) == verdict(read(write(LoadResult(interrupted=True), "calls > 1")))


# -- what it tells --


def test_key_figures(recorded: LoadResult, page: ET.Element) -> None:
    """Those that everybody asks for."""
    (tiles,) = of(page, "tiles")
    told = {text(tile[0]): text(tile[1]) for tile in tiles}
    v2v, counts = recorded.metrics["v2v"], recorded.counts
    assert {
        "callers at once": "42",
        "calls": str(counts["calls"]),
        "turns": f"{counts['turns']:,}".replace(",", "\u202f"),
        "error rate": f"{100 * recorded.error_rate:.3g} %",
        **{f"voice to voice p{p}": f"{v2v.percentile(p):.2f} s" for p in (50, 95, 99)},
    } == told


def test_all_figures(recorded: LoadResult, page: ET.Element) -> None:
    """In the order in which they happen, what the server says at the end."""
    head, *rows = table(page, "All that was measured")
    assert ["count", "min", "mean", "p50", "p90", "p95", "p99", "max"] == head[1:]
    names = ["start", "connect", "ready", "v2v", "first_event", "dead_air", "call"]
    names.append("server.OpenAILLMService")
    assert names == [name for row in rows for name in names if row[0].startswith(name)]
    assert all(len(head) == len(row) for row in rows)


def test_why_calls_failed_and_how_they_ended(recorded: LoadResult, page: ET.Element) -> None:
    """The most frequent first, with its share."""
    for caption, counts in (
        ("Why calls failed", recorded.errors),
        ("How calls ended", recorded.endings),
    ):
        _, *rows = table(page, caption)
        assert counts == {name: int(count) for name, count, *_ in rows}
        numbers = [int(row[1]) for row in rows]
        assert sorted(numbers, reverse=True) == numbers
    (first, *_) = of(page, "bar")[1].iter("i")
    assert re.fullmatch(r"width:\d+\.\d%", first.attrib["style"])


def test_there_may_be_very_many_reasons() -> None:
    """The most frequent are told apart."""
    result = LoadResult()
    result.errors.update({f"cause {number:02}": 100 - number for number in range(20)})
    _, *rows = table(read(write(result)), "Why calls failed")
    assert [*(f"cause {number:02}" for number in range(12)), "8 others"] == [r[0] for r in rows]
    assert str(sum(100 - number for number in range(12, 20))) == rows[-1][1]


def test_how_the_tool_did(page: ET.Element) -> None:
    """A row for each process."""
    head, *rows = table(page, "Did this tool keep up?")
    assert [["0", "load-1.example, 4000"], ["1", "load-1.example, 4001"]] == [
        row[:2] for row in rows
    ]
    assert ["20", "none"] == [rows[0][head.index("callers")], rows[0][head.index("problems")]]


def test_what_was_done(page: ET.Element) -> None:
    """The plan, in words as far as there are any."""
    told = dict(table(page, "What was done"))
    assert ("closed", "30.0", "–", "–") == tuple(
        told[name] for name in ("model", "turn timeout", "wavs", "caller")
    )
    assert '{"profile": "ramp", "stages": [[120.0, 40], [180.0, 40]]}' == told["shape"]
    assert told["texts"].startswith("What is the capital of Japan?\nCan I")


def test_a_plan_may_be_long() -> None:
    """It is cut off; what is true is yes."""
    plan = {"long": "x" * 2_000, "on": True, "off": False, "none": 0}
    told = dict(table(read(write(LoadResult(plan=plan))), "What was done"))
    assert f"{'x' * 1_000} …" == told["long"]
    assert ("yes", "no", "0") == (told["on"], told["off"], told["none"])


def test_notes() -> None:
    """What is missing, and why."""
    page = read(write(LoadResult(notes=["recordings are missing: no space"])))
    assert "recordings are missing: no space" in text(page)


# -- the worst turns --


def test_the_worst_turns(recorded: LoadResult, page: ET.Element) -> None:
    """Can be seen and heard, with the words of both."""
    turns = of(page, "turn")
    assert 5 == len(turns)
    for turn, shown in zip(recorded.worst, turns, strict=True):
        heading = f". caller {turn.caller}, call {turn.call}, turn {turn.turn}"
        assert heading in text(shown)
        assert [turn.said, turn.answer or "–"] == [text(words) for words in shown.iter("dd")]
        assert 1 == len(list(shown.iter("svg")))
        sounds = list(shown.iter("audio"))
        if turn.audio is None:
            assert ([], True) == (sounds, "It was not recorded." in text(shown))
        else:
            (sound,) = sounds
            content = base64.b64decode(sound.attrib["src"].partition(",")[2])
            assert Path(turn.audio).read_bytes() == content
            assert 2 == len(of(shown, "wave"))
    assert "interrupted · 120 ms of stale sound" in text(page)
    assert "no answer" in text(turns[0])


def test_recordings_that_have_been_moved(recorded: LoadResult, tmp_path: Path) -> None:
    """Are found by their names, in a folder."""
    moved = next(Path(turn.audio) for turn in recorded.worst if turn.audio is not None)
    (tmp_path / moved.name).write_bytes(moved.read_bytes())
    page = read(write(recorded, audio_folder=tmp_path))
    assert 1 == len(list(page.iter("audio")))
    assert 3 == text(page).count(" is not here: No such file or directory.")


def test_a_turn_of_which_nothing_is_known() -> None:
    """Is told of, without a picture."""
    result = LoadResult(worst=[TurnRecord(caller=1, call=2, turn=3, at=65)])
    (turn,) = of(read(write(result)), "turn")
    assert [] == list(turn.iter("svg"))
    assert "no answer" in text(turn)
    assert "at 1:05" in text(turn)


# -- the charts --


def charts(page: ET.Element) -> dict[str, ET.Element]:
    """Return the charts, by their titles."""
    return {
        chart[0].text or "": chart for figure in page.iter("figure") for chart in figure.iter("svg")
    }


def test_charts(page: ET.Element) -> None:
    """Say what they are, to those who can't see them too, and are read off at every stretch."""
    found = charts(page)
    titles = ["How long callers waited", "Callers at once", "Calls that ended, in a second"]
    assert [*titles, "How many waited how long"] == list(found)
    for title, chart in found.items():
        assert ("img", "title", "desc") == (chart.attrib["role"], chart[0].tag, chart[1].tag)
        assert chart[1].text
        if title in titles:
            assert 60 == len(of(chart, "readout"))
            assert 1 == len(of(chart, "window"))
    told = [text(readout) for readout in of(found["How long callers waited"], "readout")]
    pattern = r"\d:\d\d · p50 \S+ m?s · p95 \S+ m?s · longest \S+ m?s · \d+ answers?"
    assert [] == [line for line in told if not re.fullmatch(pattern, line)]
    told = [text(readout) for readout in of(found["How many waited how long"], "readout")]
    assert told[10].startswith("p90 · voice to voice ")
    assert "bot ready" in told[10]


def test_the_measuring_window(page: ET.Element) -> None:
    """Is where it was."""
    (window,) = of(charts(page)["Callers at once"], "window")
    x, width = float(window.attrib["x"]), float(window.attrib["width"])
    plot = 1_040 - 66 - 22
    assert (0.1, 0.85) == (pytest.approx((x - 66) / plot), pytest.approx(width / plot))


def test_where_nobody_was_answered_the_line_is_broken() -> None:
    """And what is alone is as long as it lasted."""
    result = LoadResult(seconds=5)
    for at in (0, 1, 3):
        result.moment(at).waited.add(1)
    chart = charts(read(write(result)))["How long callers waited"]
    lines = [line.attrib["d"] for line in of(chart, "thin")]
    assert [1, 1] == [line.count("L") for line in lines]
    assert [3, 3] == [band.attrib["d"].count("L") for band in of(chart, "area")]


def test_thousands_of_stretches_are_put_together() -> None:
    """Nothing of them is lost."""
    result = LoadResult(seconds=5_000)
    for number in range(5_000):
        moment = result.moment(number)
        moment.calls = 1
        moment.ready = number % 100
        if number % 50 == 0:
            moment.waited.add(number + 1)
    page = read(write(result))
    found = charts(page)
    for title in ("Callers at once", "Calls that ended, in a second"):
        assert 239 == len(of(found[title], "readout"))
    told = [text(readout) for readout in of(found["Callers at once"], "readout")]
    assert "0:00 · 20 ready · 0 starting" == told[0]
    told = [text(readout) for readout in of(found["How long callers waited"], "readout")]
    assert 100 == len(told)
    calls = [text(readout) for readout in of(found["Calls that ended, in a second"], "readout")]
    assert 5_000 == sum(int(line.split()[2]) for line in calls)


@pytest.mark.parametrize(
    "result",
    [
        LoadResult(),
        LoadResult(seconds=1, measured_until=1, timeline=plausible(moments=1).timeline),
        plausible(moments=1),
    ],
    ids=["empty", "one moment", "one stretch"],
)
def test_a_short_run(result: LoadResult) -> None:
    """Is told like any other; what there is not, is not drawn."""
    page = read(write(result, *CONDITIONS))
    assert 4 == len(list(page.iter("figure")))
    assert "NaN" not in text(page)


def test_of_nothing_there_is_no_chart() -> None:
    """But why."""
    page = read(write(LoadResult()))
    assert {} == charts(page)
    told = ["No turn was answered.", "There were none.", "None did.", "Nothing was measured."]
    assert [] == [reason for reason in told if reason not in text(page)]


def test_a_single_time() -> None:
    """Has a curve, too."""
    one = Latencies()
    one.add(1)
    assert ["How many waited how long"] == list(
        charts(read(write(LoadResult(metrics={"t2v": one}))))
    )
