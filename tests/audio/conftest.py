"""What the tests of devices share."""

import pytest
from fake_sounddevice import FakeSounddevice

from trio_pipecat.audio import _portaudio


@pytest.fixture
def sounddevice(monkeypatch):
    """The devices of this test."""
    fake = FakeSounddevice()
    monkeypatch.setattr(_portaudio, "load", lambda: fake)
    return fake
