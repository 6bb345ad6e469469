"""What the commands share."""

import pytest

from trio_pipecat.tools._options import shown_target


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("sim:?greeting=Hi", "sim:"),
        ("https://me:s3cret@bots.example:1/start?token=s3cret#x", "https://bots.example:1/start"),
        ("ws://bots.example", "ws://bots.example"),
    ],
)
def test_no_secret_is_shown(target: str, shown: str) -> None:
    """In an address there may be some."""
    assert shown == shown_target(target)
