"""The table of faults that `check_client` puts a client through."""

from typing import Final, Literal, TypeAlias, get_args

import attrs

from .._messages import Error, ErrorResponse, ServerMessage
from ._behaviours import GarbageKind, flood, garbage, never_ready, slow_ready, wrong_version
from ._client_faults import (
    Script,
    StartFault,
    UpgradeFault,
    behaving,
    big_message,
    call_function,
    call_without_name,
    cancelled_call,
    crash,
    early_events,
    event,
    fatal_error,
    freeze,
    goodbye_by,
    hang_up,
    interruption,
    last_words,
    leave,
    odd_sound,
    raw,
    ready_twice,
    say_goodbye,
    start_in_snake_case,
    start_silent,
    start_with,
    start_with_bind_host,
    start_with_more,
    start_with_text,
    upgrade_hung_up,
    upgrade_refused,
    upgrade_silent,
    version_complaint,
    wait_for_pings,
)
from ._conversation import Behaviour

#: What a client has to do; see `ClientCase`.
Duty: TypeAlias = Literal["go on", "go on or leave", "leave", "give up"]


@attrs.frozen(kw_only=True)
class ClientCase:
    """One fault, and what a client has to do about it.

    Attributes:
        name: what it is selected by.
        description: what the server does, in a line.
        duty: ``go on`` until the bot says goodbye, and hang up; ``go on or leave``, before that,
            in order; ``leave`` when the bot has gone or failed; ``give up`` on a bot that never
            gets ready or is not to be had.
    """

    name: str
    description: str
    duty: Duty
    #: What the bot does when it has the client's text; with `at_once`, when it has the client.
    script: Script | None = attrs.field(default=None, repr=False)
    at_once: bool = False
    behaviours: tuple[Behaviour, ...] = attrs.field(default=(), repr=False)
    goodbye: Script = attrs.field(default=say_goodbye, repr=False)
    start: StartFault | None = attrs.field(default=None, repr=False)
    upgrade: UpgradeFault | None = attrs.field(default=None, repr=False)
    token: bool = False
    #: Does the server ping?
    pings: bool = True

    @property
    def needs_start(self) -> bool:
        """Can only clients be checked that use the start endpoint?"""
        return self.start is not None or self.token


_SENT: Final[dict[GarbageKind, str]] = {
    "frame": "a binary message that is no frame",
    "half a frame": "a binary message that ends too soon",
    "no json": "a message that is no JSON",
    "no object": "a message that is a list",
    "no label": "a message without a label",
    "no type": "a message without a type",
    "unknown type": "a message of an unknown type",
    "bad data": "a known message with wrong data",
    "nan": "a message with NaN in it",
    "deep": "a message that is nested 400 deep",
    "unknown id": "an answer that nobody asked for",
}


def _go_on(name: str, description: str, script: Script | None = None, **more: object) -> ClientCase:
    return _case(name, description, "go on", script=script, **more)


def _leave(name: str, description: str, script: Script, **more: object) -> ClientCase:
    return _case(name, description, "leave", script=script, **more)


def _give_up(name: str, description: str, **more: object) -> ClientCase:
    return _case(name, description, "give up", **more)


def _case(name: str, description: str, duty: Duty, **more: object) -> ClientCase:
    return ClientCase(name=name, description=description, duty=duty, **more)  # type: ignore[arg-type]


_DETAILS: Final = [{"type": "missing", "loc": ["body", "x"], "msg": "Field required", "input": {}}]

CASES: Final[tuple[ClientCase, ...]] = (
    # The start endpoint.
    _give_up(
        "start-400",
        "/start refuses, with a JSON text",
        start=start_with({"detail": "Transport 'websocket' is not allowed."}, 400),
    ),
    _give_up(
        "start-403",
        "/start refuses, with another key",
        start=start_with({"info": "Not you."}, 403),
    ),
    _give_up(
        "start-404",
        "/start is not there, in plain text",
        start=start_with_text("Not Found", 404),
    ),
    _give_up(
        "start-422",
        "/start refuses, with a list",
        start=start_with({"detail": _DETAILS}, 422),
    ),
    _give_up(
        "start-429",
        "/start is at capacity, as the cloud says it",
        start=start_with(
            {"status": 429, "code": "PCC-AGENT-AT-CAPACITY", "message": "At capacity."}, 429
        ),
    ),
    _give_up(
        "start-500",
        "/start crashes, in plain text",
        start=start_with_text("Internal Server Error", 500),
    ),
    _give_up("start-null", "/start answers null", start=start_with(None)),
    _give_up(
        "start-no-json",
        "/start answers 200 and a page",
        start=start_with_text("<html>Hello!</html>", 200),
    ),
    _give_up(
        "start-no-address",
        "/start answers without an address",
        start=start_with({"sessionId": None}),
    ),
    _give_up("start-silent", "/start never answers", start=start_silent),
    _go_on(
        "start-more-keys",
        "/start answers with a null token and unknown keys",
        start=start_with_more,
    ),
    _go_on("start-snake-case", "/start answers ws_url, not wsUrl", start=start_in_snake_case),
    _go_on(
        "start-bind-host",
        "/start answers wss://0.0.0.0 and means itself",
        start=start_with_bind_host,
    ),
    _go_on("start-token", "/start gives a token, and without it nobody gets in", token=True),
    # The upgrade.
    _give_up("upgrade-403", "the WebSocket is refused", upgrade=upgrade_refused),
    _give_up("upgrade-silent", "the WebSocket is never answered", upgrade=upgrade_silent),
    _give_up("upgrade-hung-up", "the server hangs up instead", upgrade=upgrade_hung_up),
    # Getting ready.
    _go_on("no-fault", "nothing is wrong"),
    _go_on("slow-ready", "the bot is ready after 5 s", behaviours=(slow_ready(5),)),
    _give_up("never-ready", "the bot is never ready", behaviours=(never_ready(),)),
    _go_on(
        "early-events",
        "messages and sound come before bot-ready",
        behaviours=(early_events,),
    ),
    _go_on(
        "version-complaint",
        "an error-response to client-ready, then bot-ready",
        behaviours=(version_complaint,),
    ),
    _case(
        "version-0",
        "the bot speaks RTVI 0",
        "go on or leave",
        behaviours=(wrong_version(0),),
    ),
    _go_on("version-1", "the bot speaks RTVI 1, word by word", behaviours=(wrong_version(1),)),
    _case(
        "version-3",
        "the bot speaks RTVI 3",
        "go on or leave",
        behaviours=(wrong_version(3),),
    ),
    _go_on("ready-twice", "bot-ready again, with an empty id", ready_twice),
    _leave(
        "early-leave",
        "the bot leaves before it is ready",
        hang_up(after=0.5),
        behaviours=(never_ready(),),
        at_once=True,
    ),
    _leave(
        "early-crash",
        "the bot crashes before it is ready",
        crash(after=0.5),
        behaviours=(never_ready(),),
        at_once=True,
    ),
    _leave(
        "early-fatal",
        "a fatal error before the bot is ready",
        fatal_error(after=0.5),
        behaviours=(never_ready(),),
        at_once=True,
    ),
    # Messages.
    *(
        _go_on(
            f"garbage-{kind.replace(' ', '-')}",
            f"the bot sends {_SENT[kind]}",
            behaving(garbage(kind)),
        )
        for kind in get_args(GarbageKind)
    ),
    _go_on("no-data", "a server-message without data", event(ServerMessage())),
    _go_on("flood", "10,000 messages at once", behaving(flood())),
    _go_on("big-message", "a message of 2 MiB", big_message),
    _go_on("output-type", "bot-output has output_type only", goodbye=goodbye_by("output_type")),
    _go_on("text-type", "bot-output has text_type only", goodbye=goodbye_by("text_type")),
    _go_on(
        "aggregated-by",
        "bot-output has aggregated_by only",
        goodbye=goodbye_by("aggregated_by"),
    ),
    _go_on("error", "an error that is not fatal", event(Error(error="Out of tea.", fatal=False))),
    _go_on(
        "error-message",
        "an error whose text is in message",
        raw("error", '{"message": "Out of tea.", "fatal": false}'),
    ),
    _go_on(
        "error-response",
        "an error-response that nobody asked for",
        event(ErrorResponse(id="nobody", error="Out of tea.")),
    ),
    # Functions, interruptions, sound.
    _go_on("function-call", "a function call, to answer rightly or not", call_function),
    _go_on("function-nameless", "a function call without a name", call_without_name),
    _go_on("function-cancelled", "a function call that is taken back", cancelled_call),
    _go_on("interruption", "the bot is interrupted, by both signals", interruption),
    _go_on("odd-sound", "48 kHz stereo, one sample, none, 2 s at once", odd_sound),
    _go_on("pings", "only pings, for a while", wait_for_pings),
    # The end.
    _leave("leave", "2 s of silence in one frame, and the bot leaves", leave),
    _leave("last-words", "a message and the close in one packet", last_words),
    _leave("close-1001", "the server closes with 1001", hang_up(1001)),
    _leave("close-1011", "the server closes with 1011", hang_up(1011)),
    _leave("crash", "the bot is gone without a goodbye", crash()),
    _leave("fatal-error", "a fatal error, and the bot leaves", fatal_error()),
    _leave("fatal-error-stays", "a fatal error, and it stays", fatal_error(stays=True)),
    _leave("half-open", "the bot answers nothing any more", freeze, pings=False),
)


def list_client_cases() -> tuple[ClientCase, ...]:
    """Return every case of `check_client`, in its order."""
    return CASES
