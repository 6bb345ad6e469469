"""How many sessions a client holds: bracketed, bisected, and confirmed."""

import math
from collections import Counter
from collections.abc import Callable

import attrs

from ._running import Trial


@attrs.frozen(kw_only=True)
class Capacity:
    """The most sessions that were held, and where it was too many. 0: none were.

    `confirmed`: they were held twice, and nobody else was to blame for the trial that was too many.
    """

    sessions: int
    too_many: int | None
    confirmed: bool


def find_capacity(
    hold: Callable[[int], Trial],
    guess: int,
    *,
    tolerance: float,
    most_trials: int,
    is_late: Callable[[], bool],
) -> Capacity:
    """Search for the largest number that holds twice, to within `tolerance`.

    While nothing has failed, how busy the client was says how far up to go; while nothing has held,
    how much arrived says how far down. No trial begins when `is_late` says so.
    """
    held: Counter[int] = Counter()
    too_many: int | None = None
    is_disturbed = False
    number = guess
    for _ in range(most_trials):
        if is_late():
            break
        trial = hold(number)
        if trial.holds:
            held[number] += 1
        elif too_many is None or number < too_many:
            too_many, is_disturbed = number, trial.is_disturbed
            held = Counter({one: times for one, times in held.items() if one < too_many})
        most = max(held, default=0)
        if not most:
            number = max(1, round(number * min(0.85, max(0.4, 0.95 * trial.arrived))))
        elif too_many is None:
            number = math.ceil(most * min(2, max(1.06, 1 / max(0.01, trial.busy))))
        elif too_many > max(most + 1, most * (1 + tolerance)):
            number = round(math.sqrt(most * too_many))
        elif held[most] > 1:
            break
        else:
            number = most
    most = max(held, default=0)
    is_sure = held[most] > 1 and too_many is not None and not is_disturbed
    return Capacity(sessions=most, too_many=too_many, confirmed=is_sure)
