"""Video files for tests."""

from pathlib import Path

from needed import missing


def write_film(path: Path, *, count: int, rate: int, first: int = 0) -> None:
    """Write a film of grey pictures, each lighter than the one before, from frame `first` on."""
    try:
        import av
    except ImportError:
        missing("PyAV", 'pip install "trio-pipecat[webrtc]"')
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.bit_rate = 1_000_000
        for number in range(count):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane, value in zip(frame.planes, (min(40 * number, 255), 128, 128), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            frame.pts = first + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
