"""Functions of the bot's LLM that the client answers: each call is a task of the session."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

import trio

from ._errors import PipecatError, SessionEndedError
from ._events import FunctionCallUnanswerable
from ._messages import (
    Event,
    LlmFunctionCall,
    LlmFunctionCallInProgress,
    LlmFunctionCallStopped,
)
from ._protocol import ClientProtocol, FunctionCall, Outgoing
from ._service import Services
from ._wire import Json

#: What answers a function call: an object, a string, or nothing (an empty object).
FunctionHandler: TypeAlias = Callable[[FunctionCall], Awaitable[Mapping[str, Json] | str | None]]


class Caller(Protocol):
    """What function calls need of their session."""

    protocol: ClientProtocol
    services: Services

    def emit(self, event: Event) -> None:
        """Give an event to everyone who reads events."""

    def fail(self, error: Exception) -> None:
        """End the session with this error."""

    async def send(self, encode: Callable[[], Outgoing]) -> str:
        """Send what `encode` makes."""
        ...


class FunctionCalls:
    """The handlers of a session, and the calls that are running."""

    def __init__(self, caller: Caller) -> None:
        self.handlers: dict[str, FunctionHandler] = {}
        self._caller = caller
        self._running: dict[str, trio.CancelScope] = {}

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
        """Cancel every handler that runs."""
        for scope in self._running.values():
            scope.cancel()

    def _start(self, id_: str) -> None:
        call = self._caller.protocol.calls.get(id_)
        handler = None if call is None else self.handlers.get(call.function_name)
        # A bot may announce one call twice: in progress, and by the deprecated message.
        if call is None or handler is None or id_ in self._running:
            return
        self._running[id_] = trio.CancelScope()
        self._caller.services.start(
            self._answer,
            call,
            handler,
            name=f"trio_pipecat: function {call.function_name}",
            outlive=False,
        )

    async def _answer(self, call: FunctionCall, handler: FunctionHandler) -> None:
        scope = self._running[call.tool_call_id]
        caller = self._caller
        try:
            with scope:
                try:
                    result = await handler(call)
                    await caller.send(
                        lambda: caller.protocol.function_result(
                            call, {} if result is None else result
                        )
                    )
                except SessionEndedError:
                    return
                except Exception as error:
                    # Its text may say what only this side should know.
                    refusal = {"error": f"the function failed: {type(error).__name__}"}
                    try:
                        await caller.send(lambda: caller.protocol.function_result(call, refusal))
                    except PipecatError:
                        pass
                    caller.fail(error)
        finally:
            if self._running.get(call.tool_call_id) is scope:
                del self._running[call.tool_call_id]
