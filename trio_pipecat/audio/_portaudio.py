"""PortAudio, by way of sounddevice: the one module that knows either.

Both are imported when a device is wanted, never before. What PortAudio says is put into our words
here: its errors are `DeviceError`, its times are seconds of delay, its flags one boolean.

PortAudio wants to be called by one thread at a time, but for its streams' own. So whoever opens,
closes or asks takes turns, whichever run of trio they come from.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, final

from .._errors import DeviceError, UnsupportedFeatureError
from ._devices import AudioDevice, Kind

#: What a stream's thread calls: the block, to be read or to be filled; by how many seconds it is
#: older than now, or will sound later; and whether sound was lost before it. True: end the stream.
OnBlock = Callable[[Any, float, bool], bool]

#: PortAudio's numbers of errors.
_INVALID_CHANNELS: Final = -9998
_INVALID_RATE: Final = -9997
_UNAVAILABLE: Final = -9985
#: How long to wait for one's turn. Whoever has it is stuck in a driver, and may be for ever.
_TURN_SECONDS: Final = 10
#: A delay that is longer is no delay: some host APIs leave a time out.
_LONGEST_DELAY: Final = 5

_turn: Final = threading.Lock()


def load() -> Any:
    """Return sounddevice.

    Raises:
        UnsupportedFeatureError: it is not installed, or PortAudio is not.
    """
    try:
        import sounddevice
    except ImportError as error:
        needs = 'sounddevice; type: pip install "trio-pipecat[audio]"'
        raise UnsupportedFeatureError("a microphone or speaker", needs) from error
    except OSError as error:
        needs = "the PortAudio library; type: apt-get install libportaudio2"
        raise UnsupportedFeatureError("a microphone or speaker", needs) from error
    except Exception as error:
        # It looks for devices while it is imported.
        raise DeviceError("PortAudio", str(error)) from error
    return sounddevice


def list_devices() -> list[AudioDevice]:
    """Return the sound devices of this machine.

    PortAudio looks for them once, when it is first used; that may take a second, and what is
    plugged in later is found by the next process.

    Raises:
        UnsupportedFeatureError: the extra ``audio``, or the PortAudio library, is not installed.
        DeviceError: PortAudio does not work on this machine.
    """
    with _our_turn("PortAudio"):
        library = load()
        with _told("PortAudio", library):
            return _devices(library)


def _devices(library: Any) -> list[AudioDevice]:
    host_apis = [str(api["name"]) for api in library.query_hostapis()]
    defaults = {kind: _default(library, kind) for kind in ("input", "output")}
    return [
        AudioDevice(
            index=index,
            name=str(found["name"]),
            host_api=host_apis[found["hostapi"]],
            max_input_channels=found["max_input_channels"],
            max_output_channels=found["max_output_channels"],
            default_sample_rate=round(found["default_samplerate"]),
            is_default_input=index == defaults["input"],
            is_default_output=index == defaults["output"],
        )
        for index, found in enumerate(library.query_devices())
    ]


def _default(library: Any, kind: str) -> int | None:
    # It is an error to have none, or to have chosen one by a name that does not exist.
    with suppress(library.PortAudioError, ValueError):
        return int(library.query_devices(kind=kind)["index"])
    return None


@final
class PortAudioStream:
    """A stream. Opening, starting, aborting and closing may block: they are for worker threads.

    It takes the rate and the number of channels it is asked for, or else the nearest that the
    device has; `sample_rate` and `num_channels` say what it came to.

    Raises:
        DeviceError: the device can't be opened.
        UnsupportedFeatureError: something is not installed.
    """

    def __init__(
        self,
        device: AudioDevice,
        kind: Kind,
        *,
        sample_rate: int,
        num_channels: int,
        block_seconds: float,
        latency: float | None,
        on_block: OnBlock,
        on_end: Callable[[], None],
    ) -> None:
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self._name = f"{kind} {device.name!r}"
        self._on_block = on_block
        self._delay = 0.0
        with _our_turn(self._name):
            self._library = load()
            with _told(self._name, self._library):
                self._stream = self._open(device, kind, block_seconds, latency, on_end)

    def start(self) -> None:
        """Have it run. It is to be closed even if that fails.

        Raises:
            DeviceError: it can't be started.
        """
        with _our_turn(self._name), _told(self._name, self._library):
            self._stream.start()

    def abort(self) -> None:
        """Stop at once, and close. What is in the device's buffer does not sound any more."""
        with _our_turn(self._name):
            # Both of them ignore errors, and a device that is gone has some.
            self._stream.abort()
            self._stream.close()

    def _open(
        self,
        device: AudioDevice,
        kind: Kind,
        block_seconds: float,
        latency: float | None,
        on_end: Callable[[], None],
    ) -> Any:
        library = self._library
        recording = kind == "microphone"
        make = library.RawInputStream if recording else library.RawOutputStream
        refused = None
        for rate, channels in _formats(device, kind, self.sample_rate, self.num_channels):
            try:
                stream = make(
                    device=device.index,
                    samplerate=rate,
                    channels=channels,
                    dtype="int16",
                    blocksize=max(round(rate * block_seconds), 1),
                    latency="high" if latency is None else latency,
                    callback=self._recorded if recording else self._wanted,
                    finished_callback=on_end,
                )
            except library.PortAudioError as error:
                if error.args[1:2] not in ((_INVALID_RATE,), (_INVALID_CHANNELS,)):
                    raise
                refused = refused or error
                continue
            self.sample_rate, self.num_channels = rate, channels
            self._delay = float(stream.latency)
            return stream
        assert refused is not None
        raise refused

    # -- in PortAudio's thread: nothing here may wait, and nothing may escape --

    def _recorded(self, data: Any, frames: int, time: Any, status: Any) -> None:
        delay = time.currentTime - time.inputBufferAdcTime
        # Some host APIs say that a block is younger than it is long.
        self._block(
            data,
            delay,
            time.inputBufferAdcTime,
            status.input_overflow,
            least=frames / self.sample_rate,
        )

    def _wanted(self, data: Any, frames: int, time: Any, status: Any) -> None:
        delay = time.outputBufferDacTime - time.currentTime
        self._block(data, delay, time.outputBufferDacTime, status.output_underflow)

    def _block(
        self, data: Any, delay: float, stamp: float, lost: bool, *, least: float = 0.0
    ) -> None:
        if not (stamp and delay <= _LONGEST_DELAY):
            delay = self._delay
        if self._on_block(data, max(delay, least), bool(lost)):
            raise self._library.CallbackAbort


def _formats(
    device: AudioDevice, kind: Kind, sample_rate: int, num_channels: int
) -> Iterator[tuple[int, int]]:
    """Say what to try, best first: people want sound, not an error about a rate."""
    most = device.max_channels(kind)
    numbers = dict.fromkeys((min(num_channels, most), min(2, most), most))
    rates = dict.fromkeys((sample_rate, device.default_sample_rate))
    return ((rate, channels) for channels in numbers for rate in rates)


@contextmanager
def _our_turn(name: str) -> Iterator[None]:
    if not _turn.acquire(timeout=_TURN_SECONDS):
        raise DeviceError(name, "another device is being opened or closed, and that does not end")
    try:
        yield
    finally:
        _turn.release()


@contextmanager
def _told(name: str, library: Any) -> Iterator[None]:
    """Put what PortAudio says into our words."""
    try:
        yield
    except library.PortAudioError as error:
        detail = str(error)
        if error.args[1:2] == (_UNAVAILABLE,):
            detail = f"it is in use by another program, or gone ({detail})"
        raise DeviceError(name, detail) from error
    except ValueError as error:
        raise DeviceError(name, str(error)) from error


def check_seconds(name: str, seconds: float) -> None:
    """Refuse what is no time.

    Raises:
        ValueError: it is not positive and finite.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name} is positive, not {seconds}")
