"""The real bots that the end-to-end tests talk to: one process each for the whole run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from real_bot import RealBot, running_bot


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def real_bot() -> Iterator[RealBot]:
    with running_bot() as bot:
        yield bot


@pytest.fixture(scope="session")
def guarded_bot() -> Iterator[RealBot]:
    """A bot that wants a token and an Origin."""
    with running_bot("--ws-auth", "token", "--allowed-origins", "http://app.example") as bot:
        yield bot
