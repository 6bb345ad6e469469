"""Why something failed, in the words of whoever knew first."""

import errno
import os
import socket
import ssl
from itertools import pairwise

import pytest
import trio
import trustme

from trio_pipecat._causes import leaves, page_title, root_cause, sole_leaf

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Verbindung verweigert")


def caused(*errors):
    """Return the first of these errors, caused by the second, and so on."""
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def verification_error():
    """Return what OpenSSL raises for a certificate that it does not trust."""
    client = ssl.create_default_context()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(server)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for end in (ours, theirs):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        ours.do_handshake()
    return caught.value


def protocol_error():
    """Return what OpenSSL raises for something that is no TLS."""
    incoming = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="x")
    incoming.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        tls.do_handshake()
    return caught.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (REFUSED, os.strerror(errno.ECONNREFUSED)),
        (TimeoutError(errno.ETIMEDOUT, "x"), os.strerror(errno.ETIMEDOUT)),
        (socket.gaierror(socket.EAI_NONAME, "Name not known"), "Name not known"),
        (socket.gaierror(socket.EAI_NONAME), str(socket.gaierror(socket.EAI_NONAME))),
        (OSError("all attempts to connect failed"), "all attempts to connect failed"),
        (ssl.SSLError(1, "no reason"), f"TLS failed: {ssl.SSLError(1, 'no reason')}"),
        (ssl.SSLCertVerificationError("wrong name"), "certificate refused: ('wrong name',)"),
        (ValueError("what it says"), "what it says"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_is_told_in_the_words_of_its_maker(error, expected):
    """The system's errors are told as the system tells them, others by text, else by name."""
    assert expected == root_cause(error)


def test_a_certificate_that_is_refused_is_told_with_the_reason():
    """Why a certificate was refused matters more than where in OpenSSL."""
    said = root_cause(caused(trio.BrokenResourceError(), verification_error()))
    assert said.startswith("certificate refused: ")
    assert "certificate" in said.removeprefix("certificate refused: ")


def test_what_is_no_tls_is_told_with_the_reason():
    """A server that speaks no TLS is told by OpenSSL's name for it."""
    said = root_cause(caused(trio.BrokenResourceError(), protocol_error()))
    assert said.startswith("TLS failed: ")
    assert said.removeprefix("TLS failed: ").isupper()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda error: caused(RuntimeError("x"), error),
        lambda error: caused(RuntimeError("x"), ValueError("y"), error),
        lambda error: caused(RuntimeError("x"), OSError("all attempts failed"), error),
        lambda error: ExceptionGroup("x", [error, ValueError("y")]),
        lambda error: caused(OSError("x"), ExceptionGroup("y", [ExceptionGroup("z", [error])])),
        lambda error: BaseExceptionGroup("x", [error, KeyboardInterrupt()]),
    ],
)
def test_the_first_cause_counts(wrap):
    """However an error of the system is wrapped, it is found."""
    error = ConnectionRefusedError(errno.ECONNREFUSED, "x")
    assert os.strerror(errno.ECONNREFUSED) == root_cause(wrap(error))


def test_a_context_counts_as_a_cause():
    """A library that raises without ``from`` is understood too."""
    error = RuntimeError("y")
    error.__context__ = ConnectionRefusedError(errno.ECONNREFUSED, "x")
    assert os.strerror(errno.ECONNREFUSED) == root_cause(error)


def test_without_such_a_cause_the_error_itself_is_told():
    """If the system has no part in it, the outermost error has the word."""
    assert "outer" == root_cause(caused(RuntimeError("outer"), ValueError("inner")))


def test_errors_that_cause_each_other_end():
    """A ring of causes is walked once."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert "first" == root_cause(first)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("", ""),
        ("no page", "no page"),
        ("<html><head><TITLE>Not\nhere</title></head><body>x</body></html>", "Not\nhere"),
        ("<title>never ends", "<title>never ends"),
    ],
)
def test_a_page_is_known_by_its_title(text, title):
    """Servers answer with pages where nobody reads HTML."""
    assert title == page_title(text)


def test_leaves_of_a_group():
    """Every exception in it, in order, however deep; what is no group is its own leaf."""
    one, two, three = ValueError("1"), KeyboardInterrupt(), OSError("3")
    group = BaseExceptionGroup("a", [one, BaseExceptionGroup("b", [two]), three])
    assert [one, two, three] == list(leaves(group))
    assert [one] == list(leaves(one))


def test_a_group_of_one_is_that_one():
    """However deep; one that holds more stays a group."""
    one = ValueError("1")
    both = ExceptionGroup("a", [one, OSError("2")])
    assert one is sole_leaf(one)
    assert one is sole_leaf(ExceptionGroup("a", [ExceptionGroup("b", [one])]))
    assert both is sole_leaf(ExceptionGroup("b", [both]))
