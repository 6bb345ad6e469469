"""The version of the package, and what it calls itself."""

from typing import Final

__version__ = "0.1.0"

#: What servers see in the ``User-Agent`` of every request.
USER_AGENT: Final = f"trio-pipecat/{__version__}"
