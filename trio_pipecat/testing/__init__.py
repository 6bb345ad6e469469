"""The other end of the wire: a simulated bot, for tests, tutorials and demonstrations."""

from ._bot import SimulatedBot as SimulatedBot
from ._conversation import Conversation as Conversation
from ._conversation import RefusedError as RefusedError
from ._serve import ServedBot as ServedBot
from ._serve import serve_bot as serve_bot
from ._voice import Voice as Voice

__all__ = ["Conversation", "RefusedError", "ServedBot", "SimulatedBot", "Voice", "serve_bot"]
