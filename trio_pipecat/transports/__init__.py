"""Links to bots: what one is (`Transport`), one in memory, and where the others are found.

Transports are looked up by name and imported when they are used, because some of them need an
extra. One of your own is a `Connector`; hand it to ``open_session(transport=…)``.
"""

from ._abc import Connector as Connector
from ._abc import Incoming as Incoming
from ._abc import Interruption as Interruption
from ._abc import LinkEnd as LinkEnd
from ._abc import LinkOptions as LinkOptions
from ._abc import TrackName as TrackName
from ._abc import Transport as Transport
from ._abc import Undecodable as Undecodable
from ._memory import MemoryTransport as MemoryTransport
from ._memory import memory_transport_pair as memory_transport_pair
from ._registry import find_connector as find_connector

__all__ = [
    "Connector",
    "Incoming",
    "Interruption",
    "LinkEnd",
    "LinkOptions",
    "MemoryTransport",
    "TrackName",
    "Transport",
    "Undecodable",
    "find_connector",
    "memory_transport_pair",
]
