"""Microphone and speaker of a call, and what is told where there are none."""

import fake_sounddevice as fake
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trio_pipecat as tp
from trio_pipecat.audio import _portaudio
from trio_pipecat.testing import SimulatedBot
from trio_pipecat.tools._talk_sound import CallSound


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> fake.FakeSounddevice:
    """The devices of this test."""
    devices = fake.FakeSounddevice()
    monkeypatch.setattr(_portaudio, "load", lambda: devices)
    return devices


def sound(told: list[str], **options: object) -> CallSound:
    """Return the sound of a call."""
    settings = {"input": None, "output": None, "half_duplex": False, **options}
    return CallSound(tell=told.append, **settings)  # type: ignore[arg-type]


async def told_of(**options: object) -> list[str]:
    """Return what is told of devices that are not there."""
    told: list[str] = []
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        await sound(told, **options).run(session)
    return told


async def test_no_devices(sounddevice: fake.FakeSounddevice) -> None:
    """One line says so, and what to do."""
    sounddevice.devices.clear()
    sounddevice.defaults = {"input": None, "output": None}
    (line,) = await told_of()
    assert line.startswith("no sound, so type and read (")
    assert "speaker" in line


async def test_no_sounddevice(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""

    def load() -> object:
        raise tp.UnsupportedFeatureError("sound devices", 'pip install "trio-pipecat[audio]"')

    monkeypatch.setattr(_portaudio, "load", load)
    assert [
        'no sound, so type and read (sound devices needs pip install "trio-pipecat[audio]")'
    ] == await told_of()


async def test_a_device_that_there_is_not(sounddevice: fake.FakeSounddevice) -> None:
    """Is told with those that there are; the other device goes on."""
    told: list[str] = []
    call = sound(told, input="nowhere")
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run, session)
            while not told:
                await trio.sleep(0.01)
            assert call.speaker is not None
            assert call.microphone is None
            nursery.cancel_scope.cancel()
    assert told[0].startswith("no microphone, so type (microphone 'nowhere': there is no such")


async def test_unplugged_in_mid_call(sounddevice: fake.FakeSounddevice) -> None:
    """Is told; the call goes on."""
    told: list[str] = []
    call = sound(told)
    async with tp.open_session(transport=SimulatedBot().connect) as session:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run, session)
            while call.speaker is None or call.microphone is None:
                await trio.sleep(0.01)
            await wait_all_tasks_blocked()
            for stream in sounddevice.streams:
                await trio.to_thread.run_sync(stream.unplug)
            while len(told) < 2:
                await trio.sleep(0.01)
            assert None is call.speaker is call.microphone
            await session.send_text("still here")
            nursery.cancel_scope.cancel()
    assert ["no microphone any more, so type (", "no speaker any more, so read ("] == sorted(
        line[: line.index("(") + 1] for line in told
    )
