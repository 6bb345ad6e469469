"""What a run has measured so far, for Prometheus to scrape. Only this module knows its client.

The extra ``otel`` has that. What is told is kept as it is, and made into text by the thread of the
scrape: a run is not to do each second what is asked for four times a minute.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, final

import attrs

from ... import InvalidParamsError, UnsupportedFeatureError
from ...reports import Latencies
from ._progress import Progress

#: What every name begins with.
_PREFIX: Final = "trio_pipecat_load_"
#: The counters: what a run calls them, and what they are.
_COUNTERS: Final = {
    "calls": ("calls", "Calls that are over."),
    "turns": ("turns", "Turns, answered or not."),
    "turns_answered": ("answered", "Turns that were answered."),
    "interruptions": ("interruptions", "Turns in which the bot was interrupted."),
}
#: Bounds of histograms, in seconds: of what people notice, and of what a program does.
_WAITING: Final = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_LAG: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: The histograms, what they are of, and their bounds.
_HISTOGRAMS: Final = {
    "v2v": ("From the end of a caller's voice to the first sound of the answer.", _WAITING),
    "t2v": ("From a caller's text to the first sound of the answer.", _WAITING),
    "first_event": ("To the bot's first event about what a caller said.", _WAITING),
    "ready": ("From the beginning of a call until its bot was ready.", _WAITING),
    "loop_lag": ("How late the event loop of the load tool was.", _LAG),
}
#: Each cause is a series of its own; those that come when there are so many are one together.
_MOST_CAUSES: Final = 20
_OTHER: Final = "other"


@attrs.frozen(kw_only=True)
class _Seen:
    """How far the run was when it was last told."""

    starting: int = 0
    ready: int = 0
    counts: Mapping[str, int] = attrs.field(factory=dict)
    failures: Mapping[str, int] = attrs.field(factory=dict)
    metrics: Mapping[str, Latencies] = attrs.field(factory=dict)


@final
class Figures:
    """The newest figures: `watch` is told, the client of Prometheus collects.

    Counters begin at zero with each run, as those of a program that was started anew.
    """

    def __init__(self, families: Any, target: str) -> None:
        self._families = families
        self._target = target
        self._causes: dict[str, None] = {}
        self._seen = _Seen()
        #: Where they are served.
        self.url = ""

    def watch(self, progress: Progress) -> None:
        """The run is so far."""
        result = progress.result
        self._seen = _Seen(
            starting=progress.now.starting,
            ready=progress.now.ready,
            counts=dict(result.counts),
            failures=self._by_cause(result.errors),
            # The run goes on with its own.
            metrics={
                name: _copy(latencies)
                for name, latencies in result.metrics.items()
                if name in _HISTOGRAMS
            },
        )

    def _by_cause(self, errors: Mapping[str, int]) -> dict[str, int]:
        """Return failures by cause: a cause that was named stays so, that no counter goes back."""
        failures: dict[str, int] = {}
        for cause, count in errors.items():
            if len(self._causes) < _MOST_CAUSES:
                self._causes[cause] = None
            name = cause if cause in self._causes else _OTHER
            failures[name] = failures.get(name, 0) + count
        return failures

    def collect(self) -> Iterator[Any]:
        """Yield the families of metrics, in the thread of whoever scrapes."""
        seen, families, target = self._seen, self._families, self._target
        callers = families.GaugeMetricFamily(
            f"{_PREFIX}callers", "Callers at present.", labels=["target", "state"]
        )
        callers.add_metric([target, "starting"], seen.starting)
        callers.add_metric([target, "ready"], seen.ready)
        yield callers
        for name, (count, told) in _COUNTERS.items():
            counter = families.CounterMetricFamily(f"{_PREFIX}{name}", told, labels=["target"])
            counter.add_metric([target], seen.counts.get(count, 0))
            yield counter
        failed = families.CounterMetricFamily(
            f"{_PREFIX}calls_failed", "Calls that failed, by cause.", labels=["target", "cause"]
        )
        for cause, number in seen.failures.items():
            failed.add_metric([target, cause], number)
        yield failed
        for name, (told, bounds) in _HISTOGRAMS.items():
            latencies = seen.metrics.get(name)
            counts = [0] * len(bounds) if latencies is None else latencies.counts_within(bounds)
            number, total = (0, 0.0) if latencies is None else (len(latencies), latencies.total)
            histogram = families.HistogramMetricFamily(
                f"{_PREFIX}{name}_seconds", told, labels=["target"]
            )
            buckets = [*zip(map(str, bounds), counts, strict=True), ("+Inf", number)]
            histogram.add_metric([target], buckets, sum_value=total)
            yield histogram


@contextmanager
def serve_figures(host: str, port: int, target: str) -> Iterator[Figures]:
    """Serve the figures of runs that call `target` while the block lasts; port 0: a free one.

    Raises:
        UnsupportedFeatureError: the extra ``otel`` is not installed.
        InvalidParamsError: the port can't be had.
    """
    client = _client()
    figures = Figures(client.core, target)
    registry = client.CollectorRegistry()
    registry.register(figures)
    try:
        server, thread = client.start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        where, why = _place(host, port), error.strerror or error
        raise InvalidParamsError(f"figures can't be served at {where}: {why}") from error
    try:
        figures.url = f"http://{_place(host, server.server_port)}/metrics"
        yield figures
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _client() -> Any:
    try:
        import prometheus_client
        import prometheus_client.core
    except ImportError as error:
        line = 'pip install "trio-pipecat[otel]"'
        raise UnsupportedFeatureError("an endpoint for Prometheus", line) from error
    return prometheus_client


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _copy(latencies: Latencies) -> Latencies:
    copied = Latencies()
    copied.merge(latencies)
    return copied
