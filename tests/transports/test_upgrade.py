"""How a WebSocket's upgrade asks to be let in, without a socket."""

import pytest

from trio_pipecat import ConnectParams, InvalidParamsError
from trio_pipecat.transports import LinkOptions
from trio_pipecat.transports._upgrade import UpgradeRequest, upgrade_request


def request(
    url: str, *, token: str | None = None, body: str | None = None, **options: object
) -> UpgradeRequest:
    params = ConnectParams(transport="websocket", ws_url=url, token=token, body=body)
    return upgrade_request(params, LinkOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "netloc", "target"),
    [
        ("ws://bot", "bot", 80, False, "bot", "/"),
        ("wss://bot/a/b?c=d", "bot", 443, True, "bot", "/a/b?c=d"),
        ("ws://localhost:7860/ws-client", "localhost", 7860, False, "localhost:7860", "/ws-client"),
        ("ws://[::1]:8/x", "::1", 8, False, "[::1]:8", "/x"),
        ("wss://ann:pw@bot/x", "bot", 443, True, "bot", "/x"),
        ("ws://bot/ü%20x?q=é", "bot", 80, False, "bot", "/%C3%BC%20x?q=%C3%A9"),
        ("ws://bot/a#fragment", "bot", 80, False, "bot", "/a"),
    ],
)
def test_an_address_says_where_and_what(
    url: str, host: str, port: int, tls: bool, netloc: str, target: str
) -> None:
    """Host, port, security, the Host header and the request target."""
    made = request(url)
    assert (host, port, tls, netloc, target) == (
        made.host,
        made.port,
        made.tls,
        made.netloc,
        made.target,
    )


@pytest.mark.parametrize(
    ("place", "target", "header"),
    [
        ("header", "/ws?a=1", b"Bearer t/k"),
        ("query", "/ws?a=1&token=t%2Fk", None),
        ("path", "/ws/t%2Fk?a=1", None),
    ],
)
def test_a_token_goes_where_it_is_wanted(place: str, target: str, header: bytes | None) -> None:
    """Quoted, and beside what is there already."""
    made = request("wss://bot/ws?a=1", token="t/k", token_in=place)
    assert target == made.target
    assert header == dict(made.headers).get(b"authorization")
    assert "t/k" in made.secrets


def test_the_clouds_body_comes_back_as_a_query() -> None:
    """As Pipecat Cloud wants it."""
    assert "/ws?body=e30%3D" == request("wss://bot/ws", body="e30=").target


def test_what_is_secret_is_not_in_the_repr() -> None:
    """Neither headers nor the target."""
    made = request("wss://bot/ws", token="s3cret-token", token_in="query")
    assert "s3cret" not in repr(made)


@pytest.mark.parametrize("keywords", [{"token": "t"}, {"headers": {"Cookie": "a=b"}}])
def test_credentials_are_not_sent_in_the_clear(keywords: dict[str, object]) -> None:
    """To another machine, that is, and unless somebody asked for it."""
    with pytest.raises(InvalidParamsError, match="unencrypted"):
        request("ws://bot.example/", **keywords)  # type: ignore[arg-type]
    request("ws://bot.example/", allow_insecure_token=True, **keywords)  # type: ignore[arg-type]
    request("ws://127.0.0.1/", **keywords)  # type: ignore[arg-type]


def test_two_authorizations_are_one_too_many() -> None:
    """The error says which two, and a way out."""
    with pytest.raises(InvalidParamsError, match="by the URL and by token; say token_in='query'"):
        request("wss://ann:pw@bot/", token="t")
    made = request("wss://ann:pw@bot/", token="t", token_in="query")
    assert b"Basic YW5uOnB3" == dict(made.headers)[b"authorization"]


def test_an_address_is_needed() -> None:
    """Without one there is nowhere to go."""
    with pytest.raises(InvalidParamsError, match="ws_url"):
        upgrade_request(ConnectParams(transport="websocket"), LinkOptions())
