"""``talk`` in a real terminal: keys in, the screen looked at."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from needed import program

#: Far more than anything takes here on a busy machine.
BOUND = 30
COMMAND = f"{sys.executable} -W error -m trio_pipecat talk"


class Terminal:
    """A tmux of the test's own."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        tmux = program("tmux", "apt-get install tmux")
        # A socket's path is short.
        self._place = Path(tempfile.mkdtemp(prefix="talk-"))
        self._tmux = [tmux, "-S", str(self._place / "socket"), "-f", "/dev/null"]
        environment = {**os.environ, "PS1": "$ ", "ENV": "", "LC_ALL": "C.UTF-8"}
        for name in ("TMUX", "COLUMNS", "LINES"):  # the latter two are set by pytest-xdist
            environment.pop(name, None)
        size = ["-x", str(width), "-y", str(height)]
        # There is no sound server to be found: the call goes by text.
        environment |= {"PULSE_SERVER": "/nowhere", "PIPEWIRE_REMOTE": "/nowhere"}
        self._do("-u", "new-session", "-d", *size, "sh", environment=environment)

    def _do(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        return subprocess.run(
            [*self._tmux, *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
            timeout=BOUND,
        ).stdout

    def close(self) -> None:
        """End it, and all that runs in it."""
        self._do("kill-server")
        shutil.rmtree(self._place)

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._do("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type a text, and Enter."""
        self._do("send-keys", "-l", text)
        self.press("Enter")

    def paste(self, text: str) -> None:
        """Paste a text."""
        self._do("set-buffer", text)
        self._do("paste-buffer", "-p")

    def resize(self, width: int, height: int) -> None:
        """Make the window another size."""
        self._do("resize-window", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        """Return what is to be seen."""
        return self._do("capture-pane", "-p")

    def see(self, what: str | Callable[[str], bool]) -> str:
        """Wait until something is to be seen; return the screen."""
        deadline = time.monotonic() + BOUND
        while True:
            screen = self.screen()
            found = re.search(what, screen) if isinstance(what, str) else what(screen)
            if found:
                return screen
            assert time.monotonic() < deadline, f"no {what} in:\n{screen}"
            time.sleep(0.05)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """One of 80 by 24."""
    opened = Terminal()
    try:
        yield opened
    finally:
        opened.close()


def is_sane(terminal: Terminal) -> None:
    """Whole lines are read, and shown as they are typed; the program was left with this code."""
    terminal.type("stty -a")
    screen = terminal.see("echoctl")
    assert re.search(r"(?<!-)icanon", screen)
    assert re.search(r"(?<!-)\becho\b", screen)
    assert re.search(r"(?<!-)ixon", screen)


def test_a_call(terminal: Terminal) -> None:
    """Typed, answered, timed, interrupted, hung up; and the terminal is as it was."""
    terminal.type(f"{COMMAND} sim: ; echo code=$?")
    screen = terminal.see("bot  Hello! I am the simulated bot.")
    assert re.match(r"  sim: +\S.* 0:0\d\n─{80}\n", screen)
    terminal.see("no sound, so type and read")
    assert "text only" in terminal.see("Ctrl-D hang up")

    terminal.type("What is the capital of Japan?")
    terminal.see("you  What is the capital of Japan?")
    terminal.see(r"bot  You said: What is the capital of Japan\? +\d\.\d\d s")
    terminal.see(r"text to voice \d\.\d\d s")

    terminal.press("Tab")
    terminal.see("there is no microphone to mute")

    terminal.type("Tell me a story that is so long that there is time enough to say stop")
    terminal.see("bot is speaking")
    terminal.press("Escape")
    terminal.see(r"\(interrupted\)")

    # What is pasted is one line, and waits for Enter.
    terminal.paste("one\ntwo\n")
    terminal.see("› one two")
    terminal.press("C-u")
    terminal.see(lambda shown: "one two" not in shown)

    terminal.resize(120, 40)
    screen = terminal.see("─{120}")
    assert 1 == screen.count("Ctrl-D hang up")
    assert "you  What is the capital of Japan?" in screen

    terminal.press("C-d")
    screen = terminal.see("code=0")
    # The transcript stays, and the summary is below it.
    assert "you  What is the capital of Japan?" in screen
    assert re.search(r"3 turns\ntext to voice .*\nended: you hung up", screen)
    is_sane(terminal)


@pytest.mark.parametrize("how", ["C-c", "TERM"])
def test_the_terminal_is_given_back(how: str, terminal: Terminal, tmp_path: Path) -> None:
    """However it is left."""
    pid = tmp_path / "pid"
    terminal.type(f"sh -c 'echo $$ > {pid}; exec {COMMAND} sim:'; echo code=$?")
    terminal.see("Hello!")
    if how == "C-c":
        terminal.press("C-c")
    else:
        os.kill(int(pid.read_text()), 15)
    assert "ended: interrupted" in terminal.see("code=130")
    is_sane(terminal)


def test_a_bot_that_fails(terminal: Terminal) -> None:
    """Is told when the screen was given back."""
    terminal.type(f"{COMMAND} 'sim:?fatal_error=out%20of%20tea'; echo code=$?")
    screen = terminal.see("code=1")
    assert "FatalBotError" in screen
    assert "out of tea" in screen
    is_sane(terminal)


def test_stopped_and_continued(terminal: Terminal) -> None:
    """Ctrl-Z gives the terminal to the shell, and fg back."""
    terminal.type("set -m")
    terminal.type(f"{COMMAND} sim:; echo code=$?")
    terminal.see("Hello!")
    terminal.press("C-z")
    terminal.see("Stopped")
    is_sane(terminal)
    terminal.type("fg")
    terminal.see("Ctrl-D hang up")
    terminal.type("Still here?")
    terminal.see("You said: Still here?")
    terminal.press("C-d")
    terminal.see("ended: you hung up")
