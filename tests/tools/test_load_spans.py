"""The spans of a load run: a call each, its stages and turns, joined to what the server sees."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
import trio
from load_bot import running_bot
from test_load_shard import LEAD, plan_for
from trio.testing import MockClock

from trio_pipecat import UnsupportedFeatureError
from trio_pipecat.reports import LoadResult
from trio_pipecat.testing import SimulatedBot, crash, leave_after, never_ready
from trio_pipecat.testing._http_server import Request, Response
from trio_pipecat.testing._serve import BotServer, serve_with
from trio_pipecat.tools.load import _spans
from trio_pipecat.tools.load._plan import LoadPlan
from trio_pipecat.tools.load._run_here import run_here
from trio_pipecat.tools.load._shape import profile
from trio_pipecat.tools.load._shard import run_shard
from trio_pipecat.tools.load._spans import Spans

pytest.importorskip("opentelemetry.sdk", reason="type: pip install opentelemetry-sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode


@attrs.frozen
class Tree:
    """A call's span, and those below it, in the order in which they began."""

    call: ReadableSpan
    children: list[ReadableSpan]

    @property
    def names(self) -> list[str]:
        """How those below are called, without what all begin with."""
        return [child.name.removeprefix("trio_pipecat.") for child in self.children]

    def child(self, name: str) -> ReadableSpan:
        """Return the first of a name."""
        return self.children[self.names.index(name)]


@attrs.define
class Traced:
    """Makes spans, and has them afterwards."""

    exporter: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)

    def spans(self) -> Spans:
        """Return what makes them."""
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        return Spans(provider.get_tracer("tests"))

    @property
    def trees(self) -> list[Tree]:
        """What was made, a tree a call, in the order in which they began."""
        spans = sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        calls = {span.context.span_id: Tree(span, []) for span in spans if span.parent is None}
        for span in spans:
            if span.parent is not None:
                tree = calls[span.parent.span_id]
                assert tree.call.context.trace_id == span.context.trace_id
                tree.children.append(span)
        return [*calls.values()]


@pytest.fixture
def traced() -> Traced:
    """Spans in memory."""
    return Traced()


def seconds(span: ReadableSpan) -> float:
    """Return how long it took."""
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def events(span: ReadableSpan) -> dict[str, float]:
    """Return when what happened in it, in seconds since it began."""
    assert span.start_time is not None
    return {event.name: (event.timestamp - span.start_time) / 1e9 for event in span.events}


def facts(span: ReadableSpan) -> dict[str, Any]:
    """Return its attributes, without what all begin with."""
    return {
        name.removeprefix("trio_pipecat."): value for name, value in (span.attributes or {}).items()
    }


async def test_a_call_is_a_span(autojump_clock: MockClock, traced: Traced) -> None:
    """With its stages and its turns, and all times as they were measured."""
    bot = SimulatedBot(think_seconds=0.8, ready_delay=0.5)
    began = time.time()
    plan = plan_for(bot, 2, 20, think=(1.0, 1.0), texts=("one", "two"))
    result = await run_shard(plan, observer=traced.spans())
    trees = traced.trees
    assert result.counts["calls"] == len(trees) > 4
    assert Counter(tree.call.name for tree in trees) == {"trio_pipecat.call": len(trees)}
    first = next(tree for tree in trees if facts(tree.call)["caller"] == 0)
    assert ["start", "connect", "ready", "turn", "turn"] == first.names
    assert (SpanKind.CLIENT, StatusCode.UNSET) == (first.call.kind, first.call.status.status_code)
    told = facts(first.call)
    assert 1 == Counter(facts(tree.call)["session.id"] for tree in trees)[told.pop("session.id")]
    assert {"target": "sim:", "caller": 0, "call": 1, "end": "client"} == told
    assert began == pytest.approx((first.call.start_time or 0) / 1e9, abs=60)
    assert 0.5 == pytest.approx(seconds(first.child("ready")), abs=0.001)

    turn = first.child("turn")
    waited = 0.8 + LEAD
    told = facts(turn)
    assert isinstance(told.pop("interrupted"), bool)
    assert {
        "turn": 1,
        "first_event": pytest.approx(0.8, abs=0.001),
        "t2v": pytest.approx(waited, abs=0.001),
        "answered": True,
    } == told
    happened = events(turn)
    assert ["words over", "first event", "first sound"] == [*happened]
    assert waited == pytest.approx(happened["first sound"] - happened["words over"], abs=0.001)
    # The answer is heard out.
    assert seconds(turn) > waited + 0.2

    for tree in trees:
        for child in tree.children:
            assert (tree.call.start_time or 0) <= (child.start_time or 0)
            assert (child.end_time or 0) <= (tree.call.end_time or 0)
    lasted = [seconds(tree.call) for tree in trees]
    assert sum(lasted) == pytest.approx(result.metrics["call"].total, rel=0.002)
    turns = sum(tree.names.count("turn") for tree in trees)
    assert turns == result.counts["turns"]


async def test_callers_that_speak(autojump_clock: MockClock, traced: Traced) -> None:
    """What is not measured, as the warming up, has spans all the same."""
    bot = SimulatedBot(think_seconds=0.5)
    plan = plan_for(bot, 1, 20, warm_up=10.0)
    result = await run_shard(plan, observer=traced.spans())
    assert len(traced.trees) > result.counts["calls"] > 0


FAULTS: dict[str, tuple[Any, str, str]] = {
    "crash": (lambda: crash(2), "ConnectionLostError", "connection_lost"),
    "never ready": (lambda: never_ready(), "ReadyTimeoutError", "startup_failed"),
    "leaves": (lambda: leave_after(2, code=1000, text="bye"), "the bot left: bye", "bot"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_call_that_fails(fault: str, autojump_clock: MockClock, traced: Traced) -> None:
    """Says why, and so does the stage that it did not leave."""
    make, cause, reason = FAULTS[fault]
    bot = SimulatedBot([make()], think_seconds=30)
    plan = plan_for(bot, 1, 10)
    plan = attrs.evolve(plan, keywords={**plan.keywords, "ready_timeout": 3})
    await run_shard(plan, observer=traced.spans())
    first = traced.trees[0]
    assert StatusCode.ERROR == first.call.status.status_code
    assert (first.call.status.description or "").startswith(cause)
    assert reason == facts(first.call)["end"]
    ready = first.child("ready")
    failed = fault == "never ready"
    assert failed == (ready.status.status_code is StatusCode.ERROR)
    if failed:
        assert first.call.status.description == ready.status.description
        assert 3 == pytest.approx(seconds(ready), abs=0.1)
        assert ["start", "connect", "ready"] == first.names


async def test_a_turn_that_is_not_answered(autojump_clock: MockClock, traced: Traced) -> None:
    """Has no times to tell."""
    bot = SimulatedBot(think_seconds=100)
    await run_shard(plan_for(bot, 1, 10, turn_timeout=3), observer=traced.spans())
    first = traced.trees[0]
    turn = first.child("turn")
    assert {"turn", "answered", "interrupted"} == facts(turn).keys()
    assert not facts(turn)["answered"]
    assert ["words over"] == [*events(turn)]
    assert "NotAnsweredError: no answer within 3 s" == first.call.status.description


async def test_calls_that_are_cancelled(autojump_clock: MockClock, traced: Traced) -> None:
    """Are over, too: no span is forgotten."""
    spans = traced.spans()
    with trio.move_on_after(5):
        await run_shard(plan_for(SimulatedBot(think_seconds=100), 3, 60), observer=spans)
    assert 3 == len(traced.trees)
    assert {} == spans._open


CALLER = """
from opentelemetry.trace import get_current_span
from trio_pipecat import BotStoppedSpeaking

async def caller(session):
    await session.wait_ready()
    print(f"{get_current_span().get_span_context().trace_id:032x}", file=open(FILE, "a"))
    await session.send_text("one")
    await session.wait_event(BotStoppedSpeaking)
"""


@pytest.mark.filterwarnings("ignore:unclosed file")
async def test_a_function_of_the_users(
    autojump_clock: MockClock, traced: Traced, tmp_path: Path
) -> None:
    """Its turns are told from the sound; a span that it makes itself is below that of the call."""
    told = tmp_path / "told"
    (tmp_path / "mine.py").write_text(CALLER.replace("FILE", repr(str(told))))
    bot = SimulatedBot(think_seconds=0.7)
    plan = plan_for(bot, 1, 10, caller=f"{tmp_path / 'mine.py'}:caller")
    await run_shard(plan, observer=traced.spans())
    trees = traced.trees
    ids = [f"{tree.call.context.trace_id:032x}" for tree in trees]
    assert told.read_text().split() == ids[: len(told.read_text().split())]
    assert len({*ids}) == len(ids) > 3
    turn = trees[0].child("turn")
    assert 0.7 + LEAD == pytest.approx(facts(turn)["t2v"], abs=0.02)
    assert seconds(turn) > 0.7 + LEAD


# -- joined to the server's --------------------------------------------------------------


class Server(BotServer):
    """Puts down the requests, and the ids that it gave."""

    def __init__(self) -> None:
        super().__init__(SimulatedBot())
        self.requests: list[Request] = []
        self.ids: list[str] = []

    async def start(self, request: Request) -> Response:
        """Start a bot."""
        response = await super().start(request)
        self.requests.append(request)
        self.ids.append(json.loads(response.body)["sessionId"])
        return response

    async def upgrade(self, request: Request, stream: trio.abc.Stream) -> Response | None:
        """Take a WebSocket."""
        self.requests.append(request)
        return await super().upgrade(request, stream)


def parents(requests: list[Request]) -> list[tuple[str, str]]:
    """Return trace and span of each request that names them."""
    named = [request.headers.get("traceparent") for request in requests]
    return [(name.split("-")[1], name.split("-")[2]) for name in named if name is not None]


def told_as_parents(trees: list[Tree]) -> list[tuple[str, str]]:
    """Return trace and span of each call, as a request names them."""
    contexts = [tree.call.context for tree in trees]
    return [(f"{context.trace_id:032x}", f"{context.span_id:016x}") for context in contexts]


@pytest.mark.socket
async def test_joined_where_a_bot_is_started(traced: Traced) -> None:
    """By the id that the start endpoint gave, and by ours, which goes along with the request."""
    server = Server()
    async with serve_with(server, host="127.0.0.1") as served:
        plan = LoadPlan(
            target=f"{served.start_url}?key=s3cret-one",
            keywords={"headers": {"X-Key": "s3cret-two"}, "request_data": {"a": "s3cret-three"}},
            shape=profile("constant", 2, 2),
            texts=("s3cret-four",),
            greeting=0.0,
            wind_down=0.0,
        )
        await run_shard(plan, observer=traced.spans())
    trees = traced.trees
    assert len(server.ids) == len(trees) > 1
    assert {*server.ids} == {facts(tree.call)["session.id"] for tree in trees}
    starts = [request for request in server.requests if request.path == "/start"]
    assert {*told_as_parents(trees)} == {*parents(starts)}
    assert {"s3cret-two"} == {request.headers["x-key"] for request in starts}
    # The link may lead somewhere else: it has no headers of the start request's.
    assert len(starts) == len(parents(server.requests)) < len(server.requests)
    assert ["start", "connect", "ready", "turn"] == trees[0].names
    assert "s3cret" not in "".join(span.to_json() for span in traced.exporter.get_finished_spans())


@pytest.mark.socket
async def test_joined_where_nothing_is_started(traced: Traced) -> None:
    """Ours goes along with the upgrade."""
    server = Server()
    async with serve_with(server, host="127.0.0.1") as served:
        plan = LoadPlan(target=served.ws_url, shape=profile("constant", 1, 1), greeting=0.0)
        await run_shard(plan, observer=traced.spans())
    trees = traced.trees
    assert {*told_as_parents(trees)} == {*parents(server.requests)}
    assert "session.id" not in facts(trees[0].call)


# -- without anybody who takes them ------------------------------------------------------


async def test_without_a_provider(autojump_clock: MockClock) -> None:
    """The run goes on, and says what is missing: so does a process whose starter has one."""
    result = await run_here(
        plan_for(SimulatedBot(), 1, 5, spans=True), lambda _: None, trio.Event()
    )
    assert result.counts["calls"]
    assert ["spans are missing: a process has no tracer provider"] == result.notes


def test_without_a_provider_the_command_refuses() -> None:
    """Nobody waits for spans that never come."""
    command = [sys.executable, "-m", "trio_pipecat", "load", "sim:", "--otel"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 2 == done.returncode
    assert "opentelemetry-instrument trio-pipecat load" in done.stderr


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a line to type."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    for call in (Spans, _spans.check_spans):
        with pytest.raises(UnsupportedFeatureError, match=r'pip install "trio-pipecat\[otel\]"'):
            call()


# -- several processes -------------------------------------------------------------------


def test_processes_are_instrumented_as_their_starter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder that ``opentelemetry-instrument`` takes out of the path is there again."""
    name = "opentelemetry.instrumentation.auto_instrumentation"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("PYTHONPATH", "/mine")
    assert dict(os.environ) == _spans.environment()
    module = ModuleType(name)
    module.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(sys.modules, name, module)
    path = _spans.environment()["PYTHONPATH"]
    assert f"{tmp_path}{os.pathsep}/mine" == path
    monkeypatch.setenv("PYTHONPATH", path)
    assert path == _spans.environment()["PYTHONPATH"]
    monkeypatch.delenv("PYTHONPATH")
    assert str(tmp_path) == _spans.environment()["PYTHONPATH"]


#: What a process finds that is begun with it on its path: spans go to a file, and are printed.
SITE = """
import os, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

def told(span):
    with open(FILE, "a") as file:
        file.write(span.to_json(indent=None) + "\\n")
    return f"{os.getpid()} has made a span\\n"

if "trio_pipecat" in " ".join(sys.orig_argv):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=told)))
    trace.set_tracer_provider(provider)
"""


@pytest.mark.socket
def test_each_process_makes_its_own(tmp_path: Path) -> None:
    """Whatever it prints meanwhile."""
    told, report = tmp_path / "spans", tmp_path / "run.json"
    (tmp_path / "sitecustomize.py").write_text(SITE.replace("FILE", repr(str(told))))
    with running_bot() as bot:
        command = [sys.executable, "-m", "trio_pipecat", "load", bot.url, "--otel"]
        options = {"callers": 2, "processes": 2, "duration": "2s", "greeting": "0s"}
        options |= {"turn-pause": "100ms", "wind-down": "0s", "json": str(report)}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        done = subprocess.run(
            [*command, *words],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode in (0, 3), done.stderr
    assert "has made a span" not in done.stdout
    result = LoadResult.from_json(json.loads(report.read_text()))
    assert [] == [*result.lost, *result.notes]
    spans = [json.loads(line) for line in told.read_text().splitlines()]
    calls = [span["attributes"] for span in spans if span["name"] == "trio_pipecat.call"]
    assert result.counts["calls"] == len(calls)
    assert {0, 1} == {call["trio_pipecat.caller"] for call in calls}
