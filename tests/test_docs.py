"""The documentation is true: its examples run, its excerpts are excerpts, its pages are current."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import generate
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
EXCERPT = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
#: What an example prints, among other things, when it talks to the simulated bot.
SAYS = {
    "a_bot_on_a_port": "bot: Tea is three euros.\nbot: THANK YOU",
    "audio": "written:",
    "check_a_client": "2 passed, 1 failed, 0 not applicable",
    "check_a_transport": "Sound on a wire keeps every rule.",
    "captions": "Say this back to me, please.",
    "endings": "fatal: the bot reported 'as you wished'\ncrash: the link was lost, code 1006",
    "functions": "the bot asks: get_weather {'city': 'Oslo'}",
    "hello": "bot: You said: What is the capital of Japan?",
    "many_sessions": "caller 4: client",
    "requests": "refused: as requested\nno answer within 0.2 s",
    "send_a_file": "bot: You said: What is this?",
    "start_by_hand": "the bot speaks RTVI 2.2.0",
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


def test_every_example_is_run() -> None:
    """By this file, by pytest, or against the real bot."""
    elsewhere = {"first_conversation", "test_with_virtual_time"}
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


def test_the_example_of_a_test_passes() -> None:
    """With pytest, as a user would run it."""
    example = ROOT / "examples" / "test_with_virtual_time.py"
    options = ["-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(example)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "1 passed" in done.stdout


def test_the_readme_names_the_two_commands_that_ci_runs() -> None:
    """And CI runs the second."""
    readme = (ROOT / "README.md").read_text()
    assert "pip install '.[cli]' && trio-pipecat demo" in readme
    assert "pip install nox && nox " in readme
    assert "\npip install nox && nox\n" in (ROOT / ".ci" / "run").read_text()
