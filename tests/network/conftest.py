"""Machines of our own, and a network between them that has faults."""

from pathlib import Path

import pytest
from hosts import network


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.network)
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(scope="module")
def net():
    """Have a network, and leave nothing of it."""
    with network() as made:
        yield made


@pytest.fixture(autouse=True)
def _mended(net):
    """Each test finds it without faults."""
    yield
    net.mend()
