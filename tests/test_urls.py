"""Addresses: checked, shown without secrets, and mended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat import InvalidParamsError
from trio_pipecat._urls import (
    add_query,
    add_segment,
    check_url,
    find_upload_url,
    header_secrets,
    is_local,
    is_tls,
    origin,
    port_of,
    redact,
    repair_ws_url,
    scrub,
    split_url,
    url_secrets,
)

TOKEN = "tok-" + 40 * "x"
UUID = "123e4567-e89b-12d3-a456-426614174000"


# -- checking ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:7860/start",
        "HTTP://LOCALHOST/start",
        "http://[::1]:7860/start",
        "http://bot.example.",
        "http://bücher.example/start",
        "http://user:pass@bot.example/start?token=x#part",
        f"http://{63 * 'a'}.example",
    ],
)
def test_a_url_of_a_wanted_scheme_is_taken(url):
    """`check_url` returns the parts of a URL that has one of the schemes and a host."""
    parts = check_url(url, "http", "https")
    assert "http" == parts.scheme
    assert parts.hostname


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (None, "a URL is a string, not NoneType"),
        (7860, "a URL is a string, not int"),
        (b"http://localhost", "a URL is a string, not bytes"),
        ("", "expected a http:// or https:// URL, not ''"),
        ("localhost:7860", "expected a http:// or https:// URL, not 'localhost:7860'"),
        ("ftp://bot.example", "expected a http:// or https:// URL, not 'ftp://bot.example'"),
        ("javascript:alert(1)", "expected a http:// or https:// URL, not 'javascript:alert(1)'"),
        ("http:///start", "a URL without a usable host or port: 'http:///start'"),
        ("http://:7860/start", "a URL without a usable host or port: 'http://:7860/start'"),
        ("http://.", "a URL without a usable host or port: 'http://.'"),
        ("http://bot..example", "a URL without a usable host or port: 'http://bot..example'"),
        ("http://localhost:0/", "a URL without a usable host or port: 'http://localhost:0/'"),
        ("http://localhost:65536", "not a URL: its host or port can't be read"),
        ("http://localhost:http/", "not a URL: its host or port can't be read"),
        ("http://[::1", "not a URL: its host or port can't be read"),
        ("http://a b/", "a URL with white space or control characters in it"),
        ("http://localhost/\r\nX: y", "a URL with white space or control characters in it"),
        (" http://localhost/", "a URL with white space or control characters in it"),
        ("http://localhost/\u202e", "a URL with white space or control characters in it"),
    ],
)
def test_what_is_no_url_is_refused_with_the_reason(url, why):
    """`check_url` raises `InvalidParamsError`, which says what is wrong."""
    with pytest.raises(InvalidParamsError) as caught:
        check_url(url, "http", "https")
    assert why == str(caught.value)


def test_a_label_of_a_host_has_at_most_63_characters():
    """A host that can't be looked up is no host: no codec error comes out of the resolver."""
    with pytest.raises(InvalidParamsError, match="without a usable host"):
        check_url(f"http://{64 * 'a'}.example", "http")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:s3cret-word@host/?token=s3cret-word",
        "user:s3cret-word@host",
        "http://user:s3cret-word@host:port/",
        "http://user:s3cret-word/more@host/",
        "http://user:s3cret-word@ho℀st/",
        "http://user:s3cret-word@host:0/?token=s3cret-word",
        "http://user:s3cret-word@/?s3cret-word",
        "http://host/?s3cret-word \n",
    ],
)
def test_a_refused_url_is_shown_without_its_secrets(url):
    """No error quotes the user's password or query, nor does its traceback."""
    with pytest.raises(InvalidParamsError) as caught:
        check_url(url, "http")
    assert "s3cret" not in f"{caught.value} {caught.value!r}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_parts_of_a_url_have_a_port_that_can_be_read():
    """`split_url` refuses now what `SplitResult.port` would refuse later."""
    assert 7860 == split_url("ws://localhost:7860").port
    with pytest.raises(InvalidParamsError, match="can't be read"):
        split_url("ws://localhost:99999")


# -- showing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://localhost:7860/start", "http://localhost:7860/start"),
        ("http://user:pass@host/start", "http://host/start"),
        ("http://user@host/start", "http://host/start"),
        ("http://[::1]:7860/start", "http://[::1]:7860/start"),
        ("http://host/start?token=secret", "http://host/start?token=***"),
        ("http://host/start?a=1&b=2&a=3", "http://host/start?a=***&b=***&a=***"),
        ("http://host/start?secret", "http://host/start?***"),
        ("http://host/start?c2VjcmV0dA==", "http://host/start?***"),
        ("http://host/start?c2VjcmV0dA=", "http://host/start?***"),
        ("http://host/start?&", "http://host/start?***"),
        ("http://host/start#secret", "http://host/start"),
        (f"wss://host/ws-client/{TOKEN}", "wss://host/ws-client/***"),
        (f"http://host/sessions/{UUID}/files", f"http://host/sessions/{UUID}/files"),
        ("/files?sig=secret", "/files?sig=***"),
        ("sim:?greeting=hello", "sim:?greeting=***"),
        ("user:pass@host/start", "***"),
        ("//user:pass@host/start", "//host/start"),
        ("http://host:port/", "***"),
        ("http://[::1", "***"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_what_is_secret_in_it(url, shown):
    """`redact` drops the user, hides query values and long path segments, and keeps the rest."""
    assert shown == redact(url)


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("the token abcd is bad", ["abcd"], "the token *** is bad"),
        ("abcd abcdef abcd", ["abcd", "abcdef"], "*** *** ***"),
        ("abcd", ["efgh"], "abcd"),
        ("as it was", ["", "a", "as", "was"], "as it was"),
    ],
)
def test_secrets_are_scrubbed_from_a_text(text, secrets, shown):
    """`scrub` hides every secret that is long enough to be one, the longest first."""
    assert shown == scrub(text, secrets)


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("Bearer abc123", ["Bearer abc123", "abc123"]),
        ("abc123", ["abc123"]),
        ("theme=dark; session=abc123", ["dark", "abc123"]),
        ('Token token="abc123", nonce="x1"', ["abc123", "x1"]),
        ("", []),
    ],
)
def test_what_is_secret_in_a_header(value, secrets):
    """A header's secrets are its value, the token behind its scheme, and what it assigns."""
    assert set(secrets) <= set(header_secrets([value]))
    assert "" not in header_secrets([value])


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("http://host/?token=abc123", "abc123"),
        ("http://host/?abc123", "abc123"),
        ("http://host/?token=a%2Fb%20c", "a%2Fb%20c"),
        ("http://host/?token=a%2Fb%20c", "a/b c"),
        ("http://host/?token=a+b", "a b"),
        ("http://host/?token=a/b", "a%2Fb"),
        ("http://us%40er:pa%3Ass@host/", "us@er"),
        ("http://us%40er:pa%3Ass@host/", "pa:ss"),
        (f"http://host/ws/{TOKEN}/x", TOKEN),
    ],
)
def test_what_is_secret_in_a_url(url, secret):
    """What `redact` hides is known in every form in which a server may echo it."""
    assert secret in url_secrets(url)


def test_nothing_is_secret_in_a_plain_url():
    """An address without user, query and token has nothing to hide."""
    assert [] == url_secrets("http://localhost:7860/api/start")


@given(
    st.text(st.characters(min_codepoint=48, max_codepoint=122, categories=["Lu", "Nd"]), min_size=8)
)
def test_no_secret_survives_redaction(secret):
    """Whatever the secret is, and wherever it stands, it is not shown."""
    for url in (
        f"http://{secret}@host.example/start",
        f"http://user:{secret}@host.example/start",
        f"http://host.example/start?{secret}",
        f"http://host.example/start?token={secret}",
        f"http://host.example/start?{secret}==",
        f"http://host.example/start#{secret}",
    ):
        assert secret not in redact(url)


# -- questions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:7860/start", ("http", "localhost", 7860)),
        ("HTTPS://Bot.Example/start", ("https", "bot.example", 443)),
        ("http://user:pass@bot.example", ("http", "bot.example", 80)),
        ("ws://bot.example", ("ws", "bot.example", 80)),
        ("wss://bot.example", ("wss", "bot.example", 443)),
        ("/start", ("", "", 0)),
    ],
)
def test_the_origin_of_a_url(url, expected):
    """An origin is scheme, host and port, where the scheme's own port need not be spelt out."""
    assert expected == origin(url)


def test_the_port_of_a_url():
    """`port_of` is the port that is spelt out, else the scheme's."""
    assert 8080 == port_of(split_url("https://host:8080"))
    assert 443 == port_of(split_url("https://host"))


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("bot.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::1%lo", True),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("notlocalhost", False),
        ("0.0.0.0", False),
        ("192.168.1.1", False),
        ("::ffff:10.0.0.1", False),
        ("", False),
    ],
)
def test_which_hosts_are_this_machine(host, local):
    """Only what can't be anything but loopback is local."""
    assert local == is_local(host)


@pytest.mark.parametrize(
    ("scheme", "encrypts"), [("http", False), ("ws", False), ("https", True), ("wss", True)]
)
def test_which_schemes_encrypt(scheme, encrypts):
    """https and wss encrypt."""
    assert encrypts == is_tls(scheme)


# -- adding ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://host/ws", "ws://host/ws?token=a%2Fb%20%26c"),
        ("ws://host/ws?x=1", "ws://host/ws?x=1&token=a%2Fb%20%26c"),
        ("ws://host/ws?x=1#part", "ws://host/ws?x=1&token=a%2Fb%20%26c"),
    ],
)
def test_a_query_parameter_is_added(url, expected):
    """`add_query` keeps what is there, encodes what comes, and drops the fragment."""
    assert expected == add_query(url, token="a/b &c")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://host/ws", "ws://host/ws/a%2Fb"),
        ("ws://host/ws/?x=1", "ws://host/ws/a%2Fb?x=1"),
        ("ws://host", "ws://host/a%2Fb"),
    ],
)
def test_a_path_segment_is_added(url, expected):
    """`add_segment` makes one segment of what it is given, whatever is in it."""
    assert expected == add_segment(url, "a/b")


# -- mending -----------------------------------------------------------------------------

LOCAL = "http://127.0.0.1:7860/start"
REMOTE = "https://bot.example/start"


@pytest.mark.parametrize(
    ("endpoint", "given", "expected"),
    [
        # What Pipecat's runner says when it listens on all interfaces, or on 127.0.0.1.
        (LOCAL, "wss://0.0.0.0:7860/ws-client", "ws://127.0.0.1:7860/ws-client"),
        (LOCAL, "wss://127.0.0.1:7860/ws-client", "ws://127.0.0.1:7860/ws-client"),
        (LOCAL, "ws://localhost:7860/ws-client", "ws://localhost:7860/ws-client"),
        (LOCAL, "wss://localhost:7860/ws-client", "ws://localhost:7860/ws-client"),
        ("http://localhost:7860/start", "wss://127.0.0.1:7860/ws", "ws://127.0.0.1:7860/ws"),
        ("http://0.0.0.0:7860/start", "wss://0.0.0.0:7860/ws", "ws://0.0.0.0:7860/ws"),
        # The port of a container is published as another one.
        ("http://localhost:9000/start", "wss://0.0.0.0:7860/ws", "ws://localhost:9000/ws"),
        # A loopback address means nothing on another machine.
        (REMOTE, "ws://localhost:7860/ws", "wss://bot.example/ws"),
        (REMOTE, "wss://127.0.0.1/ws", "wss://bot.example/ws"),
        (REMOTE, "wss://[::1]:7860/ws", "wss://bot.example/ws"),
        ("http://bot.example:7860/start", "ws://localhost/ws", "ws://bot.example:7860/ws"),
        # Other hosts are taken at their word.
        (LOCAL, "wss://eu.bot.example/ws?x=1", "wss://eu.bot.example/ws?x=1"),
        (REMOTE, "ws://eu.bot.example:81/ws", "ws://eu.bot.example:81/ws"),
        (LOCAL, "wss://127.0.0.1:8765/ws", "wss://127.0.0.1:8765/ws"),
        (REMOTE, "wss://10.0.0.1/ws", "wss://10.0.0.1/ws"),
        # The endpoint's own host and port have the endpoint's security.
        (REMOTE, "ws://bot.example:443/ws", "wss://bot.example:443/ws"),
        ("http://bot.example/start", "wss://bot.example:80/ws", "ws://bot.example:80/ws"),
        ("http://bot.example:80/start", "wss://bot.example:80/ws", "ws://bot.example:80/ws"),
        ("http://bot.example/start", "ws://bot.example/ws", "ws://bot.example/ws"),
        ("http://bot.example/start", "wss://bot.example/ws", "wss://bot.example/ws"),
        (REMOTE, "ws://bot.example/ws", "ws://bot.example/ws"),
        (REMOTE, "https://bot.example/ws", "wss://bot.example/ws"),
        (LOCAL, "http://eu.bot.example/ws", "ws://eu.bot.example/ws"),
        # Upper case.
        (LOCAL, "WSS://0.0.0.0:7860/WS", "ws://127.0.0.1:7860/WS"),
        ("HTTPS://BOT.example/start", "ws://Bot.Example:443/ws", "wss://Bot.Example:443/ws"),
        (REMOTE, "ws://LOCALHOST:7860/ws", "wss://bot.example/ws"),
        # IPv6.
        ("http://[::1]:7860/start", "wss://[::]:7860/ws", "ws://[::1]:7860/ws"),
        ("http://[::1]:7860/start", "wss://[::1]:7860/ws", "ws://[::1]:7860/ws"),
        ("http://[::1]:7860/start", "wss://127.0.0.1:7860/ws", "ws://127.0.0.1:7860/ws"),
        (LOCAL, "wss://[::ffff:0.0.0.0]:7860/ws", "ws://127.0.0.1:7860/ws"),
        # Relative ones.
        (LOCAL, "/ws-client?x=1", "ws://127.0.0.1:7860/ws-client?x=1"),
        (REMOTE, "/ws-client", "wss://bot.example/ws-client"),
        ("https://bot.example/api/start", "ws-client", "wss://bot.example/api/ws-client"),
        (REMOTE, "//eu.bot.example/ws", "wss://eu.bot.example/ws"),
        (LOCAL, "wss:///ws", "ws://127.0.0.1:7860/ws"),
        # The credentials of the start request are not the link's; the link's own are.
        ("http://user:pass@localhost:7860/start", "wss://0.0.0.0/ws", "ws://localhost:7860/ws"),
        ("http://user:pass@localhost:7860/start", "/ws", "ws://localhost:7860/ws"),
        (REMOTE, "wss://user:pass@eu.bot.example/ws", "wss://user:pass@eu.bot.example/ws"),
        # The fragment is for nobody.
        (LOCAL, "ws://localhost:7860/ws#part", "ws://localhost:7860/ws"),
    ],
)
def test_a_websocket_address_is_mended(endpoint, given, expected):
    """What a start answer names is made into what can be reached from here."""
    assert expected == repair_ws_url(given, endpoint)


@pytest.mark.parametrize(
    ("given", "base_url", "expected"),
    [
        ("wss://0.0.0.0:7860/ws", "https://proxy.example", "wss://proxy.example/ws"),
        ("wss://0.0.0.0:7860/ws", "http://proxy.example:81/", "ws://proxy.example:81/ws"),
        ("ws://eu.bot.example/ws?x=1", "wss://proxy.example/a/", "wss://proxy.example/a/ws?x=1"),
        ("/ws", "ws://proxy.example/a/b", "ws://proxy.example/a/b/ws"),
        ("ws", "ws://proxy.example/a", "ws://proxy.example/a/ws"),
        ("wss://bot.example", "https://proxy.example/a/", "wss://proxy.example/a"),
        ("wss://bot.example/ws", "https://[::1]:1/a", "wss://[::1]:1/a/ws"),
        ("wss://localhost/ws", "HTTPS://Proxy.Example", "wss://Proxy.Example/ws"),
    ],
)
def test_a_base_url_replaces_scheme_host_and_port(given, base_url, expected):
    """`base_url` wins over everything the answer says, and its path goes before the path."""
    assert expected == repair_ws_url(given, LOCAL, base_url=base_url)


@pytest.mark.parametrize(
    "given",
    [
        "ftp://eu.bot.example/ws",
        "ws://host:99999/ws",
        "ws://[",
        "ws://eu.bot.example:0/ws",
        "ws://eu.bot..example/ws",
        "ws://eu.bot.example/a b",
        "mailto:bot@bot.example",
    ],
)
def test_an_address_that_cannot_be_mended_is_an_error(given):
    """Whatever a server says, the outcome is a WebSocket address or `InvalidParamsError`."""
    with pytest.raises(InvalidParamsError):
        repair_ws_url(given, LOCAL)


@given(st.text(st.sampled_from("ws:/@[]?#%.0a1 \n\\"), max_size=20))
def test_mending_raises_nothing_else(given):
    """Whatever a server says, the outcome is a WebSocket address or `InvalidParamsError`."""
    try:
        repaired = repair_ws_url(given, LOCAL)
    except InvalidParamsError:
        return
    assert repaired.startswith(("ws://", "wss://"))


@pytest.mark.parametrize(
    ("given", "base_url", "expected"),
    [
        ("/sessions/1/files", None, "https://bot.example/sessions/1/files"),
        ("files", None, "https://bot.example/api/files"),
        ("/files?sig=x", None, "https://bot.example/files?sig=x"),
        ("https://files.example/up", None, "https://files.example/up"),
        ("/files", "http://proxy.example:81/a/", "http://proxy.example:81/a/files"),
        ("/files", "wss://proxy.example", "https://proxy.example/files"),
        ("/files", "ws://proxy.example", "http://proxy.example/files"),
        ("https://files.example/up", "wss://proxy.example", "https://files.example/up"),
    ],
)
def test_an_upload_address_is_found(given, base_url, expected):
    """A relative address is on the endpoint's server or at `base_url`; an absolute one stays."""
    assert expected == find_upload_url(given, "https://bot.example/api/start", base_url=base_url)


@pytest.mark.parametrize("given", ["ftp://files.example", "http://host:99999/", "http://["])
def test_an_upload_address_that_is_none_is_an_error(given):
    """An upload goes by HTTP or not at all."""
    with pytest.raises(InvalidParamsError):
        find_upload_url(given, LOCAL)


def test_a_user_is_secret_as_http_spells_it_too():
    """Basic authorization is base64 of both."""
    assert "dXNlcjpwYXNz" in url_secrets("http://user:pass@bot.example/")
