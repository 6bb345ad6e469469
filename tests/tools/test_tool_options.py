"""What the commands share."""

import pytest

from trio_pipecat import SessionKeywords
from trio_pipecat.tools._options import keywords, shown_target


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


@pytest.mark.parametrize(("webrtc", "transport"), [(False, None), (True, "webrtc")])
def test_the_wire_is_said_by_an_option(webrtc: bool, transport: str | None) -> None:
    """Without it the address says."""
    meant = keywords(
        webrtc=webrtc,
        token=None,
        token_in="header",
        headers=("X-Name: a",),
        origin=None,
        data='{"b": 1}',
        base_url=None,
        allow_insecure_token=False,
    )
    expected: SessionKeywords = {
        "transport": transport,
        "token": None,
        "token_in": "header",
        "headers": {"X-Name": "a"},
        "origin": None,
        "request_data": {"b": 1},
        "base_url": None,
        "allow_insecure_token": False,
    }
    assert expected == meant
