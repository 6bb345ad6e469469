"""What sounddevice is asked, and what is made of its answers."""

import sys

import attrs
import pytest
from fake_sounddevice import PortAudioError

from trio_pipecat import DeviceError, UnsupportedFeatureError, list_devices
from trio_pipecat.audio import _portaudio
from trio_pipecat.audio._portaudio import PortAudioStream


def opened(kind="microphone", index=None, *, sample_rate=16_000, num_channels=1, **options):
    """Return an open stream."""
    if index is None:
        index = 1 if kind == "microphone" else 0
    options = {"on_block": lambda *_: False, "on_end": lambda: None, **options}
    return PortAudioStream(
        list_devices()[index],
        kind,
        sample_rate=sample_rate,
        num_channels=num_channels,
        block_seconds=0.02,
        latency=None,
        **options,
    )


def test_devices_are_listed(sounddevice) -> None:
    """With all there is to know."""
    speaker, microphone, headset = list_devices()
    assert {
        "index": 0,
        "name": "Loud Speaker",
        "host_api": "ALSA",
        "max_input_channels": 0,
        "max_output_channels": 2,
        "default_sample_rate": 48_000,
        "is_default_input": False,
        "is_default_output": True,
    } == attrs.asdict(speaker)
    assert (True, False) == (microphone.is_default_input, microphone.is_default_output)
    assert (2, "Headset, ALSA", 44_100) == (
        headset.index,
        headset.full_name,
        headset.default_sample_rate,
    )


def test_no_device_is_the_default(sounddevice) -> None:
    """And it is no error to have none."""
    sounddevice.defaults = {"input": None, "output": None}
    assert not any(item.is_default_input or item.is_default_output for item in list_devices())
    sounddevice.devices = []
    assert [] == list_devices()


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ("raise ImportError('sounddevice')", 'pip install "trio-pipecat[audio]"'),
        ("raise OSError('PortAudio library not found')", "apt-get install libportaudio2"),
    ],
)
def test_what_to_install(failure, told, tmp_path, monkeypatch) -> None:
    """What is missing is named, with the line to type."""
    (tmp_path / "sounddevice.py").write_text(failure)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(UnsupportedFeatureError) as raised:
        list_devices()
    assert told in str(raised.value)
    assert "a microphone or speaker" == raised.value.feature


def test_portaudio_does_not_start(tmp_path, monkeypatch) -> None:
    """Importing sounddevice has it look for devices, and that may fail."""
    (tmp_path / "sounddevice.py").write_text("raise Exception('no sound system')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(DeviceError, match="PortAudio: no sound system"):
        list_devices()


def test_what_is_there_is_loaded(tmp_path, monkeypatch) -> None:
    """When a device is wanted."""
    (tmp_path / "sounddevice.py").write_text("name = 'it'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    assert "it" == _portaudio.load().name
    monkeypatch.delitem(sys.modules, "sounddevice")


@pytest.mark.parametrize("kind", ["microphone", "speaker"])
def test_a_stream_is_opened_as_asked(kind, sounddevice) -> None:
    """Where the device can do it."""
    stream = opened(kind, num_channels=2)
    options = sounddevice.stream.options
    assert (16_000, 2) == (stream.sample_rate, stream.num_channels)
    assert (16_000, 2, 320) == (
        options["samplerate"],
        options["channels"],
        options["blocksize"],
    )
    assert not sounddevice.stream.started
    stream.start()
    assert sounddevice.stream.started


def test_a_rate_the_device_does_not_have(sounddevice) -> None:
    """Its own is as good, and a block is as long."""
    sounddevice.rates = [48_000]
    stream = opened()
    assert (48_000, 1, 960) == (
        stream.sample_rate,
        stream.num_channels,
        sounddevice.stream.options["blocksize"],
    )


def test_a_number_of_channels_the_device_does_not_have(sounddevice) -> None:
    """Some devices are stereo and nothing else; and some rates come with that."""
    sounddevice.channels, sounddevice.rates = [2], [48_000]
    stream = opened()
    assert (48_000, 2) == (stream.sample_rate, stream.num_channels)
    assert [(16_000, 1), (48_000, 1), (16_000, 2), (48_000, 2)] == sounddevice.tried


def test_more_channels_than_the_device_has(sounddevice) -> None:
    """Are not tried."""
    assert 2 == opened(num_channels=6).num_channels
    assert [(16_000, 2)] == sounddevice.tried


def test_nothing_fits(sounddevice) -> None:
    """Then what was asked for is what is refused."""
    sounddevice.rates = [8_000]
    with pytest.raises(DeviceError, match="microphone 'Desk Microphone': Invalid sample rate"):
        opened()


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (PortAudioError("Device unavailable", -9985), "in use by another program, or gone"),
        (PortAudioError("Host error", -9999), "Host error"),
        (PortAudioError("Nothing more is known"), "Nothing more is known"),
        (ValueError("odd"), "odd"),
    ],
)
def test_a_device_that_can_not_be_opened(refusal, told, sounddevice) -> None:
    """The error names it, and says why."""
    sounddevice.refusal = refusal
    with pytest.raises(DeviceError, match=f"'Desk Microphone': .*{told}") as raised:
        opened()
    assert refusal is raised.value.__cause__
    assert 1 == len(sounddevice.tried)


def test_a_device_that_can_not_be_started(sounddevice) -> None:
    """Likewise."""
    sounddevice.refusal, sounddevice.refused_at = PortAudioError("no"), "start"
    with pytest.raises(DeviceError, match="'Loud Speaker': no"):
        opened("speaker").start()


@pytest.mark.parametrize(
    ("kind", "told", "delay"),
    [
        ("microphone", {"delay": 0.25}, 0.25),
        ("speaker", {"delay": 0.25}, 0.25),
        ("microphone", {"delay": 0.001}, 0.02),
        ("speaker", {"delay": -0.25}, 0.0),
        ("microphone", {"delay": 0.25, "stamp": 0.0}, 0.125),
        ("speaker", {"delay": 99.0}, 0.125),
    ],
)
def test_the_delay_of_a_block(kind, told, delay, sounddevice) -> None:
    """Where a host API does not say it, or nothing that can be, it is the stream's."""
    heard = []
    opened(kind, on_block=lambda *items: heard.append(items[1:])).start()
    if kind == "microphone":
        sounddevice.stream.hear(bytes(640), lost=True, **told)
    else:
        sounddevice.stream.sound(320, lost=True, **told)
    assert [(delay, True)] == heard


def test_a_stream_ends_when_it_is_told_to(sounddevice) -> None:
    """By what its callback returns."""
    ended = []
    opened(on_block=lambda *_: True, on_end=lambda: ended.append(True)).start()
    sounddevice.stream.hear(bytes(640))
    assert [True] == ended


def test_whose_turn_it_is(sounddevice, monkeypatch) -> None:
    """A driver that hangs does not have all others hang for ever."""
    monkeypatch.setattr(_portaudio, "_TURN_SECONDS", 0)
    with _portaudio._our_turn("one"):
        with pytest.raises(DeviceError, match="another device is being opened"):
            list_devices()
    assert 3 == len(list_devices())


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_what_is_no_time(seconds) -> None:
    """Is refused."""
    with pytest.raises(ValueError, match="patience is positive"):
        _portaudio.check_seconds("patience", seconds)
