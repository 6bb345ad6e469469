"""The documentation is true: its examples run, its excerpts are excerpts, its pages are current."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import attrs
import generate
import pytest

from trio_pipecat import testing
from trio_pipecat.testing import _behaviours, _script, _sim
from trio_pipecat.testing._requests import REQUESTS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
#: What pytest runs, instead of Python.
TESTS = [path for path in EXAMPLES if path.stem.startswith("test_")]
EXCERPT = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
EXCERPT_AND_AFTER = re.compile(r"<!-- file: (\S+) -->\n```\w+\n.*?```\n(?=(.{,200}))", re.DOTALL)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
#: What an example prints, among other things, when it talks to the simulated bot.
SAYS = {
    "a_bot_on_a_port": "bot: Tea is three euros.\nbot: THANK YOU",
    "a_bot_that_behaves": "the bot's application: {'door': 'open'}\nended: bot",
    "audio": "written:",
    "bridge": "s: You said: Hello",
    "check_a_client": "2 passed, 1 failed, 0 not applicable",
    "check_a_transport": "Sound on a wire keeps every rule.",
    "captions": "Say this back to me, please.",
    "endings": "fatal: the bot reported 'as you wished'\ncrash: the link was lost, code 1006",
    "functions": "the bot asks: get_weather {'city': 'Oslo'}",
    "hello": "bot: You said: What is the capital of Japan?",
    "many_sessions": "s of an answer, client",
    "microphone": "the call is over",
    "nurseries": "fatal: the bot failed: as you wished\nfatal: the task was told FatalBotError",
    "over_webrtc": "bot: You said: Good morning!",
    "record_wav": "2 channels at 24000 Hz",
    "record_and_replay": "s of sound, and again",
    "requests": "refused: as requested\nno answer within 0.2 s",
    "send_a_file": "bot: You said: What is this?",
    "start_by_hand": "the bot speaks RTVI 2.2.0",
    "video": "15 pictures sent, 0 skipped",
    "voice_to_voice": "s, then: You said: What time is it",
    "states": "somebody is there …\nready",
}


def excerpts() -> list[tuple[str, str, str]]:
    return [
        (str(page.relative_to(ROOT)), file, text)
        for page in PAGES
        for file, text in EXCERPT.findall(page.read_text())
    ]


@pytest.mark.parametrize(("page", "file", "text"), excerpts())
def test_an_excerpt_is_one(page: str, file: str, text: str) -> None:
    """Every line of it stands in the file, together and in this order."""
    assert text in (ROOT / file).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_excerpt_says_where_the_rest_is(page: Path) -> None:
    """A link to the whole program follows it. The README has whole programs."""
    text = page.read_text()
    found = EXCERPT_AND_AFTER.findall(text)
    assert text.count("<!-- file: ") == len(found)
    if page.name == "README.md" and page.parent == ROOT:
        return
    up = "../" * len(page.parent.relative_to(ROOT).parts)
    for file, after in found:
        assert after.startswith(f"\n*[{file}]({up}{file})*\n"), file


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_python_parses(page: Path) -> None:
    """Excerpts that begin in the middle of something are dedented first."""
    for block in BLOCK.findall(page.read_text()):
        lines = block.splitlines()
        indent = min((len(ln) - len(ln.lstrip()) for ln in lines if ln.strip()), default=0)
        code = "\n".join(line[indent:] for line in lines)
        wrapped = "async def f():\n" + "\n".join(f"    {line}" for line in code.splitlines())
        if wrapped.rstrip().endswith(":"):
            wrapped += "\n        pass"
        ast.parse(wrapped)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """Within the repository, that is."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("path", generate.pages(), ids=lambda path: path.stem)
def test_generated_pages_are_current(path: Path) -> None:
    """If this fails, run nox -s docs."""
    assert generate.pages()[path] == path.read_text()


def told_of(heading: str) -> list[list[str]]:
    """Return what stands in code in each first cell of the table after a heading."""
    page = (ROOT / "docs" / "topics" / "simulated-bot.md").read_text()
    section = page.partition(f"{heading}\n")[2].partition("\n#")[0]
    _, _, *rows = re.findall(r"^\| .*$|^\|---.*$", section, re.MULTILINE)
    return [re.findall(r"`([^`]+)`", row.split(" | ")[0]) for row in rows]


def names_told_of(heading: str) -> set[str]:
    return {re.findall(r"\w+", code)[0] for cell in told_of(heading) for code in cell}


def test_the_page_of_the_simulated_bot_is_complete() -> None:
    """What it is like, what it can be asked, what it does, and what a script may say."""
    assert {field.name for field in attrs.fields(testing.SimulatedBot)} == names_told_of(
        "## `SimulatedBot`"
    )
    assert set(REQUESTS) == names_told_of("## What it can be asked")
    behaviours = {n for n in testing.__all__ if callable(getattr(_behaviours, n, None))}
    behaviours = {n for n in behaviours if n.islower()} | {"script"}
    assert behaviours == names_told_of("## Behaviours")
    assert set(_script._STEPS) == names_told_of("## Scripts")


def test_every_option_of_sim_is_told_of() -> None:
    """And no other."""
    assert set(_sim.OPTIONS) == names_told_of("## The address `sim:`")


def test_the_script_that_is_shown_is_one() -> None:
    """It is checked when it is made."""
    page = (ROOT / "docs" / "topics" / "simulated-bot.md").read_text()
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    testing.script(json.loads(shown))


def test_every_example_is_run() -> None:
    """By this file, by pytest, or against the real bot."""
    elsewhere = {"first_conversation", *(path.stem for path in TESTS)}
    assert {path.stem for path in EXAMPLES} == set(SAYS) | elsewhere


@pytest.mark.parametrize("name", sorted(SAYS))
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    """Against the simulated bot, with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / f"{name}.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=30,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert SAYS[name] in done.stdout


def test_the_first_program_runs_against_the_simulated_bot() -> None:
    """With the address of the simulated bot where the endpoint's stood."""
    example = (ROOT / "examples" / "first_conversation.py").read_text()
    program = example.replace("http://localhost:7860/start", "sim:?greeting=")
    process = subprocess.Popen(
        [sys.executable, "-u", "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert "bot: You said: What is the capital of Japan?\n" == process.stdout.readline()
    process.terminate()
    process.communicate(timeout=20)


@pytest.mark.parametrize("example", TESTS, ids=lambda path: path.stem)
def test_the_example_of_a_test_passes(example: Path, tmp_path: Path) -> None:
    """In a project of its own, with the settings that the tutorial names."""
    tutorial = (ROOT / "docs" / "tutorial.md").read_text()
    (settings,) = re.findall(r"```toml\n(.*?)```", tutorial, re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(settings)
    (tmp_path / example.name).write_text(example.read_text())
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["trio_pipecat.testing.pytest"]\n')
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stdout
    assert f"{example.read_text().count('async def test_')} passed" in done.stdout


def test_the_readme_names_the_two_commands_that_ci_runs() -> None:
    """And CI runs the second."""
    readme = (ROOT / "README.md").read_text()
    assert "pip install '.[cli]' && trio-pipecat demo" in readme
    assert "pip install nox && nox " in readme
    assert "\npip install nox && nox\n" in (ROOT / ".ci" / "run").read_text()
