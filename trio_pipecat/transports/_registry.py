"""Where transports are found by name. Each is imported when it is used: some need an extra."""

import importlib
from typing import Any, Final, cast

from .._causes import root_cause
from .._errors import TransportStartError, UnsupportedFeatureError
from ._abc import Connector

_CONNECTORS: Final = {
    "sim": "trio_pipecat.testing._sim:open_sim",
    "webrtc": "trio_pipecat.transports._smallwebrtc:open_smallwebrtc",
    "websocket": "trio_pipecat.transports._websocket:open_websocket",
}
_WEBRTC_EXTRA: Final = {"aiortc", "av"}
_STARTERS: Final = {"sim": "trio_pipecat.testing._sim:sim_starter"}


def find_connector(name: str) -> Connector:
    """Return the connector of a transport.

    Raises:
        UnsupportedFeatureError: there is none of this name, or its extra is not installed.
        TransportStartError: it can't be loaded, because no file can be opened.
    """
    return cast(Connector, _load(_CONNECTORS, name))


def find_starter(name: str) -> Any:
    """Return what makes the start of a transport that needs no start endpoint."""
    return _load(_STARTERS, name)


def _load(registry: dict[str, str], name: str) -> Any:
    if name not in registry:
        known = ", ".join(sorted(registry))
        needs = f"another version of trio-pipecat; this one has {known}"
        raise UnsupportedFeatureError(f"the transport {name!r}", needs)
    module, _, attribute = registry[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name not in _WEBRTC_EXTRA:
            raise
    except OSError as error:  # no descriptor is left to read the module with
        raise TransportStartError("connect", root_cause(error)) from error
    needs = 'aiortc; type: pip install "trio-pipecat[webrtc]"'
    raise UnsupportedFeatureError("WebRTC", needs)
