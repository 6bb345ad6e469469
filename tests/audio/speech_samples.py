"""Speech whose bounds are known, and noise to put it in: from espeak-ng, and from fixed seeds.

What `speak` returns begins with its first sound and ends with its last, so a chunk that is put at
2 s of a longer sound has its onset there to the sample. Levels are the same for every voice: the
root mean square of what sounds is `SPEECH_DBFS`, and "sounds" is what lies less than `DEPTH` below.
A signal-to-noise ratio is that level against the root mean square of the noise.
"""

import functools
import io
import math
import random
import shutil
import subprocess
import wave
from array import array
from collections.abc import Callable, Sequence

import attrs

from trio_pipecat.audio import AudioChunk, find_speech
from trio_pipecat.audio._pcm import clipped, decibels, pcm_of, rms, samples_of
from trio_pipecat.audio._track import convert

INSTALL = "apt-get install espeak-ng"
SPEECH_DBFS = -20.0
DEPTH = 30.0
#: Voices of both kinds, in several languages, slow and fast: name, words in a minute, what is said.
#: They begin and end with vowels, plosives, nasals, and fricatives weak and strong.
SAID = (
    ("en-us", 160, "What is the capital of Japan?"),
    ("en-us+f3", 140, "Please send me a list of all the open invoices, with dates and prices."),
    ("en-gb", 180, "Thanks, that is all I wanted to know for this month."),
    ("en-gb+f2", 200, "Hello, can you hear me? I would like to book a table for five."),
    ("de", 150, "Guten Morgen, wie wird das Wetter heute in Hamburg?"),
    ("de+f4", 170, "Schicken Sie mir bitte noch einmal die Rechnung, danke schön."),
    ("fr", 160, "Bonjour, je voudrais réserver une chambre pour deux nuits."),
    ("fr+f1", 180, "Est-ce que le train part à l'heure ?"),
    ("en-us+m7", 130, "Yes."),
    ("en-us+f5", 220, "No, stop, that is not what I said, and you know it."),
)
BABBLE = (
    ("en-us+m1", 170, "Every morning the boats come in and the market opens before the sun is up."),
    ("en-gb+m3", 150, "I told him that the meeting had been moved to the large room on Tuesday."),
    (
        "de+m2",
        180,
        "Wir haben gestern lange über den Plan gesprochen und nichts entschieden.",
    ),
    ("fr+m4", 160, "Les enfants jouaient dans le jardin pendant que nous préparions le repas."),
    ("en-us+f1", 190, "She was looking for a blue coat with wide sleeves and large buttons."),
    ("en-gb+f4", 165, "Nobody remembers who had written the letter or where it was sent from."),
    ("de+f2", 155, "Am Abend gehen wir alle zusammen in das kleine Lokal an der Ecke."),
    ("fr+f5", 175, "Il faudrait changer les pneus avant de partir pour la montagne."),
)


#: What can be behind a voice.
NOISES = ("white", "pink", "babble")
Finder = Callable[[AudioChunk], list[tuple[float, float]]]


def has_espeak() -> bool:
    """Is there an espeak-ng?"""
    return shutil.which("espeak-ng") is not None


@functools.cache
def speak(
    text: str, voice: str = "en-us", *, words_per_minute: int = 160, sample_rate: int = 16_000
) -> AudioChunk:
    """Return what espeak-ng says, from its first sound to its last; without it, skip the test."""
    if not has_espeak():
        from needed import missing

        missing("espeak-ng", INSTALL)
    said = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "--stdout", text],
        capture_output=True,
        check=True,
    ).stdout
    with wave.open(io.BytesIO(said)) as file:
        rate, samples = file.getframerate(), samples_of(file.readframes(2**30))
    frames = len(samples) * sample_rate // rate
    samples = convert(samples, 0, rate, to_begin=0, to_frames=frames, to_rate=sample_rate)
    return AudioChunk(pcm_of(_trimmed(samples, sample_rate)), sample_rate)


def _trimmed(samples: "array[int]", rate: int) -> "array[int]":
    """Return what sounds, at `SPEECH_DBFS`."""
    step = rate // 500  # 2 ms
    blocks = [rms(samples[start : start + step]) for start in range(0, len(samples), step)]
    loud = max(blocks) * 10 ** (-DEPTH / 20)
    for _ in range(5):  # what sounds depends on the level of what sounds
        active = [block for block in blocks if block >= loud]
        level = math.sqrt(sum(block * block for block in active) / len(active))
        loud = level * 10 ** (-DEPTH / 20)
    sounding = [number for number, block in enumerate(blocks) if block >= loud]
    gain = 10 ** (SPEECH_DBFS / 20) / level
    kept = samples[sounding[0] * step : (sounding[-1] + 1) * step]
    # The bounds are samples: the first and the last that are themselves as loud as that.
    least = loud * 32_768
    first = next(number for number, sample in enumerate(kept) if abs(sample) >= least)
    last = next(number for number, sample in enumerate(reversed(kept)) if abs(sample) >= least)
    return clipped(round(sample * gain) for sample in kept[first : len(kept) - last])


@functools.cache
def noise(kind: str, seconds: float, *, sample_rate: int = 16_000, seed: int = 1) -> "array[int]":
    """Return noise at `SPEECH_DBFS`: "white", "pink" (3 dB less per octave), or "babble"."""
    frames = round(seconds * sample_rate)
    numbers: Sequence[float]
    if kind == "babble":
        numbers = _babble(frames, sample_rate, seed)
    else:
        source = random.Random(seed)
        white = [source.gauss(0, 1) for _ in range(frames)]
        numbers = white if kind == "white" else _pink(white, sample_rate)
    level = math.sqrt(sum(number * number for number in numbers) / frames)
    gain = 32_768 * 10 ** (SPEECH_DBFS / 20) / level
    return clipped(round(number * gain) for number in numbers)


def _pink(white: Sequence[float], rate: int) -> list[float]:
    """One low-pass per two octaves, each half as loud as the one below it."""
    out = [0.0] * len(white)
    corner = 30.0
    while corner < rate / 3:
        kept, gain = math.exp(-math.tau * corner / rate), corner**-0.5
        state = 0.0
        for number, value in enumerate(white):
            state = kept * state + (1 - kept) * value
            out[number] += gain * state
        corner *= 4
    return out


def _babble(frames: int, rate: int, seed: int) -> list[float]:
    """Everybody of `BABBLE` talks on and on, from somewhere in the sentence."""
    source = random.Random(seed)
    total = [0.0] * frames
    for voice, speed, text in BABBLE:
        said = samples_of(speak(text, voice, words_per_minute=speed, sample_rate=rate).pcm)
        at = source.randrange(len(said))
        for number in range(frames):
            total[number] += said[(at + number) % len(said)]
    return total


def placed(
    parts: Sequence[tuple[float, AudioChunk]],
    seconds: float,
    *,
    background: "array[int] | None" = None,
    background_dbfs: float = -math.inf,
) -> AudioChunk:
    """Return sounds at their seconds, in silence or in noise of a level."""
    rate = parts[0][1].sample_rate
    frames = round(seconds * rate)
    total = [0] * frames
    if background is not None:
        gain = 10 ** ((background_dbfs - decibels(rms(background))) / 20)
        total = [round(gain * sample) for sample in background[:frames]]
        total += [0] * (frames - len(total))
    for begin, chunk in parts:
        start = round(begin * rate)
        for number, sample in enumerate(samples_of(chunk.pcm), start):
            total[number] += sample
    return AudioChunk(pcm_of(clipped(total)), rate)


# -- how far off bounds are ----------------------------------------------------------------------


@attrs.define
class Errors:
    """How far off what was found is, in milliseconds: later is positive."""

    onsets: list[float] = attrs.Factory(list)
    ends: list[float] = attrs.Factory(list)
    #: Voices that were not found, and utterances that nobody spoke.
    missed: int = 0
    invented: int = 0

    def __str__(self) -> str:
        columns = [median_p90_max(errors) for errors in (self.onsets, self.ends)]
        return f"{columns[0]} | {columns[1]} | {self.missed} | {self.invented}"


def median_p90_max(errors: Sequence[float]) -> str:
    """Return the three of them, regardless of the sign."""
    if not errors:
        return "- | - | -"
    return " | ".join(f"{quantile(errors, part):.0f}" for part in (0.5, 0.9, 1.0))


def quantile(errors: Sequence[float], part: float) -> float:
    """Return the error that so large a part of all does not exceed, regardless of the sign."""
    in_order = sorted(map(abs, errors))
    return in_order[max(math.ceil(part * len(in_order)) - 1, 0)]


def measure(
    kind: str | None,
    snr: float = math.inf,
    *,
    find: Finder = find_speech,
    sample_rate: int = 16_000,
    times: int = 1,
) -> Errors:
    """Have each of `SAID` found, so many `times`, in noise of a kind; None: in digital silence.

    The voice comes 1 to 2 s after the beginning, and 1.5 s follow it. An utterance that is within
    0.3 s of the voice is taken for it; of several, from the first onset to the last end.
    """
    source, errors = random.Random(f"{kind} {snr}"), Errors()
    pool = None if kind is None else noise(kind, 12.0, sample_rate=sample_rate)
    for voice, speed, text in SAID * times:
        said = speak(text, voice, words_per_minute=speed, sample_rate=sample_rate)
        begin = round((1 + source.random()) * sample_rate) / sample_rate
        end, total = begin + said.duration, begin + said.duration + 1.5
        background = None
        if pool is not None:
            frames = round(total * sample_rate)
            start = source.randrange(len(pool) - frames)
            background = pool[start : start + frames]
        heard = placed(
            [(begin, said)], total, background=background, background_dbfs=SPEECH_DBFS - snr
        )
        found = find(heard)
        near = [bounds for bounds in found if bounds[1] > begin - 0.3 and bounds[0] < end + 0.3]
        errors.invented += len(found) - min(len(near), 1)
        errors.missed += not near
        if near:
            errors.onsets.append(1e3 * (near[0][0] - begin))
            errors.ends.append(1e3 * (near[-1][1] - end))
    return errors
