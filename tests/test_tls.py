"""The TLS settings that are used where the caller gives none."""

import ssl

import certifi
import pytest
import trustme

from trio_pipecat._tls import default_ssl_context


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Forget the context that was made, before and after, and what the environment says."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    default_ssl_context.cache_clear()
    yield
    default_ssl_context.cache_clear()


def serials(context):
    """Return the serial numbers of the certificates that `context` trusts."""
    return {certificate["serialNumber"] for certificate in context.get_ca_certs()}


def serials_in(path):
    """Return the serial numbers of the certificates in a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    return serials(context)


def test_the_context_verifies():
    """The default is a client's context that checks certificate and host name."""
    context = default_ssl_context()
    assert ssl.CERT_REQUIRED == context.verify_mode
    assert context.check_hostname


def test_the_context_trusts_what_certifi_trusts():
    """Where the system has no certificates, certifi's list serves."""
    assert serials_in(certifi.where()) <= serials(default_ssl_context())


def test_the_context_is_made_once():
    """Loading certificates is slow."""
    assert default_ssl_context() is default_ssl_context()


def test_ssl_cert_file_replaces_the_list(monkeypatch, tmp_path):
    """``SSL_CERT_FILE`` is all that is trusted, as OpenSSL has it."""
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert serials_in(path) <= serials(default_ssl_context())
    assert not serials_in(certifi.where()) <= serials(default_ssl_context())


def test_ssl_cert_dir_replaces_the_list(monkeypatch, tmp_path):
    """With ``SSL_CERT_DIR`` certifi's list is not loaded either."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert not serials_in(certifi.where()) <= serials(default_ssl_context())
