"""What users can import, and what importing costs them."""

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import trio_pipecat
import trio_pipecat.audio
import trio_pipecat.reports
import trio_pipecat.testing
import trio_pipecat.transports
import trio_pipecat.video
from trio_pipecat._events import SESSION_EVENTS
from trio_pipecat._messages import COMMAND_TYPES, EVENT_TYPES

FACES = [
    trio_pipecat,
    trio_pipecat.audio,
    trio_pipecat.reports,
    trio_pipecat.testing,
    trio_pipecat.transports,
    trio_pipecat.video,
]

#: The contract: names that documentation, users and later parts rely on.
CONTRACT = {
    *("open_session", "PipecatClient", "start_bot", "Session", "State", "SessionEnd"),
    *("AudioChunk", "BotReady", "BotOutput", "UserTranscription", "UserInput"),
    *("UnknownMessage", "MalformedMessage", "StateChanged", "BotStarted", "Connected"),
    *("BotConnected", "BotDisconnected", "Disconnected", "AudioStarted"),
    *("PipecatError", "StartBotError", "InvalidParamsError", "TransportStartError"),
    *("ReadyTimeoutError", "BotNotReadyError", "SessionEndedError", "ConnectionLostError"),
    *("FatalBotError", "RequestError", "RequestTimeoutError", "UnsupportedFeatureError"),
    *("MessageTooLargeError", "ProtocolError", "DeviceError", "WavError", "InternalError"),
}


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_all_names_what_is_public(face: ModuleType) -> None:
    """`__all__` is sorted, complete, and every name in it is there."""
    public = {
        name
        for name, value in vars(face).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    listed = list(face.__all__)
    assert len(listed) == len(set(listed))
    assert public | {"__version__"} == set(listed) | {"__version__"}


def test_the_contract_is_kept() -> None:
    """Every name of the design is exported."""
    assert set() == CONTRACT - set(trio_pipecat.__all__)


def test_every_message_and_event_is_exported() -> None:
    """A new one can't be forgotten."""
    classes = [*EVENT_TYPES.values(), *COMMAND_TYPES.values(), *SESSION_EVENTS]
    assert [] == [cls.__name__ for cls in classes if not hasattr(trio_pipecat, cls.__name__)]


def test_everything_public_says_what_it_is() -> None:
    """Each class and function has a docstring, and so have their public methods."""
    silent = []
    for face in FACES:
        for name in face.__all__:
            value = getattr(face, name)
            described = inspect.isclass(value) or inspect.isfunction(value)
            if described and not value.__doc__:
                silent.append(name)
            if isinstance(value, type) and value.__module__.startswith("trio_pipecat"):
                silent += [
                    f"{name}.{method}"
                    for method, function in vars(value).items()
                    if not method.startswith("_") and callable(function) and not function.__doc__
                ]
    assert [] == silent


def test_errors_are_called_as_they_are_imported() -> None:
    """Tracebacks name the public module."""
    assert "trio_pipecat" == trio_pipecat.StartBotError.__module__


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    return {name.partition(".")[0] for name in output.split()}


def test_importing_pulls_in_no_extra() -> None:
    """Nor anything heavy."""
    loaded = _modules_after("import trio_pipecat, trio_pipecat.testing")
    extras = {"click", "rich", "aiortc", "sounddevice", "soxr", "hdrhistogram", "distributed", "av"}
    assert set() == loaded & (extras | {"numpy", "pipecat", "opentelemetry", "asyncio_mqtt"})


def test_importing_loads_nothing_that_is_used_later() -> None:
    """httpx when something is posted, trio-websocket when a WebSocket is opened."""
    assert set() == _modules_after("import trio_pipecat") & {"httpx", "trio_websocket", "h11"}


def test_the_command_line_says_what_to_install(tmp_path) -> None:
    """Where its extra is absent, the line to type."""
    (tmp_path / "click.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, "-m", "trio_pipecat", "demo"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode
    assert "pip install 'trio-pipecat[cli]'" in done.stderr


def test_a_transport_that_is_not_there_is_refused_by_name() -> None:
    """At once, and not when the session is already under way."""
    with pytest.raises(trio_pipecat.UnsupportedFeatureError, match="carrier-pigeon"):
        trio_pipecat.open_session(
            webrtc_url="http://localhost/api/offer", transport="carrier-pigeon"
        )
