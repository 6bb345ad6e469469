"""What goes over pipecat's WebSocket: protobuf frames, or JSON alone. No I/O.

A `Wire` turns what a link sends into WebSocket messages and back. `ProtobufWire` is what pipecat's
runner speaks at ``/ws-client``. `JsonWire` is the bot's side of what its evaluations speak, and its
own client, ``RTVIClientTransport``: each RTVI message is a text, and sound is in messages. The
user's is ``raw-audio``, which bots take on any wire, so it is not unpacked here.
"""

from typing import Final, Protocol

from .._codec import decode_command, encode_command, encode_event
from .._errors import ProtocolError
from .._messages import ClientMessage, Command, DisconnectBot, EvalBotAudio
from ..audio import AudioChunk
from ..audio._pcm import SAMPLE_WIDTH
from ._abc import Incoming, Undecodable
from ._envelope import decode, encode_audio, encode_interruption, encode_message, find_audio

#: How much is kept of what can't be decoded.
_EXCERPT: Final = 64
#: How the client-messages begin that pipecat's evaluations keep for themselves.
_EVAL: Final = "eval-"


class Wire(Protocol):
    """One connection's way of putting things. `str` is a text message, `bytes` a binary one."""

    def message(self, text: str) -> str | bytes:
        """Encode an RTVI message."""
        ...

    def audio(self, chunk: AudioChunk) -> str | bytes | None:
        """Encode audio. None: the other side did not ask for it."""
        ...

    def interruption(self) -> bytes | None:
        """Encode the interruption signal. None: there is none."""
        ...

    def decode(self, data: str | bytes, *, at: float) -> Incoming | None:
        """Return what came; `at` is when. None: it was for the wire itself."""
        ...

    def repeats_format(self, data: str | bytes) -> bool:
        """Is this sound of the format of the last that was decoded, and whole? If in doubt, no."""
        ...


class ProtobufWire:
    """Binary messages with protobuf frames in them.

    A text message is none of it. pipecat's server takes it for garbage, and so does our bot; a
    client with `takes_texts` reads it as a message.
    """

    def __init__(self, *, takes_texts: bool) -> None:
        self._takes_texts = takes_texts
        #: The format of the last sound: how its frames end, how large a frame of samples is, and
        #: how much of one that is not yet whole has come.
        self._format: tuple[int, int] | None = None
        self._end: bytes | None = None
        self._sample_frame = SAMPLE_WIDTH
        self._over = 0

    def message(self, text: str) -> bytes:
        """Encode an RTVI message."""
        return encode_message(text)

    def audio(self, chunk: AudioChunk) -> bytes:
        """Encode audio."""
        return encode_audio(chunk)

    def interruption(self) -> bytes:
        """Encode the interruption signal."""
        return encode_interruption()

    def decode(self, data: str | bytes, *, at: float) -> Incoming:
        """Return what came."""
        if isinstance(data, bytes):
            try:
                item = decode(data, at=at)
            except ProtocolError as error:
                return Undecodable(str(error), raw=data[:_EXCERPT])
            if type(item) is AudioChunk:
                self._note_format(data, item)
            return item
        if self._takes_texts:
            return data
        return Undecodable("a text message", raw=data.encode()[:_EXCERPT])

    def _note_format(self, data: bytes, chunk: AudioChunk) -> None:
        format_ = chunk.sample_rate, chunk.num_channels
        if format_ != self._format:
            found = find_audio(data)
            self._format, self._end = format_, None if found is None else found[1]
            self._sample_frame, self._over = SAMPLE_WIDTH * chunk.num_channels, 0
        self._over = (self._over + len(chunk.pcm)) % self._sample_frame

    def repeats_format(self, data: str | bytes) -> bool:
        """Is this sound of the format of the last that was decoded, and whole?"""
        if self._format is None or self._over or isinstance(data, str):
            return False
        found = find_audio(data)
        return found is not None and not found[0] % self._sample_frame and found[1] == self._end


class JsonWire:
    """The bot's side of text messages with JSON in them.

    The bot's sound is sent to those who ask for it: with `sends_audio`, which stands for what the
    address says, or with the first message of an evaluation, ``eval-connect``. Of the others that
    an evaluation has, to set the stage for a real bot, ``eval-cancel`` is obeyed; none is answered.
    """

    def __init__(self, *, sends_audio: bool = False) -> None:
        self._sends_audio = sends_audio

    def message(self, text: str) -> str:
        """Encode an RTVI message."""
        return text

    def audio(self, chunk: AudioChunk) -> str | None:
        """Encode audio: PCM and its rate. How many channels there are is not told on this wire."""
        if not self._sends_audio:
            return None
        return encode_event(EvalBotAudio(audio=chunk.pcm, sample_rate=chunk.sample_rate))

    def interruption(self) -> None:
        """There is no signal but ``bot-interrupted``, which is a message."""
        return

    def decode(self, data: str | bytes, *, at: float) -> str | None:
        """Return what came. A binary message with JSON in it is taken for a text."""
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        match _read_eval(text):
            case (_, ClientMessage(t="eval-connect", d=d)):
                self._sends_audio = isinstance(d, dict) and d.get("capture_bot_audio") is True
            case (id_, ClientMessage(t="eval-cancel")):
                return encode_command(DisconnectBot(), id_)
            case (_, ClientMessage(t="eval-configure" | "eval-context" | "eval-image")):
                pass
            case _:
                return text
        return None

    def repeats_format(self, data: str | bytes) -> bool:
        """Sound is in messages here."""
        return False


def _read_eval(text: str) -> tuple[str, Command] | None:
    """Return the command, with its id, in a text that may be one of an evaluation's."""
    if _EVAL not in text:
        return None
    try:
        received = decode_command(text)
    except ProtocolError:
        return None
    return received if isinstance(received, tuple) else None
