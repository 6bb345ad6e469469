"""Links to bots: what one is (`Transport`), one in memory, and where the others are found.

Transports are looked up by name and imported when they are used, because some of them need an
extra. One of your own is a `Connector`; hand it to ``open_session(transport=…)``.
"""

import importlib
from typing import Any, Final, cast

from .._errors import UnsupportedFeatureError
from ._abc import Connector as Connector
from ._abc import Incoming as Incoming
from ._abc import Interruption as Interruption
from ._abc import LinkEnd as LinkEnd
from ._abc import LinkOptions as LinkOptions
from ._abc import Transport as Transport
from ._abc import Undecodable as Undecodable
from ._memory import MemoryTransport as MemoryTransport
from ._memory import memory_transport_pair as memory_transport_pair

__all__ = [
    "Connector",
    "Incoming",
    "Interruption",
    "LinkEnd",
    "LinkOptions",
    "MemoryTransport",
    "Transport",
    "Undecodable",
    "find_connector",
    "memory_transport_pair",
]

_CONNECTORS: Final = {
    "sim": "trio_pipecat.testing._sim:open_sim",
    "websocket": "trio_pipecat.transports._websocket:open_websocket",
}


def find_connector(name: str) -> Connector:
    """Return the connector of a transport.

    Raises:
        UnsupportedFeatureError: there is none of this name, or its extra is not installed.
    """
    return cast(Connector, load(_CONNECTORS, name))


def load(registry: dict[str, str], name: str) -> Any:
    """Import what `registry` has under `name`: ``"module:attribute"``."""
    if name not in registry:
        known = ", ".join(sorted(registry))
        raise UnsupportedFeatureError(f"the transport {name!r}", f"another one: {known}")
    module, _, attribute = registry[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
