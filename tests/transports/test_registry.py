"""Transports by name."""

import importlib.abc
import subprocess
import sys

import pytest

import trio_pipecat as tp
from trio_pipecat.testing._sim import open_sim
from trio_pipecat.transports import _registry
from trio_pipecat.transports._registry import find_connector, find_starter
from trio_pipecat.transports._websocket import open_websocket


def test_the_names_that_there_are() -> None:
    """Each leads to its connector."""
    assert (open_websocket, open_sim) == (find_connector("websocket"), find_connector("sim"))


def test_webrtc_is_an_extra() -> None:
    """Where it is installed the name leads to its connector."""
    pytest.importorskip("aiortc")
    assert "open_smallwebrtc" == find_connector("webrtc").__name__


@pytest.mark.parametrize("find", [find_connector, find_starter])
@pytest.mark.parametrize("name", ["", "webrtc ", "carrier-pigeon"])
def test_a_name_that_is_none(find, name) -> None:
    """The error names it, and those that there are."""
    with pytest.raises(tp.UnsupportedFeatureError, match=r"this one has .*sim") as caught:
        find(name)
    assert repr(name) in str(caught.value)


class Absent(importlib.abc.MetaPathFinder):
    """Finds that some modules are not installed."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(self, fullname, path, target=None):
        """Return nothing, or say that there is no such module."""
        if fullname in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def importing(monkeypatch, tmp_path, name, *absent):
    """Have the transport ``webrtc`` import a module, of which some are not installed."""
    (tmp_path / "needy.py").write_text(f"import {name}\nopen_needy = 1\n")
    for module in [*sys.modules]:
        if module.partition(".")[0] in ("needy", *absent):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [Absent(*absent), *sys.meta_path])
    monkeypatch.setitem(_registry._CONNECTORS, "webrtc", "needy:open_needy")


@pytest.mark.parametrize("absent", ["aiortc", "av"])
def test_an_extra_that_is_not_installed_is_named(monkeypatch, tmp_path, absent):
    """With the line to type."""
    importing(monkeypatch, tmp_path, absent, absent)
    with pytest.raises(tp.UnsupportedFeatureError) as caught:
        find_connector("webrtc")
    expected = 'WebRTC needs aiortc; type: pip install "trio-pipecat[webrtc]"'
    assert expected == str(caught.value)


def test_another_module_that_is_missing_is_a_bug(monkeypatch, tmp_path):
    """Not a thing to install."""
    importing(monkeypatch, tmp_path, "no_such_module_of_ours")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_ours"):
        find_connector("webrtc")


def test_a_transport_is_imported_when_it_is_used() -> None:
    """Not before: the others may need what is not installed."""
    code = (
        "import sys, trio_pipecat.transports._registry as r; "
        "loaded = lambda: 'wsproto' in sys.modules; "
        "before = loaded(); r.find_connector('websocket'); print(before, loaded())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False True" == done.stdout.strip()
