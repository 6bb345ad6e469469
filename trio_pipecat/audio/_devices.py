"""What a sound device is, and which one somebody means who gives a name. No I/O."""

from collections.abc import Sequence
from typing import Final, Literal

import attrs

from .._errors import DeviceError

Kind = Literal["microphone", "speaker"]

#: A refusal lists so many devices; more than that nobody reads.
_LISTED: Final = 12


@attrs.frozen(kw_only=True)
class AudioDevice:
    """A sound device of this machine, as PortAudio knows it.

    `index` and `name` are what `open_microphone` and `open_speaker` take. `host_api` is the sound
    system it belongs to (``ALSA``, ``Core Audio``, ``Windows WASAPI``…). A device with inputs is a
    microphone, one with outputs a speaker, and many are both.
    """

    index: int
    name: str
    host_api: str
    max_input_channels: int
    max_output_channels: int
    default_sample_rate: int
    is_default_input: bool = False
    is_default_output: bool = False

    @property
    def full_name(self) -> str:
        """The name with the host API: one piece of hardware may be there once in each of them."""
        return f"{self.name}, {self.host_api}"

    def max_channels(self, kind: Kind) -> int:
        """Return how many channels it has as a microphone, or as a speaker; 0: it is none."""
        return self.max_input_channels if kind == "microphone" else self.max_output_channels

    def is_default(self, kind: Kind) -> bool:
        """Is it what is used where no device is named?"""
        return self.is_default_input if kind == "microphone" else self.is_default_output


def find_device(
    devices: Sequence[AudioDevice], wanted: str | int | None, kind: Kind
) -> AudioDevice:
    """Return the device that is meant.

    A number is an index. A name is a whole name, with or without the host API, or else any part of
    one; capitals do not matter. None is the default.

    Raises:
        DeviceError: there is none, or more than one; or it is not of this kind.
    """
    fitting = [device for device in devices if device.max_channels(kind)]
    if wanted is None:
        found = [device for device in fitting if device.is_default(kind)]
        if not found:
            raise DeviceError(f"the default {kind}", f"there is none; {_listed(fitting, kind)}")
        return found[0]
    if isinstance(wanted, int):
        named = f"{kind} {wanted}"
        found = [device for device in devices if device.index == wanted]
    else:
        named = f"{kind} {wanted!r}"
        found = _named(fitting, wanted) or _named(devices, wanted)
    if not found:
        raise DeviceError(named, f"there is no such device; {_listed(fitting, kind)}")
    if len(found) > 1:
        raise DeviceError(named, f"that may be any of {_names(found)}; give more of the name")
    if not found[0].max_channels(kind):
        ways = "inputs" if kind == "microphone" else "outputs"
        raise DeviceError(
            named, f"{found[0].name!r} has no {ways}, it is no {kind}; {_listed(fitting, kind)}"
        )
    return found[0]


def _named(devices: Sequence[AudioDevice], wanted: str) -> list[AudioDevice]:
    wanted = wanted.casefold()
    whole = [
        device
        for device in devices
        if wanted in (device.name.casefold(), device.full_name.casefold())
    ]
    return whole or [device for device in devices if wanted in device.full_name.casefold()]


def _listed(devices: Sequence[AudioDevice], kind: Kind) -> str:
    if not devices:
        return f"this machine has no {kind}"
    return f"there is {_names(devices)}"


def _names(devices: Sequence[AudioDevice]) -> str:
    names = [f"{device.index} {device.full_name!r}" for device in devices[:_LISTED]]
    if len(devices) > _LISTED:
        names.append(f"{len(devices) - _LISTED} more")
    return ", ".join(names)
