"""What a simulated bot is like: what it says, how it sounds, how long it takes."""

import json
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from .._wire import Json
from ._voice import Voice

#: What a bot says first that was told to greet, and not how.
GREETING: Final = "Hello! I am the simulated bot."


def repeat(user_text: str) -> str:
    """Answer a text with itself."""
    return f"You said: {user_text}"


def _report(function_name: str, result: Mapping[str, Json] | str) -> str:
    subject = function_name.removeprefix("get_").replace("_", " ")
    return f"The {subject}: {result if isinstance(result, str) else json.dumps(result)}"


@attrs.define(kw_only=True, eq=False)
class Personality:
    """The traits of a simulated bot; see `SimulatedBot`."""

    greeting: str | None = None
    reply: Callable[[str], str] = repeat
    report: Callable[[str, Mapping[str, Json] | str], str] = _report
    echo_audio: bool = True
    echo_video: bool = False
    ready_delay: float = 0
    think_seconds: float | Callable[[], float] = 0
    voice: Voice = attrs.field(factory=Voice)
