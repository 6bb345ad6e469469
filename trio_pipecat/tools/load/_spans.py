"""The spans of a run's calls. Only this module knows OpenTelemetry, of the extra ``otel``.

It knows its API alone: spans go to whatever tracer provider this process has. The span of a call is
begun with the call, because its id goes along with the start request. All else is written when the
call is over, with the times that were put down anyway, so that nobody waits for it who is measured.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import trio

from ... import (
    InvalidParamsError,
    Session,
    SessionKeywords,
    State,
    UnsupportedFeatureError,
    __version__,
)
from .._options import shown_target
from ._call import Call, Observer, TimedTurn

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_NAME: Final = "trio_pipecat"
#: The stages of a beginning: from which state to which.
_STAGES: Final = {
    "start": (State.AUTHENTICATING, State.AUTHENTICATED),
    "connect": (State.CONNECTING, State.CONNECTED),
    "ready": (State.CONNECTED, State.READY),
}
#: What ``opentelemetry-instrument`` runs in a process.
_INSTRUMENTATION: Final = "opentelemetry.instrumentation.auto_instrumentation"


def check_spans() -> None:
    """Refuse to make spans that nobody would take.

    Raises:
        UnsupportedFeatureError: the extra ``otel`` is not installed.
        InvalidParamsError: this process has no tracer provider.
    """
    if not has_provider():
        raise InvalidParamsError(
            "nobody would take the spans: this process has no tracer provider; "
            "opentelemetry-instrument trio-pipecat load … gives it one"
        )


def has_provider() -> bool:
    """Has this process a tracer provider?

    Raises:
        UnsupportedFeatureError: the extra ``otel`` is not installed.
    """
    trace = _api().trace
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def environment() -> dict[str, str]:
    """Return the environment of a process that is to make spans as this one does.

    ``opentelemetry-instrument`` works by a folder in ``PYTHONPATH``, which most of its versions
    take away again, for the sake of other programs. What we run is this one.
    """
    variables = dict(os.environ)
    module = sys.modules.get(_INSTRUMENTATION)
    if module is not None and module.__file__ is not None:
        folder = str(Path(module.__file__).parent)
        folders = variables.get("PYTHONPATH", "").split(os.pathsep)
        if folder not in folders:
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, *folders]))
    return variables


@final
class Spans(Observer):
    """Makes a span of each call, with its stages and turns as children."""

    def __init__(self, tracer: "Tracer | None" = None) -> None:
        self._api = _api()
        self._tracer: Tracer = tracer or self._api.trace.get_tracer(_NAME, __version__)
        self._open: dict[Call, _Open] = {}

    @contextmanager
    def beginning(self, call: Call) -> Iterator[SessionKeywords]:
        """A call begins in the block, with the span as what is current in its tasks."""
        trace = self._api.trace
        clock = _Clock()
        span = self._tracer.start_span(
            f"{_NAME}.call",
            kind=trace.SpanKind.CLIENT,
            start_time=clock.began,
            attributes={
                f"{_NAME}.target": shown_target(call.plan.target),
                f"{_NAME}.caller": call.caller,
                f"{_NAME}.call": call.number,
            },
        )
        context = trace.set_span_in_context(span)
        self._open[call] = _Open(span, context, clock)
        carrier: dict[str, str] = {}
        self._api.propagate.inject(carrier, context)
        token = self._api.context.attach(context)
        try:
            yield {"headers": {**(call.plan.keywords.get("headers") or {}), **carrier}}
        finally:
            self._api.context.detach(token)

    def over(self, call: Call) -> None:
        """A call is over: write it down."""
        opened = self._open.pop(call)
        span, clock = opened.span, opened.clock
        ended = trio.current_time()
        if call.session is not None:
            self._write_stages(call.session, call.cause, opened, ended)
            for turn in call.turns:
                self._write_turn(call, turn, opened)
            started = call.session.started
            if started is not None and started.params.session_id is not None:
                span.set_attribute("session.id", started.params.session_id)
            if call.session.end is not None:
                span.set_attribute(f"{_NAME}.end", call.session.end.reason)
        if call.cause is not None:
            self._fail(span, call.cause)
        span.end(clock.at(ended))

    def _write_stages(
        self, session: Session, cause: str | None, opened: "_Open", ended: float
    ) -> None:
        # Of a state that was entered again, the first time.
        times = dict(reversed(session.history))
        for name, (entered, left) in _STAGES.items():
            if entered not in times:
                continue
            span = self._child(opened, name, times[entered])
            if left not in times and cause is not None:
                self._fail(span, cause)
            span.end(opened.clock.at(times.get(left, ended)))

    def _write_turn(self, call: Call, turn: TimedTurn, opened: "_Open") -> None:
        record, clock = turn.record, opened.clock
        span = self._child(opened, "turn", turn.began)
        words_over = call.began + record.at
        span.add_event("words over", timestamp=clock.at(words_over))
        span.set_attribute(f"{_NAME}.turn", record.turn)
        for name in ("first_event", "v2v", "t2v"):
            seconds = getattr(record, name)
            if seconds is not None:
                span.set_attribute(f"{_NAME}.{name}", seconds)
                told = "first event" if name == "first_event" else "first sound"
                span.add_event(told, timestamp=clock.at(words_over + seconds))
        span.set_attribute(f"{_NAME}.answered", record.answered)
        span.set_attribute(f"{_NAME}.interrupted", record.interrupted)
        span.end(clock.at(turn.ended))

    def _child(self, opened: "_Open", name: str, began: float) -> "Span":
        return self._tracer.start_span(
            f"{_NAME}.{name}", context=opened.context, start_time=opened.clock.at(began)
        )

    def _fail(self, span: "Span", cause: str) -> None:
        trace = self._api.trace
        span.set_status(trace.Status(trace.StatusCode.ERROR, cause))


class _Clock:
    """Turns trio's time into nanoseconds of the epoch, by one reading of both."""

    def __init__(self) -> None:
        self.began = time.time_ns()
        self._since = trio.current_time()

    def at(self, seconds: float) -> int:
        """Return a time of trio's clock as spans have it."""
        return self.began + round((seconds - self._since) * 1e9)


@attrs.frozen
class _Open:
    """The span of a call that goes on."""

    span: "Span"
    context: Any
    clock: _Clock


def _api() -> Any:
    try:
        import opentelemetry.context
        import opentelemetry.propagate
        import opentelemetry.trace
    except ImportError as error:
        line = 'pip install "trio-pipecat[otel]"'
        raise UnsupportedFeatureError("making spans", line) from error
    return opentelemetry
