"""What can be seen of a run while it goes on: a result, but only what changes and is looked at."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import attrs

from ...reports import LoadResult, Moment

#: How often it is told how far a run is, in seconds.
PROGRESS_STEP: Final = 1.0

_SHOWN: Final[tuple[str, ...]] = ("v2v", "t2v", "first_event", "ready", "loop_lag")


@attrs.frozen(kw_only=True)
class Progress:
    """How far a run is. `now` is the present stretch: how many callers there are."""

    seconds: float
    result: LoadResult
    now: Moment

    @classmethod
    def of(cls, result: LoadResult, seconds: float) -> "Progress":
        """Return how far a run is in this process."""
        metrics = {name: result.metrics[name] for name in _SHOWN if name in result.metrics}
        seen = LoadResult(
            target=result.target,
            metrics=metrics,
            counts=result.counts,
            errors=result.errors,
            bot_died=result.bot_died,
        )
        now = result.timeline[-1] if result.timeline else Moment()
        return cls(seconds=seconds, result=seen, now=Moment(starting=now.starting, ready=now.ready))

    @property
    def has_called(self) -> bool:
        """Has anybody called by now?"""
        counts = self.result.counts
        return bool(
            self.now.starting or self.now.ready or counts["calls"] or counts["reached"]
        ) or (self.result.bot_died is not None)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "seconds": self.seconds,
            "result": self.result.as_json(),
            "starting": self.now.starting,
            "ready": self.now.ready,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Progress":
        """Read it back."""
        return cls(
            seconds=data["seconds"],
            result=LoadResult.from_json(data["result"]),
            now=Moment(starting=data["starting"], ready=data["ready"]),
        )


#: Is told how far a run is.
Watcher: TypeAlias = Callable[[Progress], object]


def together(parts: list[Progress]) -> Progress:
    """Return how far a run of several processes is."""
    result, now, seconds = LoadResult(), Moment(), 0.0
    for part in parts:
        result.target = part.result.target
        result.merge(part.result)
        now.starting += part.now.starting
        now.ready += part.now.ready
        seconds = max(seconds, part.seconds)
    # Where nobody has called, nobody knows; a bot that lives for some is alive.
    deaths = [part.result.bot_died for part in parts if part.has_called]
    known = [at for at in deaths if at is not None]
    result.bot_died = max(known) if known and len(known) == len(deaths) else None
    return Progress(seconds=seconds, result=result, now=now)
