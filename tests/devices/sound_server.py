"""A PulseAudio of one's own: a speaker that is nowhere, and a microphone that hears it.

PortAudio speaks ALSA here, and ALSA is told by a configuration of its own that its devices are
PulseAudio's. Nothing of the machine's own sound is used, or disturbed.
"""

import ctypes.util
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from needed import missing, program

PACKAGES = "apt-get install pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins"
#: Far more than anything takes here on a busy machine.
_BOUND = 120

_ALSA = """
pcm.!default { type pulse hint { show on description default } }
ctl.!default { type pulse }
pcm.test_speaker { type pulse device out hint { show on description speaker } }
pcm.test_microphone { type pulse device out.monitor hint { show on description microphone } }
"""
#: Without norewinds a sink that nobody listens to sleeps for two seconds at a time.
_SINK = "module-null-sink sink_name=out rate=48000 channels=2 norewinds=1"


@attrs.frozen
class SoundServer:
    """One that runs. `pid` is its process."""

    pid: int
    environment: dict[str, str]

    def told_by(self, name: str, *arguments: object) -> Any:
        """Run a program of `real_devices` on it, and return what it tells."""
        script = Path(__file__).with_name("real_devices.py")
        done = subprocess.run(
            [sys.executable, str(script), name, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_BOUND,
            check=False,
        )
        assert 0 == done.returncode, done.stderr[-4000:]
        return json.loads(done.stdout)


@contextmanager
def running() -> Iterator[SoundServer]:
    """Have one, or skip the test."""
    command = program("pulseaudio", PACKAGES)
    program("pactl", PACKAGES)
    if not ctypes.util.find_library("portaudio"):
        missing("PortAudio", PACKAGES)
    if not [*Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")]:
        missing("ALSA's plugin for PulseAudio", PACKAGES)
    for module in ("sounddevice", "numpy"):
        if importlib.util.find_spec(module) is None:
            missing(module, 'pip install "trio-pipecat[audio]"')
    # A socket's path is short.
    place = Path(tempfile.mkdtemp(prefix="sound-"))
    (place / "asound.conf").write_text(_ALSA)
    environment = {
        **os.environ,
        "HOME": str(place),
        "XDG_RUNTIME_DIR": str(place),
        "PULSE_RUNTIME_PATH": str(place / "run"),
        "PULSE_STATE_PATH": str(place / "state"),
        "PULSE_SERVER": f"unix:{place}/native",
        "ALSA_CONFIG_PATH": str(place / "asound.conf"),
    }
    options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--system=false", "--disable-shm=yes"]
    options += ["--use-pid-file=no", "--log-target=stderr"]
    options += ["-L", f"module-native-protocol-unix socket={place}/native auth-anonymous=1"]
    options += ["-L", _SINK]
    with (place / "log").open("w") as log:
        server = subprocess.Popen(
            [command, *options],
            env={key: value for key, value in environment.items() if key != "PULSE_SERVER"},
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_it_answers(server, environment, place / "log")
        yield SoundServer(server.pid, environment)
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(place)


def _wait_until_it_answers(
    server: "subprocess.Popen[bytes]", environment: dict[str, str], log: Path
) -> None:
    begun = time.monotonic()
    ask = ["pactl", "list", "short", "sinks"]
    while (
        b"\tout\t"
        not in subprocess.run(ask, env=environment, capture_output=True, check=False).stdout
    ):
        alive = server.poll() is None and time.monotonic() < begun + _BOUND
        assert alive, log.read_text()
        time.sleep(0.05)
