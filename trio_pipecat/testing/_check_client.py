"""A kit for whoever writes a client: what does it do when a bot misbehaves?

Strategy: for each case a bot with one fault is served, the client under test is run against it, and
what the *server* saw is judged. So the client may be anything: an async function, a subprocess, a
browser. Nothing is assumed of it but its part of the conversation, which `check_client` tells.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Final, TypeAlias

import trio

from .._errors import InvalidParamsError
from ..transports import LinkOptions
from ..transports._websocket_server import accept_websocket
from ..transports._wires import Wire
from ._behaviours import echo
from ._bot import SimulatedBot
from ._client_cases import CASES, ClientCase
from ._client_journal import Journal, TappedWire
from ._client_report import CaseResult, ClientReport
from ._client_stage import ClientPatience, Stage
from ._conversation import Behaviour, Conversation
from ._http_server import Request, Response
from ._serve import BotServer, ServedBot, serve_with

#: Runs the client under test for one conversation, with the bot that it is given.
RunClient: TypeAlias = Callable[[ServedBot[SimulatedBot]], Awaitable[object]]

#: How long a fault may take to show, before the bot says goodbye.
_SETTLING: Final = 0.5
_PING_INTERVAL: Final = 1
#: How long the bot takes to be ready, so that it shows if a client does not wait for it.
_READY_DELAY: Final = 0.3
_MOST_PROBLEMS: Final = 3


async def check_client(
    run_client: RunClient,
    *,
    cases: Iterable[str | ClientCase] | None = None,
    patience: ClientPatience | None = None,
    host: str = "127.0.0.1",
) -> ClientReport:
    """Put an RTVI client through the faults of bots, one after another.

    The client's part of each conversation:

    1. connect, by ``served.start_url``, ``served.ws_url`` (protobuf) or ``served.json_url``;
    2. when the bot is ready, send the text ``hello`` with ``send-text``;
    3. stay until the bot leaves or fails, or says something with ``goodbye`` in it (that is in a
       ``bot-output``): then hang up;
    4. if it has functions, answer calls of ``get_weather`` with anything.

    A client that gets no bot, or none that gets ready, gives up after a time of its own.

    ::

        report = await check_client(my_client)
        assert not report.failed, str(report)

    Args:
        run_client: runs the client, from connecting to the end. It returns, or raises, when the
            client is done; it is cancelled when it takes too long.
        cases: which ones, by name or pattern (``start-*``); by default all. See
            `list_client_cases`.
        patience: how long the client may take over what.
        host: the interface to serve on.

    Raises:
        InvalidParamsError: there is no such case.
    """
    results = [
        await _check(case, run_client, patience or ClientPatience(), host)
        for case in _selected(cases)
    ]
    return ClientReport(tuple(results))


def _selected(wanted: Iterable[str | ClientCase] | None) -> list[ClientCase]:
    if wanted is None:
        return list(CASES)
    found: list[ClientCase] = []
    for item in wanted:
        if isinstance(item, ClientCase):
            matching = [item]
        else:
            matching = [case for case in CASES if fnmatchcase(case.name, item)]
        if not matching:
            raise InvalidParamsError(f"no such case: {item}; see list_client_cases()")
        found += [case for case in matching if case not in found]
    return found


async def _check(
    case: ClientCase, run_client: RunClient, patience: ClientPatience, host: str
) -> CaseResult:
    began = trio.current_time()
    stage = Stage(patience)
    raised: list[BaseException] = []
    async with serve_with(_CaseServer(case, stage), host=host) as served:
        doing = "give up" if case.start or case.upgrade else "connect"
        stage.expect(doing, patience.connect)
        with stage.scope:
            try:
                await run_client(served)
            except* Exception as group:
                raised += group.exceptions
        if stage.given_up:
            stage.problems.insert(0, stage.missed)
        with trio.move_on_after(patience.close):
            await stage.wait_all_over()
    told = f"it raised {raised[0]!r}" if raised else ""
    seconds = trio.current_time() - began
    if case.needs_start and not stage.started:
        detail = "it does not use the start endpoint"
        return CaseResult(name=case.name, passed=None, detail=detail, seconds=seconds)
    problems = list(dict.fromkeys(_judge(case, stage)))
    detail = "; ".join(problems[:_MOST_PROBLEMS] + [told] * bool(told))
    return CaseResult(name=case.name, passed=not problems, detail=detail, seconds=seconds)


def _judge(case: ClientCase, stage: Stage) -> Iterator[str]:
    """Tell what the client did wrong."""
    yield from stage.problems
    for journal in stage.journals:
        yield from journal.problems()
        yield from _end_problems(case, stage, journal)
    if case.start is None and not stage.asked:
        yield "it never connected"
    if case.duty == "go on" and not (stage.said_goodbye or stage.given_up):
        yield "it was gone before the bot had said goodbye"
    if case.duty == "leave" and not (stage.bot_left or stage.given_up):
        yield "it was gone before the bot was"


def _end_problems(case: ClientCase, stage: Stage, journal: Journal) -> Iterator[str]:
    end = journal.end
    if end is None:
        if not stage.bot_frozen:
            yield "its connection is still open though it is done"
    elif end.detail.startswith("no answer to a ping"):
        yield "it does not answer pings"
    elif end.first != "bot" and not (
        end.orderly or journal.aborted or stage.bot_frozen or stage.given_up
    ):
        reason = f" {end.text!r}" if end.text else ""
        yield f"it closes with {end.code}{reason}, which is no goodbye"


class _CaseServer(BotServer):
    """Serves a bot with the fault of a case, and keeps journals of what comes."""

    def __init__(self, case: ClientCase, stage: Stage) -> None:
        play = partial(_play, case, stage)
        behaviours: list[Behaviour] = [echo(audio=False, reply=None), *case.behaviours, play]
        self._bot = SimulatedBot(behaviours, ready_delay=_READY_DELAY)
        super().__init__(self._bot, token_auth=case.token)
        self._case = case
        self._stage = stage

    async def start(self, request: Request) -> Response:
        """Answer a start request, as the case has it."""
        self._stage.started = True
        if self._case.start is not None:
            return await self._case.start(request)
        return await super().start(request)

    async def upgrade(self, request: Request, stream: trio.abc.Stream) -> Response | None:
        """Serve a WebSocket, as the case has it."""
        self._stage.asked = True
        if self._case.upgrade is not None:
            return await self._case.upgrade(request, stream)
        return await super().upgrade(request, stream)

    async def converse(self, stream: trio.abc.Stream, wire: Wire) -> None:
        """Have the conversation, with a journal."""
        journal = Journal()
        options = LinkOptions(
            ping_interval=_PING_INTERVAL if self._case.pings else math.inf,
            ping_timeout=self._stage.patience.ping,
        )
        async with accept_websocket(stream, options, TappedWire(wire, journal)) as link:
            self._stage.journals.append(journal)
            try:
                await self._bot.converse(link)
            finally:
                journal.end = link.end
                journal.aborted = self._bot.conversations[-1].failure is not None
                self._stage.changed.unpark_all()


async def _play(case: ClientCase, stage: Stage, conversation: Conversation) -> None:
    """Be the bot of a case."""
    if case.duty == "give up":
        stage.expect("give up", stage.patience.ready)
        return
    if not case.at_once:
        stage.expect("send its text when the bot was ready", stage.patience.ready)
        await stage.hear_hello(conversation)
        stage.expect("get to the end", stage.patience.ready)
        await conversation.wait_silent()
    if case.script is not None:
        await case.script(stage, conversation)
    if case.duty in ("go on", "go on or leave"):
        await trio.sleep(_SETTLING)
        await conversation.wait_silent()
        stage.said_goodbye = True
        stage.expect("hang up when the bot had said goodbye", stage.patience.close)
        await case.goodbye(stage, conversation)
