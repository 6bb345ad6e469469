"""The TLS settings that are used where the caller gives none."""

import functools
import os
import ssl

import certifi


@functools.cache
def default_ssl_context() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, and certifi's list.

    Loading certificates takes tens of milliseconds, so it is made once. ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR`` replace both, as OpenSSL has it.
    """
    context = ssl.create_default_context()
    if "SSL_CERT_FILE" not in os.environ and "SSL_CERT_DIR" not in os.environ:
        context.load_verify_locations(certifi.where())
    return context
