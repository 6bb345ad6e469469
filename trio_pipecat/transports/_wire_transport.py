"""What both ends of a WebSocket do alike: everything that is sent goes through a `Wire`."""

from abc import abstractmethod

import trio

from ..audio import AudioChunk
from ._abc import LinkOptions, Transport
from ._wires import Wire

#: How often a link is tested with a ping, and how long the answer may take, in seconds: as long as
#: Pipecat's server takes.
PING_INTERVAL = PING_TIMEOUT = 20


class WireTransport(Transport):
    """A link whose messages are a `Wire`'s."""

    def __init__(self, wire: Wire, options: LinkOptions) -> None:
        self.max_message_size = options.max_message_size
        self._wire = wire
        self._options = options

    async def send_message(self, text: str) -> None:
        """Send a message. Waits while the peer does not read. Cancelled: nothing was sent."""
        await self._send(self._wire.message(text))

    async def send_audio(self, chunk: AudioChunk) -> None:
        """Send audio, if the other side wants it; otherwise as `send_message`."""
        data = self._wire.audio(chunk)
        if data is None:
            await trio.lowlevel.checkpoint()
        else:
            await self._send(data)

    async def send_interruption(self) -> None:
        """Send the interruption frame; otherwise as `send_message`.

        Raises:
            UnsupportedFeatureError: this wire has none.
        """
        data = self._wire.interruption()
        if data is None:
            await super().send_interruption()
        else:
            await self._send(data)

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message that may be anything: for those who misbehave on purpose."""
        await self._send(data)

    async def send_text(self, text: str) -> None:
        """Send a text message that may be anything: likewise."""
        await self._send(text)

    @abstractmethod
    async def _send(self, data: bytes | str) -> None:
        """Send one WebSocket message, when there is room for it; or nothing, when cancelled."""
