"""Which device is meant."""

import re

import pytest

from trio_pipecat import AudioDevice, DeviceError
from trio_pipecat.audio._devices import find_device


def device(index, name, inputs=0, outputs=0, *, host_api="ALSA", default=False):
    """Return a device."""
    return AudioDevice(
        index=index,
        name=name,
        host_api=host_api,
        max_input_channels=inputs,
        max_output_channels=outputs,
        default_sample_rate=48_000,
        is_default_input=default,
        is_default_output=default,
    )


DEVICES = [
    device(0, "Loud Speaker", 0, 2),
    device(1, "Desk Microphone", 1, 0),
    device(2, "Headset", 1, 2, default=True),
    device(3, "Headset Pro", 1, 2),
    device(4, "Monitor", 0, 2, host_api="JACK"),
    device(5, "Monitor", 0, 2, host_api="ALSA"),
]


@pytest.mark.parametrize(
    ("wanted", "kind", "index"),
    [
        (None, "microphone", 2),
        (None, "speaker", 2),
        (0, "speaker", 0),
        (3, "microphone", 3),
        ("desk", "microphone", 1),
        ("LOUD", "speaker", 0),
        ("Headset", "speaker", 2),
        ("headset, alsa", "microphone", 2),
        ("pro", "microphone", 3),
        ("monitor, jack", "speaker", 4),
        ("Loud Speaker", "speaker", 0),
    ],
)
def test_a_device_is_found(wanted, kind, index) -> None:
    """By its index, its whole name, or a part that no other of its kind has."""
    assert index == find_device(DEVICES, wanted, kind).index


@pytest.mark.parametrize(
    ("wanted", "kind", "told"),
    [
        ("piano", "speaker", "speaker 'piano': there is no such device; there is 0 'Loud Speaker,"),
        (9, "microphone", "microphone 9: there is no such device; there is 1 'Desk Microphone,"),
        (-1, "microphone", "there is no such device"),
        ("head", "speaker", "may be any of 2 'Headset, ALSA', 3 'Headset Pro, ALSA'; give more"),
        ("Monitor", "speaker", "may be any of 4 'Monitor, JACK', 5 'Monitor, ALSA'"),
        ("loud", "microphone", "'Loud Speaker' has no inputs, it is no microphone; there is 1 "),
        (1, "speaker", "'Desk Microphone' has no outputs, it is no speaker; there is 0 "),
    ],
)
def test_a_device_is_refused(wanted, kind, told) -> None:
    """With the names of those there are."""
    with pytest.raises(DeviceError, match=re.escape(told)):
        find_device(DEVICES, wanted, kind)


def test_no_default() -> None:
    """There may be none although there are devices."""
    with pytest.raises(DeviceError, match="the default speaker: there is none; there is 0 'Loud"):
        find_device(DEVICES[:2], None, "speaker")


@pytest.mark.parametrize("wanted", [None, 0, "any"])
def test_no_device_at_all(wanted) -> None:
    """A server in a rack has none."""
    with pytest.raises(DeviceError, match="this machine has no microphone"):
        find_device([], wanted, "microphone")


def test_more_than_anybody_reads() -> None:
    """Of very many some are listed."""
    many = [device(number, f"No. {number}", 1) for number in range(20)]
    with pytest.raises(DeviceError, match=r"11 'No\. 11, ALSA', 8 more"):
        find_device(many, "piano", "microphone")
