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

import hashlib
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
#: Of the name of a folder, in characters.
_LONGEST_NAME: Final = 120


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
    options = {"transport": bot.connect, "disconnect_on_bot_disconnect": False, **session_options}
    block = open_session(**options)
    folder = Path(tempfile.mkdtemp(prefix="trio-pipecat-"))
    request.node.stash[_RECORDINGS] = folder
    async with block as opened:
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
            report.sections.append(("the session was recorded", _keep(item, folder)))
        elif report.when == "teardown":
            shutil.rmtree(folder, ignore_errors=True)
    return report


def _keep(item: pytest.Item, folder: Path) -> str:
    """Move what was recorded to where it stays, under the test's name; say where that is."""
    cache: pytest.Cache | None = getattr(item.config, "cache", None)
    kept = folder
    if cache is not None:
        # Tests of one name but for such characters are told apart by the digest.
        digest = hashlib.sha256(item.nodeid.encode()).hexdigest()[:8]
        name = re.sub(r"[^\w.-]+", "-", item.nodeid).strip("-")[-_LONGEST_NAME:]
        try:
            place = cache.mkdir(_FOLDER) / f"{name}-{digest}"
            shutil.rmtree(place, ignore_errors=True)  # of an earlier run
            shutil.move(folder, place)
            kept = place
        except OSError:
            pass  # then it stays where it is
    return f"{kept / _FILE}\nto hear it again: trio-pipecat replay {kept / _FILE}"
