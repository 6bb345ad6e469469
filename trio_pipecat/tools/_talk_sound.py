"""Microphone and speaker of a call, each as long as there is one."""

from collections.abc import Callable
from typing import Final, final

import attrs
import trio

from .. import DeviceError, Session, UnsupportedFeatureError
from ..audio import Microphone, Speaker, open_microphone, open_speaker


@final
@attrs.define(kw_only=True, eq=False)
class CallSound:
    """Plays the bot and sends the user's voice. What can't be is told, and left out."""

    input: str | int | None
    output: str | int | None
    half_duplex: bool
    tell: Callable[[str], object]
    microphone: Microphone | None = None
    speaker: Speaker | None = None
    #: Why a device could not be opened.
    _refusals: dict[str, str] = attrs.field(factory=dict)
    _speaker_tried: trio.Event = attrs.field(factory=trio.Event)
    _microphone_tried: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, session: Session) -> None:
        """Do so until both devices are gone or the session is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._play, session)
            nursery.start_soon(self._listen, session)
            await self._speaker_tried.wait()
            await self._microphone_tried.wait()
            self._tell_refusals()

    def silence(self) -> None:
        """Have the speaker forget what it was to play."""
        if self.speaker is not None:
            self.speaker.flush()

    async def _play(self, session: Session) -> None:
        try:
            async with open_speaker(self.output) as speaker:
                self.speaker = speaker
                self._speaker_tried.set()
                await speaker.follow(session.audio)
        except (DeviceError, UnsupportedFeatureError) as error:
            self._failed("speaker", error, was_open=self.speaker is not None)
        finally:
            self.speaker = None
            self._speaker_tried.set()

    async def _listen(self, session: Session) -> None:
        await self._speaker_tried.wait()
        partner = self.speaker if self.half_duplex else None
        try:
            async with open_microphone(self.input, half_duplex_with=partner) as microphone:
                self.microphone = microphone
                self._microphone_tried.set()
                await session.wait_ready()
                await session.stream_audio(microphone)
        except (DeviceError, UnsupportedFeatureError) as error:
            self._failed("microphone", error, was_open=self.microphone is not None)
        finally:
            self.microphone = None
            self._microphone_tried.set()

    def _failed(
        self, what: str, error: DeviceError | UnsupportedFeatureError, *, was_open: bool
    ) -> None:
        if was_open:
            self.tell(f"no {what} any more, so {_INSTEAD[what]} ({error})")
        elif isinstance(error, DeviceError) and getattr(self, _OPTIONS[what]) is None:
            self._refusals[what] = str(error).partition(";")[0]
        else:
            self._refusals[what] = str(error)

    def _tell_refusals(self) -> None:
        """Tell in one line what there is not."""
        reasons = "; ".join(dict.fromkeys(self._refusals.values()))
        if len(self._refusals) == len(_OPTIONS):
            self.tell(f"no sound, so type and read ({reasons})")
        for what in self._refusals if len(self._refusals) == 1 else ():
            self.tell(f"no {what}, so {_INSTEAD[what]} ({reasons})")


_OPTIONS: Final = {"speaker": "output", "microphone": "input"}
_INSTEAD: Final = {"speaker": "read", "microphone": "type"}
