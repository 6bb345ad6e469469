"""Why something failed, in the words of whoever knew first: libraries wrap the system's errors."""

import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

#: How far into a page its title is looked for.
_MAX_TITLE: Final = 4096
_TITLE: Final = re.compile("<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def page_title(text: str) -> str:
    """Return the title of a page of HTML; a text that is none as it is."""
    title = _TITLE.search(text[:_MAX_TITLE])
    return text if title is None else title[1]


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, however deep; of what is none, itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def sole_leaf(error: Exception) -> Exception:
    """Return the one exception that a group holds; what is none, or holds more, as it is."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def root_cause(error: BaseException) -> str:
    """Return the text of the first cause of `error` that the system or TLS gave."""
    reason: BaseException | None = error
    seen: set[int] = set()
    while reason is not None and id(reason) not in seen:
        seen.add(id(reason))
        if isinstance(reason, ssl.SSLCertVerificationError):
            return f"certificate refused: {getattr(reason, 'verify_message', None) or reason}"
        if isinstance(reason, ssl.SSLError):
            # OpenSSL's errors have a reason, those that Python makes have none.
            return f"TLS failed: {getattr(reason, 'reason', None) or reason}"
        if isinstance(reason, socket.gaierror) and reason.strerror:
            return reason.strerror
        if isinstance(reason, OSError) and reason.errno is not None and reason.errno > 0:
            return os.strerror(reason.errno)
        if isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        else:
            reason = reason.__cause__ or reason.__context__
    return str(error) or type(error).__name__
