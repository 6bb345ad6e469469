"""Functions of the bot's LLM that the client answers: each call is a task of the session."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol, TypeAlias, cast

import trio

from ._errors import SessionEndedError
from ._events import FunctionCallUnanswerable
from ._messages import (
    Event,
    LlmFunctionCall,
    LlmFunctionCallInProgress,
    LlmFunctionCallStopped,
)
from ._protocol import ClientProtocol, FunctionCall, Outgoing
from ._service import Services
from ._state import SessionEnd
from ._wire import Json

#: What answers a function call: an object, a string, or nothing (an empty object).
FunctionHandler: TypeAlias = Callable[[FunctionCall], Awaitable[Mapping[str, Json] | str | None]]


#: How many calls are remembered, so that one that is announced again is not answered again.
_REMEMBERED: Final = 256
#: How long a bot may take to be told that a function failed, in seconds.
_REFUSAL_SECONDS: Final = 1


class Caller(Protocol):
    """What function calls need of their session."""

    protocol: ClientProtocol
    services: Services
    end: SessionEnd | None

    def emit(self, event: Event) -> None:
        """Give an event to everyone who reads events."""

    def fail(self, error: BaseException) -> None:
        """End the session with this error."""

    async def send_when_ready(self, encode: Callable[[], Outgoing]) -> str:
        """Send what `encode` makes, as soon as the bot is ready."""
        ...


class FunctionCalls:
    """The handlers of a session, and the calls that are running."""

    def __init__(self, caller: Caller) -> None:
        self.handlers: dict[str, FunctionHandler] = {}
        self._caller = caller
        self._running: dict[str, trio.CancelScope] = {}
        #: The ids of calls, the newest last. Most sessions have none.
        self._answered: dict[str, None] = {}
        self._closed = False

    def notice(self, event: Event) -> None:
        """Start the handler of a call, or cancel it, if that is what the event is about."""
        match event:
            case LlmFunctionCallInProgress(function_name=None):
                if self.handlers:
                    self._caller.emit(
                        FunctionCallUnanswerable(tool_call_id=event.tool_call_id, at=event.at)
                    )
            case LlmFunctionCallInProgress() | LlmFunctionCall():
                self._start(event.tool_call_id)
            case LlmFunctionCallStopped():
                scope = self._running.pop(event.tool_call_id, None)
                if scope is not None:
                    scope.cancel()
            case _:
                pass

    def cancel_all(self) -> None:
        """Cancel every handler that runs, and start none any more."""
        self._closed = True
        for scope in self._running.values():
            scope.cancel()

    def _start(self, id_: str) -> None:
        call = self._caller.protocol.calls.get(id_)
        handler = None if call is None else self.handlers.get(call.function_name)
        # A bot may announce one call twice: in progress, and by the deprecated message.
        if call is None or handler is None or id_ in self._answered or self._closed:
            return
        self._answered[id_] = None
        if len(self._answered) > _REMEMBERED:
            del self._answered[next(iter(self._answered))]
        scope = self._running[id_] = trio.CancelScope()
        self._caller.services.start(
            self._answer,
            call,
            handler,
            scope,
            name=f"trio_pipecat: function {call.function_name}",
            outlive=False,
        )

    async def _answer(
        self, call: FunctionCall, handler: FunctionHandler, scope: trio.CancelScope
    ) -> None:
        try:
            with scope:
                await self._answer_within(call, handler, scope)
        finally:
            if self._running.get(call.tool_call_id) is scope:
                del self._running[call.tool_call_id]

    async def _answer_within(
        self, call: FunctionCall, handler: FunctionHandler, scope: trio.CancelScope
    ) -> None:
        failure: BaseException | None = None
        cancelled: BaseException | None = None
        try:
            result = await _run(call, handler)
            await self._send_result(call, {} if result is None else result)
        except Exception as error:
            failure = self._unless_over(error)
        except BaseExceptionGroup as group:  # noqa: ASYNC103  # of a nursery in the handler
            cancelled, failed = group.split(trio.Cancelled)
            failure = self._unless_over(failed)
        if failure is not None:
            await self._give_up(call, failure, scope)
        if cancelled is not None:
            raise cancelled

    def _unless_over(self, error: BaseException | None) -> BaseException | None:
        """Return what the handler raised, unless that is no more than the end of its session."""
        if self._caller.end is None:
            return error
        if isinstance(error, BaseExceptionGroup):
            return error.split(SessionEndedError)[1]
        return None if isinstance(error, SessionEndedError) else error

    async def _give_up(
        self, call: FunctionCall, failure: BaseException, scope: trio.CancelScope
    ) -> None:
        """Tell the bot that there is no result, and end the session with the failure."""
        try:
            if not scope.cancel_called:
                # Its text may say what only this side should know.
                refusal = {"error": f"the function failed: {type(failure).__name__}"}
                with trio.move_on_after(_REFUSAL_SECONDS, shield=True):
                    await self._send_result(call, refusal)
        finally:
            self._caller.fail(failure)

    async def _send_result(self, call: FunctionCall, result: Mapping[str, Json] | str) -> None:
        caller = self._caller
        # Not even the end of the session is an error here: then nobody wants a result any more.
        with suppress(SessionEndedError):
            await caller.send_when_ready(lambda: caller.protocol.function_result(call, result))


async def _run(call: FunctionCall, handler: FunctionHandler) -> Mapping[str, Json] | str | None:
    answering: object = trio.lowlevel.disable_ki_protection(handler)(call)
    if not isinstance(answering, Awaitable):
        kind = type(answering).__name__
        raise TypeError(
            f"the handler of {call.function_name!r} is no async function: it returned {kind}"
        )
    return cast("Mapping[str, Json] | str | None", await answering)
