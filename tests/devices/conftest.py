"""Real sound, on a sound server of the tests' own."""

from pathlib import Path

import pytest
from sound_server import running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.devices)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="module")
def sound_server():
    """A sound server whose speaker is heard by its microphone."""
    with running() as server:
        yield server


@pytest.fixture
def breakable_sound_server():
    """One for this test alone."""
    with running() as server:
        yield server
