"""The two wires of the bot: Pipecat's FastAPI WebSocket, and its SmallWebRTC."""

from typing import Any

import numpy as np
from connection_log import Connection
from pipecat.frames.frames import Frame, OutputImageRawFrame, UserImageRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.types import SmallWebRTCRunnerArguments, WebSocketRunnerArguments
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.transports.base_transport import BaseTransport, TransportParams, VideoInSourceParams
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

RunnerArguments = WebSocketRunnerArguments | SmallWebRTCRunnerArguments

CAMERA, SCREEN = "camera", "screenVideo"
VIDEO_SIZE = (320, 240)
VIDEO_RATE = 30


def transport_for(args: RunnerArguments, connection: Connection) -> BaseTransport:
    """The transport of the wire that the client came over."""
    if isinstance(args, WebSocketRunnerArguments):
        serializer = ProtobufFrameSerializer()
        params = FastAPIWebsocketParams(
            audio_in_enabled=True, audio_out_enabled=True, serializer=serializer
        )
        return FastAPIWebsocketTransport(args.websocket, params)
    return SmallWebRTCTransport(
        args.webrtc_connection,
        TransportParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            **(video_params() if connection.flag("echo_video") else {}),
        ),
    )


def video_params() -> dict[str, Any]:
    """What a transport is told that takes and gives pictures: Pipecat makes all of one size."""
    source = VideoInSourceParams(framerate=VIDEO_RATE)
    return {
        "video_in_enabled": True,
        "video_in_sources": {CAMERA: source, SCREEN: source},
        "video_out_enabled": True,
        "video_out_is_live": True,
        "video_out_width": VIDEO_SIZE[0],
        "video_out_height": VIDEO_SIZE[1],
        "video_out_framerate": VIDEO_RATE,
    }


async def lose_link(args: RunnerArguments) -> None:
    """Be gone from the network without a word, as a machine that loses its power.

    Over WebRTC only: a WebSocket is lost like that when the bot crashes.
    """
    await args.webrtc_connection.pc.sctp.transport.transport.stop()


class VideoEcho(FrameProcessor):
    """Sends the user's camera back to the user, and counts the pictures of camera and screen."""

    def __init__(self) -> None:
        super().__init__()
        self._counts = {CAMERA: 0, SCREEN: 0}
        self._last: dict[str, UserImageRawFrame] = {}

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        """Copy pictures of the camera to the output; let everything through."""
        await super().process_frame(frame, direction)
        if isinstance(frame, UserImageRawFrame):
            source = frame.transport_source
            self._counts[source] += 1
            self._last[source] = frame
            if source == CAMERA:
                await self.push_frame(OutputImageRawFrame(frame.image, frame.size, frame.format))
        await self.push_frame(frame, direction)

    def summary(self) -> dict[str, dict[str, Any]]:
        """How many pictures came of each source; the size and the mean colour of the last."""
        return {source: self._told(source) for source in self._last}

    def _told(self, source: str) -> dict[str, Any]:
        frame = self._last[source]
        pixels = np.frombuffer(frame.image, dtype=np.uint8).reshape(-1, 3)
        colour = [round(float(mean)) for mean in pixels.mean(axis=0)]
        return {"count": self._counts[source], "size": list(frame.size), "colour": colour}
