"""A plugin for pytest: a bot, a session with it, and a clock that does not wait.

Switched on by one line in the ``conftest.py`` at the root of the tests::

    pytest_plugins = ["trio_pipecat.testing.pytest"]

It needs pytest-trio, which runs the tests. They have these fixtures then:

* ``bot``: a `SimulatedBot`. Override it to have another.
* ``session``: a session with it, in memory, that is ready. Override ``session_options`` for other
  keywords of `open_session`. A bot that leaves does not cancel the test: it finds out from what it
  waits for, or from ``session.end``.
* ``virtual_time``: a clock that jumps to whatever comes next, for a test that is to take no time.

When a test fails, its session was recorded: the report says where. `load_recording` reads it,
``trio-pipecat replay`` plays it back.
"""

import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_trio  # type: ignore[import-untyped]
from trio.testing import MockClock

from .._client import open_session
from .._session import Session
from ._bot import SimulatedBot
from ._recorder import Recorder

_RECORDINGS: Final = pytest.StashKey[Path]()
_FOLDER: Final = "trio_pipecat"
_FILE: Final = "session.jsonl"


@pytest.fixture
def virtual_time() -> MockClock:
    """A clock that jumps to whatever comes next: an hour of waiting takes no time."""
    return MockClock(autojump_threshold=0)


@pytest.fixture
def bot() -> SimulatedBot:
    """A simulated bot that repeats what it is told."""
    return SimulatedBot()


@pytest.fixture
def session_options() -> dict[str, Any]:
    """Keywords of `open_session` for the ``session``."""
    return {}


# A generator is what a fixture is, and pytest-trio runs it in one task, to its end.
@pytest_trio.trio_fixture  # type: ignore[untyped-decorator]
async def session(  # noqa: ASYNC900
    request: pytest.FixtureRequest, bot: SimulatedBot, session_options: dict[str, Any]
) -> AsyncGenerator[Session, None]:
    """A session with the ``bot``, in memory, that is ready. It is recorded."""
    folder = Path(tempfile.mkdtemp(prefix="trio-pipecat-"))
    request.node.stash[_RECORDINGS] = folder
    options = {"transport": bot.connect, "disconnect_on_bot_disconnect": False, **session_options}
    async with open_session(**options) as opened:
        with Recorder(opened, folder / _FILE):
            await opened.wait_ready()
            yield opened  # noqa: ASYNC119


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the recording of a test that has failed, and say where it is."""
    report = yield
    folder = item.stash.get(_RECORDINGS, None)
    if folder is not None and folder.exists():
        if report.failed:
            kept = _keep(item, folder)
            text = f"{kept}\nto hear it again: trio-pipecat replay {kept}"
            report.sections.append(("the session was recorded", text))
        elif report.when == "teardown":
            shutil.rmtree(folder, ignore_errors=True)
    return report


def _keep(item: pytest.Item, folder: Path) -> Path:
    """Move what was recorded to where it stays, under the test's name; return the file."""
    name = re.sub(r"[^\w.-]+", "-", item.nodeid).strip("-")
    cache: pytest.Cache | None = getattr(item.config, "cache", None)
    place = Path(tempfile.gettempdir()) / _FOLDER if cache is None else cache.mkdir(_FOLDER)
    kept = place / name
    shutil.rmtree(kept, ignore_errors=True)  # of an earlier run
    place.mkdir(exist_ok=True)
    shutil.move(folder, kept)
    return kept / _FILE
