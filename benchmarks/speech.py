"""How far off the bounds of speech are, and what finding them costs.

Voices of espeak-ng are put at known times into digital silence, and into noise of known levels; the
tests have the same samples, fewer of them. Where webrtcvad is installed, it is measured beside.
"""

import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trio_pipecat.audio import AudioChunk, SpeechDetector

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / "audio")]

import speech_samples  # noqa: E402  # it is of the tests

HEAD = """| noise | SNR | onset: median | p90 | max | end: median | p90 | max | missed | invented |
|---|---|---|---|---|---|---|---|---|---|"""


def main(*, times: int) -> None:
    """Print the tables."""
    if not speech_samples.has_espeak():
        sys.exit(f"needs espeak-ng; type: {speech_samples.INSTALL}")
    print(f"Errors in ms; {times * len(speech_samples.SAID)} utterances in each line.\n")
    print_errors(speech_samples.find_speech, times)
    for mode in (2, 3):
        if (find := webrtcvad_finder(mode)) is not None:
            print(f"\nwebrtcvad, mode {mode}:\n")
            print_errors(find, times)
    print("\nCPU, ms in a second of sound:\n\n| sound | 16 kHz | 24 kHz |\n|---|---|---|")
    for name, make in SOUNDS.items():
        print(f"| {name} | " + " | ".join(f"{cost(make(r)):.3f}" for r in (16_000, 24_000)) + " |")


def print_errors(find: speech_samples.Finder, times: int) -> None:
    """Print one table."""
    print(HEAD)
    print(f"| none | | {speech_samples.measure(None, find=find, times=times)} |")
    for kind in speech_samples.NOISES:
        for snr in (20, 10, 5):
            errors = speech_samples.measure(kind, snr, find=find, times=times)
            print(f"| {kind} | {snr} dB | {errors} |")


def silence(rate: int) -> AudioChunk:
    """Return half a minute of nothing."""
    return AudioChunk.silence(30, rate)


def hiss(rate: int) -> AudioChunk:
    """Return half a minute of noise that is quiet, but no digital silence."""
    source = random.Random(1)
    numbers = [round(source.gauss(0, 300)) for _ in range(30 * rate)]
    return AudioChunk(speech_samples.pcm_of(speech_samples.clipped(numbers)), rate)


def talk(rate: int) -> AudioChunk:
    """Return some thirty seconds of voices without a pause."""
    said = [
        speech_samples.speak(text, voice, words_per_minute=speed, sample_rate=rate).pcm
        for voice, speed, text in speech_samples.SAID
    ]
    return AudioChunk(b"".join(said), rate)


SOUNDS: dict[str, Callable[[int], AudioChunk]] = {
    "digital silence": silence,
    "noise": hiss,
    "speech": talk,
}


def cost(sound: AudioChunk) -> float:
    """Return what a second of it costs in chunks of 20 ms, in ms of CPU: the least of five."""
    step = sound.sample_rate // 50 * 2
    chunks = [sound.pcm[start : start + step] for start in range(0, len(sound.pcm), step)]
    least = math.inf
    for _ in range(5):
        detector = SpeechDetector(sound.sample_rate)
        began = time.process_time()
        for chunk in chunks:
            detector.feed(chunk)
        least = min(least, time.process_time() - began)
    return least / sound.duration * 1e3


def webrtcvad_finder(mode: int) -> speech_samples.Finder | None:
    """Return what finds speech by webrtcvad: frames of 20 ms, two in a row begin an utterance."""
    try:
        import webrtcvad
    except ImportError:
        return None

    def find(sound: AudioChunk) -> list[tuple[float, float]]:
        vad, found = webrtcvad.Vad(mode), []
        step = sound.sample_rate // 50 * 2
        begin, end, in_a_row = None, 0, 0
        for number in range(len(sound.pcm) // step):
            said = vad.is_speech(sound.pcm[number * step :][:step], sound.sample_rate)
            in_a_row = in_a_row + 1 if said else 0
            if begin is None and in_a_row == 2:
                begin = number - 1
            if said:
                end = number + 1
            elif begin is not None and number + 1 - end >= 25:
                found.append((begin / 50, end / 50))
                begin = None
        return [*found, *([] if begin is None else [(begin / 50, end / 50)])]

    return find
