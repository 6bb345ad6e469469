"""A sounddevice without devices: it has what the package uses of it, and does as it is told."""

from threading import Event
from types import SimpleNamespace

import attrs

SPEAKER, MICROPHONE, BOTH = range(3)


def device(name, inputs, outputs, *, rate=48_000.0, host_api=0):
    """Return what sounddevice says about a device."""
    return {
        "name": name,
        "hostapi": host_api,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": rate,
    }


class PortAudioError(Exception):
    """A text and PortAudio's number."""

    def __str__(self):
        return self.args[0]


class CallbackAbort(Exception):
    """What a callback raises to end its stream."""


@attrs.define(eq=False)
class FakeStream:
    """A stream whose callbacks are called by the test, in whatever thread that runs."""

    owner: "FakeSounddevice"
    options: dict
    latency: float = 0.125
    started: bool = False
    aborted: bool = False
    closed: bool = False
    ended: bool = False

    def start(self):
        self.owner.pause("start")
        self.started = True
        if self.owner.at_start:
            self.owner.at_start(self)

    def abort(self):
        self.owner.pause("abort")
        self.aborted = True
        self.unplug()

    def close(self):
        self.closed = True

    def unplug(self):
        """End, as it does by itself."""
        if not self.ended:
            self.ended = True
            self.options["finished_callback"]()

    def hear(self, pcm, *, delay=0.0, lost=False, stamp=1000.0):
        """Have the microphone hear something that is `delay` old."""
        frames = len(pcm) // 2 // self.options["channels"]
        time = SimpleNamespace(currentTime=stamp + delay, inputBufferAdcTime=stamp)
        self._call(memoryview(pcm), frames, time, SimpleNamespace(input_overflow=lost))

    def sound(self, frames, *, delay=0.0, lost=False, stamp=1000.0):
        """Have the speaker sound; return what it plays, `delay` from now."""
        block = bytearray(b"?" * frames * 2 * self.options["channels"])
        time = SimpleNamespace(currentTime=stamp - delay, outputBufferDacTime=stamp)
        self._call(block, frames, time, SimpleNamespace(output_underflow=lost))
        return bytes(block)

    def _call(self, *arguments):
        if self.ended:
            return
        try:
            self.options["callback"](*arguments)
        except CallbackAbort:
            self.unplug()


@attrs.define(eq=False)
class FakeSounddevice:
    """The module. What it refuses, and where it stops and waits, are for the test to say."""

    PortAudioError = PortAudioError
    CallbackAbort = CallbackAbort

    devices: list = attrs.Factory(
        lambda: [
            device("Loud Speaker", 0, 2),
            device("Desk Microphone", 2, 0),
            device("Headset", 1, 2, rate=44_100.0),
        ]
    )
    #: Of a kind ("input", "output").
    defaults: dict = attrs.Factory(lambda: {"input": MICROPHONE, "output": SPEAKER})
    #: The only rates, and numbers of channels, that devices have. None: any.
    rates: list | None = None
    channels: list | None = None
    #: What opening or starting raises.
    refusal: Exception | None = None
    refused_at: str = "open"
    streams: list = attrs.Factory(list)
    tried: list = attrs.Factory(list)
    at_start: object = None
    #: In which step a thread stops, that it has, and that it may go on.
    pause_at: str = ""
    paused: Event = attrs.Factory(Event)
    go_on: Event = attrs.Factory(Event)

    @property
    def stream(self):
        """The last that was opened."""
        return self.streams[-1]

    def pause(self, step):
        if self.refusal and self.refused_at == step:
            raise self.refusal
        if step == self.pause_at:
            self.paused.set()
            assert self.go_on.wait(30)

    def query_hostapis(self):
        return [{"name": "ALSA"}, {"name": "JACK"}]

    def query_devices(self, kind=None):
        if kind is None:
            return self.devices
        if self.defaults[kind] is None:
            raise PortAudioError("Error querying device -1")
        return {"index": self.defaults[kind], **self.devices[self.defaults[kind]]}

    def RawInputStream(self, **options):  # noqa: N802  # as it is called there
        return self._open("input", options)

    def RawOutputStream(self, **options):  # noqa: N802
        return self._open("output", options)

    def _open(self, kind, options):
        assert "int16" == options["dtype"]
        self.tried.append((options["samplerate"], options["channels"]))
        self.pause("open")
        if options["channels"] > self.devices[options["device"]][f"max_{kind}_channels"]:
            raise PortAudioError("Invalid number of channels", -9998)
        if self.channels and options["channels"] not in self.channels:
            raise PortAudioError("Invalid number of channels", -9998)
        if self.rates and options["samplerate"] not in self.rates:
            raise PortAudioError("Invalid sample rate", -9997)
        self.streams.append(FakeStream(self, options))
        return self.stream
