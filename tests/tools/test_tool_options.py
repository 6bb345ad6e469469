"""What the commands share."""

from typing import Any

import click
import pytest

from trio_pipecat import SessionKeywords
from trio_pipecat.tools._options import keywords, keywords_of_two, shown_target, time_span


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


def options_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return the options of one of two bots."""
    options = {
        "webrtc": False,
        "token": None,
        "token_in": "header",
        "headers": (),
        "origin": None,
        "data": None,
        "base_url": None,
        "allow_insecure_token": False,
    }
    return {f"{name}_{key}": value for key, value in {**options, **changes}.items()}


def test_of_two_bots_each_has_its_own() -> None:
    """What is said of one is not said of the other; a mistake names the option."""
    a, b = keywords_of_two({**options_of("a", token="x"), **options_of("b", webrtc=True)})
    assert ("x", None) == (a["token"], a["transport"])
    assert (None, "webrtc") == (b["token"], b["transport"])
    with pytest.raises(click.BadParameter) as bad:
        keywords_of_two({**options_of("a"), **options_of("b", data="{")})
    assert "--b-data" == bad.value.param_hint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("30s", 30),
        ("500ms", 0.5),
        ("1.5m", 90),
        (" 2 h ", 7_200),
        (".5", 0.5),
        ("1h30m", 5_400),
    ],
)
def test_a_time(text: str, seconds: float) -> None:
    """A number, with a unit or without."""
    assert seconds == time_span(*CONTEXT, text)


@pytest.mark.parametrize("text", ["", "0", "0ms", "-1", "1d", "inf", "nan", "1e3", "1" * 400])
def test_no_time(text: str) -> None:
    """Nor no time at all, nor for ever."""
    with pytest.raises(click.BadParameter, match=r"no time|not a duration"):
        time_span(*CONTEXT, text)


def test_no_time_is_given() -> None:
    """Then there is none."""
    assert None is time_span(*CONTEXT, None)


CONTEXT = (click.Context(click.Command("probe")), click.Option(["--every"]))
