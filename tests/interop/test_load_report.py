"""The page of a load run in Chromium: it renders, by day and by night, and nothing leaves it."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from devtools import open_devtools
from load_samples import plausible
from needed import missing, program

from trio_pipecat import UnsupportedFeatureError
from trio_pipecat.reports import LoadResult, load_as_html, parse_threshold

SCHEMES = ("light", "dark")
WIDTHS = (1_100, 420)
CONDITIONS = ("v2v.p95 > 1.5s", "error_rate > 5%", "t2v.count > 0")

#: What is seen of the page: sizes, overlaps, contrasts, and what is too wide.
LOOK = """(() => {
  const shown = e => e.getClientRects().length && getComputedStyle(e).visibility === 'visible';
  const rect = e => e.getBoundingClientRect();
  const empty = [...document.querySelectorAll('section, figure, svg, audio, table, h2, .turn')]
    .filter(e => !(rect(e).width > 0 && rect(e).height > 0)).map(e => e.outerHTML.slice(0, 80));
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top ||
    b.bottom <= a.top;
  const overlaps = [], outside = [];
  for (const svg of document.querySelectorAll('svg')) {
    const texts = [...svg.querySelectorAll('text')].filter(shown);
    texts.forEach((one, n) => {
      const at = rect(one), whole = rect(svg);
      if (at.left < whole.left - 1 || at.right > whole.right + 1 || at.top < whole.top - 1 ||
          at.bottom > whole.bottom + 1)
        outside.push(one.textContent);
      for (const other of texts.slice(n + 1))
        if (!apart(at, rect(other))) overlaps.push([one.textContent, other.textContent]);
    });
  }
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = numbers(colour).slice(0, 3).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  let contrast = 21, faintest = '';
  for (const e of document.querySelectorAll('body, body *')) {
    if (!shown(e) || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(e);
    const ink = e.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [low, high] = [light(ink), light(behind(e))].sort((a, b) => a - b);
    const found = (high + 0.05) / (low + 0.05);
    if (found < contrast) [contrast, faintest] = [found, e.outerHTML.slice(0, 80)];
  }
  return {
    empty, overlaps, outside, contrast, faintest,
    page: getComputedStyle(document.body).backgroundColor,
    tooWide: document.documentElement.scrollWidth - innerWidth,
    charts: document.querySelectorAll('figure svg').length,
    turns: document.querySelectorAll('.turn svg').length,
  };
})()"""

#: Whether each recording can be played.
LISTEN = """Promise.all([...document.querySelectorAll('audio')].map(audio => new Promise(done => {
  const tell = () => done([audio.readyState, audio.duration, audio.error && audio.error.message]);
  audio.oncanplaythrough = audio.onerror = tell;
  audio.preload = 'auto';
  audio.load();
})))"""

#: Where the first stretch is in the first chart, if there is one.
POINT = """(() => {
  const stretch = document.querySelector('.readout rect') || document.body;
  stretch.scrollIntoView({block: 'center'});
  const {x, y, width, height} = stretch.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
})()"""

#: What is shown at a place of the first chart, where the pointer is.
READ_OFF = """[...document.querySelectorAll('.readout text')]
  .filter(e => getComputedStyle(e).visibility === 'visible').map(e => e.textContent)"""


@attrs.frozen
class Seen:
    """What was seen of a page."""

    #: By scheme and width.
    looks: dict[tuple[str, int], Any]
    sounds: list[Any]
    read_off: list[str]
    #: Where it would go on the network, and what the browser complained of.
    requests: set[str]
    complaints: list[Any]


async def _look(chromium: str, path: Path) -> Seen:
    async with open_devtools(chromium) as page:
        looks = {}
        for scheme in SCHEMES:
            for width in WIDTHS:
                await page.show(scheme, width)
                await page.open(path.as_uri())
                looks[scheme, width] = await page.evaluate(LOOK)
        sounds = await page.evaluate(LISTEN)
        x, y = await page.evaluate(POINT)
        await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        read_off = await page.evaluate(READ_OFF)
        requests = {told["request"]["url"][:80] for told in page.of("Network.requestWillBeSent")}
        complaints = [
            told
            for kind in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
            for told in page.of(kind)
        ]
    return Seen(looks, sounds, read_off, requests, complaints)


def _write(folder: Path, result: LoadResult) -> Path:
    verdicts = [parse_threshold(condition).check(result) for condition in CONDITIONS]
    path = folder / "report.html"
    path.write_text(load_as_html(result, verdicts), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> LoadResult:
    """A run that looks like a real one."""
    try:
        return plausible(tmp_path_factory.mktemp("recordings"))
    except UnsupportedFeatureError:
        missing("hdrhistogram", 'pip install "trio-pipecat[report]"')


@pytest.fixture(scope="module")
def seen(result: LoadResult, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Its page, looked at."""
    chromium = program("chromium", "apt-get install chromium")
    return trio.run(_look, chromium, _write(tmp_path_factory.mktemp("page"), result))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_renders(seen: Seen, scheme: str, width: int) -> None:
    """Everything has a size; no text lies on another or sticks out; all can be read."""
    look = seen.looks[scheme, width]
    assert ([], [], []) == (look["empty"], look["overlaps"], look["outside"])
    assert look["contrast"] >= 4.5, look["faintest"]
    assert look["tooWide"] <= 0
    assert (4, 5) == (look["charts"], look["turns"])


def test_by_day_and_by_night(seen: Seen) -> None:
    """It is as the reader has it."""
    pages = [seen.looks[scheme, WIDTHS[0]]["page"] for scheme in SCHEMES]
    assert ["rgb(255, 255, 255)", "rgb(20, 23, 27)"] == pages


def test_nothing_leaves_it(seen: Seen) -> None:
    """It asks for itself, and for nothing else."""
    assert {"file"} == {url.partition(":")[0] for url in seen.requests} - {"data"}
    assert 1 == len([url for url in seen.requests if url.startswith("file:")])


def test_nobody_complains(seen: Seen) -> None:
    """No error, and no warning."""
    assert [] == seen.complaints


def test_recordings_can_be_played(seen: Seen, result: LoadResult) -> None:
    """As long as they are."""
    recorded = [turn for turn in result.worst if turn.audio is not None]
    assert len(recorded) == len(seen.sounds)
    for turn, (state, duration, error) in zip(recorded, seen.sounds, strict=True):
        ends = max(end for _, _, end in turn.spoken) + 0.5
        assert (4, None) == (state, error)
        assert pytest.approx(ends, abs=0.01) == duration


def test_what_is_read_off(seen: Seen) -> None:
    """Where the pointer is, without a script."""
    (told,) = seen.read_off
    assert told.startswith("0:00 · p50 ")


@pytest.mark.parametrize("moments", [0, 1, 2_000])
def test_a_run_of_any_length(moments: int, tmp_path: Path) -> None:
    """Renders, too."""
    chromium = program("chromium", "apt-get install chromium")
    try:
        result = plausible(moments=moments) if moments else LoadResult()
    except UnsupportedFeatureError:
        missing("hdrhistogram", 'pip install "trio-pipecat[report]"')
    seen = trio.run(_look, chromium, _write(tmp_path, result))
    assert [] == seen.complaints
    for look in seen.looks.values():
        assert ([], [], []) == (look["empty"], look["overlaps"], look["outside"])
        assert look["tooWide"] <= 0
