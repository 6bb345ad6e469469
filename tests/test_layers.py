"""The direction of imports: a file imports only what stands above it."""

import ast
import re
from pathlib import Path

import pytest

import trio_pipecat

PACKAGE = Path(trio_pipecat.__file__).parent

#: From the top down. What is on one line does not import each other.
LAYERS = """
_version _state _tls
_errors _causes
_wire _urls
_ice _http
_messages _params _http_answer
_events _codec
_protocol audio._pcm
audio._align audio._polyphase audio._encodings
audio._resample
audio._chunk audio._levels
audio._wav_header audio._noise
audio._wav audio._speech
audio._track audio._lateness audio._devices audio._items
audio._source
audio._portaudio
audio._line audio._playlist
audio._speaker
audio._microphone
audio._cues
audio._stereo
audio._soundtrack
audio
video._pyav
video._frame
video._source video._camera
video
_streams _service _lifecycle transports._abc transports._loop_thread transports._ws_client
transports._sound_out transports._texts_out transports._tls_pipe
_block transports._envelope transports._outbox transports._upgrade transports._inbox
transports._carrier
transports._rtc_tracks transports._rtc_sound_in transports._engine
transports._wires transports._memory transports._signalling transports._rtc_peer transports._dial
transports._wire_transport
transports._websocket transports._websocket_server transports._registry transports._webrtc_link
transports._smallwebrtc
transports
_options _tap _pacer _bot_audio _stereo_recorder
_audio_sender _video_sender
_start
_targets
_functions
_driver
_session
_client _wav_recorder _bridge_recorder
_group
reports._latencies reports._hearing reports._turn reports._words
reports._turns reports._load reports._axes reports._markup reports._recordings
reports._thresholds reports._charts reports._page reports._load_csv
reports._load_charts reports._turn_picture reports._load_junit
reports._load_html
reports
_bridge
__init__
testing._voice testing._bot_protocol testing._http_server testing._network
testing._personality testing._utterance
testing._webrtc_bot
testing._conversation
testing._memory_link testing._recording
testing._offers
testing._requests testing._behaviours testing._script
testing._bot
testing._serve testing._recorder testing._replay testing._diff testing._transport_ends
testing._sim
testing._client_journal testing.pytest testing._transport_rules
testing._check_transport testing._client_stage testing._client_report
testing._client_faults
testing._client_cases
testing._check_client
testing
tools._times
tools._run tools._options tools._console tools._keyboard tools._transcript tools._recording_path
tools._line_editor tools._talk_screen tools._bot_voice tools._talk_sound
tools._probe tools._events tools._serve tools._demo tools._say tools._talk tools._bridge
tools._record tools._monitor
tools.load._shape tools.load._ear tools.load._words tools.load._progress
tools.load._plan tools.load._prometheus
tools.load._health tools.load._call tools.load._sounds
tools.load._spans
tools.load._shard
tools.load._run_here tools.load._processes tools.load._capacity
tools.load._cluster tools.load._worker tools.load._screen
tools.load._command
tools.load._cli
tools.load
tools._cli
tools
__main__
"""
RANKS = {module: rank for rank, line in enumerate(LAYERS.split("\n")) for module in line.split()}
#: The core without I/O, and what else has no need of it.
TRIO_FREE = ["_version", "_state", "_errors", "_causes", "_wire", "_urls", "_params"]
TRIO_FREE += ["_messages", "_events", "_codec", "_protocol", "transports._envelope"]
TRIO_FREE += ["transports._ws_client", "transports._tls_pipe"]
TRIO_FREE += ["transports._wires", "audio._align", "audio._polyphase", "audio._resample"]
TRIO_FREE += ["audio._encodings", "audio._wav_header", "audio._wav", "_ice", "_http_answer"]


def modules() -> dict[str, Path]:
    """Return every module of the package, named from its top."""
    named = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts)
        named[name.removesuffix(".__init__") if name != "__init__" else name] = path
    return named


def imports(name: str, path: Path) -> set[str]:
    """Return the modules of the package that a module imports, wherever in it."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    if name == "__init__":
        package = []
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)]
            target = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if target in ALL:
                found.add(target)
            else:
                found.update(f"{target}.{alias.name}".strip(".") for alias in node.names)
                if not target:
                    found = {item if item in ALL else "__init__" for item in found}
    return found - {name}


def type_only(path: Path) -> set[str]:
    """Return what is imported for type checkers only."""
    source = path.read_text()
    return set(re.findall(r"if TYPE_CHECKING:\n    from \.([\w.]+) import", source))


ALL = modules()


def test_every_module_has_its_place() -> None:
    """A new file is put into the list, or this fails."""
    assert set(ALL) == set(RANKS)


@pytest.mark.parametrize("name", sorted(ALL))
def test_imports_go_upwards(name: str) -> None:
    """Down or sideways is a cycle in the making."""
    package = name.rpartition(".")[0]
    ignored = {f"{package}.{item}".strip(".") for item in type_only(ALL[name])}
    wrong = [other for other in imports(name, ALL[name]) - ignored if RANKS[other] >= RANKS[name]]
    assert [] == wrong


@pytest.mark.parametrize("name", TRIO_FREE)
def test_the_core_does_not_know_trio(name: str) -> None:
    """Nor any other I/O."""
    source = ALL[name].read_text()
    assert None is re.search(r"^\s*(?:import|from) (?:trio|anyio|httpx)\b", source, re.MULTILINE)


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("httpx", {"_http"}),
        ("httpcore", {"_http"}),
        ("trio_websocket", {"transports._websocket_server"}),
        ("wsproto", {"transports._ws_client"}),
        ("google", {"transports._envelope"}),
        ("h11", {"testing._http_server"}),
        ("certifi", {"_tls"}),
        ("soxr", {"audio._resample"}),
        ("av", {"video._pyav", "transports._rtc_tracks", "transports._rtc_sound_in"}),
        ("aiortc", {"transports._rtc_peer", "transports._rtc_tracks"}),
        ("asyncio", {"transports._loop_thread", "transports._rtc_peer", "transports._rtc_tracks"}),
        ("numpy", {"audio._resample", "video._frame"}),
        ("sounddevice", {"audio._portaudio"}),
        (
            "rich",
            {
                "tools",
                "tools._console",
                "tools._probe",
                "tools._monitor",
                "tools._bridge",
                "tools._events",
                "tools._demo",
                "tools._serve",
                "tools._say",
                "tools._talk",
                "tools._talk_screen",
                "tools.load._command",
                "tools.load._screen",
            },
        ),
        ("click", {"tools", "tools._cli", "tools._options", "tools.load._cli"}),
        ("anyio", set()),
        ("hdrh", {"reports._latencies"}),
        ("distributed", {"tools.load._cluster"}),
        ("opentelemetry", {"tools.load._spans"}),
        ("prometheus_client", {"tools.load._prometheus"}),
    ],
)
def test_a_dependency_has_one_home(library: str, homes: set[str]) -> None:
    """So that it can be replaced in a day."""
    pattern = re.compile(rf"^\s*(?:import|from) {library}\b", re.MULTILINE)
    assert homes == {name for name, path in ALL.items() if pattern.search(path.read_text())}


def test_tools_stand_on_the_public_api() -> None:
    """They import nothing private of the package but each other."""
    private = {
        other
        for name, path in ALL.items()
        if name.startswith("tools")
        for other in imports(name, path)
        if "._" in f".{other}" and not other.startswith(("tools", "__"))
    }
    assert set() == private
