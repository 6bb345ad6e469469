"""STUN and TURN servers, as JSON has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON

from trio_pipecat import InvalidParamsError
from trio_pipecat._ice import IceServer, read_ice_servers, usable_ice_servers

SECRET = "s3cret-word"


def refusal(value):
    """Return what is said against a list of servers."""
    with pytest.raises(InvalidParamsError) as caught:
        read_ice_servers(value)
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"urls": "stun:x"}, IceServer(urls=("stun:x",))),
        ({"urls": ["stun:x", "stun:y"]}, IceServer(urls=("stun:x", "stun:y"))),
        ({"urls": ("stun:x",)}, IceServer(urls=("stun:x",))),
        ({"url": "stun:x"}, IceServer(urls=("stun:x",))),
        ({"urls": None, "url": ["stun:x"]}, IceServer(urls=("stun:x",))),
        (
            {"urls": "turn:x", "username": "u", "credential": "c", "credentialType": "password"},
            IceServer(urls=("turn:x",), username="u", credential="c"),
        ),
        ({"urls": "turn:x", "username": None, "credential": None}, IceServer(urls=("turn:x",))),
    ],
)
def test_a_server_is_read_in_every_spelling(entry, expected):
    """``urls`` is a string or a list, its old name is ``url``; null is absent."""
    assert (expected,) == read_ice_servers([entry])


def test_no_servers_are_none():
    """An empty list is a list."""
    assert () == read_ice_servers([]) == read_ice_servers(())


@pytest.mark.parametrize(
    "url",
    [
        "stun:stun.example",
        "stun:stun.example:19302",
        "stuns:stun.example.:1",
        "turn:192.0.2.1:65535",
        "turn:turn-1.example?transport=udp",
        "turn:turn_1.example:80?transport=tcp",
        "turns:turn.example:443?transport=tcp",
        "turn:bücher.example",
    ],
)
def test_the_urls_that_there_are(url):
    """STUN and TURN, plain or under TLS, with a port and a transport or without."""
    pytest.importorskip("aiortc")
    from aiortc.rtcicetransport import parse_stun_turn_uri

    assert (IceServer(urls=(url,)),) == read_ice_servers([{"urls": url}])
    assert url.partition(":")[0] == parse_stun_turn_uri(url)["scheme"]


UNUSABLE = [
    "",
    "stun",
    "stun:",
    "stun:x:",
    "stun:x:0",
    "stun:x:65536",
    "stun:x:y",
    "stun:x:١",
    "stun:x?transport=udp",
    "stun://x",
    "STUN:x",
    "stun:x y",
    "stun:x\n",
    "stun:.",
    "stun:a..b",
    f"stun:{64 * 'a'}",
    "turn:[::1]:3478",
    "turn:user:s3cret-word@x",
    "turn:x?transport=sctp",
    "turn:x?transport=",
    "turn:x?a=b",
    "http://x",
    "x:3478",
]


@pytest.mark.parametrize("url", [*UNUSABLE, None, 7, ["stun:x"]])
def test_the_urls_that_there_are_not(url):
    """The entry is named, and nothing of it is shown."""
    said = refusal([{"urls": "stun:x"}, {"urls": ["stun:x", url], "credential": SECRET}])
    assert (
        "ICE server 2 has a URL that can't be used: expected stun:host, turn:host:port or "
        "turns:host?transport=tcp"
    ) == said


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "ice_servers is a list"),
        ("stun:x", "ice_servers is a list"),
        (b"stun:x", "ice_servers is a list"),
        ({"urls": "stun:x"}, "ice_servers is a list"),
        ([7], "ICE server 1 is no object with urls"),
        (["stun:x"], "ICE server 1 is no object with urls"),
        ([{}], "ICE server 1 has no urls"),
        ([{"urls": []}], "ICE server 1 has no urls"),
        ([{"urls": {"a": "stun:x"}}], "ICE server 1 has no urls"),
        ([{"urls": "turn:x", "username": 7}], "ICE server 1 has a username that is no string"),
        (
            [{"urls": "turn:x", "credential": [SECRET]}],
            "ICE server 1 has a credential that is no string",
        ),
    ],
)
def test_what_is_no_list_of_servers_is_refused(value, why):
    """What is wrong is told by the entry's number."""
    assert why == refusal(value)


def test_a_server_shows_no_secret():
    """Its credential is not in its repr."""
    server = IceServer(urls=("turn:x",), username="u", credential=SECRET)
    assert "IceServer(urls=('turn:x',), username='u')" == repr(server)


def test_those_that_can_be_used_are_kept():
    """A server's list may have some that are not for us."""
    stun, turn = {"urls": "stun:x"}, {"urls": ["turn:y"], "username": "u", "credential": "c"}
    assert [stun, turn] == usable_ice_servers([1, stun, {"urls": "quic:z"}, None, turn, {}])


entries = st.fixed_dictionaries(
    {},
    optional={
        key: JSON | st.sampled_from(["stun:x", "turn:x:1", *UNUSABLE])
        for key in ("urls", "url", "username", "credential")
    },
)


@given(JSON | st.lists(entries))
def test_anything_is_read_or_refused(value):
    """With `InvalidParamsError` and nothing else; what is usable alone is so together."""
    try:
        servers = read_ice_servers(value)
    except InvalidParamsError:
        servers = None
    if isinstance(value, list):
        usable = usable_ice_servers(value)
        assert len(usable) == len(read_ice_servers(usable))
        assert (servers is not None) == (usable == value)
