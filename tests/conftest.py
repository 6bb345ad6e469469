"""What every test shares."""

import gc
import ssl

import pytest
import trio
import trustme
from http_server import HOST, LoopbackNames
from hypothesis import HealthCheck, settings

# A loaded machine is slow, and slow is no bug: no test here depends on wall time.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture
async def names():
    """The names that tests use lead to loopback, and no others anywhere."""
    trio.socket.set_custom_hostname_resolver(LoopbackNames("bot.example", "localhost"))


@pytest.fixture(scope="session")
def ca():
    """A certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def server_tls(ca):
    """A server's context for 127.0.0.1 and bot.example."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(HOST, "bot.example").configure_cert(context)
    return context


@pytest.fixture
def client_tls(ca):
    """A client's context that trusts those servers."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture
def garbage():
    """Take away what nobody holds any more, so that a forgotten socket is noticed in this test."""
    yield
    gc.collect()
