"""What is seen of a load run: the picture on a terminal, the lines in a pipe, the summary."""

import io

import attrs
import pytest
from rich.console import Console

from trio_pipecat.reports import LoadResult, Moment, Part, parse_threshold
from trio_pipecat.tools.load._plan import LoadPlan
from trio_pipecat.tools.load._progress import Progress
from trio_pipecat.tools.load._screen import Screen, open_screen, summary
from trio_pipecat.tools.load._shape import profile

PLAN = LoadPlan(target="sim:", shape=profile("constant", 9, 60), warm_up=10.0, cool_down=10.0)
FAST = parse_threshold("t2v.p95 > 1s")
FEW = parse_threshold("ready.p99 > 5s")


def result() -> LoadResult:
    """Return what was measured by now."""
    seen = LoadResult(target="wss://bot.example/\x1b[2J")
    for number in range(1, 101):
        seen.metric("t2v").add(number / 50)
    seen.metric("loop_lag").add(0.001)
    seen.counts.update(calls=7, failed=2, turns=100, answered=99, reached=7)
    seen.errors.update({"ReadyTimeoutError": 1, "[bold]odd\x1b[31m": 1})
    return seen


def progress(seconds: float, seen: LoadResult | None = None) -> Progress:
    """Return how far a run is."""
    now = Moment(starting=3, ready=6)
    return Progress(seconds=seconds, result=result() if seen is None else seen, now=now)


def shown(picture: object, width: int = 100) -> str:
    """Return what is to be seen of it."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "phase"),
    [(3, "warming up"), (30, "measuring"), (55, "cooling down"), (61, "hanging up")],
)
def test_the_picture_of_a_run(seconds: float, phase: str) -> None:
    """Where it is, who is there, how long they wait, what fails, and what that means."""
    screen = Screen(Console(), PLAN, [FAST, FEW], None)
    text = shown(screen._picture(progress(seconds)))
    assert f"{seconds} of 60 s, {phase}" in text
    assert "6 ready  3 starting" in text
    assert "7 over  2 failed" in text
    assert "99 of 100 answered" in text
    (times,) = (line.split() for line in text.splitlines() if "text to voice" in line)
    assert ["text", "to", "voice", "1.00", "s", "1.80", "s", "1.90", "s"] == times[:9]
    assert ["100"] == times[-1:]
    assert "voice to voice" not in text
    assert "1 ReadyTimeoutError" in text
    assert "✘ t2v.p95 > 1s" in text
    assert "– ready.p99 > 5s" in text


def test_what_others_say_does_nothing_to_the_terminal() -> None:
    """Neither a target nor an error of theirs."""
    screen = Screen(Console(), PLAN, [], None)
    for text in (shown(screen._picture(progress(3))), shown(summary(result(), []))):
        assert "\x1b" not in text
        assert "[bold]odd" in text


def test_nothing_is_wider_than_the_terminal() -> None:
    """However narrow it is."""
    screen = Screen(Console(), PLAN, [FAST], None)
    for width in (40, 60, 80):
        text = shown(screen._picture(progress(30)), width)
        assert width >= max(map(len, text.splitlines()))


def test_before_anything_was_measured() -> None:
    """There are no times, and conditions are open."""
    screen = Screen(Console(), PLAN, [FAST], None)
    text = shown(screen._picture(progress(1, LoadResult(target="sim:"))))
    assert "0 of 0 answered" in text
    assert "– t2v.p95 > 1s" in text


def test_a_step_has_its_own_title() -> None:
    """As of a search for the capacity, with its own plan."""
    screen = Screen(Console(), PLAN, [], None)
    screen.begin("32 callers", attrs.evolve(PLAN, shape=profile("constant", 32, 20)))
    assert "32 callers" in shown(screen._picture(progress(5)))
    assert "5 of 20 s" in shown(screen._picture(progress(5)))


def test_in_a_pipe_there_is_a_line_now_and_then() -> None:
    """Each for itself, every ten seconds, however often it is told."""
    console = Console(file=io.StringIO(), width=200)
    with open_screen(console, PLAN, []) as screen:
        for second in range(25):
            screen.watch(progress(second))
        screen.begin("2 callers", PLAN)
        screen.watch(progress(0, LoadResult()))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert ["0 s", "10 s", "20 s", "0 s"] == [line[:7].strip() for line in lines]
    assert "6 ready, 3 starting; 7 calls over, 2 failed; 100 turns" in lines[0]
    assert lines[0].endswith("text to voice p50 1.00 s, p95 1.90 s")
    assert lines[3].endswith("0 turns")


def test_on_a_terminal_it_is_drawn_anew_and_wiped_away() -> None:
    """What stays is the summary."""
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True)
    with open_screen(console, PLAN, [FAST]) as screen:
        screen.watch(progress(30))
    written = file.getvalue()
    assert "measuring" in written
    assert written.rstrip().endswith("\x1b[2K")


def test_the_summary_says_what_must_be_known() -> None:
    """What was cut, what is missing, that it was stopped or died, and why it is not valid."""
    seen = attrs.evolve(result(), measured_from=10.0, measured_until=50.0, seconds=33.0)
    seen.counts.update(cut=4)
    seen.cut_starting += [1.0] * 5
    seen.notes.append("recordings are missing: No space left on device")
    seen.interrupted = True
    seen.parts.append(Part(index=0, problems=["its event loop was late"]))
    text = shown(summary(seen, [FAST.check(seen), FEW.check(seen)]))
    assert "7 calls, 2 failed, 99 of 100 turns answered, 40 s measured" in text
    assert "4 turns were still unanswered when it ended" in text
    assert "5 calls never got to a bot that was ready" in text
    assert "recordings are missing" in text
    assert "stopped after 33 s" in text
    assert "not valid: its event loop was late" in text
    assert "✘ ready.p99 > 5s" in text
    seen.bot_died = 12.0
    died = shown(summary(seen, []))
    assert "the bot died after 12 s" in died
    assert "stopped after" not in died
