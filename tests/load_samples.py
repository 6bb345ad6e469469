"""What a load run may have measured: one that looks like a real one, and the sound of its turns."""

import math
from array import array
from pathlib import Path
from random import Random

from trio_pipecat.audio import AudioChunk, write_wav
from trio_pipecat.audio._pcm import pcm_of
from trio_pipecat.reports import LoadResult, Part, TurnRecord

RATE = 8_000

_SAID = [
    "What is the capital of Japan?",
    "Can I change the delivery address of order 4711? I have moved house last week.",
    "Ist noch ein Tisch für vier Personen frei, heute Abend um acht?",
    "ما هي ساعات العمل؟",
    "No, wait, I meant the other one.",
]
_ANSWERED = [
    "The capital of Japan is Tokyo.",
    "Of course. I have found your order. Please tell me the street, the number and the town.",
    "Ja, um acht ist ein Tisch am Fenster frei. Auf welchen Namen darf ich ihn reservieren?",
    "نحن مفتوحون من التاسعة صباحًا حتى السادسة مساءً.",
    "",
]


def syllables(seconds: float, hertz: float, rng: Random) -> "array[int]":
    """Return something that looks like speech."""
    samples = array("h")
    while len(samples) < seconds * RATE:
        length = round(RATE * rng.uniform(0.08, 0.25))
        loud = rng.uniform(2_000, 14_000)
        samples.extend(
            round(
                loud
                * math.sin(math.pi * n / length)
                * (math.sin(math.tau * hertz * n / RATE) + rng.uniform(-0.3, 0.3))
                / 1.3
            )
            for n in range(length)
        )
        samples.extend([0] * round(RATE * rng.choice([0.02, 0.05, 0.15])))
    return samples[: round(seconds * RATE)]


def write_turn(path: Path, turn: TurnRecord, rng: Random) -> None:
    """Write both voices of a turn, the caller on the left."""
    ends = max(end for _, _, end in turn.spoken) + 0.5
    both = array("h", bytes(4 * round(ends * RATE)))
    for who, begin, end in turn.spoken:
        voice = syllables(end - begin, 180 if who == "caller" else 130, rng)
        at = 2 * round(begin * RATE) + (who == "bot")
        both[at : at + 2 * len(voice) : 2] = voice
    write_wav(path, AudioChunk(pcm_of(both), RATE, 2))


def plausible(folder: Path | None = None, *, moments: int = 60, seed: int = 1) -> LoadResult:
    """Return a run that goes up to 40 callers, whose bot is slow at the top.

    With a folder, its five worst turns are recorded there, but for the last.
    """
    rng = Random(seed)
    step = 5.0
    seconds = moments * step
    result = LoadResult(
        target="http://localhost:7860/start",
        plan={
            "target": "http://localhost:7860/start",
            "shape": {"profile": "ramp", "stages": [[120.0, 40], [180.0, 40]]},
            "model": "closed",
            "texts": _SAID,
            "wavs": [],
            "caller": None,
            "think": [0.5, 2.0],
            "turn_timeout": 30.0,
            "seed": seed,
        },
        began=1_780_000_000.0,
        seconds=seconds,
        measured_from=0.1 * seconds,
        measured_until=0.95 * seconds,
        step=step,
        parts=[
            Part(
                index=number,
                host="load-1.example",
                pid=4_000 + number,
                callers=20,
                cpu=rng.uniform(0.3, 0.6),
                steal=rng.uniform(0, 0.02),
                gc_pauses=rng.randrange(100),
                gc_longest=rng.uniform(0.01, 0.03),
                lateness_p99=rng.uniform(0.001, 0.004),
                loop_lag_p99=rng.uniform(0.001, 0.006),
            )
            for number in range(2)
        ],
    )
    for number in range(moments):
        at = (number + 0.5) * step
        load = min(at / seconds * 2.5, 1)
        moment = result.moment(at)
        moment.ready = round(40 * load)
        moment.starting = rng.randrange(5) if load < 1 else rng.randrange(2)
        moment.turns = round(moment.ready * rng.uniform(0.7, 1.2))
        moment.calls = round(moment.turns / 5)
        moment.errors = min(rng.choice([0, 0, 0, 1, 3]), moment.calls) if load == 1 else 0
        slow = 1 + load**4 * (1 + 0.3 * math.sin(at / 20))
        for _ in range(moment.turns):
            waited = rng.lognormvariate(math.log(0.75 * slow), 0.3)
            if rng.random() < 0.01:
                waited += rng.uniform(2, 6)
            moment.waited.add(waited)
            result.metric("v2v").add(waited)
            result.metric("first_event").add(waited * rng.uniform(0.3, 0.5))
            result.metric("dead_air").add(waited * rng.uniform(1, 1.2))
            result.metric("server.OpenAILLMService").add(waited * 0.3)
        for _ in range(moment.calls):
            result.metric("start").add(rng.lognormvariate(-3, 0.4))
            result.metric("connect").add(rng.lognormvariate(-4, 0.4))
            result.metric("ready").add(rng.lognormvariate(-1, 0.4))
            result.metric("call").add(rng.uniform(20, 60))
        result.counts.update(calls=moment.calls, failed=moment.errors, turns=moment.turns)
        result.counts["answered"] += moment.turns - moment.errors
    for cause in rng.choices(
        [
            "NotAnsweredError: no answer within 30 s",
            "StartBotError 503",
            "ConnectionLostError 1006",
        ],
        [5, 3, 1],
        k=result.counts["failed"],
    ):
        result.errors[cause] += 1
    result.endings.update(
        client=result.counts["calls"] - result.counts["failed"],
        connection_lost=result.errors["ConnectionLostError 1006"],
        startup_failed=result.errors["StartBotError 503"],
        cancelled=result.errors["NotAnsweredError: no answer within 30 s"],
    )
    for number in range(5):
        turn = _bad_turn(number, rng)
        if folder is not None and number < 4:
            path = folder / f"caller-{turn.caller}-{turn.call}-turn-{turn.turn}.wav"
            write_turn(path, turn, rng)
            turn.audio = str(path)
        result.keep_if_bad(turn)
    return result


def _bad_turn(number: int, rng: Random) -> TurnRecord:
    said_until = 0.5 + rng.uniform(1.5, 3.5)
    waited = rng.uniform(4, 8)
    answer = _ANSWERED[number]
    spoken = [("caller", 0.5, said_until)]
    if answer:
        begins = said_until + waited
        spoken.append(("bot", begins, begins + len(answer) / 15))
    return TurnRecord(
        caller=rng.randrange(40),
        call=rng.randrange(1, 4),
        turn=rng.randrange(1, 6),
        at=rng.uniform(150, 290),
        said=_SAID[number],
        answer=answer,
        v2v=waited if answer else None,
        first_event=waited * 0.4 if answer else None,
        dead_air=waited * 1.1 if answer else None,
        answered=bool(answer),
        interrupted=number == 1,
        stale=0.12 if number == 1 else 0.0,
        spoken=spoken,
    )
