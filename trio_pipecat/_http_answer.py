"""What an answer over HTTP says: its JSON, or what the server says of an error."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ._causes import page_title
from ._wire import Json

if TYPE_CHECKING:
    from ._http import Answer, Request

#: What `parse` gives for what is no JSON: null is some.
NO_JSON: Final = object()


def parse(content: bytes) -> Json:
    """Return what the JSON says, or `NO_JSON`."""
    # The errors of json hold the whole text.
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return NO_JSON


def explain(request: "Request", answer: "Answer") -> str:
    """Return what a server says of its refusal, fit to be shown."""
    return request.show(read_error(answer.content)) or answer.reason


def not_json(request: "Request", answer: "Answer") -> str:
    """Return how an answer that is no JSON begins, fit to be shown."""
    excerpt = request.show(answer.content.decode("utf-8", "replace"))[:60]
    return f"the answer is not JSON: {excerpt!r}"


def read_error(content: bytes) -> str:
    """Return what a server says of an error, in whichever of the known shapes it says it.

    ``detail`` (FastAPI: a string, or for 422 a list), ``info`` (custom endpoints), ``error`` with
    ``code``, or ``message`` with ``code`` (Pipecat Cloud), or plain text, or a page's title.
    """
    body = parse(content)
    if body is NO_JSON:
        return page_title(content.decode("utf-8", "replace"))
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return ""
    for key in ("detail", "info", "error", "message"):
        if text := _read_detail(body.get(key)):
            code = body.get("code")
            return f"{text} ({code})" if isinstance(code, str | int) else text
    return ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the server's advice when to come back, in seconds."""
    try:
        seconds = float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds < math.inf else None


def _read_detail(detail: Json) -> str:
    if isinstance(detail, str):
        return detail
    if isinstance(detail, dict):
        words = (detail.get(key) for key in ("message", "msg"))
        return next((text for text in words if isinstance(text, str) and text), "")
    if not isinstance(detail, list):
        return ""
    # FastAPI's validation errors. Their "input" repeats what we sent, so it is left out.
    items = [item for item in detail if isinstance(item, dict)]
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, _as_list(item.get("loc")))), str(item["msg"]))))
        for item in items
        if item.get("msg")
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
